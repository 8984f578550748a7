"""Adapters in a folder or on the Hub: their files, their base, and whether PEFT can combine several."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from common.dataset import split_revision
from common.errors import UserError, first_line
from common.files import sha256_of
from common.hub import gated_sentence, is_gated
from common.model_files import loading

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SUMMARY = "training_summary.json"
MERGED = "merge.json"
LOG = "training_log.jsonl"
LOSS_PLOT = "loss.png"
TOKENIZER_FILES = (
    *("tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt"),
    *("added_tokens.json", "special_tokens_map.json", "chat_template.jinja"),
)
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", ADAPTER_CONFIG, "config.json", "generation_config.json")
SAME_RANK = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
METHODS = ("cat", "svd", *SAME_RANK, "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd")
NOT_COMBINED = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters", "lora_bias")
"""Fields of an adapter's configuration that PEFT leaves out of a combination or refuses."""


@dataclass(frozen=True)
class Adapter:
    """An adapter that was found. `revision` is its commit on the Hub, None for a folder; `sha256` that of its weights."""

    name: str
    revision: str | None
    sha256: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Combination:
    """How several adapters are combined into one; `weights` has one for each."""

    weights: tuple[float, ...]
    method: str = "cat"
    density: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class TrainedRows:
    """Which rows an adapter learnt from: task -> rows of it, and how many of these are answered by a word.

    `adapter` is the one that its training went on from, whose rows are not among them.
    """

    tasks: Mapping[str, int]
    rows_in_words: Mapping[str, int]
    adapter: str | None = None


def read_training(folder: Path) -> TrainedRows | None:
    """The rows that an adapter, or a model that one was merged into, learnt from; None where its folder does not say.

    Summaries of earlier versions do not count rows in words.
    """
    try:
        if (path := folder / SUMMARY).is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        else:
            found = json.loads((folder / MERGED).read_text(encoding="utf-8"))["training"]
        return TrainedRows(dict(found["tasks"]), dict(found["rows_in_words"]), found["adapter"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def model_files(folder: Path) -> list[str]:
    """Names of the folder's own files that hold an adapter or a model, and its tokenizer."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in (*MODEL_FILES, *TOKENIZER_FILES))]


def has_tokenizer(folder: Path) -> bool:
    """Whether an adapter's folder brings a tokenizer along."""
    return any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))


def adapter_tokenizer(base: str, adapter: Path | None) -> Any:
    """The tokenizer that an adapter was trained with: its own, or the base's where it brings none along. Raises UserError."""
    from transformers import AutoTokenizer

    source = str(adapter) if adapter and has_tokenizer(adapter) else base
    with loading(source, "the tokenizer of", "check its files, or fetch it again"):
        return AutoTokenizer.from_pretrained(source)


def read_adapter(name: str, revision: str | None = None) -> Adapter:
    """The adapter in a folder or on the Hub (`org/name`, `org/name@revision`). Raises UserError if there is none."""
    name, own = split_revision(name)
    if own and revision:
        raise UserError(f"{name} has a revision after its @ and one in --revision; give one of them")
    path = _file(name, ADAPTER_CONFIG, own or revision)
    commit = None if Path(name).exists() else path.parent.name  # the cache keeps a folder for each commit
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{ADAPTER_CONFIG} of {name} is not JSON; train or fetch the adapter again")
    return Adapter(name, commit, sha256_of(_file(name, ADAPTER_WEIGHTS, commit)), config)


def _file(adapter: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(adapter, file) if Path(adapter).exists() else Path(hf_hub_download(adapter, file, revision=revision))
        path.stat()
    except LocalEntryNotFoundError:
        raise UserError(f"cannot fetch the adapter {adapter}, which is not in the cache either; check the network") from None
    except (FileNotFoundError, NotADirectoryError, EntryNotFoundError):
        raise UserError(f"{adapter} holds no {file}; give --adapter the output folder of a LoRA training") from None
    except HFValidationError:
        raise UserError(f"there is no adapter folder {adapter}; check --adapter") from None
    except OSError as error:
        if is_gated(error):
            raise UserError(gated_sentence(f"the adapter {adapter}", adapter)) from None
        raise UserError(f"cannot read the adapter {adapter}: {first_line(error)}; check --adapter and --revision") from None
    return path


def base_of(adapters: Sequence[Adapter]) -> str:
    """The one base that the adapters name. Raises UserError if there is none, or more than one."""
    names = {adapter.name: adapter.config.get("base_model_name_or_path") for adapter in adapters}
    if missing := [name for name, base in names.items() if not base]:
        raise UserError(f"the adapter {missing[0]} does not say what its base model is; give --base")
    if len(bases := sorted(set(map(str, names.values())))) > 1:
        raise UserError(
            f"the adapters were trained on different bases, {' and '.join(bases)}; if these are one, give it as --base"
        )
    return bases[0]


def check_combination(adapters: Sequence[Adapter], combination: Combination) -> None:
    """Raises UserError for a combination that PEFT would refuse, or from which it would silently leave a part out."""
    if len(combination.weights) != len(adapters):
        raise UserError(f"--weights has {len(combination.weights)} for {len(adapters)} adapters; give one for each")
    if (prunes := combination.method not in ("cat", "svd", "linear")) != (combination.density is not None):
        raise UserError(
            f"--method {combination.method} " + ("needs --density, such as 0.5" if prunes else "takes no --density")
        )
    if combination.density is not None and not 0 < combination.density <= 1:
        raise UserError(
            f"--density must be above 0 and at most 1, not {combination.density}; it is the share of entries to keep"
        )
    for adapter in adapters:
        if (kind := adapter.config.get("peft_type")) != "LORA":
            raise UserError(f"{adapter.name} is no LoRA adapter but {kind}; only LoRA adapters can be combined")
        special = [field for field in NOT_COMBINED if adapter.config.get(field)]
        if adapter.config.get("bias", "none") != "none":
            special.append("bias")
        if special:
            raise UserError(f"{adapter.name} was trained with {', '.join(special)}, which PEFT cannot combine; merge it alone")
    ranks = [max(adapter.config["r"], *(adapter.config.get("rank_pattern") or {"": 0}).values()) for adapter in adapters]
    if combination.method in SAME_RANK and len(set(ranks)) > 1:
        other = "svd or cat" if combination.method == "linear" else f"{combination.method}_svd"
        raise UserError(
            f"--method {combination.method} needs adapters of one rank, not of {' and '.join(map(str, ranks))}; give {other}"
        )


def parse_weights(text: str, option: str) -> tuple[float, ...]:
    """`0.7,0.3` -> numbers. Raises UserError."""
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = (math.nan,)
    if not all(map(math.isfinite, weights)):
        raise UserError(f"{option} {text!r} is not a list of numbers; give them separated by commas, such as 0.7,0.3")
    return weights


def public_name(name: str) -> str:
    """A Hub id as it is; of a folder its last name, without the path on this machine."""
    return Path(name).resolve().name if Path(name).exists() else name
