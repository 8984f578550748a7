"""A report as text: the table on the screen, report.md, and scores.json for other programs."""

from collections.abc import Sequence
from typing import Any

from dataset_builders.card import METRICS as SHOP_METRICS
from eval_tasks.reporting.notes import notes, summary
from eval_tasks.reporting.report import Report, ScoreCell, ScoreGain, ScoreLine, WordingLine
from eval_tasks.suites.suite import suite_title

NOTHING = "-"

NARROW = 2
"""Models up to which the table on the screen has all columns."""

WIDEST = 1000
"""Characters that a table on the screen may have."""

METRICS = {
    **SHOP_METRICS,
    "bleu": "BLEU",
    "jp-bleu": "BLEU of Japanese",
    "micro f1": "micro F1",
    "macro f1": "macro F1",
    "f1": "F1",
    "f1*": "F1 of attributes",
    "hr@1": "HR@1",
    "ndcg by place": "NDCG by place",
    "sent-transformer": "sentence similarity",
    "multilingual-sent-transformer": "multilingual similarity",
}
"""Metrics that a reader knows by another name."""


def metric_name(line: ScoreLine) -> str:
    return metric_words(line.metric)


def metric_words(metric: str) -> str:
    """What a reader calls a metric."""
    return METRICS.get(metric, metric.replace("_", " "))


def short_name(report: Report, line: ScoreLine) -> str:
    """A line's name. In a report of one suite, the suite's name before each task says nothing."""
    suites = {group.suite for group in report.groups}
    return line.name.partition(":")[2] or line.name if len(suites) == 1 else line.name


def group_name(report: Report, suite: str, family: str) -> str:
    shown = family.replace("_", " ")
    return shown if len({group.suite for group in report.groups}) == 1 else f"{suite_title(suite)}: {shown}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def score_interval(cell: ScoreCell | None) -> str:
    return "" if cell is None or cell.low is None or cell.high is None else f"{cell.low:.2f} to {cell.high:.2f}"


def gain_interval(gain: ScoreGain | None) -> str:
    return "" if gain is None or gain.low is None or gain.high is None else f"{gain.low:+.2f} to {gain.high:+.2f}"


def p_value(gain: ScoreGain | None) -> str:
    if gain is None or gain.p_value is None:
        return ""
    return "p < 0.001" if gain.p_value < 0.001 else f"p = {gain.p_value:.3f}"


def share(value: float | None) -> str:
    """A share in whole percent; what is more than none is not shown as 0 %."""
    if value is None:
        return NOTHING
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"


def header(report: Report) -> list[str]:
    gaining = list(report.names[1 : report.last + 1])
    gains = ["difference"] if len(gaining) == 1 else [f"{name} - {report.names[0]}" for name in gaining]
    return ["task", "metric", *report.names, *gains, "rows", "unparsable"]


def cells(report: Report, line: ScoreLine) -> list[tuple[str, str]]:
    """A line's cells as (text, small text)."""
    rows = dict.fromkeys(number_of_rows(cell) for cell in line.cells if cell)
    shares = [share(cell.unparsable if cell else None) for cell in line.cells[: report.last + 1]]
    return [
        (short_name(report, line), ""),
        (metric_name(line), ""),
        *((number(cell.value if cell else None), score_interval(cell)) for cell in line.cells),
        *(
            (signed(gain.value if gain else None), ", ".join(filter(None, (gain_interval(gain), p_value(gain)))))
            for gain in line.gains[1 : report.last + 1]
        ),
        (" / ".join(rows), ""),
        (" -> ".join(shares), ""),
    ]


def number_of_rows(cell: ScoreCell) -> str:
    return "?" if cell.rows is None else str(cell.rows)


def all_lines(report: Report) -> tuple[list[ScoreLine], list[ScoreLine]]:
    """The tasks' lines, and those of means over several, the last one over all tasks."""
    means = [
        ScoreLine(f"{group_name(report, group.suite, group.family)}, mean", "", group.mean.cells, group.mean.gains)
        for group in report.groups
        if len(group.lines) > 1
    ]
    return list(report.lines), [*means, *report.means, report.mean]


ABOUT_WORDINGS = (
    "Some of each task's rows were asked once more, in a wording that is never trained on. Scores in the trained and in the "
    "unseen wording are of the same rows."
)


def wording_header(report: Report) -> list[str]:
    return ["task", *report.names[: report.last + 1], "rows"]


def wording_cells(line: WordingLine) -> list[tuple[str, str]]:
    """A line's cells as (text, small text): trained -> unseen, and the difference with its interval."""
    rows = dict.fromkeys(str(cell.gain.rows) for cell in line.cells if cell)
    shown = [
        (f"{number(cell.seen)} -> {number(cell.unseen)}", f"{signed(cell.gain.value)}, {gain_interval(cell.gain)}")
        if cell
        else (NOTHING, "")
        for cell in line.cells
    ]
    return [(line.name.partition(":")[2] or line.name, ""), *shown, (" / ".join(rows), "")]


