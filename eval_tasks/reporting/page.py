"""The report as one self-contained HTML page: no script, style, font or picture from anywhere else.

The page's own script and style are allowed by their hashes and nothing else is (Content-Security-Policy), so that text of
products and models, which is escaped anyway, could not run or fetch anything either.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_tasks.reporting.examples import ReportExamples, as_data
from eval_tasks.reporting.notes import notes, summary
from eval_tasks.reporting.plot import COLOURS, Axis, gain_axis, rows_of, score_axis, tick_label
from eval_tasks.reporting.report import EvaluatedModel, Report, ScoreCell, ScoreGain, ScoreLine, WordingLine
from eval_tasks.reporting.results import shown_time
from eval_tasks.reporting.table import (
    ABOUT_WORDINGS,
    gain_interval,
    group_name,
    metric_name,
    metric_words,
    number,
    number_of_rows,
    p_value,
    score_interval,
    share,
    short_name,
    signed,
)
from eval_tasks.suites.suite import task_title

FOLDER = Path(__file__).parent
STACKED = 4
"""Models from which on a cell of the table has its figures below one another."""

MARGIN = 2.0
"""Percent of a lane's width on either side of its axis, so that no mark is cut off."""

LANE = 13
"""Height in pixels of a model's lane where each has its own; two share one of ALONE."""

ALONE = 30


def write_page(report: Report, examples: ReportExamples, seed: int, path: Path) -> None:
    path.write_bytes(render(report, examples, seed))


def render(report: Report, examples: ReportExamples, seed: int) -> bytes:
    """The page in UTF-8; the same for the same report, examples and seed."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    data = json.dumps(as_data(report, examples), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    context = {
        "report": report,
        "title": _title(report),
        "summary": summary(report),
        "notes": notes(report),
        "models": [_model(model, place) for place, model in enumerate(report.models)],
        "plot": _plot(report),
        "table": _table(report),
        "wordings": [_wording(line) for line in report.wordings],
        "about_wordings": ABOUT_WORDINGS,
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


def _model(model: EvaluatedModel, place: int) -> dict[str, Any]:
    return {
        "name": model.name,
        "baseline": model.run.baseline,
        "colour": _colour(place),
        "called": model.run.model,
        "times": list(map(shown_time, model.run.times)),
        "answers": sum(map(len, model.answers.values())),
    }


def _colour(place: int) -> str:
    """A class of page.css."""
    return f"m{place % len(COLOURS)}"


# --- The picture ---


def _plot(report: Report) -> dict[str, Any]:
    scores, gains = score_axis(report), gain_axis(report)
    lanes = 1 if report.last < 2 else report.last + 1
    rows = []
    for row in rows_of(report):
        shown: dict[str, Any] = {"label": row.label, "metrics": row.metrics, "mean": row.mean, "line": row.line is not None}
        if row.line is not None:
            shown |= _lanes(report, row.line, scores, gains, lanes)
        rows.append(shown)
    return {
        "rows": rows,
        "height": ALONE if lanes == 1 else LANE * lanes + 10,
        "score_ticks": _ticks(scores),
        "gain_ticks": _ticks(gains, signed=True),
        "zero": _place(gains, 0.0),
        "start": MARGIN,
        "gaining": report.last > 0,
        "figures": report.last < 2,
    }


def _lanes(report: Report, line: ScoreLine, scores: Axis, gains: Axis, lanes: int) -> dict[str, Any]:
    """Where the marks of a line stand."""

    def heights(place: int) -> float:
        return ALONE / 2 if lanes == 1 else 5 + LANE * (place + 0.5)

    best = report.best_baseline(line)
    contestants = [(place, cell) for place, cell in enumerate(line.cells[: report.last + 1]) if cell]
    gaining = [(place, gain) for place, gain in enumerate(line.gains[: report.last + 1]) if gain]
    last = line.gains[report.last]
    return {
        "marks": [
            _mark(scores, cell, heights(place), _colour(place), place == 0 and report.last > 0)
            | {"about": f"{report.names[place]}: {number(cell.value)} ({score_interval(cell) or 'no interval'})"}
            for place, cell in contestants
        ],
        "gains": [
            _mark(gains, gain, heights(place), _colour(place) if lanes > 1 else _verdict(gain), not gain.clear)
            | {"about": f"{report.names[place]}: {signed(gain.value)} ({gain_interval(gain) or 'no interval'})"}
            for place, gain in gaining
        ],
        "joined": len(contestants) == 2 and report.last == 1,
        "floor": None if best is None else _place(scores, best) - MARGIN,
        "baselines": [
            {"x": _place(scores, cell.value), "about": f"{report.names[place]}: {number(cell.value)}"}
            for place, cell in enumerate(line.cells)
            if place > report.last and cell
        ],
        "gain": _gain(last) if report.last == 1 else None,
        "value": number(contestants[0][1].value) if report.last == 0 and contestants else None,
    }


def _mark(axis: Axis, cell: ScoreCell | ScoreGain, y: float, colour: str, hollow: bool) -> dict[str, Any]:
    ends = None if cell.low is None or cell.high is None else (_place(axis, cell.low), _place(axis, cell.high))
    return {"x": _place(axis, cell.value), "ends": ends, "y": y, "colour": colour, "hollow": hollow}


def _place(axis: Axis, value: float) -> float:
    """Percent of a lane's width."""
    return round(MARGIN + (100 - 2 * MARGIN) * axis.place(value), 3)


