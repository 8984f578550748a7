"""Puts the results of one model on the Hub: scores and answers as a dataset, and with --model-repo the scores with the model.

python -m eval_tasks.publish --results OUT --repo-id org/name-results [--model-repo org/name] [--dry-run]
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from common.commits import BranchHead, commit_folder
from common.errors import UserError, plain_errors
from common.files import every_file
from common.hub import RepoType, hub_errors, repo_url
from eval_tasks.reporting.hub_dataset import RunFiles, card, public_name, read_runs, write_files
from eval_tasks.reporting.model_metadata import SUITE, ModelScores, check_rows, shop_scores, with_model_index, write_entries
from eval_tasks.reporting.results import Run, read_run
from eval_tasks.suites.names import place

if TYPE_CHECKING:
    from common.dataset import Data

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
    parser.add_argument("--repo-id", required=True, metavar="ORG/NAME", help="dataset on the Hub, made if there is none")
    parser.add_argument(
        "--model-repo", metavar="ORG/NAME", help="model on the Hub that the scores are of, to put them there too"
    )
    parser.add_argument("--model", metavar="NAME", help="what to call the model (default: --model-repo, or as the results do)")
    parser.add_argument(
        "--data", metavar="ORG/NAME", help="dataset on the Hub that the shop: rows are of (default: as the results tell)"
    )
    parser.add_argument("--private", action="store_true", help="only you and your organisation can see the results")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to publish to, in both repositories (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded; needs no token and no network")
    return parser.parse_args(argv)


def publish(arguments: argparse.Namespace) -> None:
    """Checks everything first; then one commit in each repository, none where it holds it all."""
    runs = read_runs(arguments.results)
    model = arguments.model or arguments.model_repo or public_name(runs[0].model)
    with tempfile.TemporaryDirectory() as scratch:
        results, scores = Path(scratch) / "results", Path(scratch) / "scores"
        results.mkdir()
        paths = write_files(results, runs, model)
        run = read_run(results)
        print_scores(run, model)
        if without := [one.time for one in runs if not one.details]:
            print(f"no answers of {', '.join(without)}: evaluate with --save-details to publish them too", file=sys.stderr)
        found = model_scores(arguments, runs, run) if arguments.model_repo else None
        (results / CARD).write_text(card(arguments.repo_id, model, run, paths), encoding="utf-8")
        whole_card = partial(card_of_all, arguments.repo_id, model, results, paths)
        commit(arguments, results, arguments.repo_id, "dataset", f"Results of {model}", whole_card)
        if found:
            write_entries(scores, found, repo_url(arguments.repo_id, "dataset"))
            readme = partial(model_readme, found, arguments.model_repo.partition("/")[2])
            (scores / CARD).write_bytes(readme(BranchHead([], lambda path: b"")))
            commit(arguments, scores, arguments.model_repo, "model", f"Scores on {found.dataset}", readme)


def commit(
    arguments: argparse.Namespace,
    folder: Path,
    repo_id: str,
    repo_type: RepoType,
    message: str,
    readme: Callable[[BranchHead], bytes],
) -> None:
    """Puts all of the folder's files into the repository, with a README.md made of what is there, and tells it."""
    done = commit_folder(
        folder,
        repo_id,
        repo_type,
        message,
        private=arguments.private and repo_type == "dataset",
        revision=arguments.revision,
        files=every_file(folder),
        contents={CARD: readme},
        dry_run=arguments.dry_run,
    )
    if not arguments.dry_run:
        print(done.summary)


def card_of_all(repo_id: str, model: str, folder: Path, paths: Sequence[str], head: BranchHead) -> bytes:
    """The card over what is in the repository already and what comes to it."""
    former = [path for path in head.paths if path not in paths]
    with tempfile.TemporaryDirectory() as scratch:
        for path in (*paths, *former):
            if re.fullmatch(r"results_[^/]*\.json", path):
                (Path(scratch) / path).write_bytes((folder / path).read_bytes() if path in paths else head.read(path))
        run = read_run(Path(scratch))
    return card(repo_id, model, run, [*former, *paths]).encode()


def model_readme(found: ModelScores, name: str, head: BranchHead) -> bytes:
    return with_model_index(head.text(CARD), found, name).encode()


def model_scores(arguments: argparse.Namespace, runs: Sequence[RunFiles], run: Run) -> ModelScores:
    """The scores for the model's repository, on a dataset that holds the rows that were asked. Raises UserError."""
    scores = shop_scores(run)
    dataset, revision = named_dataset(runs, arguments.data)
    times = times_of(runs, scores)
    if arguments.dry_run:
        return ModelScores(scores, times, dataset, None)
    data = check_hub(arguments.model_repo, dataset, revision)
    check_rows(scores, data)
    return ModelScores(scores, times, dataset, data.revision)


def times_of(runs: Sequence[RunFiles], names: Iterable[str]) -> dict[str, str]:
    """Task -> the time of the newest run that has it."""
    newest = sorted(runs, key=lambda run: run.time, reverse=True)
    return {name: next(run.time for run in newest if _has_task(run, name)) for name in names}


def _has_task(run: RunFiles, name: str) -> bool:
    return any(key.partition("|")[0] == f"{SUITE}{name}" for key in run.document["results"])


def named_dataset(runs: Sequence[RunFiles], given: str | None) -> tuple[str, str | None]:
    """Hub id and revision of the dataset that the shop: tasks were asked from. Raises UserError."""
    from common.dataset import as_hub_id

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


def check_hub(model_repo: str, dataset: str, revision: str | None) -> "Data":
    """The dataset on the Hub. Raises UserError where it or the model is not there."""
    from huggingface_hub import HfApi

    from common.dataset import read_data

    with hub_errors(model_repo):
        if not HfApi().repo_exists(model_repo):
            raise UserError(f"{model_repo} is not on the Hub; publish the model first")
    if Path(dataset).exists():
        raise UserError(f"--data {dataset} is a folder; give the dataset's name on the Hub")
    return read_data(dataset, revision)


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
    with plain_errors():
        publish(parse_arguments(argv))


if __name__ == "__main__":
    main()
