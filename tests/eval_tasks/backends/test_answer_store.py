import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from eval_tasks.backends.answer_store import AnswerStore, answer_key
from eval_tasks.backends.prompts import Prompt

PROMPT = Prompt((("user", "Rate it.\nAnswer: "),), "Rate it.\nAnswer: ", 8, "shop:review_rating", "1|2", ("\n",))


@given(text=st.text(st.characters(), max_size=50))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite")
    store.keep({"key": text})
    assert store.find(["key", "other"]) == {"key": text}


def test_lone_surrogates_and_nul_come_back_as_they_were(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    store.keep({"key": "a\x00b\ud800"})
    assert store.find(["key"]) == {"key": "a\x00b\ud800"}


def test_more_keys_than_one_query_takes_are_found(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    answers = {f"key{number}": str(number) for number in range(1203)}
    store.keep(answers)
    assert store.find(answers) == answers


@pytest.mark.parametrize(
    "changed",
    [
        replace(PROMPT, messages=(("user", "Rate it!"),)),
        replace(PROMPT, plain="Rate it!"),
        replace(PROMPT, max_new_tokens=9),
        replace(PROMPT, task="shop:answerability"),
        replace(PROMPT, stop=()),
    ],
)
def test_whatever_changes_an_answer_changes_its_key(changed: Prompt) -> None:
    assert answer_key(["weights"], changed, False) != answer_key(["weights"], PROMPT, False)


def test_the_key_tells_models_and_constraints_apart_and_a_pattern_only_where_it_is_used() -> None:
    other = replace(PROMPT, pattern="1|2|3")
    assert answer_key(["weights"], PROMPT, False) != answer_key(["others"], PROMPT, False)
    assert answer_key(["weights"], PROMPT, False) != answer_key(["weights"], PROMPT, True)
    assert answer_key(["weights"], PROMPT, False) == answer_key(["weights"], other, False)
    assert answer_key(["weights"], PROMPT, True) != answer_key(["weights"], other, True)


def test_what_was_kept_is_there_after_kill_9(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from eval_tasks.backends.answer_store import AnswerStore\n"
        "store = AnswerStore(Path(sys.argv[1])); store.keep({'a': '1'}); store.keep({'b': '2'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "answers.sqlite"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -9
    assert AnswerStore(path).find(["a", "b"]) == {"a": "1", "b": "2"}


def test_several_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    AnswerStore(path)

    def write(writer: int) -> None:
        store = AnswerStore(path)
        for number in range(20):
            store.keep({f"{writer}-{number}": str(number)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert sqlite3.connect(path).execute("SELECT count(*) FROM answers").fetchone() == (80,)


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_text("no database at all, but long enough to be read as one")
    with pytest.raises(UserError, match=r"answers\.sqlite cannot be read or written"):
        AnswerStore(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name another folder as cache_dir"):
        AnswerStore(tmp_path / "file" / "answers.sqlite")
