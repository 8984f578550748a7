"""Assembles the Space and puts it on the Hub: python -m space.publish --repo-id org/name [--data DIR|ID] [--results DIR]"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.commits import commit_folder
from common.errors import UserError, plain_errors
from common.files import replaced
from common.tasks import TASKS

HERE = Path(__file__).parent

FILES = ("README.md", "app.py", "examples.json", "requirements-endpoint.txt", "requirements.txt", "settings.json", "style.css")
"""What a Space needs beside the packages `demo` and COMMON; with the scores of a report also EVALUATION."""

COMMON = ("__init__.py", "answers.py", "scoring.py", "tasks.py")
"""Modules of `common` that the Space takes along."""

REQUIREMENTS = {"transformers": "requirements.txt", "endpoint": "requirements-endpoint.txt"}
"""Backend of the Space -> the file that is its requirements.txt."""

EVALUATION = {"evaluation.json": "scores.json", "evaluation.png": "scores.png"}
"""File of the Space -> file of a report."""

MAX_CHARS = 4000
"""Of an example's prompt: longer ones are no pleasure to read on a page."""


@dataclass(frozen=True)
class Links:
    """What the Space shows by default: Hub ids, or None for what settings.json says."""

    base_model: str | None = None
    adapter: str | None = None
    dataset: str | None = None


def assemble(
    out: Path,
    data: str | None = None,
    revision: str | None = None,
    examples: int = 5,
    links: Links | None = None,
    results: Path | None = None,
    backend: str = "transformers",
) -> None:
    """Writes the Space's tree to `out`, replacing an earlier one.

    data: a dataset folder or Hub id whose test rows become the examples of its tasks; other tasks keep the ones written here.
    results: what `python -m eval_tasks.run` left, or a report's folder, for the Evaluation view.
    backend: which the Space's packages are for, one of REQUIREMENTS. Raises UserError.
    """
    with replaced(out, "app.py") as tree:
        _copy_files(tree, _sources() | {"requirements.txt": HERE / REQUIREMENTS[backend]})
        if results is not None:
            _copy_report(tree, results)
        if data is not None:
            _write_data_examples(tree, data, revision, examples)
        _write_links(tree, links or Links())


def _sources() -> dict[str, Path]:
    """Path in the Space -> file of this repository."""
    demo = {f"demo/{path.name}": path for path in sorted((HERE / "demo").glob("*.py"))}
    common = {f"common/{name}": HERE.parent / "common" / name for name in COMMON}
    return {name: HERE / name for name in FILES} | demo | common


def _copy_files(tree: Path, files: Mapping[str, Path]) -> None:
    for name, source in files.items():
        target = tree / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)


def _copy_report(tree: Path, results: Path) -> None:
    from space.demo.evaluation_tab import read_evaluation

    report = next((folder for folder in (results / "report", results) if (folder / "scores.json").is_file()), None)
    if report is None:
        raise UserError(
            f"{results} holds no report/scores.json; name the folder of python -m eval_tasks.run --out or "
            "python -m eval_tasks.report --out"
        )
    for name, there in EVALUATION.items():
        if (report / there).is_file():
            shutil.copyfile(report / there, tree / name)
    try:
        read_evaluation(tree / "evaluation.json")
    except (OSError, ValueError):
        raise UserError(f"{report / 'scores.json'} is no scores.json of a report; make it again") from None


def _write_data_examples(tree: Path, data: str, revision: str | None, examples: int) -> None:
    from space.demo.comparison import samples_of
    from space.demo.dataset_pages import DataError, Dataset
    from space.demo.examples import dataset_examples, read_examples, write_examples

    try:
        found = dataset_examples(Dataset(data, revision), TASKS, examples, MAX_CHARS)
    except DataError as error:
        raise UserError(str(error)) from None
    usable = {name: tuple(sample.example for sample in samples) for name, samples in samples_of(found).items()}
    write_examples(tree / "examples.json", read_examples() | usable)


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
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="folder of eval_tasks.run or of a report, whose scores the page shows"
    )
    parser.add_argument(
        "--backend",
        choices=REQUIREMENTS,
        default="transformers",
        help="what answers in the Space, so that no more packages than needed are installed there (default: %(default)s)",
    )
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
        assemble(tree, arguments.data, arguments.revision, arguments.examples, links, arguments.results, arguments.backend)
        if arguments.repo_id:
            readme = tree / "README.md"
            named = readme.read_text(encoding="utf-8").replace('Client("org/name")', f'Client("{arguments.repo_id}")')
            readme.write_text(named, encoding="utf-8")
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
            files=files_of(tree),
            stale_patterns=("*.py", "evaluation.*"),
            space_sdk="gradio",
            dry_run=arguments.dry_run,
        )
        if not arguments.dry_run:
            print(done.summary)
        if arguments.backend == "endpoint":
            print("In the Space's settings it needs the variables BACKEND=endpoint, ENDPOINT_URL and ENDPOINT_BASE_MODEL.")


def files_of(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())


def print_tree(tree: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "bytes")
    table.columns[1].justify = "right"
    for name in files_of(tree):
        table.add_row(name, f"{(tree / name).stat().st_size:,}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
