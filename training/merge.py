"""Merges LoRA adapters into their base model: an ordinary transformers folder that any engine loads.

    python -m training.merge --adapter A --out M                                 what the adapter's training ended with
    python -m training.merge --adapter A --weight 0.7 --out M                    base + 0.7 of what it changed
    python -m training.merge --adapter A --adapter B --weights 0.7,0.3 --out M   base + 0.7 of A's change + 0.3 of B's

--weight interpolates linearly between the weights of the base (0) and of the tuned model (1), as WiSE-FT does (Wortsman et
al. 2022, arXiv:2109.01903): a little less of what was learnt may keep more of what the base knew. Above 1 it goes beyond.

Several adapters of one base are combined by PEFT, by one of its --method:
  cat              the weighted sum of the changes, exactly; ranks and target modules may differ (the default)
  svd              the same sum, cut to the largest rank among the adapters
  linear           sums the matrices A and B apart, so that products of one adapter's A with another's B come in: no weighted
                   sum (two equal adapters at 0.5 and 0.5 give twice their change); the ranks must be equal
  ties             keeps the largest entries (--density) and of those the ones with the majority's sign, then averages the
                   weighted ones, so that weights are near 1 each (Yadav et al. 2023, arXiv:2306.01708)
  dare_linear      drops entries by chance (--density stay, --seed) and scales up the rest (Yu et al. 2023, arXiv:2311.03099);
  dare_ties        after it linear or ties
  magnitude_prune  keeps the largest entries, then linear
  *_svd            as the name without it, but on the whole change, A times B, then cut to the largest rank: ranks may differ

An adapter that was trained on a quantised base (QLoRA) is merged into the unquantised one. The folder also gets merge.json,
which records what was merged, and a short README.md. --push --repo-id org/name publishes all of it in one commit.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import publishing
from common.dataset import find_folder
from common.errors import UserError, plain_errors
from common.files import every_file, replaced
from common.model_files import TOKENIZER_FILES, check_model_folder, loading, reason_of
from common.publishing import Destination, Upload
from training.adapters import (
    MERGED,
    METHODS,
    SUMMARY,
    Adapter,
    Combination,
    adapter_tokenizer,
    base_of,
    check_combination,
    named_base,
    parse_weights,
    public_name,
    read_adapter,
    read_training,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MARKER = ".merged"
"""A file that says that a folder was written here and may be replaced; any other model's folder may not."""


