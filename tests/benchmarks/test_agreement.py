"""How far runs agree, on runs as lighteval leaves them."""

import json
from pathlib import Path

import pytest

from benchmarks.agreement import RunAgreement, main
from common.errors import UserError
from tests.command import run_command
from tests.eval_tasks.runs import Said, write_run

TASK = "shop:review_rating"


def run(folder: Path, texts: list[str], task: str = TASK) -> str:
    rows = [Said(f"question {number}", text, 0.0) for number, text in enumerate(texts)]
    return str(write_run(folder, {task: rows}))


def figures(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, dict[str, float]]]:
    line = capsys.readouterr().out.strip().splitlines()[-1]
    return dict(json.loads(line)["others"])


def test_texts_beginnings_and_what_is_read_are_counted_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path / "a", ["5", "5 stars", "Answer: 4", "3", "none", "2"])
    other = run(tmp_path / "b", ["5", "5", "It is 4", "1", "no idea", "2"])

    main(["--results", first, "--results", other, "--names", "one,two"])
    shares = {"same_text": 0.3333, "same_beginning": 0.5, "same_answer": 0.8333}
    assert figures(capsys) == {"two": {TASK: {"rows": 6, **shares}, "all": {"rows": 6, **shares}}}


def test_every_further_run_is_compared_with_the_first_on_the_rows_that_both_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "a", ["1", "2", "3"])
    same, short = run(tmp_path / "b", ["1", "2", "3"]), run(tmp_path / "c", ["1", "3"])

    main(["--results", first, "--results", same, "--results", short])
    found = figures(capsys)
    assert found[same]["all"] == RunAgreement(3, 3, 3, 3).figures()
    assert found[short]["all"] == RunAgreement(2, 1, 1, 1).figures()


def test_rows_that_read_otherwise_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, other = run(tmp_path / "a", ["1", "2", "3"]), run(tmp_path / "b", ["5", "2", "4"])

    main(["--results", first, "--results", other, "--show", "1"])
    said = capsys.readouterr().out
    assert f"{TASK} 0: '1' and '5'" in said
    assert "'3' and '4'" not in said


def test_runs_that_cannot_be_compared_are_told(tmp_path: Path) -> None:
    first, other = run(tmp_path / "a", ["1"]), run(tmp_path / "b", ["yes"], "shop:answerability")
    bare = str(write_run(tmp_path / "c", {TASK: [Said("question 0", "1", 0.0)]}, details=False))
    for arguments, sentence in (
        ([first], "nothing to compare"),
        ([first, other], "no row in common"),
        ([first, bare], "holds no answers. Give the --output-dir of a run with --save-details"),
    ):
        with pytest.raises(UserError, match=sentence):
            main([word for path in arguments for word in ("--results", path)])
    with pytest.raises(UserError, match="--names gives 1 names for 2 --results"):
        main(["--results", first, "--results", other, "--names", "one"])


def test_the_command_ends_in_one_sentence_where_a_folder_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"
    assert run_command("benchmarks.agreement", "--results", missing, "--results", missing) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {missing}: no such file or folder")
    assert said.count("\n") == 1
