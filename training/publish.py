"""Puts a finished adapter on the Hub in one commit: weights, tokenizer, and how it was trained.

    python -m training.publish --adapter outputs/demo/adapter --repo-id org/name [--dry-run]

Checkpoints, states of optimisers and curves stay here. Where the weights are new, the repository's card and scores were of
others: a card that says so takes their place, until `python -m model_card.build --push` puts the measured one there.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.commits import Commit, commit_folder
from common.errors import UserError, plain_errors
from common.files import sha256_of
from common.hub import hub_errors, retried, signed_in
from training.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS

SUMMARY = "training_summary.json"
LOG = "training_log.jsonl"
NEEDED = (ADAPTER_WEIGHTS, ADAPTER_CONFIG, "tokenizer_config.json", SUMMARY, LOG)
OPTIONAL = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"),
    *("chat_template.jinja", "loss.png"),
)
CARD = "README.md"
SCORES = ".eval_results/*"

UNMEASURED = """---
base_model: {base}
base_model_relation: adapter
{datasets}library_name: peft
pipeline_tag: text-generation
---

# An adapter of {base}

It has not been measured yet; its card comes with its scores.
"""


def adapter_files(folder: Path) -> list[str]:
    """Names of the files that make up a finished adapter. Raises UserError where one is missing."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the output folder of training/sft.py")
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise UserError(f"{folder} is no finished adapter, it has no {missing[0]}; train it to the end with training/sft.py")
    return [*NEEDED, *(name for name in OPTIONAL if (folder / name).is_file())]


def base_on_hub(folder: Path) -> str:
    """Hub id of the model that the adapter is of; where its base was a folder, of the model that this says it is a copy of.

    Raises UserError.
    """
    from huggingface_hub import metadata_load
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id
    from yaml import YAMLError

    name = str(read_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    readme, told = Path(name) / "README.md", "publish that model and give its name with --base-model org/name"
    if not Path(name).exists():
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise UserError(f"the adapter's base {name} is a folder that is not here; {told}") from None
        return name
    if (Path(name) / "merge.json").exists():
        raise UserError(f"the adapter's base {name} is a merged model, which the Hub does not have; {told}")
    try:
        original = (metadata_load(readme) or {}).get("base_model") if readme.is_file() else None
    except (ValueError, YAMLError):
        original = None
    if isinstance(original, list):
        original = next(iter(original), None)
    if not isinstance(original, str):
        raise UserError(f"the adapter's base {name} is a folder that names no model of the Hub; {told}")
    return original


def assemble(out: Path, adapter: Path, base: str, dataset: str | None = None) -> list[str]:
    """Writes what is to be published into the folder `out`, large files as links; returns their names, but for the card's.

    base, dataset: ids on the Hub, which stand in place of the folders that were trained on. Raises UserError.
    """
    files = adapter_files(adapter)
    config = read_object(adapter / ADAPTER_CONFIG) | {"base_model_name_or_path": base}
    summary = read_object(adapter / SUMMARY) | {"base_model": base}
    name = str(summary.get("dataset_name") or "")
    summary["dataset_name"] = dataset or (Path(name).name if Path(name).exists() else name)
    written = {ADAPTER_CONFIG: config, SUMMARY: summary}
    for file in files:
        if file in written:
            (out / file).write_text(json.dumps(written[file], indent=2) + "\n", encoding="utf-8")
        else:
            (out / file).symlink_to((adapter / file).resolve())
    datasets = f"datasets: {dataset}\n" if dataset else ""
    (out / CARD).write_text(UNMEASURED.format(base=base, datasets=datasets), encoding="utf-8")
    return files


def publish(
    adapter: Path,
    repo_id: str,
    base: str,
    dataset: str | None = None,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
) -> Commit:
    """One commit, none where the Hub holds it all. Raises UserError."""
    with tempfile.TemporaryDirectory() as scratch:
        files = assemble(Path(scratch), adapter, base, dataset)
        new = dry_run or weights_on_hub(repo_id, revision) != sha256_of(adapter / ADAPTER_WEIGHTS)
        return commit_folder(
            scratch,
            repo_id,
            "model",
            "Adapter",
            private=private,
            revision=revision,
            files=[*files, CARD] if new else files,
            stale_patterns=[*OPTIONAL, SCORES] if new else OPTIONAL,
            dry_run=dry_run,
        )


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


def read_object(file: Path, written: str = "as training writes it; train the adapter again") -> dict[str, Any]:
    """What a JSON file holds. `written`: how it should have been, and what to do. Raises UserError."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{file} is not JSON {written}")
    return value


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="output folder of training/sft.py")
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="model on the Hub, made if there is none")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base on the Hub (default: as the adapter tells)")
    parser.add_argument("--dataset", metavar="ORG/NAME", help="the dataset on the Hub that it was trained on")
    parser.add_argument("--private", action="store_true", help="only you and your organisation can see it")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to publish to (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded; needs no token and no network")
    arguments = parser.parse_args(argv)
    with plain_errors():
        adapter_files(arguments.adapter)
        done = publish(
            arguments.adapter,
            arguments.repo_id,
            arguments.base_model or base_on_hub(arguments.adapter),
            arguments.dataset,
            arguments.private,
            arguments.revision,
            arguments.dry_run,
        )
    if not arguments.dry_run:
        print(done.summary)


if __name__ == "__main__":
    main()
