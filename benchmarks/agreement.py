"""Agreement of two runs on the same rows: one model on two backends, in two precisions, or before and after a change.

    python -m benchmarks.agreement --results OUT_A --results OUT_B [--names accelerate,vllm] [--show 3]

Reads what `lighteval ... --save-details` has left in its --output-dir and compares every further run with the first: the share
of rows with the same text, of rows where one text begins with the other (a backend may stop where more changes nothing), and of
rows whose answers read the same. Unparsable answers read the same. The last line is JSON.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.console import print_table
from common.errors import UserError, plain_errors
from eval_tasks.reporting.details import Answer, by_row, read_details
from eval_tasks.suites.suite import place, shown_answer

Pairs = dict[str, list[tuple[Answer, Answer]]]
"""Task -> the two runs' answers to each row that both have."""


@dataclass(frozen=True)
class RunAgreement:
    """Counts of rows."""

    rows: int = 0
    same_text: int = 0
    same_beginning: int = 0
    same_answer: int = 0

    def __add__(self, other: "RunAgreement") -> "RunAgreement":
        return RunAgreement(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def shares(self) -> dict[str, float]:
        return {name: count / self.rows for name, count in vars(self).items() if name != "rows"}

    def figures(self) -> dict[str, float]:
        return {"rows": self.rows} | {name: round(share, 4) for name, share in self.shares().items()}


def answers(path: Path) -> dict[str, list[Answer]]:
    """Task -> answers of a run. Raises UserError where it kept none."""
    found = read_details(path)
    if not found:
        raise UserError(f"{path} holds no answers. Give the --output-dir of a run with --save-details.")
    return found


def pairs(first: Mapping[str, Sequence[Answer]], other: Mapping[str, Sequence[Answer]]) -> Pairs:
    """Raises UserError where the two runs have no row in common."""
    found: Pairs = {}
    for task in sorted(set(first) & set(other), key=place):
        others = by_row(other[task])
        if rows := [(answer, others[key]) for key, answer in by_row(first[task]).items() if key in others]:
            found[task] = rows
    if not found:
        raise UserError("The two runs have no row in common. Compare runs of the same tasks on the same dataset.")
    return found


def agreement(task: str, rows: Sequence[tuple[Answer, Answer]]) -> RunAgreement:
    return RunAgreement(
        rows=len(rows),
        same_text=sum(one.text == two.text for one, two in rows),
        same_beginning=sum(one.text.startswith(two.text) or two.text.startswith(one.text) for one, two in rows),
        same_answer=sum(reads_alike(task, one, two) for one, two in rows),
    )


def reads_alike(task: str, one: Answer, two: Answer) -> bool:
    return shown_answer(task, one.text, one.specific) == shown_answer(task, two.text, two.specific)


def run_names(given: str | None, folders: Sequence[Path]) -> list[str]:
    """A name for each run. Raises UserError where there are not as many, or nothing to compare."""
    names = given.split(",") if given else [str(folder) for folder in folders]
    if len(names) != len(folders):
        raise UserError(f"--names gives {len(names)} names for {len(folders)} --results; give one for each.")
    if len(names) < 2:
        raise UserError("There is nothing to compare. Give --results at least twice.")
    return names


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--results", type=Path, action="append", required=True, metavar="DIR", help="lighteval's --output-dir; twice or more"
    )
    parser.add_argument("--names", metavar="A,B", help="names of the runs (default: their folders)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="also print N rows that read otherwise (default: 0)")
    arguments = parser.parse_args(argv)
    names = run_names(arguments.names, arguments.results)

    first, *others = map(answers, arguments.results)
    figures: dict[str, Any] = {}
    for name, run in zip(names[1:], others, strict=True):
        shared = pairs(first, run)
        found = {task: agreement(task, rows) for task, rows in shared.items()}
        found["all"] = sum(found.values(), RunAgreement())
        header = ("task", *(name.replace("_", " ") for name in vars(RunAgreement())))
        shown = [(task, f"{one.rows:,}", *(f"{share:.1%}" for share in one.shares().values())) for task, one in found.items()]
        print_table(header, shown, f"{names[0]} and {name}")
        unlike = [(task, *row) for task, rows in shared.items() for row in rows if not reads_alike(task, *row)]
        for task, one, two in unlike[: arguments.show]:
            print(f"{task} {one.id}: {one.text!r} and {two.text!r}")
        figures[name] = {task: counts.figures() for task, counts in found.items()}
    print(json.dumps({"first": names[0], "others": figures}))


if __name__ == "__main__":
    with plain_errors():
        main()