def load_merged(
    adapters: Sequence[Adapter], base: str, weight: float = 1.0, combination: Combination | None = None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The base with the adapters' weights added, in the base's own dtype, and the tokenizer that the first was trained with."""
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    first, names = adapters[0], " and ".join(adapter.name for adapter in adapters)
    if Path(base).is_dir():
        check_model_folder(Path(base), f"the base model {base}")
    with loading(base, "the base model", "give its folder or Hub id as --base"):
        if getattr(AutoConfig.from_pretrained(base), "quantization_config", None):
            raise UserError(f"the base model {base} is quantised; give the one that it was made from as --base")
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    tokenizers = [own_tokenizer(adapter, base) for adapter in adapters]
    for adapter, tokenizer in zip(adapters[1:], tokenizers[1:], strict=True):
        if format_of(tokenizer) != format_of(tokenizers[0]):
            raise UserError(
                f"{first.name} and {adapter.name} were trained with different chat templates, end tokens or vocabularies, so "
                "one model cannot be asked as both expect; train them alike, or merge them apart"
            )
    # A copy, since what PEFT merges in place differs from one kind of adapter to the next.
    before = {} if weight == 1 else {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        tuned = PeftModel.from_pretrained(model, first.name, revision=first.revision)
        if tuned.active_peft_config.is_prompt_learning:
            raise UserError(f"{first.name} is a learned prompt, which has no weights to merge")
        if combination:
            _combine(tuned, adapters, combination)
        merged = tuned.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        which = f"adapters {names} do" if len(adapters) > 1 else f"adapter {names} does"
        raise UserError(f"the {which} not fit the base {base}: {reason_of(error)}") from None
    for name, parameter in merged.named_parameters() if before else ():
        start = before[name].float()
        parameter.data = (start + weight * (parameter.data.float() - start)).to(parameter.dtype)
        if not parameter.isfinite().all():
            raise UserError(f"at --weight {weight:g} the weights grow beyond what their type can hold; give a smaller one")
    add_end(merged, tokenizers[0].eos_token_id)
    return merged, tokenizers[0]


def own_tokenizer(adapter: Adapter, base: str) -> "PreTrainedTokenizerBase":
    """The tokenizer that an adapter was trained with: its own, or the base's where it brings none along. Raises UserError."""
    folder = find_folder(adapter.name, TOKENIZER_FILES, adapter.revision, "model", "--adapter")
    tokenizer: PreTrainedTokenizerBase = adapter_tokenizer(base, folder)
    return tokenizer


def format_of(tokenizer: "PreTrainedTokenizerBase") -> tuple[Any, ...]:
    """What two tokenizers have in common that make the same tokens of every chat and end it alike."""
    return tokenizer.chat_template, tokenizer.eos_token_id, tokenizer.get_vocab()


def add_end(model: "PreTrainedModel", end: int | None) -> None:
    """Lets `generate` end at the tokenizer's end token, too, which is not always the base's."""
    config: Any = model.generation_config
    own = config.eos_token_id
    ends = own if isinstance(own, list) else [own] if own is not None else []
    if end is not None and end not in ends:
        config.eos_token_id = [*ends, end] if ends else end


def _combine(tuned: "PeftModel", adapters: Sequence[Adapter], combination: Combination) -> None:
    """Makes the combination the active adapter of a model that has the first one."""
    import torch

    names = ["default", *(f"adapter{number}" for number in range(1, len(adapters)))]
    for name, adapter in zip(names[1:], adapters[1:], strict=True):
        tuned.load_adapter(adapter.name, name, revision=adapter.revision)
    # It takes its settings from the first adapter, and holds the scale of each already: rsLoRA would scale it once more.
    settings: Any = tuned.peft_config["default"]
    settings.use_rslora = False
    lora: Any = tuned.base_model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(combination.seed)
        lora.add_weighted_adapter(
            names,
            list(combination.weights),
            "combined",
            combination.method,
            density=combination.density,
            svd_full_matrices=False,
        )
    tuned.set_adapter("combined")


def merge_adapters(
    adapters: Sequence[Adapter],
    out: Path,
    base: str | None = None,
    weight: float = 1.0,
    combination: Combination | None = None,
) -> str:
    """Writes the merged model to `out`, in place of an earlier one, and returns the base's name.

    More than one adapter need a combination. A weight other than 1 needs memory for the base's weights twice.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise UserError(f"--weight must be 0 or more, not {weight}; 0 is the base, 1 the tuned model")
    base = base or base_of(adapters)
    if combination:
        check_combination(adapters, combination)
    with replaced(out, MARKER) as building:
        model, tokenizer = load_merged(adapters, base, weight, combination)
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        record = provenance(adapters, base, weight, combination)
        record["training"] = _training_of(adapters[0]) if len(adapters) == 1 else None
        (building / MERGED).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (building / "README.md").write_text(card(record, base), encoding="utf-8")
        (building / MARKER).touch()
    return base


def merge(adapter: str, out: Path, base: str | None = None, revision: str | None = None, weight: float = 1.0) -> str:
    """Writes one adapter's merged model; see merge_adapters."""
    return merge_adapters([read_adapter(adapter, revision)], out, base, weight)


def provenance(adapters: Sequence[Adapter], base: str, weight: float, combination: Combination | None) -> dict[str, Any]:
    """What was merged, as merge.json has it."""
    weights = combination.weights if combination else (1.0,)
    return {
        "base": public_name(base),
        "weight": weight,
        "adapters": [
            {"name": public_name(adapter.name), "revision": adapter.revision, "sha256": adapter.sha256, "weight": own}
            for adapter, own in zip(adapters, weights, strict=True)
        ],
        "method": combination and combination.method,
        "density": combination and combination.density,
        "seed": combination.seed if combination and combination.method.startswith("dare") else None,
        "peft": version("peft"),
    }


def _training_of(adapter: Adapter) -> dict[str, Any] | None:
    """Which rows an adapter learnt from, by which `predict` and `rank` know how to score lists; None where it does not say."""
    found = read_training(find_folder(adapter.name, [SUMMARY], adapter.revision, "model", "--adapter"))
    return asdict(found) if found else None


def card(record: dict[str, Any], base: str) -> str:
    """A README.md for the Hub, which takes no folder for a base: in its place the model that the folder's README names."""
    on_hub = [f"base_model: {name}", "base_model_relation: finetune"] if (name := hub_name(base)) else []
    parts = [
        f"{adapter['weight']:g} x {adapter['name']}" if record["method"] else adapter["name"] for adapter in record["adapters"]
    ]
    how = f", combined by PEFT's `{record['method']}`" if record["method"] else ""
    change = parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"
    return "\n".join(
        ["---", *on_hub, "library_name: transformers", "pipeline_tag: text-generation", "tags: [merge, lora]", "---", "",
         "# A merged model", "",
         f"{record['base']} + {record['weight']:g} x {change}{how}. [merge.json](merge.json) has the details.", "",
         "It has not been measured: its scores may differ from the adapter's by the rounding of its weights.", ""]
    )  # fmt: skip


def hub_name(base: str) -> str:
    """The Hub id of a base; of a folder the one that it names, "" where it names none."""
    if Path(base).exists():
        return named_base(Path(base)) or ""
    return base if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base) else ""


