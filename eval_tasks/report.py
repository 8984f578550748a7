"""Compares what lighteval measured of several models: scores with confidence intervals, means, and the answers behind them.

`python -m eval_tasks.report --results BASE --results TUNED --names base,tuned --out DIR` prints a table and writes report.html
(one page: table, picture, answers), report.md, scores.json and scores.png. Intervals and answers need runs of lighteval with
--save-details.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, plain_errors

if TYPE_CHECKING:
    from eval_tasks.reporting.report import Report

FILES = ("report.html", "report.md", "scores.json", "scores.png")
EXAMPLES = 2000
"""Default number of rows whose answers are in report.html."""


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--results",
        type=Path,
        action="append",
        required=True,
        help="a results_*.json of lighteval, or a folder: its newest ones; once for each model, the one to compare with first",
    )
    parser.add_argument(
        "--names", metavar="A,B", help="names of the models, separated by commas (default: those of the folders)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {', '.join(FILES)} (default: only print)")
    parser.add_argument(
        "--examples",
        "--cases",
        type=int,
        default=EXAMPLES,
        metavar="N",
        help="rows whose answers are in report.html (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the bootstrap and of the rows in report.html (default: %(default)s)"
    )
    return parser.parse_args(argv)


def model_names(option: str, count: int) -> list[str]:
    """The names that --names gives."""
    names = [name.strip() for name in option.split(",")]
    if len(names) != count or len(set(names)) != count or not all(names):
        raise UserError(f"--names has {option!r} for {count} models; give {count} different names, separated by commas")
    return names


def compare(
    results: Sequence[Path],
    names: Sequence[str] | None = None,
    out: Path | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> "Report":
    """Prints the comparison of these runs, the reference first, and with `out` writes FILES. Raises UserError.

    `names` of the models are by default those of the folders. `examples`: rows whose answers are in report.html.
    """
    from common.answers import whole_characters
    from eval_tasks.reporting.comparison import make_report
    from eval_tasks.reporting.details import by_row, read_details
    from eval_tasks.reporting.report import EvaluatedModel
    from eval_tasks.reporting.results import names_of, read_run
    from eval_tasks.reporting.table import print_report

    if out:
        _make(out)
    runs = [read_run(path) for path in results]
    models = [
        EvaluatedModel(whole_characters(name), run, {task: by_row(answers) for task, answers in read_details(path).items()})
        for name, run, path in zip(names or names_of(results, runs), runs, results, strict=True)
    ]
    report = make_report(models, seed, _progress)
    if out:
        _write(report, out, examples, seed)
    print_report(report)
    if out:
        print(f"written: {', '.join(FILES)} in {out}")
    return report


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


def _write(report: "Report", out: Path, examples: int, seed: int) -> None:
    from common.files import write_json, write_whole
    from eval_tasks.reporting.examples import draw
    from eval_tasks.reporting.page import render
    from eval_tasks.reporting.plot import write_plot
    from eval_tasks.reporting.table import as_json, markdown

    write_whole(out / "report.md", lambda path: path.write_text(markdown(report), encoding="utf-8"))
    write_json(out / "scores.json", as_json(report))
    write_whole(out / "scores.png", lambda path: write_plot(report, path))
    page = render(report, draw(report, examples, seed), seed, (out / "scores.png").read_bytes())
    write_whole(out / "report.html", lambda path: path.write_bytes(page))


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.examples < 0:
        raise UserError(f"--examples must be 0 or more, not {arguments.examples}")
    names = None if arguments.names is None else model_names(arguments.names, len(arguments.results))
    compare(arguments.results, names, arguments.out, arguments.examples, arguments.seed)


if __name__ == "__main__":
    with plain_errors():
        main()
