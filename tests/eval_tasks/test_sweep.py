"""eval_tasks/sweep.py: each weight is evaluated once, stale scores are never taken, the choice is reported on other rows."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from eval_tasks import run
from eval_tasks.sweep import CHOICE, REPORT, SweepPoint, best, in_choice, main, write_plot
from tests.eval_tasks.conftest import Lighteval
from tests.eval_tasks.rows import write_dataset
from tests.training.random_adapters import random_adapter

TASKS = ["answerability", "also_buy"]
METRICS = {"shop:answerability": "accuracy", "shop:also_buy": "hit_rate"}


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tiny_llama, tmp_path_factory.mktemp("sweep") / "adapter", 0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("sweep") / "dataset", TASKS, rows=6)


@dataclass
class Evaluations:
    """Stands in for lighteval's pipeline: scores by a rule, and notes what was evaluated."""

    rule: Callable[[float, str], float] = lambda weight, part: 1 - abs(weight - 0.5)
    done: list[tuple[float, str]] = field(default_factory=list)
    fail_at: float | None = None

    def evaluate(self, model: Any, tasks: Any, names: str, out: Path, max_samples: int | None) -> None:
        weight, part = float(out.name), out.parent.name
        if weight == self.fail_at:
            raise UserError("lighteval failed")
        self.done.append((weight, part))
        score = self.rule(weight, part)
        results = {f"{config.name}|0": {METRICS[config.name]: score} for config in tasks.TASKS_TABLE}
        assert ",".join(results) == names
        (out / "results").mkdir(parents=True)
        (out / "results" / "results_2026-01-01.json").write_text(json.dumps({"results": results}))


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> Evaluations:
    made = Evaluations()
    monkeypatch.setattr(run, "evaluate", made.evaluate)
    return made


Sweeping = Callable[..., dict[str, Any]]


