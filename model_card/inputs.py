"""What a card tells beside scores: the adapter and its training run, the base model, the dataset. Read from their files."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.card import languages
from dataset_builders.errors import UserError
from dataset_builders.fetch import sha256_of

NONE_STATED = "none stated"
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Adapter:
    """`config` is adapter_config.json, `summary` is training_summary.json ({} where there is none), `name` the folder's.

    `weights_sha256` is that of adapter_model.safetensors, None where it is not in the folder.
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    name: str = ""
    weights_sha256: str | None = None

    @property
    def lora(self) -> dict[str, Any]:
        """LoRA settings; the adapter's own configuration counts more than the training's record of it."""
        return {**self.section("lora"), **self.config}

    def section(self, name: str) -> dict[str, Any]:
        """A part of the summary that is itself an object; {} where it is missing."""
        value = self.summary.get(name)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Base:
    """The base model. `hub_id` is None if no id is known; `local_name` is set if a local copy was used.

    `dtype` is what its weights are stored in, such as bfloat16; None where that is not known.
    """

    hub_id: str | None
    local_name: str | None = None
    licence: str | None = None
    dtype: str | None = None

    @property
    def title(self) -> str:
        """A name for a sentence."""
        return self.hub_id or self.local_name or "an unnamed model in a local folder"


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
                "licence": _licence_text(known.get(name, {}).get("licence")),
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


def read_adapter(folder: Path) -> Adapter:
    """Raises UserError if `folder` holds no adapter. A missing summary is no error: the card then says so."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the output folder of training/sft.py")
    if not (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{folder} holds no adapter_config.json, so it is no adapter; give the output folder of training/sft.py"
        )
    summary, weights = folder / "training_summary.json", folder / "adapter_model.safetensors"
    return Adapter(
        _read_object(folder / "adapter_config.json"),
        _read_object(summary) if summary.is_file() else {},
        folder.resolve().name,
        sha256_of(weights) if weights.is_file() else None,
    )


def read_base(adapter: Adapter, known: str | None = None) -> Base:
    """Where the base is a local folder, the README in it says which model on the Hub it is a copy of.

    `known`: the id under which that very base is on the Hub, whatever the folder says.
    """
    if known:
        local = read_base(adapter)
        dtype = local.dtype or _dtype(_hub_file(known, "config.json"))
        return Base(known, licence=local.licence or _hub_licence(known), dtype=dtype)
    name = adapter.config.get("base_model_name_or_path") or adapter.summary.get("base_model")
    if not isinstance(name, str):
        return Base(None)
    hub_id = as_hub_id(name)
    if hub_id:
        return Base(hub_id, licence=_hub_licence(hub_id), dtype=_dtype(_hub_file(hub_id, "config.json")))
    readme, dtype = Path(name) / "README.md", _dtype(Path(name) / "config.json")
    if not readme.is_file():
        return Base(None, dtype=dtype)
    from huggingface_hub import ModelCard

    text = readme.read_text(encoding="utf-8", errors="replace")
    try:
        data = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # a stranger's README: any YAML or card error means that it tells nothing
        return Base(None, dtype=dtype)
    heading = re.search(r"^# +(.+)$", text.split("\n---", 1)[-1], re.MULTILINE)
    original = data.get("base_model")
    if isinstance(original, list):
        original = next(iter(original), None)
    local_name = heading[1].strip() if heading else "a local copy"
    return Base(as_hub_id(original), local_name, _licence_text(data.get("license")), dtype)


def read_data(name: str, revision: str | None = None) -> Data:
    """The dataset in a local folder, or on the Hub. Raises UserError."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "manifest.json").is_file():
            raise UserError(f"{folder} holds no manifest.json; give the folder that dataset_builders.build wrote")
        return Data(None, None, _read_object(folder / "manifest.json"))
    hub_id = as_hub_id(name)
    if hub_id is None or "/" not in hub_id:
        raise UserError(f"{name} is neither a folder nor a Hub id such as org/name; give the dataset with --data")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    from dataset_builders.hub import hub_errors

    with hub_errors(hub_id):
        try:
            commit = HfApi().dataset_info(hub_id, revision=revision).sha
            manifest = hf_hub_download(hub_id, "manifest.json", repo_type="dataset", revision=commit)
        except EntryNotFoundError as error:
            raise UserError(f"{hub_id} holds no manifest.json; publish it with dataset_builders.publish") from error
    return Data(hub_id, commit, _read_object(Path(manifest)))


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


def _hub_licence(hub_id: str) -> str | None:
    """The base's licence, if the Hub can be asked; a card can be made without a network, and then says that it is unknown."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        card = HfApi().model_info(hub_id, timeout=10).card_data
    except (HfHubHTTPError, OfflineModeIsEnabled, HTTPError, OSError):
        return None
    return _licence_text(card.license) if card else NONE_STATED


def _hub_file(hub_id: str, name: str) -> Path | None:
    """A file of a model on the Hub, or in the cache; None where it cannot be had, as without a network."""
    from httpx import HTTPError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(hub_id, name, etag_timeout=10))
    except (HfHubHTTPError, HTTPError, OSError, ValueError):
        return None


def _dtype(config: Path | None) -> str | None:
    """What a model's config.json says; `torch_dtype` is what transformers called it before version 5."""
    try:
        document = _read_object(config) if config else {}
    except UserError:  # a base that is not here is no reason to fail
        return None
    text = document.get("text_config")
    for part in (document, text if isinstance(text, dict) else {}):
        found = part.get("dtype") or part.get("torch_dtype")
        if found in DTYPES:
            return str(found)
    return None


def _licence_text(licence: Any) -> str:
    if isinstance(licence, list):
        return ", ".join(map(str, licence)) or NONE_STATED
    return str(licence or NONE_STATED)


def _dicts(value: Any) -> dict[str, dict[str, Any]]:
    return {str(key): entry for key, entry in value.items() if isinstance(entry, dict)} if isinstance(value, dict) else {}


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{file} cannot be read as JSON ({error}); write it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{file} holds no JSON object; write it again")
    return value
