"""Puts everything that came of a run on the Hub, in an order that leaves no link to nowhere, and gathers it in a Collection.

    python -m release --run outputs/demo --org NAME [--dry-run]

Dataset, adapter, results, metric, model card and Space go to NAME/shop-instructions, NAME/shop-lora and so on. Everything is
checked before anything is sent; run again, it goes on where it stopped, and what is there already is left alone.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from common.collection import LONGEST_TITLE, update_collection
from common.errors import UserError, plain_errors
from common.files import every_file, readable_size
from common.hub import check_write_access, hub_errors, repo_url, retried, signed_in
from release.run_folder import RunFolder, measured_weights, read_run_folder
from release.secrets import check_nothing_private
from release.stages import Repositories, Stage, items, quietly, repositories, stages

ABOUT = "A language model for the tasks of an online shop: instructions, adapter, scores with all answers, metric and demo."
COLLECTION = "Collection"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m release", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the OUT of make demo")
    parser.add_argument("--org", required=True, metavar="NAME", help="organisation or user on the Hub")
    parser.add_argument("--name", default="shop", help="what the repositories' names begin with (default: %(default)s)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="of the tuned model (default: results/tuned in the run)")
    parser.add_argument("--base-results", type=Path, metavar="DIR", help="of the base (default: results/base in the run)")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base on the Hub (default: as the adapter tells)")
    parser.add_argument("--private", action="store_true", help="only you and your organisation can see any of it")
    parser.add_argument("--dry-run", action="store_true", help="check, and say what would be sent; needs no token, no network")
    return parser.parse_args(argv)


def publish_all(arguments: argparse.Namespace) -> None:
    hub, title = repositories(arguments.org, arguments.name), f"{arguments.name}: one model for an online shop"
    check_names(hub, arguments.name, title)
    run = read_run_folder(arguments.run, arguments.results, arguments.base_results, arguments.base_model)
    if not measured_weights(run.tuned):
        print(f"{run.tuned} does not tell which weights it is of; they are taken for {run.adapter}'s", file=sys.stderr)
    steps = stages(run, hub, arguments.private)
    sizes = [prepare(step, run) for step in steps]
    if arguments.dry_run:
        print_plan(steps, sizes, title)
        print(f"nothing was sent; the adapter's base is {run.base_model}, which must be on the Hub")
        return
    check_hub(arguments.org, steps, run.base_model, arguments.private)
    rows = [push(steps, number) for number in range(len(steps))]
    with telling(steps, len(steps)):
        collection = update_collection(arguments.org, title, ABOUT, items(run, hub), arguments.private)
    print_done([*rows, (COLLECTION, collection.url, collection.changed)])


def check_names(hub: Repositories, name: str, title: str) -> None:
    """Raises UserError where the Hub would not take the names, or evaluate that of its metric, which it imports."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
        raise UserError(f"--name {name!r} must be a letter and then letters, digits, _ and -, such as my-shop")
    if len(title) > LONGEST_TITLE:
        raise UserError(f"--name is {len(title) - LONGEST_TITLE} characters too long for a Collection's title; shorten it")
    try:
        validate_repo_id(hub.dataset)
    except HFValidationError:
        raise UserError(f"--org {hub.dataset.split('/')[0]!r} is no name of an organisation or user on the Hub") from None


def prepare(stage: Stage, run: RunFolder) -> tuple[int, int]:
    """Number and bytes of the files that the stage would send. Raises UserError where one may not leave this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        quietly(lambda: stage.assemble(folder))
        files = every_file(folder)
        check_nothing_private(folder, files, run.places)
        return len(files), sum((folder / file).stat().st_size for file in files)


def check_hub(organisation: str, steps: Sequence[Stage], base_model: str, private: bool) -> None:
    """Raises UserError where the Hub would refuse a later stage, or somebody who sees one repository would not see another."""
    check_write_access(organisation)
    with hub_errors(base_model):
        base = retried(partial(signed_in().model_info, base_model))
    if base.private and not private:
        raise UserError(f"the base model {base_model} is private; make it public, or publish with --private")
    there = {step.repo_id: None if (found := info(step)) is None else bool(found.private) for step in steps}
    public, hidden = ([repo for repo, is_private in there.items() if is_private is kind] for kind in (False, True))
    if private and public:
        raise UserError(f"{public[0]} exists and is public; make it private in its settings on the Hub, or leave out --private")
    if not private and hidden and len(hidden) < len(there):
        raise UserError(f"{hidden[0]} is private, and public ones would link to it; make it public, or publish with --private")


def push(steps: Sequence[Stage], number: int) -> tuple[str, str, bool]:
    """Title, address, and whether anything changed there."""
    step = steps[number]
    with telling(steps, number):
        before = info(step)
        quietly(step.push)
        after = info(step)
    changed = before is None or after is None or before.sha != after.sha
    return step.title, repo_url(step.repo_id, step.repo_type), changed


def info(step: Stage) -> Any:
    """What the Hub tells of the stage's repository; None where there is none yet."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(step.repo_id):
        try:
            return retried(partial(signed_in().repo_info, step.repo_id, repo_type=step.repo_type))
        except RepositoryNotFoundError:
            return None


@contextmanager
def telling(steps: Sequence[Stage], number: int) -> Iterator[None]:
    """Says which step it is, and what is done and left if it does not end well."""
    titles = [*(step.title for step in steps), COLLECTION]
    print(f"{number + 1}/{len(titles)} {titles[number]}", flush=True)
    try:
        yield
    except BaseException:
        print(f"on the Hub, and whole: {', '.join(titles[:number]) or 'nothing yet'}", file=sys.stderr)
        print(f"left to do: {', '.join(titles[number:])}; the same command goes on from there", file=sys.stderr)
        raise


def print_plan(steps: Sequence[Stage], sizes: Sequence[tuple[int, int]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "what", "where", "kind", title="What would be sent, in this order")
    for column in ("files", "size"):
        table.add_column(column, justify="right")
    for number, (step, (files, size)) in enumerate(zip(steps, sizes, strict=True), 1):
        table.add_row(str(number), step.title, step.repo_id, step.repo_type, str(files), readable_size(size))
    table.add_row(str(len(steps) + 1), COLLECTION, title, "collection", "", "")
    Console().print(table)


def print_done(rows: Sequence[tuple[str, str, bool]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "where", "")
    for title, url, changed in rows:
        table.add_row(title, url, "published" if changed else "nothing to do")
    Console(soft_wrap=True).print(table)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.dry_run:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it: no part of a stage may ask the Hub
    with plain_errors():
        publish_all(arguments)


if __name__ == "__main__":
    main()
