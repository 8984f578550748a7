"""A built dataset, in a folder or on the Hub: its manifest and what it says."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_object

NONE_STATED = "none stated"

_LANGUAGES = {"us": "en", "uk": "en", "jp": "ja"}


@dataclass(frozen=True)
class Data:
    """The dataset. `revision` is the commit on the Hub."""

    hub_id: str | None
    revision: str | None
    manifest: dict[str, Any]

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """Config name -> its counts and fingerprint."""
        return _dicts(self.manifest.get("configs"))

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """Source -> licence, and the numbers of raw records read, used and left out, as far as the manifest has them."""
        rejects, licences = _dicts(self.manifest.get("rejects")), self.manifest.get("licences")
        stated = {name: {"licence": licence} for name, licence in (licences if isinstance(licences, dict) else {}).items()}
        known = stated | _dicts(self.manifest.get("sources"))
        return {
            name: {
                "licence": licence_text(known.get(name, {}).get("licence")),
                "read": known.get(name, {}).get("read"),
                "used": known.get(name, {}).get("used"),
                "left_out": sum(count for count in rejects.get(name, {}).values() if isinstance(count, int)),
            }
            for name in sorted(known | rejects)
        }

    @property
    def languages(self) -> list[str]:
        """Codes of the rows' languages; English where the manifest names no locales."""
        locales = self.manifest.get("locales")
        return languages(map(str, locales)) if isinstance(locales, list) and locales else ["en"]

    @property
    def synthetic(self) -> bool:
        """Whether the rows were made from generated sample corpora."""
        return self.manifest.get("synthetic") is True


def read_data(name: str, revision: str | None = None) -> Data:
    """The dataset in a local folder, or on the Hub. Raises UserError."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "manifest.json").is_file():
            raise UserError(f"{folder} holds no manifest.json; give the folder that dataset_builders.build wrote")
        return Data(None, None, read_object(folder / "manifest.json"))
    hub_id = as_hub_id(name)
    if hub_id is None or "/" not in hub_id:
        raise UserError(f"{name} is neither a folder nor a Hub id such as org/name; give the dataset with --data")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    from common.hub import hub_errors

    with hub_errors(hub_id):
        try:
            commit = HfApi().dataset_info(hub_id, revision=revision).sha
            manifest = hf_hub_download(hub_id, "manifest.json", repo_type="dataset", revision=commit)
        except EntryNotFoundError as error:
            raise UserError(f"{hub_id} holds no manifest.json; publish it with dataset_builders.publish") from error
    return Data(hub_id, commit, read_object(Path(manifest)))


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


def languages(locales: Iterable[str]) -> list[str]:
    """Codes of the languages of these locales, sorted."""
    return sorted({_LANGUAGES.get(locale, locale) for locale in locales})


def licence_text(licence: Any) -> str:
    """A licence field of metadata as text: one, several, or NONE_STATED."""
    if isinstance(licence, list):
        return ", ".join(map(str, licence)) or NONE_STATED
    return str(licence or NONE_STATED)


def _dicts(value: Any) -> dict[str, dict[str, Any]]:
    return {str(key): entry for key, entry in value.items() if isinstance(entry, dict)} if isinstance(value, dict) else {}
