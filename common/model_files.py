"""Models that transformers loads, in a folder or on the Hub: what a folder must hold, and one sentence where loading fails."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError, first_line
from common.hub import gated_sentence, is_gated

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = (
    *("tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt"),
    *("added_tokens.json", "special_tokens_map.json", "chat_template.jinja"),
)


def has_tokenizer(folder: Path) -> bool:
    """Whether a model's or adapter's folder brings a tokenizer along."""
    return any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))


def check_model_folder(folder: Path, name: str) -> None:
    """Raises UserError for a folder without a whole model in safetensors; messages call it `name`."""
    files = {path.name for path in folder.iterdir() if path.is_file()}
    if "adapter_config.json" in files and "config.json" not in files:
        raise UserError(f"{name} is an adapter; give its base as the model, and it as --adapter where a command takes one")
    if not any(file.endswith((".safetensors", ".safetensors.index.json")) for file in files):
        if any(file.endswith(".gguf") for file in files):
            raise UserError(f"{name} holds GGUF files; give the folder or Hub id of the safetensors that they were made from")
        raise UserError(f"{name} holds no *.safetensors; give a model folder or Hub id with its weights in that form")
    if INDEX in files and WEIGHTS not in files:
        shards = _shards(folder / INDEX)
        if missing := sorted(shards - files):
            raise UserError(
                f"{name} lacks {len(missing)} of the {len(shards)} files that its {INDEX} names, such as {missing[0]}; "
                "fetch the model again"
            )


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index} is not an index of weights; fetch the model again") from None


@contextmanager
def loading(name: str, what: str, advice: str) -> Iterator[None]:
    """Turns what transformers and PEFT raise over a model or tokenizer into a UserError.

    `what` is what is loaded, such as "the model", and `advice` what to do unless the Hub's gate is the reason.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, a RuntimeError
            raise
        if is_gated(error):
            raise UserError(gated_sentence(f"{what} {name}", name)) from None
        raise UserError(f"cannot load {what} {name}: {reason_of(error)}; {advice}") from None


def reason_of(error: BaseException) -> str:
    """What a library says in one line: of weights that do not fit each other, of which size the first is."""
    if "Repo id must be in the form" in str(error):  # what transformers says of a path where nothing is
        return "there is no such folder"
    sizes = next((line.strip().rstrip(".") for line in str(error).splitlines() if "size mismatch" in line), None)
    return sizes or first_line(error)
