"""Publishes one model's results: scores and answers as a dataset and, with --model-repo, the scores in the model's repository.

python -m eval_tasks.publish --results OUT --repo-id org/name-results [--model-repo org/name] [--dry-run]
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from common import publishing
from common.dataset import Manifest, as_hub_id, read_manifest
from common.errors import UserError, plain_errors
from common.files import every_file
from common.hub import hub_errors, repo_url
from common.publishing import BranchHead, Destination, Upload
from eval_tasks.reporting.hub_dataset import LightevalRun, card, public_name, read_runs, write_files
from eval_tasks.reporting.model_metadata import (
    SUITE,
    DatasetScores,
    check_rows,
    shop_scores,
    times_of,
    with_model_index,
    write_entries,
)
from eval_tasks.reporting.results import Run, read_run
from eval_tasks.suites.suite import place

CARD = "README.md"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.publish", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument(
        "--results",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="lighteval's --output-dir or one results_*.json, with details if --save-details was given; repeat for more suites",
    )
    parser.add_argument("--model-repo", metavar="ORG/NAME", help="model on the Hub to write the scores to as well")
    parser.add_argument("--model", metavar="NAME", help="name of the model (default: --model-repo, or the name in the results)")
    parser.add_argument(
        "--data",
        metavar="ORG/NAME",
        help="dataset on the Hub with the rows of the shop: tasks (default: as in the results)",
    )
    publishing.add_options(parser, "dataset of results")
    return parser.parse_args(argv)


def publish_results(
    results: Sequence[Path],
    destination: Destination,
    model: str | None = None,
    model_repo: str | None = None,
    data: str | None = None,
) -> None:
    """Checks everything first, then makes one commit in each repository. Raises UserError."""
    runs = read_runs(results)
    model = model or model_repo or public_name(runs[0].model)
    with tempfile.TemporaryDirectory() as scratch:
        upload = assemble(Path(scratch), destination, runs, model)
        run = read_run(Path(scratch))
        print_scores(run, model)
        scores = model_scores(runs, run, model_repo, data, destination.dry_run) if model_repo else None
        publishing.commit(upload, destination)
    if model_repo and scores:
        files = partial(assemble_scores, scores=scores, source=repo_url(destination.repo_id, "dataset"))
        publishing.publish(files, replace(destination, repo_id=model_repo, private=False))


def model_scores(runs: Sequence[LightevalRun], run: Run, model_repo: str, data: str | None, dry_run: bool) -> DatasetScores:
    """The scores for the model's repository, on a dataset with the rows that were asked. Raises UserError."""
    scores = shop_scores(run)
    dataset, revision = named_dataset(runs, data)
    times = times_of(runs, scores)
    if dry_run:
        return DatasetScores(scores, times, dataset, None)
    found = dataset_on_hub(model_repo, dataset, revision)
    check_rows(scores, found)
    return DatasetScores(scores, times, dataset, found.revision)


def assemble(folder: Path, destination: Destination, runs: Sequence[LightevalRun], model: str) -> Upload:
    """The dataset of results; its card also describes the runs that the repository already has."""
    if without := [one.time for one in runs if not one.details]:
        print(f"no answers of {', '.join(without)}: evaluate with --save-details to publish them too", file=sys.stderr)
    paths = write_files(folder, runs, model)
    (folder / CARD).write_text(card(destination.repo_id, model, read_run(folder), paths), encoding="utf-8")
    readme = partial(card_of_all, destination.repo_id, model, folder, paths)
    return Upload(folder, "dataset", f"Results of {model}", [*paths, CARD], {CARD: readme})


def assemble_scores(folder: Path, destination: Destination, scores: DatasetScores, source: str) -> Upload:
    """The scores in both of the forms that the Hub reads from a model's repository. `source`: address of the answers."""
    write_entries(folder, scores, source)
    readme = partial(model_readme, scores, destination.repo_id.partition("/")[2])
    (folder / CARD).write_bytes(readme(BranchHead([], lambda path: b"")))
    return Upload(folder, "model", f"Scores on {scores.dataset}", every_file(folder), {CARD: readme})


def card_of_all(repo_id: str, model: str, folder: Path, paths: Sequence[str], head: BranchHead) -> bytes:
    """The card over the repository's former files and the new ones."""
    former = [path for path in head.paths if path not in paths]
    with tempfile.TemporaryDirectory() as scratch:
        for path in (*paths, *former):
            if re.fullmatch(r"results_[^/]*\.json", path):
                (Path(scratch) / path).write_bytes((folder / path).read_bytes() if path in paths else head.read(path))
        run = read_run(Path(scratch))
    return card(repo_id, model, run, [*former, *paths]).encode()


def model_readme(scores: DatasetScores, name: str, head: BranchHead) -> bytes:
    return with_model_index(head.text(CARD), scores, name).encode()


def named_dataset(runs: Sequence[LightevalRun], given: str | None) -> tuple[str, str | None]:
    """Hub id and revision of the dataset with the rows of the shop: tasks. Raises UserError."""
    configs = [
        config
        for run in runs
        for task, config in run.document.get("config_tasks", {}).items()
        if task.startswith(SUITE) and isinstance(config, dict)
    ]
    found = {(str(config.get("hf_repo")), config.get("hf_revision")) for config in configs}
    if given:
        return given, next((revision for name, revision in found if name == given), None)
    if len(found) != 1 or not (hub_id := as_hub_id(next(iter(found))[0])) or "/" not in hub_id:
        raise UserError("the rows came from a folder; say with --data org/name where on the Hub they are")
    return hub_id, next(iter(found))[1]


def dataset_on_hub(model_repo: str, dataset: str, revision: str | None) -> Manifest:
    """The dataset on the Hub. Raises UserError where it or the model is missing."""
    from huggingface_hub import HfApi

    with hub_errors(model_repo):
        if not HfApi().repo_exists(model_repo):
            raise UserError(f"{model_repo} is not on the Hub; publish the model first")
    if Path(dataset).exists():
        raise UserError(f"--data {dataset} is a folder; give the dataset's name on the Hub")
    return read_manifest(dataset, revision)


def print_scores(run: Run, model: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "metric", title=model)
    for column in ("score", "rows", "unreadable"):
        table.add_column(column, justify="right")
    for task, score in sorted(run.scores.items(), key=lambda item: place(item[0])):
        unreadable = "" if score.unparsable is None else f"{score.unparsable:.1%}"
        table.add_row(task, score.metric, f"{score.value:.4f}", str(score.rows or "?"), unreadable)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    with plain_errors():
        destination = publishing.destination_of(arguments)
        publish_results(arguments.results, destination, arguments.model, arguments.model_repo, arguments.data)


if __name__ == "__main__":
    main()
