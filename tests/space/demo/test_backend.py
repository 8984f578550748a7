"""What backends and page tell each other."""

from pathlib import Path
from queue import SimpleQueue

import pytest

from space.demo.backend import AnswerUpdates, BackendBusy, BackendError, ModelAnswer, public_name, read_updates


def test_a_hub_id_is_named_as_it_is_and_a_folder_by_its_last_name_only(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    assert public_name("org/adapter") == "org/adapter"
    assert public_name(str(tmp_path / "adapter")) == "adapter"
    assert public_name(str(tmp_path / "gone")) == "gone"


def test_a_relative_folder_shows_nothing_of_what_is_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outputs" / "adapter").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("outputs/adapter") == "adapter"


def test_updates_are_read_in_order_until_their_end() -> None:
    updates: AnswerUpdates = SimpleQueue()
    for update in ({"base": ModelAnswer("1")}, {"base": ModelAnswer("12", 0.5)}, None):
        updates.put(update)
    assert list(read_updates(updates)) == [{"base": ModelAnswer("1")}, {"base": ModelAnswer("12", 0.5)}]


def test_an_error_among_updates_is_raised_as_it_is_behind_what_came_before() -> None:
    updates: AnswerUpdates = SimpleQueue()
    updates.put({"base": ModelAnswer("1")})
    updates.put(BackendBusy("Later."))
    told = read_updates(updates)
    assert next(told) == {"base": ModelAnswer("1")}
    with pytest.raises(BackendError, match=r"^Later\.$") as error:
        next(told)
    assert isinstance(error.value, BackendBusy)
