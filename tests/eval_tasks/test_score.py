"""The command that scores a file: what it writes, and what it says of bad input."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import UserError, plain_errors
from eval_tasks.score import main
from tests.eval_tasks.rows import shopbench_records, write_lines

REPOSITORY = Path(__file__).parents[2]
GOOD_OUTPUTS = [
    "1",
    "1",
    "1, 6, 2",
    "brass, lamp",
    "a, b",
    "warm white bulb",
    "2,1,5,4,3",
    "Schreibtischlampe aus Messing",
    "x",
]
ROW = json.dumps(shopbench_records()[0])


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eval_tasks.score", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_scores_of_a_file_are_written_and_shown(shopbench_file: Path, tmp_path: Path) -> None:
    outputs = write_lines(tmp_path / "outputs.jsonl", [{"output": text, "seconds": 1} for text in GOOD_OUTPUTS])

    done = run("--data", shopbench_file, "--outputs", outputs, "--json", tmp_path / "out.json")

    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)
    scores = {name: task["score"] for name, task in result["tasks"].items()}
    assert list(scores) == ["task2", "task3", "task4", "task6", "task12", "task17"]
    assert scores["task2"] == 0.5
    assert scores["task3"] == 2 / 3
    # tp 2, fp 2, fn 1
    assert scores["task4"] == pytest.approx(4 / 7)
    # "warm white bulb" of "a warm white bulb": precision 1, recall 3/4
    assert scores["task6"] == pytest.approx(6 / 7)
    assert result["tasks"]["task17"] == {"metric": "bleu", "num_samples": 2, "score": 0.0, "unparsable": 0.0}
    assert result["overall"] == pytest.approx(sum(scores.values()) / 6)
    assert [sample["parsed"] for sample in result["samples"]][2:5] == [[1, 6, 2], ["brass", "lamp"], ["a", "b"]]
    assert result["samples"][3]["score"] == [2, 0, 0]
    assert "overall" in done.stdout
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("data", "outputs", "sentence"),
    [
        (None, '{"output": "1"}', "data.json: no such file"),
        (ROW, None, "outputs.jsonl: no such file"),
        ("", '{"output": "1"}', "data.json: the file is empty"),
        (ROW, "\n", "outputs.jsonl: the file is empty"),
        (ROW, '{"output": "1"}\n{"output": "2"}', "2 outputs for 1 rows"),
        (f"{ROW}\n{ROW}\n{ROW[:-3]}", '{"output": "1"}', "data.json, line 3: not JSON"),
        ("[" + ROW, '{"output": "1"}', "data.json, line 1: not JSON"),
        (ROW, '{"output": "1"}\noutput: 2', "outputs.jsonl, line 2: not JSON"),
        (ROW, '{"text": "1"}', 'outputs.jsonl, line 1: no "output"'),
        (ROW, '{"output": 1}', '"output" is a number; it must be a string'),
        (ROW, '{"output": null}', '"output" is null'),
        (ROW, '"1"', "outputs.jsonl, line 1: a string; it must be a JSON object"),
        ("[1]", '{"output": "1"}', "data.json, item 1: a number"),
        (b"\xff\xfe", '{"output": "1"}', "cannot be read as UTF-8"),
        (ROW.replace('"metric"', '"measure"'), '{"output": "1"}', 'line 1: no "metric"'),
        (ROW.replace('"accuracy"', "null"), '{"output": "1"}', '"metric" must be a string'),
        (ROW.replace('"accuracy"', '"ndcg"'), '{"output": "1"}', "'ndcg' scores ranking rows"),
        (ROW.replace('"output_field": 1', '"output_field": "b"'), '{"output": "1"}', "no JSON; multiple-choice needs a number"),
        (ROW.replace('"output_field": 1', '"output_field": []'), '{"output": "1"}', "an empty list; accuracy needs a number"),
        (ROW.replace('"output_field": 1', '"output_field": NaN'), '{"output": "1"}', "accuracy needs a number"),
        (ROW.replace('"task_name": "task2"', '"task_name": 2'), '{"output": "1"}', '"task_name" must be a string'),
    ],
)
def test_bad_input_is_told_in_one_sentence(
    data: str | bytes | None,
    outputs: str | None,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in (("data.json", data), ("outputs.jsonl", outputs)):
        if content is not None:
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(SystemExit) as stopped, plain_errors():
        main(["--data", "data.json", "--outputs", "outputs.jsonl", "--json", "out.json"])

    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert sentence in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert not Path("out.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_scoring(shopbench_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its folder does not exist"):
        main(
            ["--data", str(shopbench_file), "--outputs", str(shopbench_file), "--json", str(tmp_path / "nowhere" / "out.json")]
        )


def test_an_unscored_task_is_told_on_standard_error_and_null_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    data = write_lines(tmp_path / "data.json", [shopbench_records()[5] | {"metric": "sent-transformer"}])
    outputs = write_lines(tmp_path / "outputs.jsonl", [{"output": "a bulb"}])
    out = tmp_path / "out.json"

    main(["--data", str(data), "--outputs", str(outputs), "--json", str(out), "--sentence-model", str(tmp_path / "none")])

    shown = capsys.readouterr()
    assert "warning: task6 is not scored" in shown.err
    assert "not scored" in shown.out
    result = json.loads(out.read_text())
    assert result["overall"] is None
    assert result["tasks"]["task6"]["score"] is None


def test_rows_of_an_unknown_metric_or_type_are_told_and_leave_the_scores_of_the_others_alone(
    shopbench_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = shopbench_records()
    strange = [
        known[0] | {"task_name": "task19", "metric": "F1", "output_field": "a plain text"},
        known[0] | {"task_name": "task20", "task_type": "essay", "output_field": {"any": "thing"}},
        known[2] | {"task_name": "task3", "metric": "hit rate@5"},
    ]
    data = write_lines(tmp_path / "data.json", [*known, *strange])
    outputs = write_lines(tmp_path / "outputs.jsonl", [{"output": text} for text in [*GOOD_OUTPUTS, "1", "1", "1,4,6"]])
    out = tmp_path / "out.json"

    main(["--data", str(data), "--outputs", str(outputs), "--json", str(out)])

    told = capsys.readouterr().err
    assert "task19 is not scored and not part of the overall score: its metric 'F1' is unknown; known are accuracy" in told
    assert "task20 is not scored and not part of the overall score: its task_type 'essay' is unknown" in told
    assert "task3 is not scored and not part of the overall score: its metric 'hit rate@5' is unknown" in told
    result = json.loads(out.read_text())
    scores = {name: task["score"] for name, task in result["tasks"].items()}
    assert {name for name, score in scores.items() if score is None} == {"task3", "task19", "task20"}
    assert result["overall"] == pytest.approx((0.5 + 4 / 7 + 6 / 7 + scores["task12"] + 0.0) / 5)


def test_unreadable_answers_are_counted_apart(shopbench_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["the first", *GOOD_OUTPUTS[1:]]
    outputs = write_lines(tmp_path / "outputs.jsonl", [{"output": text} for text in texts])
    out = tmp_path / "out.json"

    main(["--data", str(shopbench_file), "--outputs", str(outputs), "--json", str(out)])

    tasks = json.loads(out.read_text())["tasks"]
    assert tasks["task2"]["unparsable"] == 0.5
    assert {task["unparsable"] for name, task in tasks.items() if name != "task2"} == {0}
    assert any("task2" in line and "50 %" in line for line in capsys.readouterr().out.splitlines())


def test_hostile_answers_are_scored_like_any(shopbench_file: Path, tmp_path: Path) -> None:
    for number, text in enumerate(["", "\0\x1b[2J", "1," * 50_000, "word " * 20_000, "9" * 100_000, "['" * 50_000]):
        outputs = write_lines(tmp_path / f"outputs{number}.jsonl", [{"output": text}] * 9)
        out = tmp_path / f"out{number}.json"
        started = time.process_time()

        main(["--data", str(shopbench_file), "--outputs", str(outputs), "--json", str(out)])

        assert time.process_time() - started < 5
        result = json.loads(out.read_text())
        assert all(0 <= task["score"] <= 1 for task in result["tasks"].values())
        assert number > 0 or {task["unparsable"] for task in result["tasks"].values()} == {1}


def test_half_of_a_surrogate_pair_is_scored_like_any_character(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.json", shopbench_records()[5:9])
    outputs, out = tmp_path / "outputs.jsonl", tmp_path / "out.json"
    outputs.write_text('{"output": "a \\ud83d bulb"}\n' * 4)

    main(["--data", str(data), "--outputs", str(outputs), "--json", str(out)])

    assert json.loads(out.read_text())["samples"][0]["parsed"] == "a \ufffd bulb"
