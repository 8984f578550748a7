"""Assembles the scorer as an `evaluate` metric and puts it on the Hub: python -m eval_tasks.publish_metric --repo-id org/name

evaluate takes a metric's script, and of the files beside it those that the script itself imports. So the folder is flat, and
the modules of this repository are in it as they are, but for their imports of each other.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.commits import commit_folder
from common.errors import UserError, plain_errors
from common.files import replaced

ROOT = Path(__file__).parents[1]
NAME = "shop_score"
MODULES = (
    "common/tasks.py",
    "eval_tasks/metrics/embeddings.py",
    "eval_tasks/reporting/intervals.py",
    "eval_tasks/metrics/aggregate.py",
    "common/answers.py",
    "common/scoring.py",
)
"""What the script is made of, each under its own name."""


def assemble(out: Path, repo_id: str = f"org/{NAME}") -> list[str]:
    """Writes the metric's folder, replacing an earlier one, and returns the names of its files.

    evaluate loads NAME.py from a repository or folder of that name, so the script is called as the repository is.
    Raises UserError.
    """
    name = script_name(repo_id)
    with replaced(out, "app.py") as tree:
        tree.mkdir(exist_ok=True)
        for module in MODULES:
            (tree / Path(module).name).write_text(_flat((ROOT / module).read_text(encoding="utf-8")), encoding="utf-8")
        for path in sorted((ROOT / "eval_tasks" / NAME).iterdir()):
            if path.is_file():
                text = path.read_text(encoding="utf-8").replace(f"org/{NAME}", repo_id).replace(f"{NAME}.py", f"{name}.py")
                target = f"{name}.py" if path.name == f"{NAME}.py" else path.name
                (tree / target).write_text(_flat(text), encoding="utf-8")
    return sorted(path.name for path in out.iterdir())


def script_name(repo_id: str) -> str:
    """The name that the script must have. Raises UserError."""
    name = repo_id.rpartition("/")[2]
    if repo_id.count("/") != 1 or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise UserError(
            f"--repo-id {repo_id!r} must be org/name, and its name a letter and then letters, digits, _ and -: "
            "evaluate imports a script of that name"
        )
    if f"{name}.py" in {"app.py", *(Path(path).name for path in MODULES)}:
        raise UserError(f"--repo-id {repo_id!r}: the metric has a file {name}.py already; take another name")
    return name


def _flat(text: str) -> str:
    """The text with its imports of this project's modules as of neighbours in one folder."""
    ours = r"^from (?:common|eval_tasks)(?:\.\w+)*\.(\w+) import"
    return re.sub(ours, r"from .\1 import", text, flags=re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.publish_metric", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--repo-id", metavar="ORG/NAME", help="Space on the Hub, made if there is none")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the assembled folder here")
    parser.add_argument("--private", action="store_true", help="only you and your organisation can see it")
    parser.add_argument("--dry-run", action="store_true", help="assemble only, upload nothing; needs no token")
    arguments = parser.parse_args(argv)
    if arguments.repo_id is None and not (arguments.dry_run and arguments.out):
        raise UserError("say where to: --repo-id org/name, or --out DIR --dry-run to assemble the folder only")
    with tempfile.TemporaryDirectory() as scratch:
        tree = arguments.out or Path(scratch) / NAME
        files = assemble(tree, arguments.repo_id or f"org/{NAME}")
        if arguments.out:
            print(f"assembled: {tree}")
        if arguments.repo_id is None:
            return
        done = commit_folder(
            tree,
            arguments.repo_id,
            "space",
            "Publish the metric",
            private=arguments.private,
            files=files,
            stale_patterns=("*.py",),
            dry_run=arguments.dry_run,
        )
    if not arguments.dry_run:
        print(done.summary)


if __name__ == "__main__":
    with plain_errors():
        main(sys.argv[1:])
