"""Publishes the scorer as an `evaluate` metric in a Space of the Hub: python -m eval_tasks.publish_metric --repo-id org/name

evaluate downloads a metric's script and the files beside it that the script itself imports. So the folder is flat and holds
this repository's modules unchanged, except for their imports of each other.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from common import publishing
from common.errors import UserError, plain_errors
from common.files import every_file, replaced
from common.publishing import Destination, Upload

ROOT = Path(__file__).parents[1]
NAME = "shop_score"
MODULES = (
    "common/tasks.py",
    "eval_tasks/metrics/embeddings.py",
    "eval_tasks/reporting/intervals.py",
    "eval_tasks/metrics/shopbench.py",
    "eval_tasks/metrics/task_scores.py",
    "common/answers.py",
    "common/scoring.py",
)
"""Modules that go beside the script, each under its own name."""


def assemble(folder: Path, destination: Destination) -> Upload:
    """Writes the metric's folder, replacing an earlier one.

    evaluate loads NAME.py from a repository or folder of that name, so the script is called as the repository is.
    Raises UserError.
    """
    repo_id = destination.repo_id or f"org/{NAME}"
    name = script_name(repo_id)
    with replaced(folder, "app.py") as tree:
        tree.mkdir(exist_ok=True)
        for module in MODULES:
            (tree / Path(module).name).write_text(_flat((ROOT / module).read_text(encoding="utf-8")), encoding="utf-8")
        for path in sorted((ROOT / "eval_tasks" / NAME).iterdir()):
            if path.is_file():
                text = path.read_text(encoding="utf-8").replace(f"org/{NAME}", repo_id).replace(f"{NAME}.py", f"{name}.py")
                target = f"{name}.py" if path.name == f"{NAME}.py" else path.name
                (tree / target).write_text(_flat(text), encoding="utf-8")
    return Upload(folder, "space", "Publish the metric", every_file(folder), stale_patterns=("*.py",))


def script_name(repo_id: str) -> str:
    """The name that the script must have. Raises UserError."""
    name = repo_id.rpartition("/")[2]
    if repo_id.count("/") != 1 or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise UserError(
            f"--repo-id {repo_id!r} must be org/name, and its name a letter and then letters, digits, _ and -: "
            "evaluate imports a script of that name"
        )
    if f"{name}.py" in {"app.py", *(Path(path).name for path in MODULES)}:
        raise UserError(f"--repo-id {repo_id!r}: the metric already has a file {name}.py; choose another name")
    return name


def _flat(text: str) -> str:
    """The text with its imports of this project's modules turned into relative ones."""
    ours = r"^from (?:common|eval_tasks)(?:\.\w+)*\.(\w+) import"
    return re.sub(ours, r"from .\1 import", text, flags=re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.publish_metric", description=(__doc__ or "").split(":")[0])
    publishing.add_options(parser, "Space", revision=False, out=True)
    arguments = parser.parse_args(argv)
    with plain_errors():
        publishing.publish(assemble, publishing.destination_of(arguments))


if __name__ == "__main__":
    main()