def files_to_publish(folder: Path) -> Upload:
    files = [name for name in every_file(folder) if name != MARKER]
    return Upload(folder, "model", "Merged model", files, stale_patterns=("*.safetensors", "*.safetensors.index.json"))


def destination_of(args: argparse.Namespace) -> Destination | None:
    """Where --push goes to; None without it. Raises UserError."""
    if not args.push:
        if args.repo_id or args.private or args.dry_run:
            raise UserError("--repo-id, --private and --dry-run are for --push; add it, or leave them out")
        return None
    if not args.repo_id:
        raise UserError("say where to push: --repo-id org/name")
    return Destination(args.repo_id, args.private, dry_run=args.dry_run)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.merge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--adapter", required=True, action="append", help="adapter folder, Hub id, or org/name@revision; once for each adapter"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write the merged model to")
    parser.add_argument("--base", help="base model folder or Hub id (default: the one that the adapters name)")
    parser.add_argument("--revision", help="branch, tag or commit of a single adapter on the Hub")
    parser.add_argument("--weight", type=float, default=1.0, help="from 0, the base, to 1, the tuned model (default: 1)")
    parser.add_argument(
        "--weights", metavar="A,B", help="one for each of several adapters, separated by commas (default: equal, with sum 1)"
    )
    parser.add_argument("--method", choices=METHODS, help="how to combine several adapters, see above (default: cat)")
    parser.add_argument(
        "--density", type=float, help="share of entries that ties, dare and magnitude_prune keep (needed by them)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the entries that dare drops (default: 0)")
    parser.add_argument("--push", action="store_true", help="publish the merged model to --repo-id")
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="with --push: model on the Hub; created if it is missing")
    parser.add_argument("--private", action="store_true", help="with --push: visible only to you and your organisation")
    parser.add_argument("--dry-run", action="store_true", help="with --push: list the files and upload nothing")
    args = parser.parse_args(argv)
    several = len(args.adapter) > 1
    destination = destination_of(args)
    if several and args.revision:
        raise UserError("--revision is for a single adapter; write org/name@revision for each of several")
    if not several and (args.weights or args.method or args.density is not None):
        raise UserError("--weights, --method and --density are for several adapters; give --adapter again, or --weight")
    count = len(args.adapter)
    weights = parse_weights(args.weights, "--weights") if args.weights else (1 / count,) * count
    combination = Combination(weights, args.method or "cat", args.density, args.seed) if several else None
    base = merge_adapters(
        [read_adapter(name, args.revision) for name in args.adapter], args.out, args.base, args.weight, combination
    )
    print(f"{' and '.join(args.adapter)} {'are' if several else 'is'} merged into {base}; the model is in {args.out}")
    if destination:
        publishing.commit(files_to_publish(args.out), destination)


if __name__ == "__main__":
    with plain_errors():
        main()
