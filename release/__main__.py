"""Publishes everything that a run made to the Hub, in an order without dangling links, and groups it in a Collection.

    python -m release --run outputs/demo --org NAME [--dry-run]

Dataset, adapter, results, metric, model card and Space go to NAME/shop-instructions, NAME/shop-lora and so on. Everything is
checked before anything is sent. Running it again resumes where it stopped and leaves unchanged repositories alone.
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
from common.console import print_table
from common.errors import UserError, plain_errors
from common.files import readable_size
from common.hub import check_write_access, hub_errors, repo_url, retried, signed_in
from common.publishing import Destination, publish
from common.secrets import check_nothing_private
from release.run_folder import RunFolder, measured_weights, read_run_folder
from release.stages import Repositories, Stage, items, repositories, stages

ABOUT = "A language model for the tasks of an online shop: instructions, adapter, scores with all answers, metric and demo."
COLLECTION = "Collection"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m release", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="the OUT of make demo")
    parser.add_argument("--org", required=True, metavar="NAME", help="organisation or user on the Hub")
    parser.add_argument("--name", default="shop", help="what the repositories' names begin with (default: %(default)s)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="of the tuned model (default: results/tuned in the run)")
    parser.add_argument("--base-results", type=Path, metavar="DIR", help="of the base (default: results/base in the run)")
    parser.add_argument("--base-model", metavar="ORG/NAME", help="the base model on the Hub (default: as the adapter says)")
    parser.add_argument("--private", action="store_true", help="visible only to you and your organisation")
    parser.add_argument("--dry-run", action="store_true", help="check and list, send nothing; needs no token, no network")
    return parser.parse_args(argv)


def release(
    run: Path,
    org: str,
    name: str = "shop",
    results: Path | None = None,
    base_results: Path | None = None,
    base_model: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> None:
    """Checks everything, then publishes stage by stage. Raises UserError."""
    hub, title = repositories(org, name), f"{name}: one model for an online shop"
    check_names(hub, name, title)
    found = read_run_folder(run, results, base_results, base_model)
    if not measured_weights(found.tuned):
        print(f"{found.tuned} does not record the weights that it measured; taking them for {found.adapter}'s", file=sys.stderr)
    planned = stages(found, hub)
    sizes = [check_files(stage, found) for stage in planned]
    if dry_run:
        print_plan(planned, sizes, title)
        print(f"nothing was sent; the adapter's base is {found.base_model}, which must be on the Hub")
        return
    check_hub(org, planned, found.base_model, private)
    done: list[tuple[str, str, bool]] = []
    for number, stage in enumerate(planned):
        with progress(planned, number):
            commit = publish(stage.assemble, Destination(stage.repo_id, private), quiet=True)
        done.append((stage.title, repo_url(stage.repo_id, stage.repo_type), commit is not None and commit.changed))
    with progress(planned, len(planned)):
        gathered = update_collection(org, title, ABOUT, items(found, hub), private)
    for what, url, changed in (*done, (COLLECTION, gathered.url, gathered.changed)):
        print(f"{what:16} {url}  {'published' if changed else 'nothing to do'}")


def check_names(hub: Repositories, name: str, title: str) -> None:
    """Raises UserError for names that the Hub does not take, or that evaluate cannot import the metric by."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
        raise UserError(f"--name {name!r} must be a letter and then letters, digits, _ and -, such as my-shop")
    if len(title) > LONGEST_TITLE:
        raise UserError(f"--name is {len(title) - LONGEST_TITLE} characters too long for a Collection's title; shorten it")
    try:
        validate_repo_id(hub.dataset)
    except HFValidationError:
        organisation = hub.dataset.split("/")[0]
        raise UserError(f"--org {organisation!r} is not a valid name of an organisation or user on the Hub") from None


def check_files(stage: Stage, run: RunFolder) -> tuple[int, int]:
    """Number and bytes of the stage's files. Raises UserError where one holds a token or a path of this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        upload = stage.assemble(Path(scratch), Destination(stage.repo_id, dry_run=True))
        check_nothing_private(upload.folder, upload.files, run.places)
        return len(upload.files), sum((upload.folder / file).stat().st_size for file in upload.files)


def check_hub(organisation: str, planned: Sequence[Stage], base_model: str, private: bool) -> None:
    """Raises UserError where a later stage would be refused, or where public and private repositories would mix."""
    check_write_access(organisation)
    with hub_errors(base_model):
        base = retried(partial(signed_in().model_info, base_model))
    if base.private and not private:
        raise UserError(f"the base model {base_model} is private; make it public, or publish with --private")
    existing = {stage.repo_id: bool(found.private) for stage in planned if (found := repo_info(stage))}
    public, hidden = ([repo for repo, is_private in existing.items() if is_private is kind] for kind in (False, True))
    if private and public:
        raise UserError(f"{public[0]} exists and is public; make it private in its settings on the Hub, or leave out --private")
    if not private and hidden and len(hidden) < len({stage.repo_id for stage in planned}):
        raise UserError(f"{hidden[0]} is private, and public ones would link to it; make it public, or publish with --private")


def repo_info(stage: Stage) -> Any:
    """The Hub's description of the stage's repository; None where there is none yet."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with hub_errors(stage.repo_id):
        try:
            return retried(partial(signed_in().repo_info, stage.repo_id, repo_type=stage.repo_type))
        except RepositoryNotFoundError:
            return None


@contextmanager
def progress(planned: Sequence[Stage], number: int) -> Iterator[None]:
    """Prints the stage's number and title, and after a failure which stages are done and which are left."""
    titles = [*(stage.title for stage in planned), COLLECTION]
    print(f"{number + 1}/{len(titles)} {titles[number]}", flush=True)
    try:
        yield
    except BaseException:
        print(f"on the Hub, and whole: {', '.join(titles[:number]) or 'nothing yet'}", file=sys.stderr)
        print(f"left to do: {', '.join(titles[number:])}; the same command goes on from there", file=sys.stderr)
        raise


def print_plan(planned: Sequence[Stage], sizes: Sequence[tuple[int, int]], title: str) -> None:
    lines: list[tuple[object, ...]] = [
        (number, stage.title, stage.repo_id, stage.repo_type, files, readable_size(size))
        for number, (stage, (files, size)) in enumerate(zip(planned, sizes, strict=True), 1)
    ]
    lines.append((len(lines) + 1, COLLECTION, title, "collection", "", ""))
    print_table(("", "what", "where", "kind", "files", "size"), lines, "What would be sent, in this order", texts=4)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.dry_run:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub reads it: a dry run does not ask the Hub
    with plain_errors():
        release(**vars(arguments))


if __name__ == "__main__":
    main()
