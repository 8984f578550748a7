"""What a built dataset's folder holds: whole, the same twice, and readable in parts."""

import hashlib
import io
import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from common.dataset import config_tasks, data_file
from common.errors import UserError
from common.tasks import TASKS
from dataset_builders import dataset_files
from dataset_builders.dataset_files import (
    check_checksums,
    config_facts,
    write_checksums,
    write_dataset,
    write_splits,
)
from dataset_builders.record_counts import RecordCounts
from dataset_builders.records import Rejected
from dataset_builders.row_facts import fingerprint, read_facts
from dataset_builders.rows import DatasetRow
from dataset_builders.splits import Split

ANSWERS: dict[str, Any] = {
    "review_rating": "4",
    "query_product_ranking": [1.0, 0.1, 0.0, 0.01, 1.0],
    "also_buy": [2, 7],
    "answer_generation": "It is 30 cm wide.",
}


def row(task: str, number: int, prompt: str = "Which one? schön, 日本語, 👍") -> DatasetRow:
    return DatasetRow(
        prompt=f"{prompt} {number}",
        completion="4",
        task=task,
        family=TASKS[task].family,
        answer=json.dumps(ANSWERS[task]),
        source="esci" if number % 2 else "merrec",
        licence="Apache-2.0" if number % 2 else "CC-BY-NC-4.0",
        group=f"product:{number}",
        records=(number,),
    )


def parts(train: int = 20, test: int = 4) -> dict[str, Split]:
    return {
        name: Split([row(name, number) for number in range(train)], [row(name, number) for number in range(99, 99 + test)], [])
        for name in ANSWERS
    }


def manifest(built: dict[str, Split]) -> dict[str, Any]:
    return {
        "configs": config_facts(read_facts(built)),
        "rejects": {},
        "sources": {
            "esci": {"licence": "Apache-2.0", "read": 100, "used": 90},
            "merrec": {"licence": "CC-BY-NC-4.0", "read": 100, "used": 90},
        },
        "not_built": {},
        "synthetic": False,
        "locales": ["us"],
        "seed": 0,
    }


def write(folder: Path, built: dict[str, Split]) -> Path:
    (folder / "staged").mkdir(parents=True)
    counts = RecordCounts()
    counts.reject("esci", Rejected("query is missing"), "judgments.parquet:7")
    write_dataset(folder, manifest(built), built, read_facts(built), counts, "Shop")
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four tasks. Not to be written to."""
    return write(tmp_path_factory.mktemp("written") / "dataset", parts())


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_what_it_should_and_nothing_else(written: Path) -> None:
    assert set(files(written)) == {
        "README.md",
        "checksums.txt",
        "manifest.json",
        "rejects/places.json",
        *(f"images/{name}.png" for name in ("rows", "prompts", "answers")),
        *(data_file(name, split) for name in ANSWERS for split in ("train", "test")),
    }
    assert json.loads((written / "manifest.json").read_text()) == manifest(parts())


def test_the_same_rows_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    assert files(write(tmp_path / "again", parts())) == files(written)


def test_rows_come_back_as_they_went_in(written: Path) -> None:
    for name, part in parts().items():
        for split, rows in (("train", part.train), ("test", part.test)):
            assert pq.read_table(written / data_file(name, split)).to_pylist() == [each.as_columns() for each in rows]


def test_load_dataset_finds_each_config_as_the_card_describes_it(written: Path, tmp_path: Path) -> None:
    """`datasets` raises where a split has other rows than the card says; sizes and features are compared here."""
    from datasets import load_dataset
    from datasets.info import DatasetInfosDict

    [block] = re.findall(r"\A---\n(.*?)\n---\n", (written / "README.md").read_text(), re.DOTALL)
    described = {info["config_name"]: info for info in yaml.safe_load(block)["dataset_info"]}
    told = DatasetInfosDict.from_directory(str(written))
    assert set(described) == set(manifest(parts())["configs"]) == set(told)
    for name in ("default", "ranking", "review_rating"):
        assert {"config_name": name, **told[name]._to_yaml_dict()} == described[name]
        loaded = load_dataset(str(written), name, cache_dir=str(tmp_path), verification_mode="all_checks")
        found = loaded["train"].info
        sizes = [{key: getattr(split, key) for key in ("name", "num_bytes", "num_examples")} for split in found.splits.values()]
        assert sizes == described[name]["splits"]
        assert (found.download_size, found.dataset_size) == (
            described[name]["download_size"],
            described[name]["dataset_size"],
        )
        # Without the card, from the files alone.
        paths = [str(written / data_file(task, "test")) for task in config_tasks(list(ANSWERS))[name]]
        assert load_dataset("parquet", data_files=paths, cache_dir=str(tmp_path), split="train").features == found.features


def test_a_split_without_rows_has_no_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "dataset", parts(test=0))
    assert not list(folder.glob("data/*/test-*"))
    assert list(folder.glob("data/*/train-*"))


def test_many_rows_go_to_several_files_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_files, "SHARD", 10)
    rows = [row("also_buy", number) for number in range(21)]
    size = write_splits(tmp_path, {"also_buy": Split(rows, [])})["also_buy"]["train"]
    names = [f"data/also_buy/train-0000{number}-of-00003.parquet" for number in range(3)]
    assert sorted(files(tmp_path)) == names
    assert [found["group"] for name in names for found in pq.read_table(tmp_path / name).to_pylist()] == [
        each.group for each in rows
    ]
    assert (size.rows, size.files) == (21, sum(map(len, files(tmp_path).values())))


class Counted(io.BytesIO):
    """A file that counts the bytes which are read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.taken += len(content)
        return content


