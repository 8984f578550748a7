"""Writes an adapter's model card from measured results: training summary, lighteval results, the dataset's manifest."""

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common import publishing
from common.dataset import as_hub_id
from common.errors import UserError, plain_errors
from common.files import folder_files
from common.publishing import BranchHead, Destination, Upload
from common.secrets import check_nothing_private
from eval_tasks.reporting.model_metadata import contradicted, over_former
from eval_tasks.reporting.table import print_report
from model_card.card import PLOT, render
from model_card.inputs import SHOP, CardInputs, read_inputs
from model_card.notebook import NOTEBOOK, has_notebook, notebook
from model_card.served import served_places

CARD = "README.md"
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")


def write(inputs: CardInputs, out: Path) -> bool:
    """Writes the card and beside it the notebook, if both models are on the Hub, and the plot, if matplotlib is installed.

    All or nothing. Returns whether there is a plot.
    """
    from model_card.plot import draw

    with_plot = importlib.util.find_spec("matplotlib") is not None
    text = render(inputs, with_plot)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as building:
            card = Path(building) / out.name
            card.write_text(text, encoding="utf-8")
            if with_plot:
                draw(inputs.shop.report, card.with_name(PLOT))
            if has_notebook(inputs):
                card.with_name(NOTEBOOK).write_text(notebook(inputs), encoding="utf-8")
            check(card)
            texts = [card.name, *([NOTEBOOK] if has_notebook(inputs) else [])]
            check_nothing_private(card.parent, texts, inputs.places)
            if has_notebook(inputs):
                card.with_name(NOTEBOOK).replace(out.with_name(NOTEBOOK))
            if with_plot:  # first: a card never shows a plot that is missing
                card.with_name(PLOT).replace(out.with_name(PLOT))
            card.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; give another --out") from error
    return with_plot


def check(card: Path) -> None:
    """Raises UserError if the written card would not load, lost a score or misses an image."""
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


def assemble(folder: Path, destination: Destination, card: Path, with_plot: bool, inputs: CardInputs) -> Upload:
    """The card, its plot and the notebook; scores of others in the model-index of the repository's former card stay."""
    shutil.copyfile(card, folder / CARD)
    if with_plot:
        shutil.copyfile(card.with_name(PLOT), folder / PLOT)
    if has_notebook(inputs):
        shutil.copyfile(card.with_name(NOTEBOOK), folder / NOTEBOOK)
    readme = partial(card_over_head, card.read_text(encoding="utf-8"), inputs)
    return Upload(folder, "model", "Model card from measured results", folder_files(folder), {CARD: readme})


def card_over_head(text: str, inputs: CardInputs, head: BranchHead) -> bytes:
    """The card to commit on this head; warns where `.eval_results` there hold other scores."""
    files = {path: head.text(path) for path in head.paths if path.startswith(".eval_results/")}
    scores = {task.name: round(inputs.tuned.model.run.scores[f"{SHOP}:{task.name}"].value, 4) for task in inputs.measured}
    if other := contradicted(scores, files):
        print(
            f"warning: .eval_results in {inputs.repo_id} holds other scores of {', '.join(other)} than this card; "
            f"run eval_tasks.publish --model-repo {inputs.repo_id} again",
            file=sys.stderr,
        )
    return over_former(text, head.text(CARD)).encode()


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model_card.build", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="output folder of training/sft.py")
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        action="append",
        help="lighteval's results of the tuned model: file or folder; repeat for more suites, and for scored answers",
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
    parser.add_argument(
        "--served-results",
        action="append",
        default=[],
        metavar="WHAT=RESULTS",
        help="the same of the tuned model as it is served: eval_tasks.run --backend endpoint; WHAT names server and file type, "
        'such as "GGUF q8_0, llama.cpp"; repeat',
    )
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base model on the Hub (default: as the adapter says)")
    parser.add_argument(
        "--data", metavar="DIR|ID", help="the dataset: folder that dataset_builders.build wrote, or id on the Hub"
    )
    parser.add_argument("--revision", help="branch, tag or commit of a dataset on the Hub (default: main)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="card to write, such as README.md; its plot goes beside it"
    )
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="the model's repository on the Hub")
    parser.add_argument("--push", action="store_true", help="commit card and plot to --repo-id")
    parser.add_argument("--dry-run", action="store_true", help="with --push: list the files and upload nothing")
    return parser.parse_args(argv)


def _check_options(args: argparse.Namespace) -> None:
    if args.push and not args.repo_id:
        raise UserError("--push needs --repo-id org/name")
    if args.dry_run and not args.push:
        raise UserError("--dry-run is for --push; add it, or leave --dry-run out")
    if args.repo_id and (as_hub_id(args.repo_id) is None or "/" not in args.repo_id):
        raise UserError(f"{args.repo_id} is not an id on the Hub; give --repo-id org/name")
    if args.base_model and as_hub_id(args.base_model) is None:
        raise UserError(f"{args.base_model} is not an id on the Hub; give --base-model org/name, or leave it out")
    if {path.resolve() for path in args.base_results} & {path.resolve() for path in args.results}:
        raise UserError("--results and --base-results are the same; give the tuned model's results and the base's")
    if args.out.is_dir():
        raise UserError(f"{args.out} is a folder; give the card's file, such as {args.out / CARD}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(argv)
    with plain_errors():
        _check_options(args)
        inputs = read_inputs(
            args.adapter,
            args.results,
            args.base_results,
            args.baseline_results,
            served_results=served_places(args.served_results),
            base_model=args.base_model,
            data=args.data,
            revision=args.revision,
            repo_id=args.repo_id,
        )
        with_plot = write(inputs, args.out)
        print_report(inputs.shop.report)
        plot = f" and {args.out.with_name(PLOT)}" if with_plot else ", without a plot since matplotlib is not installed"
        print(f"wrote {args.out}{plot}")
        if args.push:
            files = partial(assemble, card=args.out, with_plot=with_plot, inputs=inputs)
            publishing.publish(files, Destination(args.repo_id, dry_run=args.dry_run))


if __name__ == "__main__":
    main()
