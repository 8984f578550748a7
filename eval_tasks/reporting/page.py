"""The report as one self-contained HTML page: no script, style, font or picture from anywhere else.

The page's own script and style are allowed by their hashes and nothing else is (Content-Security-Policy), so that text of
products and models, which is escaped anyway, could not run or fetch anything either.
"""

import base64
import hashlib
import json
from functools import partial
from pathlib import Path

from eval_tasks.reporting import table
from eval_tasks.reporting.examples import ReportExamples, as_data
from eval_tasks.reporting.notes import notes, summary
from eval_tasks.reporting.plot import COLOURS
from eval_tasks.reporting.report import Report, ScoreCell, ScoreGain, ScoreLine, WordingLine
from eval_tasks.reporting.results import shown_time
from eval_tasks.suites.suite import task_title

FOLDER = Path(__file__).parent
STACKED = 4
"""Models from which on a cell of the table has its figures below one another."""


def render(report: Report, examples: ReportExamples, seed: int, picture: bytes) -> bytes:
    """The page in UTF-8; the same for the same report, examples and seed. `picture`: the report's scores as PNG."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"about": _about, "best": partial(_best, report), "verdict": _verdict, "time": shown_time}
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    data = json.dumps(as_data(report, examples), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    context = {
        "report": report,
        "title": _title(report),
        "summary": summary(report),
        "notes": notes(report),
        "picture": base64.b64encode(picture).decode(),
        "colours": [f"m{place % len(COLOURS)}" for place in range(len(report.models))],  # classes of page.css
        "table": table,
        "stacked": len(report.models) >= STACKED,
        "groups": _groups(report),
        "wordings": [(_line_title(line), line) for line in report.wordings],
        "examples": examples,
        "seed": seed,
        "style": style,
        "script": script,
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        # Nothing in a script element is an entity; what would end the element, or begin a comment in it, is escaped for JSON.
        "data": data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
    }
    page = environment.get_template("page.html.j2").render(context, size="SIZE_OF_THE_PAGE")
    encoded = page.encode("utf-8", errors="replace")
    return encoded.replace(b"SIZE_OF_THE_PAGE", _size(len(encoded)).encode(), 1)


def _title(report: Report) -> str:
    names = report.names[: report.last + 1]
    if len(names) > 2:
        return f"{len(names)} models beside each other"
    return f"{names[1]} beside {names[0]}" if len(names) == 2 else f"Scores of {names[0]}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def _groups(report: Report) -> list[tuple[str, list[tuple[str, ScoreLine]]]]:
    """The table's headings with their lines, each under its title; the last are the means over tasks."""
    groups = []
    for group in report.groups:
        lines = [(_line_title(line), line) for line in group.lines]
        if len(group.lines) > 1 and any(group.mean.cells):
            lines.append(("mean", group.mean))
        groups.append((table.group_name(report, group.suite, group.family), lines))
    return [*groups, ("means over tasks", [(_line_title(line), line) for line in (*report.means, report.mean)])]


def _line_title(line: ScoreLine | WordingLine) -> str:
    return task_title(line.name) if line.metric else line.name


def _about(line: ScoreLine | WordingLine) -> str:
    """A line's metric and its number of rows."""
    counts = [table.number_of_rows(cell) if isinstance(cell, ScoreCell) else str(cell.gain.rows) for cell in line.cells if cell]
    rows = " / ".join(dict.fromkeys(counts))
    return ", ".join(filter(None, (table.metric_words(line.metric), rows and f"{rows} {'row' if rows == '1' else 'rows'}")))


def _best(report: Report, line: ScoreLine) -> float | None:
    """The highest score of a line, where models differ."""
    values = {cell.value for cell in line.cells[: report.last + 1] if cell}
    return max(values) if len(values) > 1 else None


def _verdict(gain: ScoreGain) -> str:
    """A class of page.css."""
    if not gain.clear:
        return "unclear"
    return "better" if gain.value > 0 else "worse"
