"""Writes an adapter's model card from what was measured: training summary, lighteval results, the dataset's manifest."""

import argparse
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dataset_builders.errors import UserError, plain_errors
from model_card import markdown
from model_card.card import PLOT, render
from model_card.facts import Facts
from model_card.inputs import as_hub_id, read_adapter, read_base, read_data
from model_card.results import Comparison, read_results
from model_card.tables import base_score, difference


def check(card: Path, secrets: Sequence[str]) -> None:
    """Raises UserError if the written card would not load, lost a score, misses an image or names a place on this machine."""
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    loaded = ModelCard.load(card)
    results = loaded.data.eval_results
    index = eval_results_to_model_index(loaded.data.model_name, results)
    if not results or model_index_to_eval_results(index)[1] != results:
        raise UserError(f"{card}: its model-index does not round-trip; this is a bug of the card, please report it")
    for image in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", loaded.text):
        if not (card.parent / image).is_file():
            raise UserError(f"{card} shows {image}, which is not beside it; build the card again")
    text = card.read_text(encoding="utf-8")
    for secret in secrets:
        if secret in text:
            raise UserError(f"{card} would name a path of this machine; take it out of the adapter's or dataset's files")


def write(out: Path, text: str, plotted: Sequence[Comparison], secrets: Sequence[str]) -> None:
    """Writes the card and, if there is anything to plot, the plot beside it; both are whole or not there."""
    from model_card.plot import draw_scores

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as building:
            card = Path(building) / out.name
            card.write_text(text, encoding="utf-8")
            if plotted:
                draw_scores(plotted, card.with_name(PLOT))
            check(card, secrets)
            if plotted:  # first: a card never shows what is not there
                card.with_name(PLOT).replace(out.with_name(PLOT))
            card.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; give another --out") from error


def push(out: Path, plotted: bool, repo_id: str, dry_run: bool) -> None:
    """One commit with the card and its plot into the model's repository, over the card that a trainer left there."""
    from dataset_builders.hub import commit_folder

    with tempfile.TemporaryDirectory() as staging:
        shutil.copyfile(out, Path(staging) / "README.md")
        if plotted:
            shutil.copyfile(out.with_name(PLOT), Path(staging) / PLOT)
        commit = commit_folder(staging, repo_id, "model", "Model card from measured results", dry_run=dry_run)
    if not dry_run:
        print(f"{'published' if commit.changed else 'nothing to do, it is all there'}: {commit.url}")


def _secrets(*places: Path | str | None) -> list[str]:
    """What must not stand in the card: the inputs' and the user's places on this machine."""
    paths = [Path(place).absolute() for place in places if place and Path(place).exists()]
    return [str(path) for path in (*paths, Path.home(), Path.cwd()) if len(path.parts) > 2]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m model_card.build", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="output folder of training/sft.py")
    parser.add_argument("--results", type=Path, required=True, help="lighteval's results of the tuned model: file or folder")
    parser.add_argument("--base-results", type=Path, metavar="RESULTS", help="lighteval's results of the base model")
    parser.add_argument("--data", help="the dataset: folder that dataset_builders.build wrote, or id on the Hub")
    parser.add_argument("--revision", help="revision of a dataset on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="card to write, such as README.md; its plot goes beside it")
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="the model's repository on the Hub")
    parser.add_argument("--push", action="store_true", help="commit card and plot to --repo-id")
    parser.add_argument("--dry-run", action="store_true", help="with --push: say what would be committed, and do not")
    args = parser.parse_args(argv)
    with plain_errors():
        _check_options(args)
        build(args)


def build(args: argparse.Namespace) -> None:
    """Reads everything, writes the card and its plot, pushes them if asked."""
    adapter = read_adapter(args.adapter)
    facts = Facts(
        adapter,
        base=read_base(adapter),
        data=read_data(args.data, args.revision) if args.data else None,
        tuned=read_results(args.results),
        base_results=read_results(args.base_results) if args.base_results else None,
        repo_id=args.repo_id,
    )
    with_plot = importlib.util.find_spec("matplotlib") is not None
    places = (args.adapter, args.results, args.base_results, args.data, adapter.config.get("base_model_name_or_path"))
    write(args.out, render(facts, with_plot), facts.lines if with_plot else [], _secrets(*places))
    _print_table(facts.means)
    plot = f" and {args.out.with_name(PLOT)}" if with_plot else ", without a plot since matplotlib is not installed"
    print(f"wrote {args.out}{plot}")
    if args.push:
        push(args.out, with_plot, args.repo_id, args.dry_run)


def _check_options(args: argparse.Namespace) -> None:
    if args.push and not args.repo_id:
        raise UserError("--push needs --repo-id org/name")
    if args.repo_id and (as_hub_id(args.repo_id) is None or "/" not in args.repo_id):
        raise UserError(f"{args.repo_id} is no id on the Hub; give --repo-id org/name")
    if args.base_results and args.base_results.resolve() == args.results.resolve():
        raise UserError("--results and --base-results are the same; give the tuned model's results and the base's")
    if args.out.is_dir():
        raise UserError(f"{args.out} is a folder; give the card's file, such as {args.out / 'README.md'}")


def _print_table(means: Sequence[Comparison]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("mean of", "tasks", "base", "tuned", "difference")
    for line in means:
        table.add_row(line.title, str(line.tasks), base_score(line), markdown.score(line.tuned.value), difference(line))
    Console().print(table)


if __name__ == "__main__":
    main()
