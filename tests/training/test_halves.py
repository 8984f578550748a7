"""training/halves.py: every test row is in one half, and what belongs together in the same one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from tests.eval_tasks.rows import write_dataset
from tests.hub import Hub
from tests.training.conftest import ROOT
from training.halves import CHOICE, REPORT, fingerprint, halves, read_test_rows, write_rows


def table(*groups: str) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist([{"group": group, "sample_id": str(number)} for number, group in enumerate(groups)])


def of(sides: dict[str, Any], task: str, column: str) -> dict[str, list[str]]:
    return {side: rows[task][column].to_pylist() for side, rows in sides.items()}


GROUPS = [f"product {number}" for number in range(30)]


@given(
    first=st.lists(st.sampled_from(GROUPS), max_size=20),
    second=st.lists(st.sampled_from(GROUPS), max_size=20),
)
def test_every_row_is_in_one_half_and_every_group_too(first: list[str], second: list[str]) -> None:
    """All groups stand at the end of both tasks, so that no half is empty."""
    rows = {"also_buy": table(*first, *GROUPS), "review_rating": table(*second, *GROUPS)}
    sides = halves(rows)

    for task, whole in rows.items():
        parts = of(sides, task, "sample_id")
        assert sorted(parts[CHOICE] + parts[REPORT]) == sorted(whole["sample_id"].to_pylist())
    groups = [{group for task in rows for group in of(sides, task, "group")[side]} for side in (CHOICE, REPORT)]
    assert not groups[0] & groups[1]


def test_the_halves_are_about_equal() -> None:
    parts = of(halves({"also_buy": table(*(f"product {number}" for number in range(2000)))}), "also_buy", "group")
    assert 900 < len(parts[CHOICE]) < 1100


def test_rows_without_groups_are_halved_one_by_one() -> None:
    whole = table(*GROUPS).drop_columns(["group"])
    parts = of(halves({"also_buy": whole}), "also_buy", "sample_id")
    assert sorted(parts[CHOICE] + parts[REPORT]) == sorted(whole["sample_id"].to_pylist())


def test_one_group_cannot_be_halved() -> None:
    with pytest.raises(UserError, match="also_buy has too few test rows to halve; leave it out by --tasks"):
        halves({"review_rating": table(*GROUPS), "also_buy": table("one", "one")})


def test_a_fingerprint_tells_rows_apart() -> None:
    assert fingerprint(table("a", "b")) == fingerprint(table("a", "b"))
    assert len({fingerprint(table(*groups)) for groups in (("a", "b"), ("b", "a"), ("a",), ())}) == 4


def test_written_rows_are_a_dataset_with_a_test_split(tmp_path: Path) -> None:
    from datasets import load_dataset

    dataset = write_dataset(tmp_path / "dataset", ["also_buy", "answerability"], rows=4)
    rows = read_test_rows(str(dataset), [])
    for _ in range(2):  # the second time in place of the first
        write_rows(tmp_path / "half", rows)

    for task, whole in rows.items():
        loaded = load_dataset(str(tmp_path / "half"), task, cache_dir=str(tmp_path / "cache"))
        assert list(loaded) == ["test"]
        assert loaded["test"].to_list() == whole.to_pylist()
    manifest = json.loads((tmp_path / "half" / "manifest.json").read_text())
    assert {task: config["test"] for task, config in manifest["configs"].items()} == {"also_buy": 4, "answerability": 4}


def test_tasks_are_those_asked_for(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["also_buy", "answerability"])
    assert list(read_test_rows(str(dataset), ["also_buy"])) == ["also_buy"]
    with pytest.raises(UserError, match="has no test rows of next_query; it has those of answerability, also_buy"):
        read_test_rows(str(dataset), ["next_query"])


def test_a_folder_without_rows_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no test rows; give the --out"):
        read_test_rows(str(tmp_path), [])
    with pytest.raises(UserError, match=r"there is no dataset folder .*/none"):
        read_test_rows(str(tmp_path / "none"), [])


def test_damaged_rows_are_told(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["also_buy"])
    (file,) = dataset.glob("data/also_buy/test-*")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot read the test rows of .*; build the dataset again"):
        read_test_rows(str(dataset), [])


def test_rows_come_from_the_hub_at_a_revision(hub: Hub, tmp_path: Path) -> None:
    environment = hub.env(home=tmp_path / "home")
    script = Path(sys.executable).parent / "hf"
    for rows in (4, 6):
        dataset = write_dataset(tmp_path / f"dataset{rows}", ["also_buy"], rows=rows)
        upload = [script, "upload", "org/halved", dataset, "--repo-type", "dataset"]
        subprocess.run(upload, env=environment, check=True, capture_output=True)
        if rows == 4:
            first = hub.head("org/halved", "dataset")

    read = "import sys; from training.halves import *; print(read_test_rows(sys.argv[1], [])['also_buy'].num_rows)"
    printed = [
        subprocess.run(
            [sys.executable, "-c", read, name], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in (f"org/halved@{first}", "org/halved")
    ]
    assert printed == ["4", "6"]