def test_the_first_row_takes_a_part_of_the_file(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = [row("also_buy", number, draw.randbytes(200).hex()) for number in range(10 * dataset_files.ROW_GROUP)]
    write_splits(tmp_path, {"also_buy": Split(rows, [])})
    path = tmp_path / data_file("also_buy", "train")
    file = Counted(path.read_bytes())
    # Arrow's own buffer would take 32 MiB at a time, which is more than this file has.
    first = next(pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=1)).to_pylist()
    assert first == [rows[0].as_columns()]
    assert 0 < file.taken < 0.2 * path.stat().st_size
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 10
    assert all(
        metadata.row_group(number).column(0).has_offset_index and metadata.row_group(number).column(0).has_column_index
        for number in range(10)
    )


# Fingerprint.


def fingerprint_of(*splits: Split) -> str:
    return fingerprint(list(read_facts({split.train[0].task: split for split in splits}).values()))


def test_the_order_of_rows_does_not_change_the_fingerprint() -> None:
    one, other = parts()["also_buy"], parts()["review_rating"]
    turned = Split(one.train[::-1], one.test[::-1], [])
    assert fingerprint_of(other, turned) == fingerprint_of(one, other)


def test_another_row_another_split_or_a_row_twice_changes_the_fingerprint() -> None:
    rows = [row("also_buy", number) for number in range(3)]
    splits = [
        Split(rows, [], []),
        Split(rows[:2], rows[2:], []),
        Split(rows[:2], [], []),
        Split([*rows, rows[0]], [], []),
        Split([*rows[:2], row("also_buy", 3)], [], []),
    ]
    assert len({fingerprint_of(split) for split in splits}) == len(splits)


# Checksums.


def test_sha256sum_accepts_the_checksums(written: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "checksums.txt"], cwd=written, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2 * len(ANSWERS) + 3


def test_sound_files_are_named_and_damage_is_told(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.png"):
        (tmp_path / name).write_bytes(name.encode())
    write_checksums(tmp_path, [tmp_path / "b.parquet", tmp_path / "a.png"])
    assert (tmp_path / "checksums.txt").read_text().startswith(f"{hashlib.sha256(b'a.png').hexdigest()}  a.png\n")
    assert check_checksums(tmp_path) == ["a.png", "b.parquet"]
    (tmp_path / "a.png").write_bytes(b"other")
    with pytest.raises(UserError, match=r"a\.png is damaged, its sha256 is not that in checksums\.txt; build it again"):
        check_checksums(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"checksums\.txt names a\.png, which is not there"):
        check_checksums(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\n", b"no two spaces\n", None])
def test_checksums_that_no_build_writes_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "checksums.txt").write_bytes(content)
    with pytest.raises(UserError, match="is not what a build writes; build it again"):
        check_checksums(tmp_path)
