"""training/rows.py: rows of other shapes become chats, and what is left out is counted."""

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.training.runs import Runs
from training.mixture import load_rows
from training.rows import as_chats

USER, ANSWER = {"role": "user", "content": "How many?"}, {"role": "assistant", "content": "2"}


def chats(rows: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    from datasets import Dataset

    return [(row["prompt"], row["completion"]) for row in as_chats(Dataset.from_list(rows), "shop")]


def test_prompt_completion_rows_of_turns_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from datasets import Dataset

    rows = Dataset.from_list([{"prompt": [USER], "completion": [ANSWER], "task": "count"}])
    assert as_chats(rows, "shop") is rows
    assert capsys.readouterr().err == ""


def test_strings_become_turns_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert chats([{"prompt": "How many?", "completion": "2"}]) == [([USER], [ANSWER])]
    assert "prompt and completion of shop are text, not turns; a prompt becomes a user's turn" in capsys.readouterr().err


def test_a_string_completion_goes_with_a_prompt_of_turns() -> None:
    assert chats([{"prompt": [USER], "completion": "2"}]) == [([USER], [ANSWER])]


def test_the_last_assistant_turn_of_messages_is_the_completion(capsys: pytest.CaptureFixture[str]) -> None:
    system = {"role": "system", "content": "Be brief."}
    rows = [{"messages": [USER, ANSWER]}, {"messages": [system, USER, ANSWER, USER, ANSWER]}]
    assert chats(rows) == [([USER], [ANSWER]), ([system, USER, ANSWER, USER], [ANSWER])]
    assert "each row's last assistant turn is the completion" in capsys.readouterr().err


def test_conversations_of_sharegpt_are_messages() -> None:
    turns = [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "2"}]
    assert chats([{"conversations": turns}]) == [([USER], [ANSWER])]


def test_rows_that_hold_no_answer_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"messages": [USER, ANSWER]}, {"messages": [USER]}, {"messages": [ANSWER]}, {"messages": [ANSWER, USER]}]
    assert len(chats(rows)) == 1
    said = capsys.readouterr().err
    assert "2 rows of shop are left out: their last turn is not the assistant's" in said
    assert "1 rows of shop are left out: they have no turn before the assistant's" in said
    assert len(chats([{"prompt": "a", "completion": "b"}, {"prompt": None, "completion": "b"}])) == 1
    assert "1 rows of shop are left out: they have no prompt" in capsys.readouterr().err


def test_a_dataset_without_one_row_to_train_on_is_refused() -> None:
    with pytest.raises(UserError, match="no row of shop can be trained on: their last turn is not the assistant's"):
        chats([{"messages": [USER]}])


def test_only_the_first_process_says_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RANK", "1")
    chats([{"prompt": "How many?", "completion": "2"}])
    assert "a user's turn" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "row",
    [
        '{"prompt": "How many NUMBER?", "completion": "2"}',
        '{"messages": [{"role": "user", "content": "How many NUMBER?"}, {"role": "assistant", "content": "2"}]}',
    ],
    ids=["strings", "messages"],
)
def test_a_run_trains_on_such_rows_without_tasks_and_test_split(runs: Runs, row: str, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    lines = "".join(row.replace("NUMBER", str(number)) + "\n" for number in range(40))
    (tmp_path / "rows" / "train.jsonl").write_text(lines)
    options = ["--dataset_name", tmp_path / "rows", "--rows_per_step", 8, "--max_rows_per_task", 0, "--max_steps", 2]
    ended = runs.done(tmp_path / "out", *options, "--validation_samples", 4)
    assert ended.summary["tasks"] == {"(no task column)": 36}
    assert len(load_rows(str(tmp_path / "rows"), None, "train", None, None)) == 40