def _ticks(axis: Axis, signed: bool = False) -> list[tuple[float, str]]:
    return [(_place(axis, tick), tick_label(tick, signed)) for tick in axis.ticks]


def _verdict(gain: ScoreGain) -> str:
    """A class of page.css."""
    if not gain.clear:
        return "unclear"
    return "better" if gain.value > 0 else "worse"


# --- The table ---


def _table(report: Report) -> Mapping[str, Any]:
    groups = []
    for group in report.groups:
        lines = [_line(report, line) for line in group.lines]
        if len(group.lines) > 1 and any(group.mean.cells):
            lines.append(_line(report, group.mean) | {"title": "mean"})
        groups.append({"name": group_name(report, group.suite, group.family), "lines": lines})
    means = [_line(report, line) for line in (*report.means, report.mean)]
    return {"stacked": len(report.models) >= STACKED, "groups": [*groups, {"name": "means over tasks", "lines": means}]}


def _line(report: Report, line: ScoreLine) -> dict[str, Any]:
    rows = " / ".join(dict.fromkeys(number_of_rows(cell) for cell in line.cells if cell))
    values = [cell.value for cell in line.cells[: report.last + 1] if cell]
    best = max(values) if len(set(values)) > 1 else None
    return {
        "task": line.name if line.metric else "",
        "title": task_title(line.name) if line.metric else line.name,
        "name": short_name(report, line),
        "about": ", ".join(filter(None, (metric_name(line), f"{rows} {'row' if rows == '1' else 'rows'}" if rows else ""))),
        "cells": [
            None
            if cell is None
            else {
                "score": number(cell.value),
                "interval": score_interval(cell),
                "best": cell.value == best and place <= report.last,
                "unreadable": share(cell.unparsable) if cell.unparsable else "",
                "gain": _gain(gain),
            }
            for place, (cell, gain) in enumerate(zip(line.cells, line.gains, strict=True))
        ],
    }


def _wording(line: WordingLine) -> dict[str, Any]:
    rows = " / ".join(dict.fromkeys(str(cell.gain.rows) for cell in line.cells if cell))
    return {
        "title": task_title(line.name) if line.metric else line.name,
        "name": line.name,
        "about": ", ".join(filter(None, (metric_words(line.metric), f"{rows} rows"))),
        "cells": [
            cell and {"seen": number(cell.seen), "unseen": number(cell.unseen), "gain": _gain(cell.gain)} for cell in line.cells
        ],
    }


def _gain(gain: ScoreGain | None) -> dict[str, str] | None:
    if gain is None:
        return None
    return {
        "value": signed(gain.value),
        "interval": gain_interval(gain),
        "p": p_value(gain),
        "verdict": _verdict(gain),
    }
