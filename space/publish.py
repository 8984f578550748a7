"""Assembles and publishes the Space: python -m space.publish --repo-id org/name [--data DIR|ID] [--results DIR]"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import publishing
from common.errors import UserError, plain_errors
from common.files import every_file, replaced
from common.publishing import Destination, Upload
from common.tasks import TASKS

HERE = Path(__file__).parent

FILES = ("README.md", "app.py", "examples.json", "requirements-endpoint.txt", "requirements.txt", "settings.json", "style.css")
"""Files of every Space, beside the package `demo` and COMMON."""

COMMON = ("__init__.py", "answers.py", "prompts.py", "scoring.py", "tasks.py", "thinking.py", "words.py")
"""Modules of `common` that are copied into the Space."""

REQUIREMENTS = {"transformers": "requirements.txt", "endpoint": "requirements-endpoint.txt"}
"""Backend of the Space -> the file that is its requirements.txt."""

EVALUATION = {"evaluation.json": "scores.json", "evaluation.png": "scores.png"}
"""File of the Space -> file of the report that it is copied from."""

MAX_CHARS = 4000
"""Of an example's prompt; longer ones are hard to read on a page."""


@dataclass(frozen=True)
class Links:
    """Hub ids for settings.json; None keeps its entry."""

    base_model: str | None = None
    adapter: str | None = None
    dataset: str | None = None


def assemble(
    folder: Path,
    destination: Destination,
    data: str | None = None,
    revision: str | None = None,
    examples: int = 5,
    links: Links | None = None,
    results: Path | None = None,
    backend: str = "transformers",
) -> Upload:
    """Writes the Space's tree to `folder`, replacing an earlier one.

    data: a dataset folder or Hub id whose test rows become the examples of its tasks; other tasks keep those of examples.json.
    results: the output folder of eval_tasks.run, or a report's folder, for the Evaluation tab. The Space scores lists as the
    model did there that scored its lists best.
    backend: a key of REQUIREMENTS. Raises UserError.
    """
    with replaced(folder, "app.py") as tree:
        _copy_files(tree, _sources() | {"requirements.txt": HERE / REQUIREMENTS[backend]})
        if results is not None:
            _copy_report(tree, results)
            _write_settings(tree, {"lists": best_lists(json.loads((tree / "evaluation.json").read_text(encoding="utf-8")))})
        if data is not None:
            _write_data_examples(tree, data, revision, examples)
        _write_links(tree, links or Links())
        if destination.repo_id:
            readme = tree / "README.md"
            named = readme.read_text(encoding="utf-8").replace('Client("org/name")', f'Client("{destination.repo_id}")')
            named = named.replace("https://org-name.hf.space", space_address(destination.repo_id))
            readme.write_text(named, encoding="utf-8")
    return Upload(folder, "space", "Publish the demo", every_file(folder), stale_patterns=("*.py", "evaluation.*"))


def space_address(repo_id: str) -> str:
    """Where a Space's app is served: https://huggingface.co/docs/hub/spaces-embed."""
    return f"https://{re.sub(r'[^a-z0-9]+', '-', repo_id.lower()).strip('-')}.hf.space"


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
    from space.demo.evaluation_tab import read_scores

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
        read_scores(tree / "evaluation.json")
    except (OSError, ValueError):
        raise UserError(f"{report / 'scores.json'} is not from a report; run python -m eval_tasks.report again") from None


def best_lists(scores: Mapping[str, Any]) -> str:
    """How lists were scored, "words" or "text", for the model of a report's scores.json that has the best scores of them.

    "words" where no model's lists were scored. Only lists that can be scored both ways count.
    """
    either = {f"shop:{task.name}" for task in TASKS.values() if task.by_text}
    lines = [line["scores"] for line in scores["tasks"] if line["task"] in either]
    forms: Mapping[str, str] = scores.get("lists", {}) if lines else {}  # reports of earlier versions do not say
    best = max(forms, key=lambda name: sum(line.get(name) or 0.0 for line in lines), default=None)
    return forms[best] if best else "words"


def _write_settings(tree: Path, given: Mapping[str, str]) -> dict[str, Any]:
    path = tree / "settings.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) | dict(given)
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return settings


def _write_data_examples(tree: Path, data: str, revision: str | None, examples: int) -> None:
    from space.demo.comparison import form_examples
    from space.demo.dataset_pages import DatasetError, DatasetReader
    from space.demo.examples import dataset_examples, read_examples, write_examples

    try:
        found = dataset_examples(DatasetReader(data, revision), TASKS, examples, MAX_CHARS)
    except DatasetError as error:
        raise UserError(str(error)) from None
    usable = {task: tuple(one.example for one in rows) for task, rows in form_examples(found).items()}
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
    settings = _write_settings(tree, given)
    header = metadata_load(tree / "README.md") or {}
    header["models"] = [value for value in (settings["base_model"], settings["adapter"]) if value]
    if settings["dataset"]:
        header["datasets"] = [settings["dataset"]]
    metadata_save(tree / "README.md", header)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m space.publish", description=__doc__.split(":")[0])
    publishing.add_options(parser, "Space", revision=False, out=True)
    parser.add_argument("--data", metavar="DIR|ID", help="dataset folder or Hub id whose test rows become the examples")
    parser.add_argument("--revision", metavar="REVISION", help="branch, tag or commit of --data on the Hub (default: main)")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="examples per task (default: 5)")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="output folder of eval_tasks.run or of eval_tasks.report, with scores",
    )
    parser.add_argument(
        "--backend",
        choices=REQUIREMENTS,
        default="transformers",
        help="where the models run; selects the packages that the Space installs (default: %(default)s)",
    )
    parser.add_argument("--base-model", metavar="ID", help="base model that the Space loads")
    parser.add_argument("--adapter", metavar="ID", help="LoRA adapter that the Space loads")
    parser.add_argument("--dataset", metavar="ID", help="dataset that the Space reads examples from and links to")
    arguments = parser.parse_args(argv)
    with plain_errors():
        destination = publishing.destination_of(arguments)
        if arguments.examples < 1:
            raise UserError("--examples must be at least 1")

        def listed(folder: Path, destination: Destination) -> Upload:
            links = Links(arguments.base_model, arguments.adapter, arguments.dataset)
            sources = (arguments.data, arguments.revision, arguments.examples, links, arguments.results, arguments.backend)
            upload = assemble(folder, destination, *sources)
            print_tree(upload)
            return upload

        publishing.publish(listed, destination)
        if destination.repo_id and arguments.backend == "endpoint":
            print("Set the variables BACKEND=endpoint, ENDPOINT_URL and ENDPOINT_BASE_MODEL in the settings of the Space.")


def print_tree(upload: Upload) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "bytes")
    table.columns[1].justify = "right"
    for name in upload.files:
        table.add_row(name, f"{(upload.folder / name).stat().st_size:,}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