@pytest.fixture
def sweep(adapter: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeping:
    """Runs a sweep in this process with weights 0, 0.5 and 1, and reads its sweep.json."""
    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    monkeypatch.setenv("SHOP_DATASET_REVISION", "")

    def made(*words: str, adapter: Path = adapter, data: Path = dataset) -> dict[str, Any]:
        out = tmp_path / "out"
        main(["--adapter", str(adapter), "--data", str(data), "--out", str(out), "--weights", "1,0,0.5", *words])
        return dict(json.loads((out / "sweep.json").read_text()))

    return made


def test_a_sweep_with_lighteval_evaluates_each_half_of_the_rows(
    evaluation: Lighteval, adapter: Path, dataset: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "out"
    words = ["--adapter", adapter, "--data", dataset, "--out", out, "--weights", "0,1", "--option", "dtype=float32"]
    done = evaluation("training.sweep", *words, SHOP_DATASET_REVISION="of something else")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "note: training.sweep has moved; use python -m eval_tasks.sweep" in done.stderr
    assert "best weight by mean:" in done.stdout

    told = json.loads((out / "sweep.json").read_text())
    assert [point["weight"] for point in told[CHOICE]] == [0, 1]
    assert set(told[CHOICE][0]["scores"]) == set(METRICS)
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["results", "sweep.json", "sweep.png"]
    asked = {}
    for part in (CHOICE, REPORT):
        files = list(out.glob(f"results/{part}/1/**/details_*.parquet"))
        asked[part] = [row["doc"]["query"] for file in files for row in pq.read_table(file).to_pylist()]
    rows = {
        row["prompt"][0]["content"]: row for path in dataset.glob("data/*/test-*") for row in pq.read_table(path).to_pylist()
    }
    assert sorted([*asked[CHOICE], *asked[REPORT]]) == sorted(rows)
    assert all(in_choice(rows[prompt]) for prompt in asked[CHOICE])


# --- Choosing and reporting ---


def test_the_weight_is_chosen_on_one_half_and_scored_on_the_other(
    sweep: Sweeping, evaluations: Evaluations, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations.rule = lambda weight, part: 1 - abs(weight - 0.5) if part == CHOICE else 0.25
    told = sweep()

    chosen = [(weight, CHOICE) for weight in (0, 0.5, 1)]
    assert evaluations.done == [*chosen, *((weight, REPORT) for weight in (0, 0.5, 1))]
    assert told["best"] == 0.5
    assert [point["mean"] for point in told[REPORT]] == [0.25] * 3
    assert told["note"] is None
    printed = capsys.readouterr().out
    assert "Scores by weight on the report rows" in printed
    assert "--weight 0.5" in printed


def test_only_the_chosen_weight_and_the_two_ends_are_reported(sweep: Sweeping, evaluations: Evaluations) -> None:
    told = sweep("--weights", "0.2,0.4,0.6,1")
    assert told["best"] in (0.4, 0.6)
    assert [point["weight"] for point in told[REPORT]] == [told["best"], 1]


def test_a_choice_on_all_rows_says_loudly_what_its_score_is_not(
    sweep: Sweeping, evaluations: Evaluations, capsys: pytest.CaptureFixture[str]
) -> None:
    told = sweep("--choose-on", "all")
    assert REPORT not in told
    assert [point["weight"] for point in told["all"]] == [0, 0.5, 1]
    assert "too high to report" in told["note"]
    assert "NOTE: The weight was chosen on these rows" in capsys.readouterr().out


@given(st.dictionaries(st.floats(0, 2), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_the_best_has_the_highest_mean_and_of_several_the_smallest_weight(scores: dict[float, tuple[float, float]]) -> None:
    points = [SweepPoint(weight, dict(zip(METRICS, values, strict=True))) for weight, values in scores.items()]
    found = best(points)
    assert found.mean == max(point.mean for point in points)
    assert found.weight == min(point.weight for point in points if point.mean == found.mean)


def test_a_group_is_in_one_half_of_every_task_and_the_halves_are_about_equal() -> None:
    groups = [f"product {number}" for number in range(2000)]
    first, other = ([in_choice({"group": group, "sample_id": task + group}) for group in groups] for task in ("a", "b"))
    assert first == other
    assert 900 < sum(first) < 1100


def test_the_picture_is_drawn_for_one_weight(tmp_path: Path) -> None:
    write_plot([SweepPoint(1, {"shop:also_buy": 0.5})], tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


# --- Resuming ---


def test_the_same_command_evaluates_nothing_again(sweep: Sweeping, evaluations: Evaluations) -> None:
    first = sweep()
    evaluations.done.clear()
    assert sweep() == first
    assert evaluations.done == []


def test_a_further_weight_is_evaluated_alone(sweep: Sweeping, evaluations: Evaluations) -> None:
    sweep()
    evaluations.done.clear()
    sweep("--weights", "0,0.25,0.5,1")
    assert evaluations.done == [(0.25, CHOICE)]


def test_a_failure_keeps_what_was_finished_and_no_model(sweep: Sweeping, evaluations: Evaluations, tmp_path: Path) -> None:
    evaluations.fail_at = 1
    with pytest.raises(UserError, match="lighteval failed"):
        sweep()
    assert not (tmp_path / "out" / "sweep.json").exists()
    assert not list(tmp_path.rglob("model.safetensors"))

    evaluations.fail_at = None
    evaluations.done.clear()
    sweep()
    assert evaluations.done[0] == (1, CHOICE)


def changed_weights(adapter: Path, dataset: Path) -> list[str]:
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(path).items()}, path)
    return []


def changed_scale(adapter: Path, dataset: Path) -> list[str]:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 4}))
    return []


def changed_rows(adapter: Path, dataset: Path) -> list[str]:
    """Rows of which the manifest says that they are the old ones."""
    import pyarrow.parquet as pq

    for path in dataset.glob("data/*/test-*"):
        rows = pq.read_table(path).to_pylist()
        pq.write_table(type(pq.read_table(path)).from_pylist([row | {"answer": '"1"'} for row in rows]), path)
    return []


CHANGES: dict[str, Callable[[Path, Path], list[str]]] = {
    "weights of the adapter": changed_weights,
    "its scale": changed_scale,
    "rows": changed_rows,
    "rows evaluated": lambda *_: ["--max-samples", "1"],
    "options": lambda *_: ["--option", "dtype=float32"],
    "tasks": lambda *_: ["--tasks", "also_buy"],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_never_met_with_old_scores(
    change: Callable[[Path, Path], list[str]],
    sweep: Sweeping,
    evaluations: Evaluations,
    adapter: Path,
    dataset: Path,
    tmp_path: Path,
) -> None:
    mine = Path(shutil.copytree(adapter, tmp_path / "adapter")), Path(shutil.copytree(dataset, tmp_path / "dataset"))
    sweep(adapter=mine[0], data=mine[1])
    asked = list(evaluations.done)
    evaluations.done.clear()
    sweep(*change(*mine), adapter=mine[0], data=mine[1])
    assert evaluations.done == asked


def test_a_changed_base_is_never_met_with_old_scores(
    sweep: Sweeping, evaluations: Evaluations, tiny_llama: Path, tmp_path: Path
) -> None:
    from tests.tiny_llama import build_tiny_llama

    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    sweep("--base", str(base))
    asked = list(evaluations.done)
    evaluations.done.clear()
    build_tiny_llama(base, seed=1)
    sweep("--base", str(base))
    assert evaluations.done == asked


# --- Mistakes ---


def test_no_path_of_this_machine_is_in_the_summary(
    sweep: Sweeping, evaluations: Evaluations, tmp_path: Path, adapter: Path
) -> None:
    text = json.dumps(sweep())
    assert str(tmp_path) not in text
    assert str(adapter.parent) not in text


MISTAKES = {
    "no adapter": (["--adapter", "nowhere/at/all"], "is no file or folder here"),
    "no dataset": (["--data", "nowhere/at/all"], "SHOP_DATASET=nowhere/at/all is no file or folder here, and no Hub id"),
    "an unknown task": (["--tasks", "next_product"], "'next_product' is no task and no family"),
    "a negative weight": (["--weights=-1,0"], "give different ones of 0 or more"),
    "a weight twice": (["--weights", "0.5,0.50"], "give different ones of 0 or more"),
    "no number": (["--weights", "0,half"], "is not a list of numbers"),
    "no rows": (["--max-samples", "0"], "--max-samples must be 1 or more, not 0"),
    "a base that is gone": (["--base", "nowhere/at/all"], "--base nowhere/at/all is no file or folder here, and no Hub id"),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_and_leaves_nothing_behind(
    case: tuple[list[str], str], sweep: Sweeping, evaluations: Evaluations, tmp_path: Path
) -> None:
    options, sentence = case
    with pytest.raises(UserError, match=sentence) as caught:
        sweep(*options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert evaluations.done == []


def test_a_task_of_one_group_cannot_be_halved(sweep: Sweeping, evaluations: Evaluations, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shop:also_buy has too few test rows to halve; leave it out of --tasks"):
        sweep(data=write_dataset(tmp_path / "one", ["also_buy"], rows=1))
    assert evaluations.done == []
