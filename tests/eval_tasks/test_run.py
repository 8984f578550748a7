"""The command over backends and adapters, run for real on the tiny model."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.run import folder_names, main, model_options, of_baseline, parse_arguments, task_names
from tests.eval_tasks.conftest import REPOSITORY, environment
from tests.eval_tasks.rows import dataset_row, write_dataset
from tests.small_dataset import write_small_dataset

TASKS_RUN = ("answerability", "also_buy", "query_generation")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tasks = {name: {split: whole_rows(name) for split in ("train", "test")} for name in TASKS_RUN}
    return write_small_dataset(tmp_path_factory.mktemp("run") / "dataset", tasks)


def whole_rows(name: str) -> list[dict[str, Any]]:
    """Rows whose prompts are those of the templates, which baselines read."""
    rows = [dataset_row(TASKS[name], index) for index in range(3)]
    for index, row in enumerate(rows):
        row["group"] = f"group {index}"
        row["prompt"][0]["content"] = row["prompt"][0]["content"].removeprefix(f"{index}: ")
    return rows


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that says something else than its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_llama), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    )
    folder = tmp_path_factory.mktemp("adapters") / "loud"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(evaluation: Run) -> Run:
    return partial(evaluation, "eval_tasks.run")


def answers(folder: Path) -> dict[str, list[str]]:
    """Task -> texts, of the newest details."""
    files = sorted(folder.rglob("details_*.parquet"))
    newest = max(file.parent.name for file in files)
    return {
        file.name.partition("|")[0]: [row["model_response"]["text"][0] for row in pq.read_table(file).to_pylist()]
        for file in files
        if file.parent.name == newest
    }


def test_a_base_and_an_adapter_are_evaluated_with_one_command(
    run: Run, tiny_llama: Path, adapter: Path, dataset: Path, tmp_path: Path
) -> None:
    done = run("--model", tiny_llama, "--adapter", adapter, "--data", dataset, "--out", tmp_path, "--option", "dtype=float32")
    assert done.returncode == 0, done.stderr[-3000:]
    base, tuned = answers(tmp_path / "model"), answers(tmp_path / "loud")
    assert set(base) == {"details_shop:answerability", "details_shop:also_buy", "details_shop:query_generation"}
    assert base != tuned
    assert "also_buy" in done.stdout
    assert "loud" in done.stdout
    results = json.loads(next((tmp_path / "loud" / "results").rglob("results_*.json")).read_text())
    assert set(results["results"]["shop:also_buy|0"]) >= {"hit_rate", "unparsable"}

    again = run("--model", tiny_llama, "--adapter", adapter, "--data", dataset, "--out", tmp_path, "--option", "dtype=float32")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (answers(tmp_path / "model"), answers(tmp_path / "loud")) == (base, tuned)

    limited = run(
        "--model", tiny_llama, "--data", dataset, "--out", tmp_path, "--option", "dtype=float32", "--constrained",
        "--baseline", "majority", "--baseline", "bm25", "--names", "limited",
    )  # fmt: skip
    assert limited.returncode == 0, limited.stderr[-3000:]
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000
    assert set(answers(tmp_path / "bm25")) == {"details_shop:also_buy"}, "what a baseline has no answer to is not scored"
    assert "details_shop:query_generation" in answers(tmp_path / "majority")
    results = json.loads(next((tmp_path / "limited" / "results").rglob("results_*.json")).read_text())
    assert results["results"]["shop:answerability|0"]["unparsable"] == 0
    assert set(answers(tmp_path / "limited")["details_shop:answerability"]) <= {"yes", "no"}


def test_written_and_scored_answers_are_two_columns_of_one_report(
    run: Run, tiny_llama: Path, adapter: Path, dataset: Path, tmp_path: Path
) -> None:
    line = ("--model", tiny_llama, "--adapter", adapter, "--names", "base,tuned", "--data", dataset, "--out", tmp_path)
    done = run(*line, "--option", "dtype=float32", "--option", f"cache_dir={tmp_path / 'kept'}", "--answers", "both")
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "report" / "scores.json").read_text(encoding="utf-8"))
    assert figures["names"] == ["base", "tuned", "base_scored", "tuned_scored"]
    by_task = {task["task"]: task for task in figures["tasks"]}
    assert by_task["shop:also_buy"]["unparsable"]["tuned_scored"] == 0
    assert by_task["shop:also_buy"]["differences"]["tuned_scored"]["rows"] == 3, "the same rows, so differences are paired"
    texts = by_task["shop:query_generation"]["scores"]
    assert texts["base"] == texts["base_scored"], "a text is written"
    written, scored = answers(tmp_path / "tuned"), answers(tmp_path / "tuned_scored")
    assert written["details_shop:query_generation"] == scored["details_shop:query_generation"]
    assert all(len(text.split(",")) == len(set(text.split(","))) > 3 for text in scored["details_shop:also_buy"])
    (told,) = [note for note in figures["notes"] if note.startswith("Answered by likelihood (base_scored, tuned_scored): ")]
    assert "also_buy by each item's expected gain" in told
    results = json.loads(next((tmp_path / "tuned_scored" / "results").rglob("results_*.json")).read_text(encoding="utf-8"))
    assert results["config_general"]["model_config"]["answers"] == "scored"


def test_a_run_that_was_killed_goes_on_with_what_is_missing(run: Run, tiny_llama: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "dataset", ["query_generation"], rows=400)
    line = [sys.executable, "-m", "eval_tasks.run", "--model", tiny_llama, "--data", data, "--out", tmp_path / "out"]
    options = ["--option", f"cache_dir={tmp_path / 'kept'}", "--option", "dtype=float32"]
    store = tmp_path / "kept" / "answers.sqlite"

    def kept() -> int:
        import sqlite3

        try:
            return int(sqlite3.connect(store).execute("SELECT count(*) FROM answers").fetchone()[0])
        except sqlite3.Error:
            return 0

    process = subprocess.Popen(
        [str(word) for word in (*line, *options)],
        cwd=REPOSITORY,
        env=environment(tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not kept() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept()
    assert 0 < before < 400, "it was killed while it answered"

    done = run("--model", tiny_llama, "--data", data, "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert kept() == 400
    whole = answers(tmp_path / "out" / "model")["details_shop:query_generation"]
    fresh = run(
        "--model", tiny_llama, "--data", data, "--out", tmp_path / "fresh", "--option", f"cache_dir={tmp_path / 'other'}",
        "--option", "dtype=float32",
    )  # fmt: skip
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    assert answers(tmp_path / "fresh" / "model")["details_shop:query_generation"] == whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--adapter", "/no/adapter"],
            "--adapter /no/adapter is no file or folder here",
        ),
        (["--model", "/no/model", "--data", "DATA", "--out", "OUT"], "model_name=/no/model is no file or folder here"),
        (["--model", "/no/model", "--data", "DATA", "--out", "FILE"], "cannot write to --out "),
        (["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--adapter", "MODEL"], "holds no adapter_config.json"),
        (
            ["--model", "/no/model", "--data", "DATA", "--out", "OUT", "--adapter", "CONFIG"],
            "holds no adapter_model.safetensors",
        ),
        (
            ["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--adapter", "MISFIT"],
            "cannot be put on this base: size mismatch",
        ),
        (
            ["--model", "/no/model", "--data", "DATA", "--out", "OUT", "--baseline", "embedder=/no/encoder"],
            "there is no folder '/no/encoder'",
        ),
        (
            ["--model", "/no/model", "--data", "DATA", "--out", "OUT", "--baseline", "tfdif"],
            "there is no 'tfdif'; give random, ",
        ),
        (["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--option", "beams=4"], "unknown model option 'beams'"),
        (["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--option", "dtype=int8"], "dtype must be one of auto"),
        (["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--tasks", "shop:rating|0"], "there is no 'shop:rating|0'"),
        (["--model", "MODEL", "--data", "DATA", "--out", "OUT", "--tasks", "shop:also_buy|x"], "there is no 'shop:also_buy|x'"),
    ],
)
def test_what_cannot_be_evaluated_is_told_before_anything_is_answered(
    tiny_llama: Path,
    dataset: Path,
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("SHOP_DATASET", str(dataset))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "file").write_text("of another run", encoding="utf-8")
    (tmp_path / "config").mkdir()
    shutil.copy(adapter / "adapter_config.json", tmp_path / "config")
    misfit = shutil.copytree(adapter, tmp_path / "misfit") / "adapter_config.json"
    misfit.write_text(json.dumps(json.loads(misfit.read_text()) | {"r": 8}))
    places = {"MODEL": tiny_llama, "DATA": dataset, "OUT": tmp_path / "out", "FILE": tmp_path / "file"}
    places |= {"CONFIG": tmp_path / "config", "MISFIT": tmp_path / "misfit"}
    with pytest.raises(UserError, match=re.escape(said)):
        main([str(places.get(word, word)) for word in arguments])
    assert not list(tmp_path.glob("out/*"))


def test_data_that_is_not_there_ends_in_a_sentence(run: Run, tiny_llama: Path, tmp_path: Path) -> None:
    done = run("--model", tiny_llama, "--data", "/no/data", "--out", tmp_path)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "SHOP_DATASET=/no/data" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_without_data_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHOPBENCH_DATA", raising=False)
    with pytest.raises(UserError, match="give --data, or set SHOPBENCH_DATA"):
        main(["--model", "any", "--suite", "shopbench", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--lists", "text"), "--lists text is of scored answers; give --answers scored or both"),
        (("--lists", "text", "--answers", "scored", "--backend", "endpoint"), "which an endpoint does not tell"),
    ],
)
def test_lists_by_text_are_refused_where_there_are_no_likelihoods_of_texts(options: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_arguments(["--model", "m", "--out", "o", *options])


def test_options_that_evaluate_nothing_are_told() -> None:
    with pytest.raises(UserError, match="--adapters-only without --adapter"):
        parse_arguments(["--model", "base", "--out", "out", "--adapters-only"])
    with pytest.raises(UserError, match="--max-samples 0 evaluates nothing"):
        parse_arguments(["--model", "base", "--out", "out", "--max-samples", "0"])


def test_every_model_has_its_options() -> None:
    arguments = parse_arguments(
        [
            "--model",
            "b",
            "--revision",
            "v1",
            "--adapter",
            "x",
            "--adapter",
            "y@2",
            "--constrained",
            "--option",
            "k=v",
            "--out",
            "o",
        ]
    )
    common = "model_name=b,k=v,revision=v1,constrained=true"
    assert model_options(arguments) == [common, f"{common},adapter=x", f"{common},adapter=y@2"]
    arguments.adapters_only = True
    assert model_options(arguments) == [f"{common},adapter=x", f"{common},adapter=y@2"]


def test_tasks_are_spelt_out_since_a_single_one_has_no_common_name() -> None:
    assert task_names(None, ["shop:also_buy"]) == "shop:also_buy|0"
    assert task_names("shop|0", ["shop:a", "shop:b"]) == "shop|0"
    assert task_names("shop:a|2,shop:b", ["shop:a", "shop:b"]) == "shop:a|2,shop:b|0"
    assert task_names("shop_unseen|0", ["shop:a", "shop_unseen:a", "shop_unseen:b"]) == "shop_unseen|0"
    with pytest.raises(
        UserError, match="there is no 'shop'; give some of also_buy, or lighteval's names such as shop:also_buy"
    ):
        task_names("shop", ["shop:also_buy"])


def test_a_task_is_found_by_its_own_name() -> None:
    declared = ["shop:a", "shop:b", "shop_unseen:a", "shop_unseen:b"]
    assert task_names("a, b|2", declared) == "shop:a|0,shop:b|2"
    assert task_names("Answerability", ["ecinstruct:Answerability"]) == "ecinstruct:Answerability|0"
    with pytest.raises(UserError, match="there is no 'c'"):
        task_names("a,c", declared)


def test_a_baseline_is_not_asked_in_an_unseen_wording() -> None:
    assert of_baseline("shop:a|0,shop_unseen:a|0,shop|0") == "shop:a|0,shop|0"
    with pytest.raises(UserError, match="a baseline has no score of shop_unseen tasks"):
        of_baseline("shop_unseen|0")


def test_models_of_the_same_name_have_folders_of_their_own() -> None:
    assert folder_names(["org/a", "b", "b", "b"]) == ["org--a", "b", "b-2", "b-3"]
