"""The Evaluation tab: scores with confidence intervals and the plot, from the report of `python -m eval_tasks.report`.

`python -m space.publish --results DIR` copies the report's scores.json and scores.png into the Space.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.tasks import TASKS

from . import ROOT
from .html import escaped, hint

SCORES, PLOT = "evaluation.json", "evaluation.png"

METRICS = {"ndcg": "NDCG", "rougel": "ROUGE-L", "bleu": "BLEU"}
"""Metrics whose name is not their identifier without underscores."""

MISSING = (
    "No evaluation came with this page. In the project's repository, python -m eval_tasks.run makes one, and "
    "python -m space.publish --results DIR brings it here."
)
ABOUT = (
    "Held-out rows that no model was trained on, the same prompts and greedy decoding for all. The small figures are 95 % "
    "intervals; a difference in colour is beyond chance. The grey columns are baselines that need no language model."
)


@dataclass(frozen=True)
class ScoreEstimate:
    """A score from 0 to 1, or a difference of two, with its 95 % confidence interval where one is known."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the interval of a difference excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class ScoreRow:
    """One line of the table: by model the score and the share of unparsable answers, and the gain over the first model."""

    title: str
    metric: str
    rows: int | None
    scores: dict[str, ScoreEstimate | None]
    unparsable: dict[str, float | None]
    gain: ScoreEstimate | None


@dataclass(frozen=True)
class ScoreTable:
    """`names` are all columns, `baselines` some of them; of several lines the last one is the mean."""

    names: tuple[str, ...]
    baselines: tuple[str, ...]
    lines: tuple[ScoreRow, ...]
    notes: tuple[str, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The first model, then those compared with it."""
        return tuple(name for name in self.names if name not in self.baselines)


def read_scores(path: Path) -> ScoreTable:
    """A report's scores.json. Raises OSError where it cannot be read, ValueError where it is another file."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(map(str, report["names"]))
        lines = [_line(task, _title(task["task"]), names) for task in report["tasks"]]
        mean = list(report["means"].values())[-1]
        if len(lines) > 1:
            lines.append(_line(mean, "Mean over tasks", names))
        return ScoreTable(names, tuple(report["baselines"]), tuple(lines), tuple(map(str, report["notes"])))
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not the scores.json of a report") from error


def _line(found: dict[str, Any], title: str, names: tuple[str, ...]) -> ScoreRow:
    rows = [count for count in found["rows"].values() if count is not None]
    differences = list(found["differences"].values())
    return ScoreRow(
        title,
        METRICS.get(metric := found.get("metric", ""), metric.replace("_", " ")),
        max(rows, default=None),
        {name: _estimate(found["scores"].get(name), found["intervals"].get(name)) for name in names},
        {name: found["unparsable"].get(name) for name in names},
        _estimate(differences[-1]["value"], differences[-1]["interval"]) if differences else None,
    )


def _estimate(value: float | None, interval: list[float] | None) -> ScoreEstimate | None:
    return None if value is None else ScoreEstimate(float(value), *map(float, interval or ()))


def _title(task: str) -> str:
    suite, _, name = task.partition(":")
    return TASKS[name].title if suite == "shop" and name in TASKS else name.replace("_", " ") or task


def page(folder: Path = ROOT) -> str:
    """The tab as HTML. The plot is a data URL: the page serves no files."""
    try:
        scores = read_scores(folder / SCORES)
    except (OSError, ValueError):
        return hint(MISSING)
    plot = _plot((folder / PLOT).read_bytes(), scores) if (folder / PLOT).exists() else ""
    return f"<h2>Scores</h2><p>{escaped(ABOUT)}</p>{table(scores)}{plot}{''.join(map(hint, scores.notes))}"


def _plot(png: bytes, scores: ScoreTable) -> str:
    alt = f"Scores of {', '.join(scores.names)} by task with 95 % intervals; the same figures as in the table."
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Picture of the scores">'
        f'<img class="plot" alt="{escaped(alt)}" src="data:image/png;base64,{b64encode(png).decode()}"></div>'
    )


def table(scores: ScoreTable) -> str:
    has_gain = len(scores.models) > 1
    columns = [(name, "") for name in scores.models]
    columns += [("difference", "")] * has_gain + [(name, "baseline") for name in scores.baselines] + [("rows", "")]
    heads = "".join(f'<th scope="col" class="{kind}">{escaped(name)}</th>' for name, kind in columns)
    body = "".join(_row(line, scores, has_gain) for line in scores.lines)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table of the scores"><table class="scores">'
        f'<thead><tr><th scope="col">task</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(line: ScoreRow, scores: ScoreTable, has_gain: bool) -> str:
    mean = ' class="mean"' if not line.metric else ""
    metric = f"<small>{escaped(line.metric)}</small>" if line.metric else ""
    cells = [_cell(line.scores[name], line.unparsable[name]) for name in scores.models]
    cells += [_gain(line.gain)] if has_gain else []
    cells += [_cell(line.scores[name], None, "baseline") for name in scores.baselines]
    cells.append(f"<td>{'?' if line.rows is None else f'{line.rows:,}'}</td>")
    return f'<tr{mean}><th scope="row">{escaped(line.title)}{metric}</th>{"".join(cells)}</tr>'


def _cell(score: ScoreEstimate | None, unparsable: float | None, kind: str = "") -> str:
    if score is None:
        return f'<td class="{kind}">–</td>'
    interval = "" if score.low is None else f"<small>{score.low:.2f} to {score.high:.2f}</small>"
    share = f"<small>{unparsable:.0%} unreadable</small>".replace("%", " %") if unparsable and unparsable >= 0.005 else ""
    return f'<td class="{kind}">{score.value:.3f}{interval}{share}</td>'


def _gain(gain: ScoreEstimate | None) -> str:
    if gain is None:
        return "<td>–</td>"
    kind = "" if not gain.is_significant else "better" if gain.value > 0 else "worse"
    interval = "" if gain.low is None else f"<small>{gain.low:+.2f} to {gain.high:+.2f}</small>"
    return f'<td class="{kind}">{gain.value:+.3f}{interval}</td>'
