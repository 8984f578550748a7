"""What lighteval measured of several models, beside each other: scores with intervals, means, and the answers behind them.

`python -m eval_tasks.report --results BASE --results TUNED --names base,tuned --out DIR` prints a table and writes report.html
(one page: table, picture, answers), report.md, scores.json and scores.png. Intervals and answers need runs of lighteval with
--save-details.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, plain_errors

FILES = ("report.html", "report.md", "scores.json", "scores.png")
CASES = 2000
"""Rows whose answers are in report.html, unless --cases says otherwise."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--results",
        type=Path,
        action="append",
        required=True,
        help="a results_*.json of lighteval, or a folder: its newest ones; once for each model, the one to compare with first",
    )
    parser.add_argument("--names", help="names of the models, separated by commas (default: those of the folders)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {', '.join(FILES)}")
    parser.add_argument(
        "--cases", type=int, default=CASES, metavar="N", help="rows whose answers are in report.html (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the intervals' draws and of the rows that are shown")
    return parser.parse_args(argv)


def model_names(option: str, count: int) -> list[str]:
    """The names that --names gives."""
    names = [name.strip() for name in option.split(",")]
    if len(names) != count or len(set(names)) != count or not all(names):
        raise UserError(f"--names has {option!r} for {count} --results; give {count} different names, separated by commas")
    return names


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.cases < 0:
        raise UserError(f"--cases is {arguments.cases}; give 0 or more")

    from common.answers import whole_characters
    from eval_tasks.reporting.comparison import Model, make_report
    from eval_tasks.reporting.details import by_row, read_details
    from eval_tasks.reporting.results import names_of, read_run
    from eval_tasks.reporting.table import print_report

    if arguments.out:
        _make(arguments.out)
    runs = [read_run(path) for path in arguments.results]
    names = names_of(arguments.results, runs) if arguments.names is None else model_names(arguments.names, len(runs))
    models = [
        Model(whole_characters(name), run, {task: by_row(answers) for task, answers in read_details(path).items()})
        for name, run, path in zip(names, runs, arguments.results, strict=True)
    ]
    report = make_report(models, arguments.seed, _progress)
    if arguments.out:
        _write(report, arguments)
    print_report(report)
    if arguments.out:
        print(f"written: {', '.join(FILES)} in {arguments.out}")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); give another --out") from None


def _progress(items: Sequence[Any], description: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description, console=console, transient=True, disable=not console.is_terminal)


def _write(report: Any, arguments: argparse.Namespace) -> None:
    from common.files import write_json, write_whole
    from eval_tasks.reporting.examples import draw
    from eval_tasks.reporting.page import write_page
    from eval_tasks.reporting.plot import write_plot
    from eval_tasks.reporting.table import as_json, markdown

    out = arguments.out
    cases = draw(report, arguments.cases, arguments.seed)
    write_whole(out / "report.html", lambda path: write_page(report, cases, arguments.seed, path))
    write_whole(out / "report.md", lambda path: path.write_text(markdown(report), encoding="utf-8"))
    write_json(out / "scores.json", as_json(report))
    write_whole(out / "scores.png", lambda path: write_plot(report, path))


if __name__ == "__main__":
    with plain_errors():
        main()
