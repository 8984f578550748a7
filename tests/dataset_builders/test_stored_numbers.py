"""Numbers on disk come back as they were added, and are not held."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders import stored_numbers
from dataset_builders.stored_numbers import StoredNumbers
from tests.dataset_builders.held_bytes import held_bytes

numbers = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), max_size=9)


@given(added=numbers)
def test_numbers_come_back_in_the_order_in_which_they_were_added(added: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_numbers, "AT_ONCE", 7)
        stored = StoredNumbers("i8")
        for some in added:
            stored.add(np.array(some, np.int64))
            list(stored.parts())  # reading between does not move the place where the next ones go
        parts = [part.tolist() for part in stored.parts()]
    assert list(chain(*parts)) == list(chain(*added))
    assert len(stored) == sum(map(len, added))
    assert all(0 < len(part) <= 7 for part in parts)


def test_bytes_keep_zeros_at_their_end() -> None:
    stored = StoredNumbers("S4")
    stored.add(np.frombuffer(b"ab\0\0\0\0\0\0", "S4"))
    assert b"".join(part.tobytes() for part in stored.parts()) == b"ab\0\0\0\0\0\0"


def test_the_file_has_no_name_and_nothing_of_it_is_held(tmp_path: Path) -> None:
    stored = StoredNumbers("i8", tmp_path)
    empty = held_bytes(vars(stored))
    stored.add(np.arange(100_000))
    assert not list(tmp_path.iterdir())
    assert held_bytes(vars(stored)) - empty < 100
