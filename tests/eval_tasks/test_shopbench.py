"""The `shopbench:` tasks inside lighteval: one real run, the gold answers, and what is left out."""

import json
import re
import time
from pathlib import Path

import pytest

from tests.eval_tasks.conftest import Lighteval, load_tasks
from tests.eval_tasks.rows import SHOPBENCH_ROWS, shopbench_records, write_lines


def test_a_run_of_the_console_script_scores_every_task_of_the_file(
    lighteval: Lighteval, model: Path, shopbench_file: Path, tmp_path: Path
) -> None:
    done = lighteval(
        "accelerate",
        f"model_name={model},batch_size=4",
        "shopbench|0",
        "--custom-tasks",
        "eval_tasks/shopbench.py",
        "--output-dir",
        str(tmp_path),
        SHOPBENCH_DATA=str(shopbench_file),
    )

    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = tmp_path.rglob("results_*.json")
    results = json.loads(file.read_text(), parse_constant=pytest.fail)["results"]
    tasks = {f"shopbench:{task}|0" for task, *_ in SHOPBENCH_ROWS}
    assert set(results) == {*tasks, "shopbench:_average|0", "all"}
    assert results["shopbench:_average|0"]["score"] == pytest.approx(sum(results[task]["score"] for task in tasks) / len(tasks))


def test_gold_answers_score_1(shopbench_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.lighteval_task import LightevalTask

    scores = {}
    for config in load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(shopbench_file)).TASKS_TABLE:
        docs = LightevalTask(config).get_docs()
        outputs = apply_metric([ModelResponse(text=[doc.get_golds()[0]]) for doc in docs], docs, config.metrics)
        scores[config.name] = config.metrics[0].corpus_level_fn([output["score"] for output in outputs])["score"]
        assert {output["unparsable"] for output in outputs} == {0.0}

    # The German title has three words, and BLEU of a text without four is 0.
    assert scores.pop("shopbench:task17") == pytest.approx(0.5)
    assert set(scores.values()) == {1.0}


def test_a_task_whose_model_is_missing_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other, generation = shopbench_records()[0], shopbench_records()[5]
    records = [other, generation | {"metric": "sent-transformer", "task_name": "task1"}]
    monkeypatch.setenv("SENTENCE_MODEL", str(tmp_path / "nowhere"))

    table = load_tasks(
        "shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(write_lines(tmp_path / "rows.json", records))
    ).TASKS_TABLE

    assert [config.name for config in table] == ["shopbench:task2"]
    assert "warning: shopbench:task1 is left out: the sentence-embedding model" in capsys.readouterr().err


def test_tasks_of_unknown_metrics_types_and_names_are_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = shopbench_records()[0]
    records = [
        choice,
        choice | {"task_name": "task19", "metric": "F1"},
        choice | {"task_name": "task20", "task_type": "essay"},
        choice | {"task_name": "task|21"},
        choice | {"task_name": "warm_up"},
    ]

    table = load_tasks(
        "shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(write_lines(tmp_path / "rows.json", records))
    ).TASKS_TABLE

    assert [config.name for config in table] == ["shopbench:task2", "shopbench:warm_up"]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in told] == [
        "warning: shopbench:task19 is left out: its metric 'F1' is unknown",
        "warning: shopbench:task20 is left out: its task_type 'essay' is unknown",
        "warning: shopbench:task|21 is left out: lighteval takes letters, digits, _, . and - in a task's name only",
    ]


def test_documents_have_the_pattern_of_their_row(shopbench_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lighteval.tasks.lighteval_task import LightevalTask

    table = load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(shopbench_file)).TASKS_TABLE
    patterns = {config.name: [doc.specific["pattern"] for doc in LightevalTask(config).get_docs()] for config in table}

    assert patterns["shopbench:task2"] == ["0|1", "0|1"]
    assert re.fullmatch(patterns["shopbench:task3"][0], "6,1,2")
    assert re.fullmatch(patterns["shopbench:task12"][0], "5,3,1,2,4")
    assert patterns["shopbench:task4"] == ["", ""]


GARBAGE = ["", "\0\x1b[31m\x07", "\u200b", "x " * 50_000, "#" * 100_000, "9" * 100_000, "[" * 100_000]


@pytest.mark.parametrize("text", GARBAGE, ids=["empty", "control", "no width", "words", "one word", "digits", "brackets"])
def test_garbage_scores_0_within_a_second(
    text: str, shopbench_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lighteval.metrics import apply_metric
    from lighteval.models.model_output import ModelResponse

    tasks = load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(shopbench_file))
    rows = [row for own in tasks.load_tasks(str(shopbench_file)).values() for row in own]
    for config in tasks.TASKS_TABLE:
        lines = [{"row": json.dumps(vars(row))} for row in rows if row.task == config.hf_subset]
        docs = [config.prompt_function(line, f"{config.name}|0") for line in lines]
        start = time.process_time()
        values = apply_metric([ModelResponse(text=[text])] * len(docs), docs, config.metrics)
        assert config.metrics[0].corpus_level_fn([row["score"] for row in values]) == {"score": 0}
        assert time.process_time() - start < 1


def test_a_dataset_folder_with_the_columns_serves_as_well_as_a_file(
    shopbench_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = [row | {"output_field": json.dumps(row["output_field"])} for row in shopbench_records()]
    (tmp_path / "dataset").mkdir()
    write_lines(tmp_path / "dataset" / "test.jsonl", encoded)

    from_file = load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(shopbench_file)).TASKS_TABLE
    from_folder = load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(tmp_path / "dataset")).TASKS_TABLE

    assert [str(config) for config in from_folder] == [str(config) for config in from_file]


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        (None, "is no file or folder here, and no Hub id such as org/name"),
        ([], "the file is empty"),
        ([{"a": 1}], 'line 1: no "output_field"'),
        ([shopbench_records()[0] | {"input_field": ""}], 'a row has no "input_field"'),
        ([shopbench_records()[0], shopbench_records()[2] | {"output_field": []}], 'line 2: "output_field" is an empty list'),
        ([shopbench_records()[0], shopbench_records()[2] | {"output_field": "x"}], "line 2: \"output_field\" 'x' is no JSON"),
    ],
)
def test_bad_data_is_told_in_one_sentence(
    records: list[object] | None,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if records is not None:
        write_lines(tmp_path / "rows.json", records)

    with pytest.raises(SystemExit) as stopped:
        load_tasks("shopbench", monkeypatch, tmp_path, SHOPBENCH_DATA=str(tmp_path / "rows.json"))

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert sentence in error
