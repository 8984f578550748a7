"""Assembles the Space and puts it on the Hub: python -m space.publish --repo-id org/name [--data DIR|ID] [--adapter ID]"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_builders.errors import UserError, plain_errors
from dataset_builders.folders import replaced
from dataset_builders.hub import commit_folder
from dataset_builders.tasks import TASKS
from space.examples import dataset_examples, read_examples, write_examples

HERE = Path(__file__).parent
FILES = (
    "README.md",
    "app.py",
    "demo.py",
    "examples.json",
    "examples.py",
    "model.py",
    "panels.py",
    "reading.py",
    "requirements.txt",
    "settings.json",
    "style.css",
    "tasks.py",
)
"""What a Space needs, and nothing more."""

MAX_CHARS = 4000
"""Of an example's prompt: longer ones are no pleasure to read on a page."""


@dataclass(frozen=True)
class Links:
    """What the Space shows by default: Hub ids, or None for what settings.json says."""

    base_model: str | None = None
    adapter: str | None = None
    dataset: str | None = None


def assemble(
    out: Path, data: str | None = None, revision: str | None = None, examples: int = 5, links: Links | None = None
) -> None:
    """Writes the Space's tree to `out`, replacing an earlier one.

    data: a dataset folder or Hub id whose test rows become the examples of its tasks; without it the ones written here.
    Raises UserError.
    """
    with replaced(out, "app.py") as tree:
        _fill(tree, data, revision, examples, links or Links())


def _fill(tree: Path, data: str | None, revision: str | None, examples: int, links: Links) -> None:
    for name in FILES:
        if not (HERE / name).exists():
            raise UserError(
                f"space/{name} is missing or a link to nothing; check the repository out again, with symbolic links"
            )
        shutil.copyfile(HERE / name, tree / name)  # follows links: the tree has real files only
    if data is not None:
        try:
            found = dataset_examples(data, TASKS, examples, MAX_CHARS, revision)
        except ValueError as error:
            raise UserError(str(error)) from None
        write_examples(
            tree / "examples.json", found | {name: rows for name, rows in read_examples().items() if name not in found}
        )
    _write_links(tree, links)


def _write_links(tree: Path, links: Links) -> None:
    from huggingface_hub import metadata_load
    from huggingface_hub.repocard import metadata_save

    given = {name: value for name, value in vars(links).items() if value is not None}
    for name, value in given.items():
        if value.count("/") != 1 or value.startswith((".", "/")) or Path(value).exists():
            raise UserError(
                f"--{name.replace('_', '-')} {value!r} must be a Hub id, org/name: a Space has no other files to load"
            )
    if not given:
        return
    path = tree / "settings.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | given
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    header = metadata_load(tree / "README.md") or {}
    header["models"] = [value for value in (settings["base_model"], settings["adapter"]) if value]
    if settings["dataset"]:
        header["datasets"] = [settings["dataset"]]
    metadata_save(tree / "README.md", header)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space.publish", description=__doc__.split(":")[0])
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="Space on the Hub, made if there is none")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the assembled tree here")
    parser.add_argument("--data", metavar="DIR|ID", help="dataset folder or Hub id to take the examples from (test rows)")
    parser.add_argument("--revision", metavar="REV", help="revision of --data on the Hub")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="examples per task (default: 5)")
    parser.add_argument("--base-model", metavar="ID", help="base model that the Space loads")
    parser.add_argument("--adapter", metavar="ID", help="LoRA adapter that the Space loads")
    parser.add_argument("--dataset", metavar="ID", help="dataset that the Space draws more examples from and links to")
    parser.add_argument("--private", action="store_true", help="only you and your organisation can see it")
    parser.add_argument("--dry-run", action="store_true", help="assemble only, upload nothing; needs no token")
    arguments = parser.parse_args(argv)
    with plain_errors():
        publish(arguments)


def publish(arguments: argparse.Namespace) -> None:
    """Assembles, says what, and uploads unless it is a dry run."""
    if arguments.repo_id is None and not (arguments.dry_run and arguments.out):
        raise UserError("say where to: --repo-id org/name, or --out DIR --dry-run to assemble the tree only")
    if arguments.examples < 1:
        raise UserError("--examples must be at least 1")
    links = Links(arguments.base_model, arguments.adapter, arguments.dataset)
    with tempfile.TemporaryDirectory() as scratch:
        tree = arguments.out or Path(scratch) / "space"
        assemble(tree, arguments.data, arguments.revision, arguments.examples, links)
        print_tree(tree)
        if arguments.out:
            print(f"assembled: {tree}")
        if arguments.repo_id is None:
            return
        done = commit_folder(
            tree,
            arguments.repo_id,
            "space",
            "Publish the demo",
            private=arguments.private,
            files=FILES,
            stale_patterns=("*.py",),
            space_sdk="gradio",
            dry_run=arguments.dry_run,
        )
        if not arguments.dry_run:
            print(f"{'published' if done.changed else 'nothing to do, it is all there'}: {done.url}")


def print_tree(tree: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "bytes")
    table.columns[1].justify = "right"
    for name in FILES:
        table.add_row(name, f"{(tree / name).stat().st_size:,}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
