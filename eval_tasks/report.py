"""One table of what lighteval measured: a score for each task and model, means over families and over all tasks.

`python -m eval_tasks.report --results BASE --results TUNED --names base,tuned --out DIR` also writes report.md, scores.json and
scores.png.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.errors import UserError, plain_errors
from dataset_builders.tasks import FAMILIES, TASKS

SHOPBENCH_TRACKS = (
    ("concepts", range(1, 8)),
    ("reasoning", range(8, 11)),
    ("behavior", range(11, 16)),
    ("languages", range(16, 19)),
)
"""ShopBench's four tracks by the numbers of their tasks."""


@dataclass(frozen=True)
class Score:
    """One task of one results file. `rows` is None where the file does not tell; `version` stands for the rows themselves."""

    family: str
    metric: str
    value: float
    stderr: float | None
    unparsable: float | None
    rows: int | None
    version: int | None


Run = dict[str, Score]
"""Task name -> score."""


@dataclass(frozen=True)
class Line:
    """A line of the report: values, one for each model (None: not measured)."""

    name: str
    values: tuple[float | None, ...]

    @property
    def difference(self) -> float | None:
        """What the last model gains on the first."""
        first, last = self.values[0], self.values[-1]
        return None if len(self.values) < 2 or first is None or last is None else last - first


@dataclass(frozen=True)
class Report:
    """Means are over the tasks that every model was scored on."""

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    families: tuple[tuple[str, tuple[Line, ...], Line], ...]
    mean: Line
    notes: tuple[str, ...]


