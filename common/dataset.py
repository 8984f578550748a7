"""Datasets and models by local folder or Hub id, and the manifest, file names and rows of a built dataset.

`org/name@revision` names a branch, tag or commit on the Hub. `option` is what the user gave the name with, such as `--data`
or SHOP_DATASET; every error begins with it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, first_line
from common.files import read_object
from common.languages import languages
from common.tasks import FAMILIES, TASKS

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["dataset", "model"]

MANIFEST = "manifest.json"
SPLITS = ("train", "test")
NONE_STATED = "none stated"

_HINTS = {
    "dataset": "give the --out of python -m dataset_builders.build, or its Hub id",
    "model": "give the folder that the training or merging wrote, or its Hub id",
}


def data_file(task: str, split: str, shard: int = 0, shards: int = 1) -> str:
    """Path of one file of a task's split inside the dataset folder."""
    return f"data/{task}/{split}-{shard:05}-of-{shards:05}.parquet"


def data_pattern(task: str, split: str) -> str:
    """Glob of all files of a task's split inside the dataset folder."""
    return f"data/{task}/{split}-*-of-*.parquet"


def config_tasks(built: list[str]) -> dict[str, list[str]]:
    """Config name -> the tasks in it: each task, each family that has one, and `default` with all."""
    families = {family: [name for name in built if TASKS[name].family == family] for family in FAMILIES}
    return {
        "default": built,
        **{family: names for family, names in families.items() if names},
        **{name: [name] for name in built},
    }


@dataclass(frozen=True)
class ConfigInfo:
    """Rows of each split of a config, and their fingerprint; None where the manifest has no such value."""

    train: int | None
    test: int | None
    fingerprint: str | None


@dataclass(frozen=True)
class SourceInfo:
    """Licence of a source, and the numbers of raw records read, used and left out; None where the manifest has none."""

    licence: str
    read: int | None
    used: int | None
    left_out: int


@dataclass(frozen=True)
class Manifest:
    """What a dataset's manifest.json says. `hub_id` and `revision` (the commit) are None for a local folder."""

    hub_id: str | None
    revision: str | None
    configs: dict[str, ConfigInfo]
    sources: dict[str, SourceInfo]
    locales: tuple[str, ...]
    synthetic: bool

    @property
    def languages(self) -> list[str]:
        """ISO 639 codes. Raises UserError for a locale of none."""
        return languages(self.locales) if self.locales else ["en"]


def read_manifest(name: str, revision: str | None = None, option: str = "--data") -> Manifest:
    """The manifest of a dataset folder or Hub dataset. Raises UserError."""
    path = find_file(name, MANIFEST, revision, option=option)
    try:
        manifest = read_object(path)
    except UserError as error:
        raise UserError(f"{_given(name, option)}: {error}") from None
    hub_id = None if Path(name).exists() else split_revision(name)[0]
    return parse_manifest(manifest, hub_id, commit_of(path))


def parse_manifest(manifest: dict[str, Any], hub_id: str | None = None, revision: str | None = None) -> Manifest:
    locales = manifest.get("locales")
    return Manifest(
        hub_id,
        revision,
        {
            name: ConfigInfo(_count(entry, "train"), _count(entry, "test"), _text(entry.get("fingerprint")))
            for name, entry in _dicts(manifest.get("configs")).items()
        },
        _sources(manifest),
        tuple(map(str, locales)) if isinstance(locales, list) else (),
        manifest.get("synthetic") is True,
    )


def _sources(manifest: dict[str, Any]) -> dict[str, SourceInfo]:
    rejects, licences = _dicts(manifest.get("rejects")), manifest.get("licences")
    stated = {name: {"licence": licence} for name, licence in (licences if isinstance(licences, dict) else {}).items()}
    known = stated | _dicts(manifest.get("sources"))
    return {
        name: SourceInfo(
            licence_text(known.get(name, {}).get("licence")),
            _count(known.get(name, {}), "read"),
            _count(known.get(name, {}), "used"),
            sum(count for count in rejects.get(name, {}).values() if isinstance(count, int)),
        )
        for name in sorted(known | rejects)
    }


def _dicts(value: Any) -> dict[str, dict[str, Any]]:
    return {str(key): entry for key, entry in value.items() if isinstance(entry, dict)} if isinstance(value, dict) else {}


def _count(entry: dict[str, Any], key: str) -> int | None:
    return entry[key] if isinstance(entry.get(key), int) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def licence_text(licence: Any) -> str:
    """A licence field of metadata as text: one, several, or NONE_STATED."""
    if isinstance(licence, list):
        return ", ".join(map(str, licence)) or NONE_STATED
    return str(licence or NONE_STATED)


# --- Rows ---


def read_split(
    name: str, split: str, tasks: Iterable[str] = TASKS, revision: str | None = None, option: str = "--data"
) -> "dict[str, pa.Table]":
    """Task -> its rows of the split, for those of `tasks` that have some in the dataset folder or Hub dataset.

    Raises UserError where the dataset cannot be read.
    """
    import pyarrow.parquet as pq

    patterns = {task: data_pattern(task, split) for task in tasks}
    folder = find_folder(name, [*patterns.values()], revision, option=option)
    found = {task: sorted(folder.glob(pattern)) for task, pattern in patterns.items()}
    try:
        tables = {task: pq.ParquetDataset(paths).read() for task, paths in found.items() if paths}
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"{_given(name, option)}: its {split} rows cannot be read ({reason}); build it again") from None
    return {task: table for task, table in tables.items() if table.num_rows}


