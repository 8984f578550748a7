"""Facts of rows are the same however the rows come in parts, and in whatever order processes count them."""

from typing import Any

import pytest
import rich

from dataset_builders import row_facts
from dataset_builders.row_facts import RowFacts, distinct_numbers, fingerprint, read_facts
from dataset_builders.row_progress import row_progress
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split


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
    found = vars(facts) | {"records": distinct_numbers(facts.records).tolist(), "digests": fingerprint([facts])}
    return found | {"answers": dict(facts.answers)}


def test_parts_in_any_order_give_what_all_rows_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    built = {"also_buy": Split([row(number) for number in range(40)], [row(number) for number in range(50, 60)])}
    whole = counted(read_facts(built)["also_buy"])
    monkeypatch.setattr(row_facts, "AT_ONCE", 7)
    monkeypatch.setattr(row_facts, "_MANY", 10)
    assert counted(read_facts(built, backwards)["also_buy"]) == whole
    assert whole["rows"] == {"train": 40, "test": 10}
    assert whole["in_words"] == sum(number % 3 == 0 for number in (*range(40), *range(50, 60)))
    assert whole["answers"][True, "yes"] == whole["in_words"]
    assert whole["masked"] == {("esci", "phone"): 10}
    assert whole["records"] == [*range(40), *range(50, 60)]


def test_the_line_of_progress_counts_the_rows_of_jobs_and_their_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rich.get_console(), "quiet", True)  # as Inspect leaves it: the line has a console of its own
    with row_progress("Writing") as progress:
        assert list(progress.counted(map)(sum, [[1, 2], [3]])) == [3, 3]
        assert progress.rows == 3
    assert "3 rows, " in capsys.readouterr().err
