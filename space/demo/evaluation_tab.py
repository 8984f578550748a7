"""The Evaluation view: scores with their intervals, and the picture of the report that `python -m eval_tasks.report` wrote.

`python -m space.publish --results DIR` puts the report's scores.json and scores.png beside this file.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.tasks import TASKS

from .html import hint, text

ROOT = Path(__file__).parents[1]
"""The Space's folder."""
SCORES, PICTURE = "evaluation.json", "evaluation.png"

METRICS = {"ndcg": "NDCG", "rougel": "ROUGE-L", "bleu": "BLEU"}
"""Metrics that a reader knows by another name."""

MISSING = (
    "No evaluation came with this page. In the project's repository, python -m eval_tasks.run makes one, and "
    "python -m space.publish --results DIR brings it here."
)
ABOUT = (
    "Held-out rows that no model was trained on, the same prompts and greedy decoding for all. The small figures are 95 % "
    "intervals; a difference in colour is beyond chance. The grey columns are baselines that need no language model."
)


@dataclass(frozen=True)
class Figure:
    """A score from 0 to 1, or a difference of two, with its 95 % interval where one is known."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool:
        """Whether a difference is beyond chance."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Line:
    """One line of the table: figures by model, the share of answers that could not be read, and the gain on the first model."""

    title: str
    metric: str
    rows: int | None
    scores: dict[str, Figure | None]
    unreadable: dict[str, float | None]
    gain: Figure | None


@dataclass(frozen=True)
class Evaluation:
    """`models` are the first one, those compared with it, and then the `baselines`; of several lines the last is the mean."""

    models: tuple[str, ...]
    baselines: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def contestants(self) -> tuple[str, ...]:
        return tuple(name for name in self.models if name not in self.baselines)


def read_evaluation(path: Path) -> Evaluation:
    """A report's scores.json. Raises OSError where it cannot be read, ValueError where it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(map(str, report["names"]))
        lines = [_line(task, _title(task["task"]), names) for task in report["tasks"]]
        mean = list(report["means"].values())[-1]
        if len(lines) > 1:
            lines.append(_line(mean, "Mean over tasks", names))
        return Evaluation(names, tuple(report["baselines"]), tuple(lines), tuple(map(str, report["notes"])))
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is no scores.json of a report") from error


def _line(found: dict[str, Any], title: str, names: tuple[str, ...]) -> Line:
    rows = [count for count in found["rows"].values() if count is not None]
    differences = list(found["differences"].values())
    return Line(
        title,
        METRICS.get(metric := found.get("metric", ""), metric.replace("_", " ")),
        max(rows, default=None),
        {name: _figure(found["scores"].get(name), found["intervals"].get(name)) for name in names},
        {name: found["unparsable"].get(name) for name in names},
        _figure(differences[-1]["value"], differences[-1]["interval"]) if differences else None,
    )


def _figure(value: float | None, interval: list[float] | None) -> Figure | None:
    return None if value is None else Figure(float(value), *map(float, interval or ()))


def _title(task: str) -> str:
    suite, _, name = task.partition(":")
    return TASKS[name].title if suite == "shop" and name in TASKS else name.replace("_", " ") or task


def page(folder: Path = ROOT) -> str:
    """The view as HTML. The picture is part of it: the page gives out no file."""
    try:
        evaluation = read_evaluation(folder / SCORES)
    except (OSError, ValueError):
        return hint(MISSING)
    picture = folder / PICTURE
    return "".join(
        (
            f"<h2>Scores</h2><p>{text(ABOUT)}</p>",
            table(evaluation),
            _picture(picture.read_bytes(), evaluation) if picture.exists() else "",
            "".join(map(hint, evaluation.notes)),
        )
    )


def _picture(png: bytes, evaluation: Evaluation) -> str:
    told = f"Scores of {', '.join(evaluation.models)} by task with 95 % intervals; the same figures as in the table."
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Picture of the scores"><img class="plot" alt="{text(told)}" '
        f'src="data:image/png;base64,{b64encode(png).decode()}"></div>'
    )


def table(evaluation: Evaluation) -> str:
    gaining = len(evaluation.contestants) > 1
    columns = [(name, "") for name in evaluation.contestants]
    columns += [("difference", "")] * gaining + [(name, "baseline") for name in evaluation.baselines] + [("rows", "")]
    heads = "".join(f'<th scope="col" class="{kind}">{text(name)}</th>' for name, kind in columns)
    body = "".join(_row(line, evaluation, gaining) for line in evaluation.lines)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table of the scores"><table class="scores">'
        f'<thead><tr><th scope="col">task</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(line: Line, evaluation: Evaluation, gaining: bool) -> str:
    mean = ' class="mean"' if not line.metric else ""
    metric = f"<small>{text(line.metric)}</small>" if line.metric else ""
    cells = [_cell(line.scores[name], line.unreadable[name]) for name in evaluation.contestants]
    cells += [_gain(line.gain)] if gaining else []
    cells += [_cell(line.scores[name], None, "baseline") for name in evaluation.baselines]
    cells.append(f"<td>{'?' if line.rows is None else f'{line.rows:,}'}</td>")
    return f'<tr{mean}><th scope="row">{text(line.title)}{metric}</th>{"".join(cells)}</tr>'


def _cell(figure: Figure | None, unreadable: float | None, kind: str = "") -> str:
    if figure is None:
        return f'<td class="{kind}">–</td>'
    interval = "" if figure.low is None else f"<small>{figure.low:.2f} to {figure.high:.2f}</small>"
    share = f"<small>{unreadable:.0%} unreadable</small>".replace("%", " %") if unreadable and unreadable >= 0.005 else ""
    return f'<td class="{kind}">{figure.value:.3f}{interval}{share}</td>'


def _gain(gain: Figure | None) -> str:
    if gain is None:
        return "<td>–</td>"
    kind = "" if not gain.clear else "better" if gain.value > 0 else "worse"
    interval = "" if gain.low is None else f"<small>{gain.low:+.2f} to {gain.high:+.2f}</small>"
    return f'<td class="{kind}">{gain.value:+.3f}{interval}</td>'
