"""How far two runs answer the same rows alike: one model on two backends, in two precisions, or before and after a change.

    python -m benchmarks.agreement --results OUT_A --results OUT_B [--names accelerate,vllm] [--show 3]

Reads what `lighteval ... --save-details` has left in its --output-dir and compares every further run with the first: the share
of rows with the same text, and of rows whose answers read the same. Unparsable answers read the same. The last line is JSON.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.errors import UserError, plain_errors
from eval_tasks.suites import parsed, place


@dataclass(frozen=True)
class Answer:
    """What a run said to one row, and how its suite's parser reads it."""

    query: str
    text: str
    parsed: str | None


Run = dict[str, dict[str, Answer]]
"""Task -> id of the row in it -> answer."""


@dataclass(frozen=True)
class Agreement:
    """Counts of one task's rows that two runs share."""

    rows: int
    same_text: int
    same_answer: int

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.rows + other.rows, self.same_text + other.same_text, self.same_answer + other.same_answer)

    def figures(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "same_text": round(self.same_text / self.rows, 4),
            "same_answer": round(self.same_answer / self.rows, 4),
        }


def read_run(folder: Path) -> Run:
    """The answers of the newest run in lighteval's output folder. Raises UserError where it holds none."""
    import pyarrow.parquet as pq

    # details/<model>/<time>/details_<task>|<shots>_<time>.parquet; the time sorts as text.
    files = sorted(folder.glob("details/**/details_*.parquet"), key=lambda file: file.parent.name)
    if not files:
        raise UserError(f"{folder} holds no details of a run. Give the --output-dir of a run with --save-details.")
    run: Run = {}
    for file in (file for file in files if file.parent == files[-1].parent):
        for row in pq.read_table(file, columns=["doc", "model_response"]).to_pylist():
            doc, response = row["doc"], row["model_response"]
            text = (response["text_post_processed"] or response["text"])[0]
            try:
                answer = parsed(doc["task_name"], text, doc["specific"] or {})
            except KeyError:
                raise UserError(f"{file.name}: how answers of {doc['task_name']} are read is not known") from None
            run.setdefault(doc["task_name"], {})[doc["id"]] = Answer(doc["query"], text, answer)
    return run


def agreement(first: Run, other: Run) -> dict[str, Agreement]:
    """Task -> agreement on the rows that both runs have. Raises UserError where those ask different things, or are none."""
    found: dict[str, Agreement] = {}
    for task in sorted(set(first) & set(other), key=place):
        pairs = [(answer, other[task][key]) for key, answer in first[task].items() if key in other[task]]
        if any(one.query != two.query for one, two in pairs):
            raise UserError(
                f"The two runs ask different things in {task}. Compare runs on the same dataset and few-shot number."
            )
        if pairs:
            same_text = sum(one.text == two.text for one, two in pairs)
            found[task] = Agreement(len(pairs), same_text, sum(one.parsed == two.parsed for one, two in pairs))
    if not found:
        raise UserError("The two runs have no row in common. Compare runs of the same tasks.")
    return found


def differing(first: Run, other: Run, most: int) -> list[tuple[str, str, str]]:
    """(task and row, one text, other text) of the first rows whose answers read differently."""
    shared = ((task, key) for task in sorted(set(first) & set(other), key=place) for key in first[task] if key in other[task])
    rows = ((f"{task} {key}", first[task][key], other[task][key]) for task, key in shared)
    return [(name, one.text, two.text) for name, one, two in rows if one.parsed != two.parsed][:most]


def print_table(found: dict[str, Agreement], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", title=title)
    for name in ("rows", "same text", "same answer"):
        table.add_column(name, justify="right")
    for task, counts in [*found.items(), ("all", total(found))]:
        shares = (counts.same_text / counts.rows, counts.same_answer / counts.rows)
        table.add_row(task, f"{counts.rows:,}", *(f"{share:.1%}" for share in shares))
    Console(width=None if Console().is_terminal else 140).print(table)


def total(found: dict[str, Agreement]) -> Agreement:
    return sum(found.values(), Agreement(0, 0, 0))


def run_names(given: str | None, folders: Sequence[Path]) -> list[str]:
    """A name for each run. Raises UserError where the names given are not as many."""
    names = given.split(",") if given else [str(folder) for folder in folders]
    if len(names) != len(folders):
        raise UserError(f"--names gives {len(names)} names for {len(folders)} --results; give one for each.")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--results", type=Path, action="append", required=True, metavar="DIR", help="lighteval's --output-dir; twice or more"
    )
    parser.add_argument("--names", metavar="A,B", help="names of the runs (default: their folders)")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="also print N rows that differ (default: none)")
    arguments = parser.parse_args()
    names = run_names(arguments.names, arguments.results)
    if len(names) < 2:
        raise UserError("There is nothing to compare. Give --results at least twice.")

    first, *others = map(read_run, arguments.results)
    figures = {}
    for name, run in zip(names[1:], others, strict=True):
        found = agreement(first, run)
        print_table(found, f"{names[0]} and {name}")
        for row, one, two in differing(first, run, arguments.show):
            print(f"{row}: {one!r} and {two!r}")
        figures[name] = {task: counts.figures() for task, counts in [*found.items(), ("all", total(found))]}
    print(json.dumps({"first": names[0], "others": figures}))


if __name__ == "__main__":
    with plain_errors():
        main()
