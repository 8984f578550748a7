"""Writes an adapter's model card from what was measured: training summary, lighteval results, the dataset's manifest."""

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.commits import BranchHead
from common.dataset import as_hub_id, read_data
from common.errors import UserError, plain_errors
from eval_tasks.reporting.model_index import contradicted, over_former
from eval_tasks.reporting.table import print_report
from model_card.card import PLOT, render
from model_card.evaluations import read_comparisons
from model_card.facts import SHOP, Facts
from model_card.inputs import read_adapter, read_base

CARD = "README.md"
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


def check(card: Path, secrets: Sequence[str]) -> None:
    """Raises UserError if the written card would not load, lost a score, misses an image or names a place on this machine."""
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    loaded = ModelCard.load(card)
    results = loaded.data.eval_results
    index = eval_results_to_model_index(loaded.data.model_name, results)
    if not results or model_index_to_eval_results(index)[1] != results:
        raise UserError(f"{card}: its model-index does not round-trip; this is a bug of the card, please report it")
    for image in ("".join(found) for found in IMAGE.findall(loaded.text)):
        if not (card.parent / image).is_file():
            raise UserError(f"{card} shows {image}, which is not beside it; build the card again")
    text = card.read_text(encoding="utf-8")
    for secret in secrets:
        if secret in text:
            raise UserError(f"{card} would name a path of this machine; take it out of the adapter's or dataset's files")


def write(out: Path, text: str, facts: Facts | None, secrets: Sequence[str]) -> None:
    """Writes the card and, with `facts`, the plot beside it; both are whole or not there."""
    from model_card.plot import draw

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as building:
            card = Path(building) / out.name
            card.write_text(text, encoding="utf-8")
            if facts:
                draw(facts.shop.report, card.with_name(PLOT))
            check(card, secrets)
            if facts:  # first: a card never shows what is not there
                card.with_name(PLOT).replace(out.with_name(PLOT))
            card.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; give another --out") from error


def push(out: Path, facts: Facts, with_plot: bool, dry_run: bool) -> None:
    """One commit with the card and its plot into the model's repository, over the card that a trainer or an earlier push left.

    Scores in the former card's model-index that are not of this card stay.
    """
    from common.commits import commit_folder

    repo_id = str(facts.repo_id)
    with tempfile.TemporaryDirectory() as staging:
        shutil.copyfile(out, Path(staging) / CARD)
        if with_plot:
            shutil.copyfile(out.with_name(PLOT), Path(staging) / PLOT)
        card = partial(_card_over, out.read_text(encoding="utf-8"), facts)
        message = "Model card from measured results"
        commit = commit_folder(staging, repo_id, "model", message, contents={CARD: card}, dry_run=dry_run)
    if not dry_run:
        print(commit.summary)


def _card_over(text: str, facts: Facts, head: BranchHead) -> bytes:
    """The card to commit on this head; warns where the Hub's other form of scores says something else."""
    files = {path: head.text(path) for path in head.paths if path.startswith(".eval_results/")}
    scores = {task.name: round(facts.tuned.model.run.scores[f"{SHOP}:{task.name}"].value, 4) for task in facts.measured}
    if other := contradicted(scores, files):
        print(
            f"warning: .eval_results in {facts.repo_id} holds other scores of {', '.join(other)} than this card; "
            f"run eval_tasks.publish --model-repo {facts.repo_id} again",
            file=sys.stderr,
        )
    return over_former(text, head.text(CARD)).encode()


def _secrets(*places: Path | str | None) -> list[str]:
    """What must not stand in the card: the inputs' and the user's places on this machine."""
    paths = [Path(place).absolute() for place in places if place and Path(place).exists()]
    return [str(path) for path in (*paths, Path.home(), Path.cwd()) if len(path.parts) > 2]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model_card.build", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="output folder of training/sft.py")
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        action="append",
        help="lighteval's results of the tuned model: file or folder; repeat for more suites",
    )
    parser.add_argument(
        "--base-results", type=Path, action="append", default=[], metavar="RESULTS", help="the same of the base model"
    )
    parser.add_argument(
        "--baseline-results",
        type=Path,
        action="append",
        default=[],
        metavar="RESULTS",
        help="the same of a baseline, or the --out of eval_tasks.run with all baselines in it; repeat for more",
    )
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base on the Hub (default: as the adapter tells)")
    parser.add_argument("--data", help="the dataset: folder that dataset_builders.build wrote, or id on the Hub")
    parser.add_argument("--revision", help="revision of a dataset on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="card to write, such as README.md; its plot goes beside it")
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="the model's repository on the Hub")
    parser.add_argument("--push", action="store_true", help="commit card and plot to --repo-id")
    parser.add_argument("--dry-run", action="store_true", help="with --push: say what would be committed, and do not")
    return parser.parse_args(argv)


def build(args: argparse.Namespace) -> None:
    """Reads everything, writes the card and its plot, pushes them if asked."""
    adapter = read_adapter(args.adapter)
    suites = read_comparisons(args.results, args.base_results, args.baseline_results)
    if suites[0].suite != SHOP:
        raise UserError(f"{args.results[0]} holds no score of a {SHOP} task; evaluate with eval_tasks.run --data first")
    data = read_data(args.data, args.revision) if args.data else None
    facts = Facts(adapter, read_base(adapter, args.base_model), data, suites[0], tuple(suites[1:]), args.repo_id)
    with_plot = importlib.util.find_spec("matplotlib") is not None
    results = (*args.results, *args.base_results, *args.baseline_results)
    places = (args.adapter, *results, args.data, adapter.config.get("base_model_name_or_path"))
    write(args.out, render(facts, with_plot), facts if with_plot else None, _secrets(*places))
    print_report(facts.shop.report)
    plot = f" and {args.out.with_name(PLOT)}" if with_plot else ", without a plot since matplotlib is not installed"
    print(f"wrote {args.out}{plot}")
    if args.push:
        push(args.out, facts, with_plot, args.dry_run)


def _check_options(args: argparse.Namespace) -> None:
    if args.push and not args.repo_id:
        raise UserError("--push needs --repo-id org/name")
    if args.repo_id and (as_hub_id(args.repo_id) is None or "/" not in args.repo_id):
        raise UserError(f"{args.repo_id} is no id on the Hub; give --repo-id org/name")
    if args.base_model and as_hub_id(args.base_model) is None:
        raise UserError(f"{args.base_model} is no id on the Hub; give --base-model org/name, or leave it out")
    if {path.resolve() for path in args.base_results} & {path.resolve() for path in args.results}:
        raise UserError("--results and --base-results are the same; give the tuned model's results and the base's")
    if args.out.is_dir():
        raise UserError(f"{args.out} is a folder; give the card's file, such as {args.out / CARD}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(argv)
    with plain_errors():
        _check_options(args)
        build(args)


if __name__ == "__main__":
    main()
