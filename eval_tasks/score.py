"""Scores a file of model outputs as the official ShopBench scorer does."""

import argparse
import sys
from pathlib import Path
from typing import Any

from common.errors import UserError, plain_errors
from common.files import write_json


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.score", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ShopBench rows, JSON lines or a JSON array")
    parser.add_argument("--outputs", type=Path, required=True, help='one {"output": "..."} a line, in the order of the rows')
    parser.add_argument("--json", type=Path, help="file to write the scores to; without it they are only printed")
    parser.add_argument(
        "--sentence-model",
        help="folder or Hub id of the model for sent-transformer (default: $SENTENCE_MODEL, the packaged all-MiniLM-L6-v2, "
        "or sentence-transformers/all-MiniLM-L6-v2 from the Hub)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)

    from eval_tasks.suites.shopbench_rows import read_outputs, read_rows
    from eval_tasks.suites.shopbench_scoring import score

    if arguments.json and not arguments.json.resolve().parent.is_dir():
        raise UserError(f"{arguments.json}: its folder does not exist; create it or name another file")
    rows, outputs = read_rows(arguments.data), read_outputs(arguments.outputs)
    result = score(rows, outputs, arguments.sentence_model)
    for name, task in result["tasks"].items():
        if task["score"] is None:
            print(f"warning: {name} is not scored and not part of the overall score: {task['reason']}", file=sys.stderr)
    if arguments.json:
        write_json(arguments.json, result)
    print_scores(result)


def print_scores(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "metric", show_footer=True)
    table.columns[0].footer = "overall"
    table.add_column("rows", str(len(result["samples"])), justify="right")
    table.add_column("score", _shown(result["overall"]), justify="right")
    table.add_column("unreadable", justify="right")
    for name, task in result["tasks"].items():
        unreadable = "" if task["unparsable"] is None else f"{100 * task['unparsable']:.0f} %"
        table.add_row(name, task["metric"], str(task["num_samples"]), _shown(task["score"]), unreadable)
    Console().print(table)


def _shown(score: float | None) -> str:
    return "not scored" if score is None else f"{score:.4f}"


if __name__ == "__main__":
    with plain_errors():
        main()
