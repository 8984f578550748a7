"""The Evaluation tab: scores with confidence intervals and the plot, from the report of `python -m eval_tasks.report`.

`python -m space.publish --results DIR` copies the report's scores.json and scores.png into the Space.
"""

import json
from base64 import b64encode
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


def read_scores(path: Path) -> dict[str, Any]:
    """A report's scores.json. Raises OSError where it cannot be read, ValueError where it is another file."""
    try:
        scores: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tab(scores)
        return scores
    except (KeyError, TypeError, IndexError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path.name} is not the scores.json of a report") from error


def page(folder: Path = ROOT) -> str:
    """The tab as HTML. The plot is a data URL: the page serves no files."""
    try:
        scores = read_scores(folder / SCORES)
    except (OSError, ValueError):
        return hint(MISSING)
    return tab(scores, (folder / PLOT).read_bytes() if (folder / PLOT).exists() else b"")


def tab(scores: dict[str, Any], png: bytes = b"") -> str:
    """Table, plot and notes. Raises KeyError and the like where these are not the scores of a report."""
    notes = "".join(map(hint, scores["notes"]))
    return f"<h2>Scores</h2><p>{escaped(ABOUT)}</p>{table(scores)}{_plot(png, scores['names']) if png else ''}{notes}"


def _plot(png: bytes, names: list[str]) -> str:
    alt = f"Scores of {', '.join(names)} by task with 95 % intervals; the same figures as in the table."
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Picture of the scores">'
        f'<img class="plot" alt="{escaped(alt)}" src="data:image/png;base64,{b64encode(png).decode()}"></div>'
    )


def table(scores: dict[str, Any]) -> str:
    """A column for each model, the last one's difference to the first, and the baselines; of several tasks also the mean."""
    baselines = scores["baselines"]
    models = [name for name in scores["names"] if name not in baselines]
    heads = [(name, "") for name in (*models, *["difference"] * (len(models) > 1))]
    heads += [*((name, "baseline") for name in baselines), ("rows", "")]
    mean = list(scores["means"].values())[-1]
    lines = [*scores["tasks"], *[mean] * (len(scores["tasks"]) > 1)]
    head = "".join(f'<th scope="col" class="{kind}">{escaped(name)}</th>' for name, kind in heads)
    body = "".join(_row(line, models, baselines) for line in lines)
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table of the scores"><table class="scores">'
        f'<thead><tr><th scope="col">task</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(line: dict[str, Any], models: list[str], baselines: list[str]) -> str:
    """The line of a task, or of the mean, which has no metric."""
    metric = line.get("metric", "")
    about = f"<small>{escaped(METRICS.get(metric, metric.replace('_', ' ')))}</small>" if metric else ""
    counts = [count for count in line["rows"].values() if count is not None]
    cells = [_cell(line, name, line["unparsable"].get(name)) for name in models]
    cells += [_gain(line)] if len(models) > 1 else []
    cells += [_cell(line, name, kind="baseline") for name in baselines]
    cells.append(f"<td>{f'{max(counts):,}' if counts else '?'}</td>")
    title = _title(line["task"]) if metric else "Mean over tasks"
    return f'<tr class="{"" if metric else "mean"}"><th scope="row">{escaped(title)}{about}</th>{"".join(cells)}</tr>'


def _title(task: str) -> str:
    suite, _, name = task.partition(":")
    return TASKS[name].title if suite == "shop" and name in TASKS else name.replace("_", " ") or task


def _cell(line: dict[str, Any], name: str, unparsable: float | None = None, kind: str = "") -> str:
    score, ends = line["scores"].get(name), line["intervals"].get(name)
    if score is None:
        return f'<td class="{kind}">–</td>'
    interval = f"<small>{ends[0]:.2f} to {ends[1]:.2f}</small>" if ends else ""
    share = f"<small>{unparsable:.0%} unreadable</small>".replace("%", " %") if unparsable and unparsable >= 0.005 else ""
    return f'<td class="{kind}">{score:.3f}{interval}{share}</td>'


def _gain(line: dict[str, Any]) -> str:
    """The last model's difference to the first, in colour where its interval excludes 0."""
    if not line["differences"]:
        return "<td>–</td>"
    gain = list(line["differences"].values())[-1]
    low, high = gain["interval"] or (0.0, 0.0)
    kind = "better" if low > 0 else "worse" if high < 0 else ""
    interval = f"<small>{low:+.2f} to {high:+.2f}</small>" if gain["interval"] else ""
    return f'<td class="{kind}">{gain["value"]:+.3f}{interval}</td>'
