"""What a card tells beside scores: the adapter and its training run, the base model, the dataset. Read from their files."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.dataset import NONE_STATED, as_hub_id, licence_text
from common.errors import UserError
from common.files import read_object, sha256_of

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
        read_object(folder / "adapter_config.json"),
        read_object(summary) if summary.is_file() else {},
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
    return Base(as_hub_id(original), local_name, licence_text(data.get("license")), dtype)


def _hub_licence(hub_id: str) -> str | None:
    """The base's licence, if the Hub can be asked; a card can be made without a network, and then says that it is unknown."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        card = HfApi().model_info(hub_id, timeout=10).card_data
    except (HfHubHTTPError, OfflineModeIsEnabled, HTTPError, OSError):
        return None
    return licence_text(card.license) if card else NONE_STATED


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
        document = read_object(config) if config else {}
    except UserError:  # a base that is not here is no reason to fail
        return None
    text = document.get("text_config")
    for part in (document, text if isinstance(text, dict) else {}):
        found = part.get("dtype") or part.get("torch_dtype")
        if found in DTYPES:
            return str(found)
    return None
