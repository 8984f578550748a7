"""Merges a LoRA adapter into its base model: an ordinary transformers folder that any engine loads."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.errors import UserError, plain_errors
from dataset_builders.folders import replaced

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_CONFIG = "adapter_config.json"
MARKER = ".merged"
"""A file that says that a folder was written here and may be replaced; any other model's folder may not."""


def read_adapter_config(adapter: str, revision: str | None) -> dict[str, Any]:
    """The adapter's configuration, from its folder or from the Hub. Raises UserError if there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    folder = Path(adapter)
    try:
        path = folder / ADAPTER_CONFIG if folder.exists() else Path(hf_hub_download(adapter, ADAPTER_CONFIG, revision=revision))
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, EntryNotFoundError):
        raise UserError(f"{adapter} holds no {ADAPTER_CONFIG}; give --adapter the output folder of a LoRA training") from None
    except HFValidationError:
        raise UserError(f"there is no adapter folder {adapter}; check --adapter") from None
    except ValueError:
        raise UserError(f"{ADAPTER_CONFIG} of {adapter} is not JSON; train or fetch the adapter again") from None
    except OSError as error:
        raise UserError(f"cannot read the adapter {adapter}: {_first_line(error)}; check --adapter and --revision") from None
    return config


def load_merged(adapter: str, base: str, revision: str | None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The base with the adapter's weights added, in the base's own dtype, and the tokenizer that it was trained with."""
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"cannot load the base model {base}: {_first_line(error)}; give its folder or Hub id as --base"
        ) from None
    try:
        merged = PeftModel.from_pretrained(model, adapter, revision=revision).merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the adapter {adapter} does not go with the base {base}: {_first_line(error)}") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(adapter, revision=revision)
    except (OSError, ValueError):  # an adapter need not bring a tokenizer along
        tokenizer = AutoTokenizer.from_pretrained(base)
    return merged, tokenizer


def _first_line(error: Exception) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


def merge(adapter: str, out: Path, base: str | None = None, revision: str | None = None) -> str:
    """Writes the merged model to `out`, in place of an earlier one, and returns the base's name."""
    base = base or read_adapter_config(adapter, revision).get("base_model_name_or_path")
    if not base:
        raise UserError(f"the adapter {adapter} does not say what its base model is; give --base")
    with replaced(out, MARKER) as building:
        model, tokenizer = load_merged(adapter, base, revision)
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        (building / MARKER).touch()
    return base


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.merge", description=__doc__)
    parser.add_argument("--adapter", required=True, help="adapter folder or Hub id")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the merged model to")
    parser.add_argument("--base", help="base model folder or Hub id (default: the one that the adapter names)")
    parser.add_argument("--revision", help="branch, tag or commit of an adapter on the Hub")
    args = parser.parse_args()
    base = merge(args.adapter, args.out, args.base, args.revision)
    print(f"{args.adapter} is merged into {base}; the model is in {args.out}")


if __name__ == "__main__":
    with plain_errors():
        main()
