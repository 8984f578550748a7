"""training/rejection.py: the best of several answers, and the dataset that is made of them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.dataset import read_manifest, read_split
from common.errors import UserError
from tests.command import run_command
from tests.tiny_llama import build_tiny_llama
from tests.training.random_adapters import random_adapter
from tests.training.reward_rows import write_reward_rows
from tests.vllm_server import BIN, REPOSITORY, environment, needs_vllm
from training import rejection
from training.mixture import load_rows
from training.rejection import SAMPLES, TOO_LOW, UNPARSABLE, choose, main

ROWS = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import datasets  # noqa: F401  # here, since its log would keep the output that a single test captures

    return write_reward_rows(tmp_path_factory.mktemp("reward_rows") / "data", ROWS)


# --- Choosing ---


@pytest.mark.parametrize(
    ("task", "answer", "answers", "completion"),
    [
        ("review_rating", "2", ["5", "2\nsince it broke", "1"], "2"),
        ("review_rating", "2", ["5", "1"], None),
        ("query_product_ranking", [0.0, 0.1, 1.0, 0.01, 0.0], ["1,2,3,4,5", "3, 2, 4, 1, 5", "none"], "3,2,4,1,5"),
        ("answer_generation", "Yes, in the box.", ["No.", "Yes, in a box.\nMore", "Yes"], "Yes, in a box."),
        ("query_product_relation", "exact", ["0", "Exact.", "irrelevant"], "exact"),  # rows in words
        ("query_product_ranking", "exact", ["1,2,3,4,5", "exact"], "exact"),
        ("also_buy", "yes", ["1,2,3", "no"], None),
    ],
)
def test_the_best_answer_becomes_the_completion_in_the_task_s_own_form(
    task: str, answer: Any, answers: list[str], completion: str | None
) -> None:
    assert choose(task, answer, answers, 0.5).completion == completion


def test_of_equally_good_answers_the_commonest_counts() -> None:
    weights = [1.0, 1.0, 0.0, 0.0, 0.0]
    answers = ["1,2,3,4,5", "2,1,3,4,5", "2,1,3,4,5"]
    assert choose("query_product_ranking", weights, answers, 0.5).completion == "2,1,3,4,5"


def test_a_row_is_left_out_with_its_reason() -> None:
    assert choose("review_rating", "2", ["no idea", ""], 0.0).reason == UNPARSABLE
    assert choose("review_rating", "2", ["1", "no idea"], 0.5).reason == TOO_LOW
    assert choose("review_rating", "2", ["1", "2"], 0.5).scores == [0.0, 1.0]


def test_reasoning_is_no_part_of_an_answer() -> None:
    found = choose("review_rating", "2", ["<think>\nis it 1?</think>\n\n2", "<think>\nit is 2"], 0.5)
    assert (found.completion, found.scores) == ("2", [1.0, 0.0])


# --- The command ---


def said(task: str) -> list[str]:
    return {"review_rating": ["2", "3"], "query_product_ranking": ["none"], "answer_generation": ["Yes, in the box.", "No"]}[
        task
    ]


def answering(stop_after: int | None = None) -> Any:
    """In place of a model: answers by the prompt's task; with `stop_after`, it is interrupted after so many."""

    def sample(engine: str, model: str, adapter: Any, prompts: Any, limits: Any, how: Any) -> Iterator[tuple[int, list[str]]]:
        for place, prompt in enumerate(prompts):
            if place == stop_after:
                raise KeyboardInterrupt
            text = prompt[0]["content"]
            task = "review_rating" if "review" in text else "query_product_ranking" if "Rank" in text else "answer_generation"
            yield place, said(task)

    return sample


def command(data: Path, out: Path, *more: object) -> list[str]:
    return [str(word) for word in ("--model", "org/base", "--data", data, "--samples", 2, "--out", out, *more)]


def test_the_new_dataset_is_trained_on_like_any_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(rejection, "sample", answering())
    main(command(data, tmp_path / "out"))
    rows = load_rows(str(tmp_path / "out"), "default", "train", None, None)
    assert len(rows) == 2 * ROWS
    assert set(rows["task"]) == {"review_rating", "answer_generation"}
    before = {name: table.to_pylist() for name, table in read_split(str(data), "train").items()}
    for row in load_rows(str(tmp_path / "out"), "review_rating", "train", None, None):
        assert row["completion"] == [{"role": "assistant", "content": "2"}]
        [old] = [one for one in before["review_rating"] if one["sample_id"] == row["sample_id"]]
        assert {name: value for name, value in row.items() if name != "completion"} == {
            name: value for name, value in old.items() if name != "completion"
        }
    manifest = read_manifest(str(tmp_path / "out"))
    assert manifest.configs["default"].train == 2 * ROWS
    assert manifest.configs["default"].fingerprint
    report = json.loads((tmp_path / "out" / "rejection.json").read_text())["tasks"]
    assert report["review_rating"] == {"rows": ROWS, "kept": ROWS, "mean": 0.5, "best": 1.0, "left_out": {}}
    assert report["query_product_ranking"]["left_out"] == {UNPARSABLE: ROWS}
    assert "Rejection sampling" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_with_what_is_missing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rejection, "sample", answering(stop_after=5))
    with pytest.raises(KeyboardInterrupt):
        main(command(data, tmp_path / "out"))
    path = tmp_path / "out" / SAMPLES
    path.write_text(path.read_text() + '{"sample_id": "review', encoding="utf-8")  # killed in the middle of a line
    monkeypatch.setattr(rejection, "sample", answering())
    main(command(data, tmp_path / "out"))
    assert "of which 5 are answered" in capsys.readouterr().out
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + 3 * ROWS
    assert len({json.loads(line)["sample_id"] for line in lines[1:]}) == 3 * ROWS
    main(command(data, tmp_path / "whole"))
    assert read_manifest(str(tmp_path / "out")) == read_manifest(str(tmp_path / "whole"))
    with pytest.raises(UserError, match="was sampled with other rows, models or settings; give another --out"):
        main(command(data, tmp_path / "out", "--seed", 1))