def load_dataset(
    name: str, config: str | None = None, split: str | None = None, revision: str | None = None, option: str = "--dataset_name"
) -> Any:
    """`datasets.load_dataset` of a folder or Hub id (`org/name@revision` too): a split, or all by name. Raises UserError."""
    import datasets
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    name, revision = _checked(name, revision, option, "dataset")
    try:
        return datasets.load_dataset(name, config, split=split, revision=revision)
    except (OSError, ValueError, DatasetsError) as error:
        # "An error occurred while generating the dataset" says nothing; its cause does.
        reason = error.__cause__ if isinstance(error, DatasetGenerationError) and error.__cause__ else error
        hint = "check the name, the config and the split, or run: hf auth login"
        raise UserError(f"{_given(name, option)} cannot be loaded: {first_line(reason)}; {hint}") from None


# --- Local folder or Hub ---


def find_file(name: str, file: str, revision: str | None = None, kind: Kind = "dataset", option: str = "--data") -> Path:
    """A file of a dataset or model: in its local folder, or in the Hub's cache after a download. Raises UserError."""
    from huggingface_hub import hf_hub_download

    name, revision = _checked(name, revision, option, kind)
    if Path(name).exists():
        if not Path(name, file).is_file():
            raise UserError(f"{_given(name, option)} holds no {file}; {_HINTS[kind]}")
        return Path(name, file)
    with reading(name, revision, kind, option, file):
        return Path(hf_hub_download(name, file, repo_type=kind, revision=revision))


def find_folder(
    name: str,
    patterns: Sequence[str],
    revision: str | None = None,
    kind: Kind = "dataset",
    option: str = "--data",
    ignore: Sequence[str] = (),
) -> Path:
    """The local folder (or file) itself, or a folder with the Hub repository's files that match. Raises UserError."""
    from huggingface_hub import snapshot_download

    name, revision = _checked(name, revision, option, kind)
    if Path(name).exists():
        return Path(name)
    with reading(name, revision, kind, option):
        return Path(
            snapshot_download(
                name, repo_type=kind, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignore) or None
            )
        )


def commit_of(path: Path) -> str | None:
    """The commit of a file that `find_file` returned, if it came from the Hub: .../snapshots/COMMIT/config.json."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", path.as_posix())
    return found[1] if found else None


def split_revision(name: str) -> tuple[str, str | None]:
    """`org/name@revision` -> the two; a folder's name, or one without a revision, as it is."""
    found = None if Path(name).exists() else re.fullmatch(r"([\w.-]+/[\w.-]+)@(.+)", name)
    return (found[1], found[2]) if found else (name, None)


def looks_like_path(name: str) -> bool:
    """Whether a dataset or model name cannot be meant as a Hub id (`name` or `org/name`)."""
    return not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name)


def as_hub_id(name: Any) -> str | None:
    """`name` if it can be an id on the Hub; None for anything that is, or looks like, a path."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not isinstance(name, str) or name.startswith((".", "~", "/")) or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _checked(name: str, revision: str | None, option: str, kind: Kind) -> tuple[str, str | None]:
    """Name and revision, which may both be in the name. Raises UserError."""
    name, own = split_revision(name)
    if own and revision and own != revision:
        raise UserError(f"{_given(name, option)} has the revision {own} behind its @, and {revision} is given too; give one")
    if not Path(name).exists() and looks_like_path(name):
        raise UserError(f"{_given(name, option)} is no file or folder here, and no Hub id such as org/name; check the path")
    return name, own or revision


def _given(name: str, option: str) -> str:
    return f"{option} {name}" if option.startswith("-") else f"{option}={name}" if option else name


@contextmanager
def reading(
    name: str, revision: str | None = None, kind: Kind = "dataset", option: str = "", file: str = "such file"
) -> Iterator[None]:
    """Turns what huggingface_hub raises over reading a repository into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if told := _explain_reading(error, name, revision, kind, _given(name, option), file):
            raise UserError(told) from None
        raise


def _explain_reading(error: Exception, name: str, revision: str | None, kind: Kind, given: str, file: str) -> str | None:
    """The sentence for an error of huggingface_hub; None for an error that has nothing to do with the Hub."""
    from huggingface_hub import constants, errors

    from common.hub import explain, gated_sentence

    match error:
        case errors.GatedRepoError():
            return gated_sentence(given, name, kind)
        case errors.RepositoryNotFoundError():
            return f"{given} is no folder here and no {kind} on {constants.ENDPOINT}; check the name, or run: hf auth login"
        case errors.RevisionNotFoundError():
            return f"{given} has no revision {revision}; give a branch, a tag or a commit of it"
        case errors.HfHubHTTPError() if error.response.status_code in (401, 403):
            return f"{given} may not be read with the token in use; log in with hf auth login, or unset HF_TOKEN"
        case errors.EntryNotFoundError() if not isinstance(error, errors.LocalEntryNotFoundError):
            return f"{given} holds no {file}; {_HINTS[kind]}"
    reason = explain(error, name) or (first_line(error) if isinstance(error, OSError | ValueError) else None)
    at = f" at revision {revision}" if revision else ""
    return f"{given} is no folder here, and cannot be had from the Hub{at} ({reason})" if reason else None