def print_report(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    gaining = report.names[1 : report.last + 1]
    narrow = len(report.models) > NARROW
    table.add_column("task", no_wrap=True)
    if not narrow:
        table.add_column("metric", no_wrap=True)
    for name in report.names:
        table.add_column(escape(name), justify="right", overflow="fold")
    for name in header(report)[-3:-2] if gaining else []:
        table.add_column(escape(name), justify="right", overflow="fold")
    if not narrow:
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("unparsable", justify="right", no_wrap=True)
    tasks, means = all_lines(report)
    for line in [*tasks, None, *means]:
        if line is None:
            table.add_section()
            continue
        task, metric, *texts = [escape(text) for text, _ in cells(report, line)]
        scores, gains, about = texts[: len(report.models)], texts[len(report.models) : -2], texts[-2:]
        for place, gain in enumerate(line.gains[1 : report.last + 1]):
            if gain and gain.clear:
                gains[place] = f"[{'green' if gain.value > 0 else 'red'}]{gains[place]}*[/]"
        shown = [task, *scores, *gains[-1:]] if narrow else [task, metric, *scores, *gains[-1:], *about]
        table.add_row(*shown, style="bold" if line is means[-1] else "")
    console = Console()
    needed = console.measure(table, options=console.options.update_width(WIDEST)).maximum
    Console(width=max(console.width, needed)).print(table)  # a figure is not broken over two lines
    star = "* Beyond chance: the 95 % interval does not reach zero, and p < 0.05." if gaining else ""
    for sentence in (star, summary(report), *notes(report)):
        if sentence:
            console.print(sentence, highlight=False, markup=False)
    if report.wordings:
        table = Table(*map(escape, wording_header(report)), box=SIMPLE_HEAD, pad_edge=False, title="Unseen wording")
        for wording in report.wordings:
            table.add_row(*(escape(f"{text} ({small})" if small else text) for text, small in wording_cells(wording)))
        needed = console.measure(table, options=console.options.update_width(WIDEST)).maximum
        Console(width=max(console.width, needed)).print(table)
        console.print(ABOUT_WORDINGS, highlight=False, markup=False)


def markdown(report: Report) -> str:
    """The table as report.md has it, with 95 % intervals in brackets."""
    titles = header(report)

    def shown(found: Sequence[tuple[str, str]]) -> list[str]:
        return [f"{text} ({small})" if small else text for text, small in found]

    tasks, means = all_lines(report)
    body = [shown(cells(report, line)) for line in tasks]
    body += [
        [f"**{text}**" + (f" ({small})" if small else "") if text else "" for text, small in cells(report, line)]
        for line in means
    ]
    table = _table([titles, ["---", "---", *["---:"] * (len(titles) - 2)], *body])
    about = "In brackets: 95 % intervals, and the p-value of a two-sided permutation test over the same rows."
    sentences = [sentence for sentence in (summary(report), about, *notes(report)) if sentence]
    parts = ["# Scores\n", table, *(f"{sentence}\n" for sentence in sentences), "![Scores](scores.png)\n"]
    if report.wordings:
        titles = wording_header(report)
        lines = [shown(wording_cells(line)) for line in report.wordings]
        parts += [
            "## Unseen wording\n",
            _table([titles, ["---", *["---:"] * (len(titles) - 1)], *lines]),
            f"{ABOUT_WORDINGS}\n",
        ]
    return "\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of Markdown, the titles and the line below them first."""
    return "".join(f"| {' | '.join(text.replace('|', '&#124;') for text in row)} |\n" for row in rows)


def as_json(report: Report) -> dict[str, Any]:
    """Unrounded figures for other programs; see scores.json. `difference` is the last model's that is no baseline.

    `lists`: how each model that was scored by likelihood had its lists scored, see LISTS of eval_tasks.backends.prompts.
    """

    def by_name(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(report.names, values, strict=True))

    def ends(cell: ScoreCell | ScoreGain | None) -> list[float] | None:
        return None if cell is None or cell.low is None or cell.high is None else [cell.low, cell.high]

    def figures(line: ScoreLine) -> dict[str, Any]:
        gain = line.gains[report.last]
        return {
            "rows": by_name([cell and cell.rows for cell in line.cells]),
            "scores": by_name([cell and cell.value for cell in line.cells]),
            "intervals": by_name([ends(cell) for cell in line.cells]),
            "unparsable": by_name([cell and cell.unparsable for cell in line.cells]),
            "difference": gain and gain.value,
            "differences": {
                name: {"value": gain.value, "interval": ends(gain), "p_value": gain.p_value, "rows": gain.rows}
                for name, gain in by_name(line.gains).items()
                if gain
            },
        }

    def of_task(line: ScoreLine, suite: str, family: str) -> dict[str, Any]:
        scores = [model.run.scores.get(line.name) for model in report.models]
        known = {"task": line.name, "suite": suite, "family": family, "metric": line.metric}
        return known | {"stderr": by_name([score and score.stderr for score in scores])} | figures(line)

    return {
        "names": list(report.names),
        "baselines": [model.name for model in report.models if model.run.baseline],
        "lists": {model.name: model.run.lists for model in report.models if model.run.answers == "scored"},
        "tasks": [of_task(line, group.suite, group.family) for group in report.groups for line in group.lines],
        "families": {group_name(report, group.suite, group.family): figures(group.mean)["scores"] for group in report.groups},
        "mean": figures(report.mean)["scores"],
        "means": {line.name: figures(line) for line in (*report.means, report.mean)},
        **({"unseen": [_wording(report, line) for line in report.wordings]} if report.wordings else {}),
        "notes": notes(report),
    }


def _wording(report: Report, line: WordingLine) -> dict[str, Any]:
    """Scores of the same rows in a trained and in the unseen wording, and their difference, by model."""
    models = {
        name: {
            "seen": cell.seen,
            "unseen": cell.unseen,
            "difference": cell.gain.value,
            "interval": [cell.gain.low, cell.gain.high],
            "p_value": cell.gain.p_value,
            "rows": cell.gain.rows,
        }
        for name, cell in zip(report.names, line.cells, strict=False)
        if cell
    }
    return {"task": line.name, "metric": line.metric, "models": models}
