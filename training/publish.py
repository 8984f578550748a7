"""Publishes a finished adapter to the Hub in one commit: weights, tokenizer, training summary and log.

    python -m training.publish --adapter outputs/demo/adapter --repo-id org/name [--dry-run]

Checkpoints, optimizer states and tracked curves are not uploaded. New weights replace the repository's card and scores, which
were measured with the former ones, by a card that says so, until `python -m model_card.build --push` writes the measured one.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import publishing
from common.dataset import as_hub_id
from common.errors import UserError, plain_errors
from common.files import read_object, sha256_of
from common.hub import hub_errors, retried, signed_in
from common.model_files import TOKENIZER_FILES
from common.publishing import Destination, Upload
from training.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LOG, LOSS_PLOT, SUMMARY, named_base

NEEDED = (ADAPTER_WEIGHTS, ADAPTER_CONFIG, "tokenizer_config.json", SUMMARY, LOG)
OPTIONAL = tuple(name for name in (*TOKENIZER_FILES, LOSS_PLOT) if name not in NEEDED)
MESSAGE = "Adapter"
AGAIN = "train the adapter again"
CARD = "README.md"
SCORES = ".eval_results/*"

UNMEASURED = """---
{known}library_name: peft
pipeline_tag: text-generation
---

# An adapter{of_base}

It has not been measured yet. `python -m model_card.build --push` puts the card with its scores in place of this one.
"""


def unmeasured_card(base: str | None, dataset: str | None = None) -> str:
    """The README.md of an adapter without scores. `base`, `dataset`: ids on the Hub, None where they are not there."""
    known = f"base_model: {base}\nbase_model_relation: adapter\n" if base else ""
    known += f"datasets: {dataset}\n" if dataset else ""
    return UNMEASURED.format(known=known, of_base=f" of {base}" if base else "")


def adapter_files(folder: Path) -> list[str]:
    """Names of the files that make up a finished adapter. Raises UserError where one is missing."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the output folder of training/sft.py")
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise UserError(f"{folder} is not a finished adapter, it has no {missing[0]}; train it to the end with training/sft.py")
    return [*NEEDED, *(name for name in OPTIONAL if (folder / name).is_file())]


def base_on_hub(folder: Path) -> str:
    """Hub id of the adapter's base model; for a local folder, of the model that its README.md names as `base_model`.

    Raises UserError.
    """
    name = str(read_object(folder / ADAPTER_CONFIG, AGAIN).get("base_model_name_or_path") or "")
    advice = "publish that model and give its name with --base-model org/name"
    if not Path(name).exists():
        if as_hub_id(name) is None:
            raise UserError(f"the adapter's base {name} is a folder that is not here; {advice}")
        return name
    if (Path(name) / "merge.json").exists():
        raise UserError(f"the adapter's base {name} is a merged model, which the Hub does not have; {advice}")
    original = named_base(Path(name))
    if original is None:
        raise UserError(f"the adapter's base {name} is a folder that names no model of the Hub; {advice}")
    return original


def assemble(folder: Path, destination: Destination, adapter: Path, base: str, dataset: str | None = None) -> Upload:
    """The adapter's files, large ones as links, with Hub ids in place of the folders that it was trained on.

    base, dataset: those ids. New weights bring the card of an unmeasured adapter along and remove the scores of the former
    ones. Raises UserError.
    """
    files = adapter_files(adapter)
    config = read_object(adapter / ADAPTER_CONFIG, AGAIN) | {"base_model_name_or_path": base}
    summary = read_object(adapter / SUMMARY, AGAIN) | {"base_model": base}
    name = str(summary.get("dataset_name") or "")
    summary["dataset_name"] = dataset or (Path(name).name if Path(name).exists() else name)
    written = {ADAPTER_CONFIG: config, SUMMARY: summary}
    for file in files:
        if file in written:
            (folder / file).write_text(json.dumps(written[file], indent=2) + "\n", encoding="utf-8")
        else:
            (folder / file).symlink_to((adapter / file).resolve())
    sha256 = sha256_of(adapter / ADAPTER_WEIGHTS)
    if not destination.dry_run and weights_on_hub(destination.repo_id, destination.revision) == sha256:
        return Upload(folder, "model", MESSAGE, files, stale_patterns=OPTIONAL)
    (folder / CARD).write_text(unmeasured_card(base, dataset), encoding="utf-8")
    return Upload(folder, "model", MESSAGE, [*files, CARD], stale_patterns=[*OPTIONAL, SCORES])


def weights_on_hub(repo_id: str, revision: str | None = None) -> str | None:
    """The sha256 of the adapter's weights there; None where there are none."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = signed_in()
    with hub_errors(repo_id):
        try:
            found = retried(lambda: api.get_paths_info(repo_id, [ADAPTER_WEIGHTS], revision=revision))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None
    return next((str(lfs.sha256) for file in found if (lfs := getattr(file, "lfs", None))), None)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="output folder of training/sft.py")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base model on the Hub (default: as the adapter says)")
    parser.add_argument("--dataset", metavar="ORG/NAME", help="the dataset on the Hub that it was trained on")
    publishing.add_options(parser, "model")
    arguments = parser.parse_args(argv)
    with plain_errors():
        adapter: Path = arguments.adapter
        adapter_files(adapter)
        base = arguments.base_model or base_on_hub(adapter)
        files = partial(assemble, adapter=adapter, base=base, dataset=arguments.dataset)
        publishing.publish(files, publishing.destination_of(arguments))


if __name__ == "__main__":
    main()