def test_samples_of_an_adapter_that_was_trained_again_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection, "sample", answering())
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"first")
    again = command(data, tmp_path / "out", "--adapter", weights.parent)
    main(again)
    main(again)
    weights.write_bytes(b"other")
    with pytest.raises(UserError, match="was sampled with other rows, models or settings"):
        main(again)


def test_another_least_score_takes_the_samples_that_are_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection, "sample", answering())
    main(command(data, tmp_path / "out"))
    monkeypatch.setattr(rejection, "sample", answering(stop_after=0))
    main(command(data, tmp_path / "out", "--min-score", 1))
    assert read_manifest(str(tmp_path / "out")).configs["default"].train == 2 * ROWS


def test_a_tiny_model_s_own_answers(data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    main([*command(data, tmp_path / "out", "--min-score", 0, "--max-rows-per-task", 2)[2:], "--model", str(tiny_llama)])
    lines = (tmp_path / "out" / SAMPLES).read_text().splitlines()
    assert len(lines) == 1 + 3 * 2
    assert all(len(json.loads(line)["answers"]) == 2 for line in lines[1:])
    assert read_manifest(str(tmp_path / "out")).configs["default"].train


@needs_vllm
def test_vllm_samples_an_adapter_s_answers(data: Path, tmp_path: Path) -> None:
    base = build_tiny_llama(tmp_path / "base", heads=2)
    adapter = random_adapter(base, tmp_path / "adapter", seed=1)
    options = ("--adapter", adapter, "--model", base, "--engine", "vllm", "--min-score", 0, "--max-rows-per-task", 2)
    done = subprocess.run(
        [BIN / "python", "-m", "training.rejection", *command(data, tmp_path / "out", *options)],
        cwd=REPOSITORY,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    entries = [json.loads(line) for line in (tmp_path / "out" / SAMPLES).read_text().splitlines()[1:]]
    assert len(entries) == 3 * 2
    assert all(len(entry["answers"]) == 2 for entry in entries)
    assert len({text for entry in entries for text in entry["answers"]}) > 6, "a random model draws other tokens every time"
    assert read_manifest(str(tmp_path / "out")).configs["answer_generation"].train == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--samples", 0), "--samples must be 1 or more, not 0"),
        (("--temperature", 0), "--temperature must be above 0 and at most 2, not 0.0; at 0 all samples are alike"),
        (("--top-p", 2), "--top-p must be above 0 and at most 1, not 2.0"),
        (("--min-score", 1.5), "--min-score must be between 0 and 1, not 1.5"),
        (("--tasks", "also_buy"), "the dataset has no rows of the task also_buy; check --tasks"),
        (("--data", "no/such/folder"), "--data no/such/folder is no file or folder here"),
        (("--out", "training"), "training exists and holds something else. Give an empty or a new folder."),
        (("--adapter", "no/such/adapter"), "--adapter no/such/adapter is no file or folder here"),
        (("--adapter", "training"), "--adapter training holds no adapter_model.safetensors; give the folder that the training"),
    ],
)
def test_a_mistake_is_one_sentence(
    data: Path, tmp_path: Path, options: tuple[object, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("training.rejection", *command(data, tmp_path / "out", *options)) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


def test_a_model_that_could_not_be_loaded_is_corrected_in_the_same_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(data, tmp_path / "out", "--min-score", 0)
    assert run_command("training.rejection", *words, "--model", "no/such/model") == 2
    assert "cannot load the tokenizer of no/such/model: there is no such folder" in capsys.readouterr().err
    monkeypatch.setattr(rejection, "sample", answering())
    main(words)


def test_where_no_row_is_kept_the_sentence_says_what_to_do(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "sample", answering())
    with pytest.raises(UserError, match="no row has an answer that is good enough; lower --min-score"):
        main(command(data, tmp_path / "out", "--tasks", "query_product_ranking"))
