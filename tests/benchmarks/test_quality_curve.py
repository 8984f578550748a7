"""The learning curve: the tokens of a checkpoint, the checkpoints that are taken, and what the curve says of each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality_curve import CurvePoint, adapters_of, curve_points, evenly, make_curve, tokens_at, write_curve
from benchmarks.quality_plot import label_places, limits, panels_of
from training.checkpoints import mark_complete

LOGGED = [{"step": 10, "num_tokens": 1000.0}, {"step": 20, "num_tokens": 3000.0}, {"step": 20, "eval_num_tokens": 9.0}]


@pytest.mark.parametrize(("step", "tokens"), [(0, 0), (5, 500), (10, 1000), (15, 2000), (20, 3000), (22, 3300)])
def test_tokens_of_a_step_are_those_logged_or_in_proportion(step: int, tokens: int) -> None:
    assert tokens_at(LOGGED, step) == tokens


def test_tokens_of_a_resumed_run_are_on_top_of_those_before() -> None:
    again = [*LOGGED, {"step": 30, "num_tokens": 1500.0}, {"step": 40, "num_tokens": 2500.0}]
    assert [tokens_at(again, step) for step in (20, 30, 40)] == [3000, 4500, 5500]


def test_without_a_log_tokens_are_not_known() -> None:
    assert tokens_at([{"step": 10, "loss": 1.0}], 10) == 0


# --- Which adapters are taken ---


def write_training(folder: Path, whole: Sequence[int], half: Sequence[int] = (), steps: int | None = None) -> Path:
    """A training's folder with checkpoints, of 100 tokens a step; `steps` where it has ended."""
    for step in (*whole, *half):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        history = [{"step": number, "num_tokens": 100.0 * number} for number in range(1, step + 1)]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": history}))
        if step in whole:
            mark_complete(checkpoint, {})
    if steps:
        (folder / "adapter_config.json").write_text("{}")
        (folder / "training_summary.json").write_text(json.dumps({"steps": steps, "best_checkpoint_step": None}))
        (folder / "training_log.jsonl").write_text(json.dumps({"step": steps, "num_tokens": 100.0 * steps}) + "\n")
    return folder


def test_of_a_training_its_whole_checkpoints_are_taken_and_its_adapter_in_place_of_the_last(tmp_path: Path) -> None:
    folder = write_training(tmp_path / "one", whole=(2, 10, 6, 8), half=(4,), steps=8)
    assert adapters_of(folder) == [(folder / "checkpoint-2", 2, 200), (folder / "checkpoint-6", 6, 600), (folder, 8, 800)]


def test_a_training_that_has_not_ended_has_its_whole_checkpoints(tmp_path: Path) -> None:
    folder = write_training(tmp_path / "one", whole=(2, 4), half=(6,))
    assert adapters_of(folder) == [(folder / "checkpoint-2", 2, 200), (folder / "checkpoint-4", 4, 400)]


def test_tokens_of_a_second_training_are_on_top_of_the_first_one_s(tmp_path: Path) -> None:
    one, two = write_training(tmp_path / "one", (2,), steps=5), write_training(tmp_path / "two", (1,), steps=3)
    points = curve_points([one, two], 12)
    assert [(point.training, point.step, point.tokens) for point in points] == [
        (1, 2, 200),
        (1, 5, 500),
        (2, 1, 600),
        (2, 3, 800),
    ]
    assert len({point.name for point in points}) == 4


def test_of_many_points_those_about_as_many_tokens_apart_are_taken_with_first_and_last() -> None:
    points = [CurvePoint(Path(), 1, step, step * 100) for step in (1, 2, 3, 4, 5, 6, 20)]
    assert [point.step for point in evenly(points, 3)] == [1, 6, 20]
    assert evenly(points, 7) == points


# --- What the curve says ---


def figures(scores: Mapping[str, Sequence[float]], names: Sequence[str], baselines: Sequence[str] = ()) -> dict[str, Any]:
    """A report's scores.json: task -> the score of each column."""

    def line(found: Sequence[float]) -> dict[str, Any]:
        return {
            "scores": dict(zip(names, found, strict=True)),
            "intervals": {name: [score - 0.1, score + 0.1] for name, score in zip(names, found, strict=True)},
            "rows": dict.fromkeys(names, 7),
        }

    means = [sum(column) / len(scores) for column in zip(*scores.values(), strict=True)]
    tasks = [{"task": task, "metric": "accuracy", **line(found)} for task, found in scores.items()]
    return {"baselines": list(baselines), "tasks": tasks, "means": {"all tasks": line(means)}}


def curve(tasks: Sequence[str], pairs: bool = True) -> dict[str, Any]:
    points = [CurvePoint(Path(), 1, 8, 800), CurvePoint(Path(), 2, 3, 1100)]
    ends = figures(dict.fromkeys(tasks, (0.1, 0.2, 0.5)), ("base", "base_scored", "tfidf"), ("tfidf",))
    names = [name + ending for ending in ("", "_scored") for name in ("training1-8", "training2-3")]
    between = figures(dict.fromkeys(tasks, (0.3, 0.4, 0.6, 0.8)), names)
    measured = [{"accuracy": value, "auc_exact": value} for value in (0.4, 0.6, 0.7)]
    return make_curve(points, ends, between, measured if pairs else [], {"overlap": {"auc_exact": 0.65}} if pairs else {})


def test_the_curve_begins_with_the_base_and_has_both_ways_of_every_point() -> None:
    found = curve(["shop:review_rating"])
    assert [(point["training"], point["tokens"]) for point in found["points"]] == [(0, 0), (1, 800), (2, 1100)]
    for way, scores in (("written", [0.1, 0.3, 0.4]), ("scored", [0.2, 0.6, 0.8])):
        assert [point[way]["shop:review_rating"]["score"] for point in found["points"]] == scores
    assert found["points"][2]["scored"]["mean"] == {"score": 0.8, "interval": [pytest.approx(0.7), pytest.approx(0.9)]}
    assert [point["pairs"]["accuracy"] for point in found["points"]] == [0.4, 0.6, 0.7]
    assert found["baselines"]["tfidf"]["shop:review_rating"]["score"] == 0.5
    assert found["rows"] == {"shop:review_rating": 7}


def test_a_panel_for_each_task_and_measure_and_for_the_mean_of_several() -> None:
    alone, several = panels_of(curve(["shop:review_rating"], pairs=False)), panels_of(curve(["shop:a", "shop:b"]))
    assert [panel.title for panel in alone] == ["Rating of a review"]
    assert [panel.title for panel in several] == ["Mean over tasks", "a", "b", "Judged pairs", "Judged pairs"]
    assert several[-1].baselines == {"overlap": 0.65}
    assert several[-1].lines.keys() == {"scored"}
    assert (limits(several[0]), limits(several[-1])) == ((0.0, 0.9), (0.4, 0.8))


def test_labels_of_near_values_are_kept_apart_and_inside() -> None:
    assert label_places([0.2, 0.5, 0.52], 0.1, 0.0, 1.0) == pytest.approx([0.2, 0.46, 0.56])
    assert label_places([0.97, 0.98, 0.99], 0.1, 0.0, 1.0) == pytest.approx([0.8, 0.9, 1.0])
    assert label_places([0.5], 0.1, 0.0, 1.0) == [0.5]


def test_table_json_and_picture_are_of_the_same_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = curve(["shop:review_rating", "shop:product_relation"])
    write_curve(found, tmp_path)
    assert json.loads((tmp_path / "curve.json").read_text()) == found
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "1,100" in capsys.readouterr().out
