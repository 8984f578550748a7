"""What backends and page tell each other."""

from pathlib import Path
from queue import SimpleQueue

import pytest

from space.demo.backend import Busy, ModelError, Said, Updates, public_name, read


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
    updates: Updates = SimpleQueue()
    for update in ({"base": Said("1")}, {"base": Said("12", 0.5)}, None):
        updates.put(update)
    assert list(read(updates)) == [{"base": Said("1")}, {"base": Said("12", 0.5)}]


def test_an_error_among_updates_is_raised_as_it_is_behind_what_came_before() -> None:
    updates: Updates = SimpleQueue()
    updates.put({"base": Said("1")})
    updates.put(Busy("Later."))
    told = read(updates)
    assert next(told) == {"base": Said("1")}
    with pytest.raises(ModelError, match=r"^Later\.$") as error:
        next(told)
    assert isinstance(error.value, Busy)
