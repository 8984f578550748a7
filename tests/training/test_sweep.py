"""training/sweep.py: each weight is evaluated once, stale scores are never taken, and the choice is told honestly."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from eval_tasks.reporting.results import Score
from tests.eval_tasks.rows import write_dataset
from tests.training.conftest import ROOT
from tests.training.random_adapters import random_adapter
from training import sweep
from training.halves import CHOICE, REPORT
from training.sweep import Sweep, main, results_folder, sweep_weights
from training.sweep_report import Point, best, conclusion, write_plot

TASKS = ["answerability", "also_buy"]


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tiny_llama, tmp_path_factory.mktemp("sweep") / "adapter", 0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("sweep") / "dataset", TASKS, rows=6)


@dataclass
class Evaluations:
    """Stands in for lighteval: scores by a rule, and notes what it was asked for."""

    rule: Callable[[float, str], float] = lambda weight, part: 1 - abs(weight - 0.5)
    done: list[tuple[float, str]] = field(default_factory=list)
    fail_at: float | None = None

    def run(self, asked: Sweep, weight: float, part: str, log: Path) -> None:
        assert (sweep.model_folder(asked, weight) / "model.safetensors").is_file()
        log.touch()
        if weight == self.fail_at:
            raise UserError("lighteval failed")
        self.done.append((weight, part))
        score = self.rule(weight, part)
        metrics = {"answerability": "accuracy", "also_buy": "hit_rate"}
        results = {f"shop:{task}|0": {metrics[task]: score, f"{metrics[task]}_stderr": 0.1} for task in asked.rows[part]}
        folder = results_folder(asked, weight, part) / "results"
        folder.mkdir()
        (folder / "results_2026-01-01.json").write_text(json.dumps({"results": results}))


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> Evaluations:
    made = Evaluations()
    monkeypatch.setattr(sweep, "_run_lighteval", made.run)
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(adapter: Path, dataset: Path, tmp_path: Path) -> Run:
    """Runs a sweep in this process with weights 0, 0.5 and 1, and reads its sweep.json."""

    def made(*words: str, adapter: Path = adapter, data: Path = dataset) -> dict[str, Any]:
        out = tmp_path / "out"
        main(["--adapter", str(adapter), "--data", str(data), "--out", str(out), "--weights", "1,0,0.5", *words])
        return dict(json.loads((out / "sweep.json").read_text()))

    return made


# --- The real evaluation ---


def test_a_sweep_with_lighteval(adapter: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--adapter", adapter, "--data", dataset, "--out", out, "--weights", "0,1", "--choose-on", "all"]
    words += ["--max-samples", "2", "--model-args", "batch_size=4"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SHOP")}
    environment = kept | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}

    def command() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "training.sweep", *map(str, words)],
            cwd=ROOT,
            env=environment | {"SHOP_DATASET_REVISION": "of something else"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    printed = command()
    assert "NOTE: The weight was chosen on these rows" in printed
    assert "best weight by mean:" in printed
    told = json.loads((out / "sweep.json").read_text())
    assert [point["weight"] for point in told[CHOICE]] == [0, 1]
    assert {task: score["metric"] for task, score in told[CHOICE][0]["scores"].items()} == {
        "answerability": "accuracy",
        "also_buy": "hit_rate",
    }
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert not any((out / name).exists() for name in ("model", "models", "cache"))
    results = json.loads(next(out.glob("results/choice/1/**/results_*.json")).read_text())
    assert results["config_general"]["max_samples"] == 2
    assert results["config_tasks"]["shop:also_buy|0"]["hf_repo"] == str(out.resolve() / "rows" / CHOICE)

    before = sorted((path, path.stat().st_mtime_ns) for path in out.glob("results/**/*"))
    assert command().count("evaluated before") == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in out.glob("results/**/*")) == before


def test_what_lighteval_says_is_told(adapter: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "print('a lot'); print('error: SHOP_DATASET=x: no manifest'); raise SystemExit(2)"
    monkeypatch.setattr(sweep, "command", lambda *_: [sys.executable, "-c", script])
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match=r"^lighteval failed at weight 0: SHOP_DATASET=x: no manifest; all it said is in .*log$"
    ):
        main(["--adapter", str(adapter), "--data", str(dataset), "--out", str(out)])
    assert "a lot" in (out / "results/choice/0/lighteval.log").read_text()
    assert not (out / "model").exists()


# --- Choosing and reporting ---


def test_the_weight_is_chosen_on_one_half_and_scored_on_the_other(
    run: Run, evaluations: Evaluations, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluations.rule = lambda weight, part: 1 - abs(weight - 0.5) if part == CHOICE else 0.25
    told = run()

    chosen = [(weight, CHOICE) for weight in (0, 0.5, 1)]
    assert evaluations.done == [*chosen, *((weight, REPORT) for weight in (0, 0.5, 1))]
    assert told["best"] == 0.5
    assert [point["mean"] for point in told[REPORT]] == [0.25] * 3
    assert told["note"] is None
    printed = capsys.readouterr().out
    assert "what to report" in printed
    assert "NOTE" not in printed
    assert "--weight 0.5 --out MODEL" in printed


def test_only_the_chosen_weight_and_the_two_ends_are_reported(run: Run, evaluations: Evaluations) -> None:
    told = run("--weights", "0.2,0.4,0.6,1")
    assert told["best"] in (0.4, 0.6)
    assert [point["weight"] for point in told[REPORT]] == [told["best"], 1]


def test_a_choice_on_all_rows_says_loudly_what_its_score_is_not(
    run: Run, evaluations: Evaluations, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run("--choose-on", "all")
    assert told["rows"] == {CHOICE: {"answerability": 6, "also_buy": 6}}
    assert told[REPORT] == []
    assert "too high to report" in told["note"]
    assert "NOTE: The weight was chosen on these rows" in capsys.readouterr().out


def point(weight: float, *values: float, stderr: float | None = 0.1) -> Point:
    names = ["shop:answerability", "shop:also_buy"]
    scores = (Score("family", "metric", value, stderr, None, None, None) for value in values)
    return Point(weight, dict(zip(names, scores, strict=False)))


@given(st.dictionaries(st.floats(0, 2), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_the_best_has_the_highest_mean_and_of_several_the_smallest_weight(scores: dict[float, tuple[float, float]]) -> None:
    points = [point(weight, *values) for weight, values in scores.items()]
    found = best(points)
    assert found.mean == max(point.mean for point in points)
    assert found.weight == min(point.weight for point in points if point.mean == found.mean)


def test_weights_that_the_rows_do_not_tell_apart_are_named() -> None:
    points = [point(0, 0.1, 0.1), point(0.5, 0.5, 0.5), point(1, 0.45, 0.45)]
    assert conclusion(points) == "best weight by mean: 0.5 (0.500 ± 0.071); as good within that error: 1"
    assert conclusion([point(1, 0.5, stderr=None)]) == "best weight by mean: 1 (0.500)"


def test_the_picture_is_drawn_for_one_weight_and_without_errors(tmp_path: Path) -> None:
    write_plot([point(1, 0.5, 0.25, stderr=None)], tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


# --- Going on ---


def test_the_same_command_evaluates_nothing_again(run: Run, evaluations: Evaluations) -> None:
    first = run()
    evaluations.done.clear()
    assert run() == first
    assert evaluations.done == []


def test_a_further_weight_is_evaluated_alone(run: Run, evaluations: Evaluations) -> None:
    run()
    evaluations.done.clear()
    run("--weights", "0,0.25,0.5,1")
    assert evaluations.done == [(0.25, CHOICE)]


def test_a_failure_keeps_what_was_finished(run: Run, evaluations: Evaluations, tmp_path: Path) -> None:
    evaluations.fail_at = 1
    with pytest.raises(UserError, match="lighteval failed"):
        run()
    assert not (tmp_path / "out" / "sweep.json").exists()
    assert not (tmp_path / "out" / "model").exists()

    evaluations.fail_at = None
    evaluations.done.clear()
    run()
    assert evaluations.done[0] == (1, CHOICE)


def test_scores_cut_off_in_writing_are_none(run: Run, evaluations: Evaluations, tmp_path: Path) -> None:
    run()
    (tmp_path / "out/results/choice/0.5/done.json").write_text("{")
    evaluations.done.clear()
    run()
    assert evaluations.done == [(0.5, CHOICE)]


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
    "model arguments": lambda *_: ["--model-args", "batch_size=4"],
    "tasks": lambda *_: ["--tasks", "also_buy"],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_never_met_with_old_scores(
    change: Callable[[Path, Path], list[str]],
    run: Run,
    evaluations: Evaluations,
    adapter: Path,
    dataset: Path,
    tmp_path: Path,
) -> None:
    mine = Path(shutil.copytree(adapter, tmp_path / "adapter")), Path(shutil.copytree(dataset, tmp_path / "dataset"))
    run(adapter=mine[0], data=mine[1])
    asked = list(evaluations.done)
    evaluations.done.clear()
    run(*change(*mine), adapter=mine[0], data=mine[1])
    assert evaluations.done == asked


def test_a_changed_base_is_never_met_with_old_scores(
    run: Run, evaluations: Evaluations, tiny_llama: Path, tmp_path: Path
) -> None:
    from tests.tiny_llama import build_tiny_llama

    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    run("--base", str(base))
    asked = list(evaluations.done)
    evaluations.done.clear()
    run("--base", str(base))
    assert evaluations.done == []
    build_tiny_llama(base, seed=1)
    run("--base", str(base))
    assert evaluations.done == asked


def test_a_new_card_of_the_adapter_changes_nothing(run: Run, evaluations: Evaluations, adapter: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    run(adapter=mine)
    evaluations.done.clear()
    (mine / "README.md").write_text("# Other")
    (mine / "training_summary.json").write_text("{}")
    run(adapter=mine)
    assert evaluations.done == []


# --- Files ---


def test_models_go_unless_they_are_kept(run: Run, evaluations: Evaluations, tmp_path: Path) -> None:
    run()
    assert not list(tmp_path.rglob("model.safetensors"))
    shutil.rmtree(tmp_path / "out")
    run("--keep")
    kept = sorted(path.parent.name for path in tmp_path.rglob("model.safetensors"))
    assert kept == ["0", "0.5", "1"]


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    adapter: Path, dataset: Path, tmp_path: Path, evaluations: Evaluations, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--adapter", str(adapter), "--data", str(dataset), "--out", str(tmp_path / "out"), "--max-samples", "3"]
    main([*words, "--dry-run"])
    printed = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert printed.count("to evaluate") == 5
    assert "'shop:answerability|0,shop:also_buy|0' --custom-tasks eval_tasks/shop.py" in printed
    assert "--max-samples 3" in printed

    main([*words, "--weights", "0,1"])
    capsys.readouterr()
    main([*words, "--dry-run"])
    assert capsys.readouterr().out.count("evaluated before") == 2


def test_no_path_of_this_machine_is_in_the_summary(run: Run, evaluations: Evaluations, tmp_path: Path, adapter: Path) -> None:
    text = json.dumps(run())
    assert str(tmp_path) not in text
    assert str(adapter.parent) not in text


MISTAKES = {
    "no adapter": (["--adapter", "nowhere/at/all"], "there is no adapter folder"),
    "no dataset": (["--data", "nowhere/at/all"], "there is no dataset folder"),
    "an unknown task": (["--tasks", "next_query"], "has no test rows of next_query"),
    "a negative weight": (["--weights=-1,0"], "give different ones of 0 or more"),
    "a weight twice": (["--weights", "0.5,0.50"], "give different ones of 0 or more"),
    "no number": (["--weights", "0,half"], "is not a list of numbers"),
    "no rows": (["--max-samples", "0"], "--max-samples 0 is none"),
    "a base that is gone": (["--base", "nowhere/at/all"], "cannot load the base nowhere/at/all"),
    "a base of another kind": (["--base", "OTHER"], "does not go with the base"),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_and_leaves_nothing_behind(
    case: tuple[list[str], str], run: Run, evaluations: Evaluations, tiny_llama: Path, tmp_path: Path
) -> None:
    options, sentence = case
    other = Path(shutil.copytree(tiny_llama, tmp_path / "other"))
    (other / "model.safetensors").unlink()
    _narrower(other)
    with pytest.raises(UserError, match=sentence) as caught:
        run(*(option.replace("OTHER", str(other)) for option in options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert evaluations.done == []


def _narrower(folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.hidden_size = 32
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def test_a_folder_that_is_taken_is_left_alone(run: Run, evaluations: Evaluations, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and holds something else"):
        run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_two_sweeps_into_one_folder_do_not_mix(run: Run, evaluations: Evaluations, tmp_path: Path) -> None:
    with sweep.workplace(tmp_path / "out"), pytest.raises(UserError, match="another sweep is writing to"):
        run()


def test_weights_come_in_order() -> None:
    assert sweep_weights("1,0.25,0") == (0, 0.25, 1)
