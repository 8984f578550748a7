"""The learning curve of the benchmark of quality: scores of a model's checkpoints against the tokens that it was trained on.

A training's checkpoints come before the adapter that it ends with; the tokens of a training that goes on from another are on
top of that one's. `curve.json` holds all figures, and `curve.png` is drawn from it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.console import print_table
from common.errors import UserError
from training.adapters import ADAPTER_CONFIG, LOG, SUMMARY
from training.checkpoints import STATE, checkpoints, read_mark, step_of

MEAN = "mean"
WAYS = {"scored": "_scored", "written": ""}
"""How answers were had -> what a column's name in a report ends with."""


@dataclass(frozen=True)
class CurvePoint:
    """An adapter, and the tokens of all trainings up to it. `training`: from 1, in their order."""

    folder: Path
    training: int
    step: int
    tokens: int

    @property
    def name(self) -> str:
        return f"training{self.training}-{self.step}"


# --- Points ---


def curve_points(trainings: Sequence[Path], most: int) -> list[CurvePoint]:
    """At most `most` adapters of each training, its last one included, in the order in which they were trained.

    Raises UserError for a folder without an adapter whose tokens are known.
    """
    found: list[CurvePoint] = []
    for number, folder in enumerate(trainings, 1):
        before = found[-1].tokens if found else 0
        own = [CurvePoint(path, number, step, before + tokens) for path, step, tokens in adapters_of(folder)]
        if not own:
            raise UserError(
                f"{folder} holds no adapter or whole checkpoint with what was logged of its tokens. "
                "Give --curve output folders of training/sft.py."
            )
        found += evenly(own, most)
    return found


def adapters_of(training: Path) -> list[tuple[Path, int, int]]:
    """Folder, step and tokens of each whole checkpoint, and of the adapter at the end, where the training has ended."""
    whole = [path for path in checkpoints(training) if read_mark(path)]
    last: list[tuple[Path, int]] = []
    if (training / SUMMARY).is_file() and (training / ADAPTER_CONFIG).is_file():
        summary = json.loads((training / SUMMARY).read_text(encoding="utf-8"))
        last = [(training, summary.get("best_checkpoint_step") or summary["steps"])]
        history = [json.loads(line) for line in (training / LOG).read_text(encoding="utf-8").splitlines()]
    elif whole:
        history = json.loads((whole[-1] / STATE).read_text(encoding="utf-8"))["log_history"]
    else:
        return []
    # The last checkpoint is the adapter at the end once more, and one of a later step is of an earlier run.
    known = [(path, step_of(path)) for path in whole if not last or step_of(path) < last[0][1]]
    found = [(path, step, tokens_at(history, step)) for path, step in (*known, *last)]
    return [(path, step, tokens) for path, step, tokens in found if tokens]


def tokens_at(history: Sequence[Mapping[str, Any]], step: int) -> int:
    """Tokens trained on up to a step: between two that were logged in proportion, 0 where none was.

    A resumed run counts from 0 again, so counts that fall are on top of the highest before.
    """
    steps, tokens, last = [0], [0.0], 0.0
    for log in history:
        if (count := log.get("num_tokens")) is not None:
            steps.append(log["step"])
            tokens.append(tokens[-1] + (count - last if count >= last else count))
            last = count
    place = next((place for place, logged in enumerate(steps) if logged >= step), len(steps) - 1)
    if not place:
        return 0
    start = place - 1 if steps[place] >= step else 0  # beyond the last one by the average of all
    share = (step - steps[start]) / (steps[place] - steps[start])
    return round(tokens[start] + share * (tokens[place] - tokens[start]))


def evenly(points: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    """At most so many points, about as many tokens apart, with the last one."""
    if len(points) <= most:
        return list(points)
    first, last = points[0].tokens, points[-1].tokens
    wanted = [first + (last - first) * number / (most - 1) for number in range(most)] if most > 1 else [last]
    near = {min(range(len(points)), key=lambda place: abs(points[place].tokens - goal)) for goal in wanted}
    return [points[place] for place in sorted(near)]


# --- Figures ---


def make_curve(
    points: Sequence[CurvePoint],
    ends: Mapping[str, Any],
    between: Mapping[str, Any],
    pairs: Sequence[Mapping[str, float]],
    pair_baselines: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """All figures of the curve, the untuned base first.

    `ends` is the scores.json of base and baselines, `between` that of the points by their names, and `pairs` the measures on
    judged pairs of the base and then of each point, empty where there are no pairs.
    """

    def entry(training: int, step: int, tokens: int, figures: Mapping[str, Any], name: str, place: int) -> dict[str, Any]:
        ways = {way: column(figures, name + ending) for way, ending in WAYS.items()}
        return {"training": training, "step": step, "tokens": tokens, **ways, "pairs": dict(pairs[place]) if pairs else {}}

    return {
        "metrics": {line["task"]: line["metric"] for line in ends["tasks"]},
        "rows": {line["task"]: line["rows"]["base"] for line in ends["tasks"]},
        "baselines": {name: column(ends, name) for name in ends["baselines"]},
        "pair_baselines": {name: dict(found) for name, found in pair_baselines.items()},
        "points": [
            entry(0, 0, 0, ends, "base", 0),
            *(
                entry(point.training, point.step, point.tokens, between, point.name, place)
                for place, point in enumerate(points, 1)
            ),
        ],
    }


def column(figures: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Task, or MEAN -> score and 95 % interval of a column of a scores.json; without what the column has no score of."""
    lines = {line["task"]: line for line in figures["tasks"]} | {MEAN: figures["means"]["all tasks"]}
    return {
        task: {"score": line["scores"][name], "interval": line["intervals"][name]}
        for task, line in lines.items()
        if line["scores"].get(name) is not None
    }


def write_curve(curve: Mapping[str, Any], out: Path) -> None:
    """Prints the curve's table, and writes curve.json and curve.png into the folder `out`."""
    from benchmarks.quality_plot import write_curve_plot

    measures = list(curve["points"][0]["pairs"])
    lines = []
    for point in curve["points"]:
        means = [point[way].get(MEAN, {}).get("score") for way in WAYS]
        scores = [*means, *(point["pairs"][name] for name in measures)]
        shown = ["" if score is None else f"{score:.3f}" for score in scores]
        lines.append((point["training"], point["step"], f"{point['tokens']:,}", *shown))
    ways, named = [f"mean, {way}" for way in WAYS], [f"pairs: {name}" for name in measures]
    print_table(("training", "step", "tokens", *ways, *named), lines, "Learning curve")
    (out / "curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    write_curve_plot(curve, out / "curve.png")
