"""Facts of rows are the same however the rows come in parts, and in whatever order processes count them."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
import rich
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders import row_facts
from dataset_builders.row_facts import RowFacts, fingerprint, read_facts
from dataset_builders.row_progress import row_progress
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split
from tests.dataset_builders.held_bytes import held_bytes


def row(number: int) -> DatasetRow:
    answer = '"yes"' if number % 3 == 0 else f"[{1 + number % 4}]"
    records = (number, number // 2)
    masked = (("phone", 1),) if number % 5 == 0 else ()
    return DatasetRow(
        f"Which one? {number}", "1", "also_buy", "retrieval", answer, "esci", "Apache-2.0", "g", records, {}, masked
    )


def backwards(function: Any, jobs: Any) -> Any:
    return map(function, reversed(list(jobs)))


def counted(facts: RowFacts) -> dict[str, Any]:
    found = vars(facts) | {"records": records_of(facts), "digests": fingerprint([facts])}
    return found | {"answers": dict(facts.answers)}


def records_of(facts: RowFacts) -> list[int]:
    return sorted({number for part in facts.records.parts() for number in part.tolist()})


def test_parts_in_any_order_give_what_all_rows_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    built = {"also_buy": Split([row(number) for number in range(40)], [row(number) for number in range(50, 60)])}
    whole = counted(read_facts(built)["also_buy"])
    monkeypatch.setattr(row_facts, "AT_ONCE", 7)
    assert counted(read_facts(built, backwards)["also_buy"]) == whole
    assert whole["rows"] == {"train": 40, "test": 10}
    assert whole["in_words"] == sum(number % 3 == 0 for number in (*range(40), *range(50, 60)))
    assert whole["answers"][True, "yes"] == whole["in_words"]
    assert whole["masked"] == {("esci", "phone"): 10}
    assert whole["records"] == [*range(40), *range(50, 60)]


@given(st.lists(st.integers(0, 300), max_size=60), st.lists(st.integers(0, 300), max_size=20))
def test_a_fingerprint_is_the_sha256_of_the_sorted_sha256_of_all_rows(train: list[int], test: list[int]) -> None:
    splits = {"train": [row(number) for number in train], "test": [row(number) for number in test]}
    lines = [
        json.dumps({"split": split, **one.as_columns()}, sort_keys=True, ensure_ascii=False).encode()
        for split, rows in splits.items()
        for one in rows
    ]
    digests = sorted(hashlib.sha256(line).digest() for line in lines)
    [facts] = read_facts({"also_buy": Split(**splits)}).values()
    assert fingerprint([facts]) == hashlib.sha256(b"".join(digests)).hexdigest()
    assert records_of(facts) == sorted({record for rows in splits.values() for one in rows for record in one.records})


def test_what_is_held_of_the_facts_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_facts, "AT_ONCE", 7)
    few, many = (
        read_facts({"also_buy": Split([row(10_000 + number) for number in range(rows)], [])})["also_buy"] for rows in (60, 3000)
    )
    assert (len(few.digests), len(many.digests)) == (60, 3000)
    assert held_bytes(many) == held_bytes(few)
    held = np.concatenate(list(many.digests.parts()))
    assert held_bytes(held) > held_bytes(few)  # it would show


def test_the_line_of_progress_counts_the_rows_of_jobs_and_their_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rich.get_console(), "quiet", True)  # as Inspect leaves it: the line has a console of its own
    with row_progress("Writing") as progress:
        assert list(progress.counted(map)(sum, [[1, 2], [3]])) == [3, 3]
        assert progress.rows == 3
    assert "3 rows, " in capsys.readouterr().err