def results_file(path: Path) -> Path:
    """The path itself, or the newest of lighteval's results in a folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; give lighteval's --output-dir or one results_*.json")
    # The name ends with the time of the run, which a copied file keeps.
    files = sorted(path.rglob("results_*.json"), key=lambda file: file.name)
    if not files:
        raise UserError(f"{path}: holds no results_*.json; run lighteval with --output-dir {path}")
    return files[-1]


def read_run(path: Path) -> Run:
    """The scores of one of lighteval's results files."""
    file = results_file(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        results, configs = content["results"], content.get("config_tasks", {})
        limit = content.get("config_general", {}).get("max_samples")
        scores = {
            name: score
            for key, values in results.items()
            if (score := _read_score(name := key.split("|")[0], values, configs.get(key, {}), limit))
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: is no results file of lighteval ({type(error).__name__}: {error})") from None
    if not scores:
        raise UserError(f"{file}: has no score of a shop: or shopbench: task")
    return scores


def _read_score(name: str, values: dict[str, float], config: dict[str, Any], limit: int | None) -> Score | None:
    suite, _, task = name.partition(":")
    if suite == "shop" and task in TASKS:
        family, key, metric = str(TASKS[task].family), TASKS[task].metric, TASKS[task].metric
    elif suite == "shopbench" and task != "_average":
        family, key = _track(task), "score"
        found = re.search(r"metric=([^)]*)", json.dumps(config.get("metrics", [])))
        metric = found.group(1) if found else "score"
    else:
        return None
    if key not in values:
        return None
    rows = config.get("original_num_docs", -1)
    return Score(
        family=family,
        metric=metric,
        value=values[key],
        stderr=values.get(f"{key}_stderr"),
        unparsable=values.get("unparsable"),
        rows=min(rows, limit or rows) if rows > 0 else None,
        version=config.get("version"),
    )


def _track(task: str) -> str:
    number = int(task[4:]) if re.fullmatch(r"task\d+", task) else 0
    return next((track for track, numbers in SHOPBENCH_TRACKS if number in numbers), "other")


def make_report(names: Sequence[str], runs: Sequence[Run]) -> Report:
    """Lines by family, in the order of the tasks' declaration."""
    tasks = sorted({task for run in runs for task in run}, key=_place)
    shared = [task for task in tasks if all(task in run for run in runs)]
    family_of = {task: run[task].family for run in runs for task in run}

    def line(task: str) -> Line:
        return Line(task, tuple(run[task].value if task in run else None for run in runs))

    def mean(label: str, members: Sequence[str]) -> Line:
        if not members:
            return Line(label, (None,) * len(runs))
        return Line(label, tuple(sum(run[task].value for task in members) / len(members) for run in runs))

    families = []
    for family in dict.fromkeys(family_of[task] for task in tasks):
        own = [task for task in tasks if family_of[task] == family]
        families.append((family, tuple(map(line, own)), mean(family, [task for task in own if task in shared])))
    return Report(tuple(names), tuple(runs), tuple(families), mean("all tasks", shared), _notes(tasks, shared, runs))


def _place(task: str) -> tuple[int, int, str]:
    suite, _, name = task.partition(":")
    if suite == "shop":
        return 0, FAMILIES.index(TASKS[name].family) * len(TASKS) + list(TASKS).index(name), ""
    number = re.fullmatch(r"task(\d+)", name)
    return 1, int(number.group(1)) if number else sys.maxsize, name


def _notes(tasks: Sequence[str], shared: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """What a reader must know before comparing the columns."""
    notes = []
    if lone := [task for task in tasks if task not in shared]:
        notes.append(f"Not scored for every model, and in no mean: {', '.join(lone)}.")
    if other := [task for task in shared if len({(run[task].version, run[task].rows) for run in runs}) > 1]:
        notes.append(f"Scored on different rows, so not comparable: {', '.join(other)}.")
    return tuple(notes)


def summary(report: Report) -> str:
    """Whether the last model beats the first, in one sentence."""
    if len(report.names) < 2 or report.mean.difference is None:
        return ""
    compared = [mean for _, _, mean in report.families if mean.difference is not None]
    won = sum(1 for mean in compared if (mean.difference or 0) > 0)
    first, last = report.mean.values[0], report.mean.values[-1]
    return (
        f"{report.names[-1]} beats {report.names[0]} on {won} of {len(compared)} families; "
        f"mean over tasks {_number(first)} -> {_number(last)} ({_signed(report.mean.difference)})."
    )


# --- Shown ---


def header(report: Report) -> list[str]:
    return ["task", "metric", *report.names, *(["difference"] if len(report.names) > 1 else []), "rows", "unparsable"]


def cells(report: Report, line: Line) -> list[str]:
    """A line's cells; a mean has no metric, no rows and no share of unparsable answers."""
    scores = [run[line.name] for run in report.runs if line.name in run]
    rows = dict.fromkeys("?" if score.rows is None else str(score.rows) for score in scores)
    shares = ["-" if score.unparsable is None else f"{score.unparsable:.0%}" for score in scores]
    difference = [_signed(line.difference)] if len(report.names) > 1 else []
    metric = scores[0].metric if scores else ""
    # In a report of one suite its name before each task says nothing.
    task = line.name.partition(":")[2] if len({name.partition(":")[0] for run in report.runs for name in run}) == 1 else ""
    return [task or line.name, metric, *map(_number, line.values), *difference, " / ".join(rows), " -> ".join(shares)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def print_report(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*header(report)[:2], box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    for title in header(report)[2:]:
        table.add_column(title, justify="right", no_wrap=True)
    for _, lines, _ in report.families:
        for line in lines:
            table.add_row(*_coloured(report, line))
        table.add_section()
    for _, _, mean in report.families:
        table.add_row(*_coloured(report, mean))
    table.add_section()
    table.add_row(*_coloured(report, report.mean), style="bold")
    console = Console()
    console.print(table)
    for sentence in (summary(report), *report.notes):
        if sentence:
            console.print(sentence, highlight=False)


def _coloured(report: Report, line: Line) -> list[str]:
    shown = [cell.replace("[", r"\[") for cell in cells(report, line)]
    if line.difference:
        place = header(report).index("difference")
        shown[place] = f"[{'green' if line.difference > 0 else 'red'}]{shown[place]}[/]"
    return shown


def markdown(report: Report) -> str:
    """The table as report.md has it."""
    titles = header(report)
    rows = [cells(report, line) for _, lines, _ in report.families for line in lines]
    rows += [[f"**{cell}**" if cell else "" for cell in cells(report, mean)] for _, _, mean in report.families]
    rows.append([f"**{cell}**" if cell else "" for cell in cells(report, report.mean)])
    lines = [titles, ["---", "---", *["---:"] * (len(titles) - 2)], *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    sentences = [sentence for sentence in (summary(report), *report.notes) if sentence]
    return "\n".join(["# Scores\n", table, *(f"{sentence}\n" for sentence in sentences), "![Scores](scores.png)\n"])


def as_json(report: Report) -> dict[str, Any]:
    """Unrounded figures for other programs; see scores.json."""

    def by_name(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(report.names, values, strict=True))

    def of_task(line: Line) -> dict[str, Any]:
        scores = [run.get(line.name) for run in report.runs]
        known = next(score for score in scores if score)
        return {
            "task": line.name,
            "family": known.family,
            "metric": known.metric,
            "rows": by_name([score and score.rows for score in scores]),
            "scores": by_name(line.values),
            "stderr": by_name([score and score.stderr for score in scores]),
            "unparsable": by_name([score and score.unparsable for score in scores]),
            "difference": line.difference,
        }

    return {
        "names": list(report.names),
        "tasks": [of_task(line) for _, lines, _ in report.families for line in lines],
        "families": {name: by_name(mean.values) for name, _, mean in report.families},
        "mean": by_name(report.mean.values),
        "notes": list(report.notes),
    }


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--results",
        type=Path,
        action="append",
        required=True,
        help="a results_*.json of lighteval, or a folder: its newest one; once for each model",
    )
    parser.add_argument("--names", help="names of the models, separated by commas (default: base,tuned, or model1,model2,...)")
    parser.add_argument("--out", type=Path, help="folder for report.md, scores.json and scores.png")
    return parser.parse_args(argv)


def model_names(option: str | None, count: int) -> list[str]:
    """The names that --names gives, or their defaults."""
    if option is None:
        return ["base", "tuned"] if count == 2 else [f"model{number}" for number in range(1, count + 1)]
    names = [name.strip() for name in option.split(",")]
    if len(names) != count or len(set(names)) != count or not all(names):
        raise UserError(f"--names has {option!r} for {count} --results; give {count} different names, separated by commas")
    return names


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    names = model_names(arguments.names, len(arguments.results))
    report = make_report(names, [read_run(path) for path in arguments.results])
    if arguments.out:
        from eval_tasks.plot import write_plot
        from eval_tasks.score import write_json, write_whole

        try:
            arguments.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{arguments.out}: cannot be made ({error.strerror}); give another --out") from None
        write_whole(arguments.out / "report.md", lambda path: path.write_text(markdown(report), encoding="utf-8"))
        write_json(arguments.out / "scores.json", as_json(report))
        write_whole(arguments.out / "scores.png", lambda path: write_plot(report, path))
    print_report(report)
    if arguments.out:
        print(f"written: report.md, scores.json, scores.png in {arguments.out}")


if __name__ == "__main__":
    with plain_errors():
        main()
