"""Adapters in a folder or on the Hub: their files, their base, and whether PEFT can combine several."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from common.dataset import commit_of, find_file, find_folder, split_revision
from common.errors import UserError, first_line
from common.files import read_object, sha256_of
from common.model_files import TOKENIZER_FILES, has_tokenizer, loading
from training.rows import say

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SUMMARY = "training_summary.json"
MERGED = "merge.json"
LOG = "training_log.jsonl"
LOSS_PLOT = "loss.png"
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", ADAPTER_CONFIG, "config.json", "generation_config.json")
SAME_RANK = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
METHODS = ("cat", "svd", *SAME_RANK, "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd")
NOT_COMBINED = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters", "lora_bias")
"""Fields of an adapter's configuration that PEFT leaves out of a combination or refuses."""
RENAMED = 0.01
"""Share of a tokenizer's tokens that a training may rename, as reserved ones; those of another model differ nearly all."""


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


def find_adapter(name: str) -> Path:
    """The folder with the weights and tokenizer of an adapter in a folder or on the Hub, of one commit. Raises UserError."""
    find_file(name, ADAPTER_WEIGHTS, None, "model", "--adapter")
    return find_folder(name, (ADAPTER_CONFIG, ADAPTER_WEIGHTS, *TOKENIZER_FILES), None, "model", "--adapter")


def adapter_tokenizer(base: str, adapter: Path | None, revision: str | None = None) -> Any:
    """The tokenizer that an adapter was trained with: its own, or the base's where it brings none along.

    `revision` is the base's. Raises UserError, also for an adapter of a model with other tokens, whose weights may fit this
    base all the same where no embedding was trained.
    """
    if adapter is None or not has_tokenizer(adapter):
        return _tokenizer(base, revision)
    own = _tokenizer(str(adapter))
    if not Path(base).is_dir() or has_tokenizer(Path(base)):
        check_tokens(own.get_vocab(), _tokenizer(base, revision).get_vocab(), str(adapter), base)
    return own


def _tokenizer(name: str, revision: str | None = None) -> Any:
    from transformers import AutoTokenizer

    with loading(name, "the tokenizer of", "check its files, or fetch it again"):
        return AutoTokenizer.from_pretrained(name, revision=revision)


def check_tokens(own: Mapping[str, int], tokens: Mapping[str, int], adapter: str, base: str) -> None:
    """Raises UserError where the numbers of an adapter's tokens (token -> number) are other tokens of the base.

    More or fewer tokens are said and taken, since models are resized; a vocabulary that is padded to a round size has none.
    """
    known = {number: token for token, number in tokens.items()}
    both = {number: token for token, number in own.items() if number in known}
    others = [number for number, token in sorted(both.items()) if token != known[number]]
    if len(others) > RENAMED * len(both):
        raise UserError(
            f"the adapter {adapter} was trained with other tokens than {base} has, such as {both[others[0]]!r} where that has "
            f"{known[others[0]]!r}; give the base that it was trained on"
        )
    if len(own) != len(tokens):
        say(
            f"note: the adapter {adapter} was trained with {len(own):,} tokens and {base} has {len(tokens):,}, those that both "
            "have being the same; this is right if the base was resized before or after the training"
        )


def read_adapter(name: str, revision: str | None = None) -> Adapter:
    """The adapter in a folder or on the Hub (`org/name`, `org/name@revision`). Raises UserError if there is none."""
    path = find_file(name, ADAPTER_CONFIG, revision, "model", "--adapter")
    config = read_object(path, "train or fetch the adapter again")
    commit = None if Path(name).exists() else commit_of(path)
    name, _ = split_revision(name)
    return Adapter(name, commit, sha256_of(find_file(name, ADAPTER_WEIGHTS, commit, "model", "--adapter")), config)


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


def named_base(folder: Path) -> str | None:
    """The model of the Hub that a model's folder is made from, by `base_model` of its README.md; None where that names none."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        named = (metadata_load(folder / "README.md") or {}).get("base_model")
    except (OSError, ValueError, YAMLError):
        return None
    first = next(iter(named), None) if isinstance(named, list) else named
    return first if isinstance(first, str) else None


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


def rank_limit(adapters: Sequence[Path]) -> int:
    """The least of vLLM's rank limits that these adapters fit into. Raises UserError for an adapter that vLLM cannot use."""
    from typing import get_args

    from vllm.config.lora import LoRAConfig, MaxLoRARanks
    from vllm.lora.peft_helper import PEFTHelper

    limits = sorted(get_args(MaxLoRARanks))
    highest = 1
    for adapter in adapters:
        try:
            config = PEFTHelper.from_local_dir(str(adapter), None)
            config.validate_legal(LoRAConfig(max_lora_rank=limits[-1]))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(
                f"vLLM cannot use the adapter {adapter} ({first_line(error)}); put it into the base with python -m "
                "training.merge, or take the transformers backend"
            ) from None
        highest = max(highest, config.r, *config.rank_pattern.values())
    return int(next(limit for limit in limits if limit >= highest))


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
