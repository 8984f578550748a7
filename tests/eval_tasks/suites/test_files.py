"""Records of an evaluation set's files: every format gives the same, what is none is told, and the Hub serves too."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from eval_tasks.suites.files import files_below, local_copy, read_records
from tests.hub import Hub

ROWS = [{"a": "1", "b": "x, y"}, {"a": "2", "b": "\n"}]


def test_every_format_gives_the_same_records(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "lines.jsonl").write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in ROWS), encoding="utf-8-sig")
    (tmp_path / "array.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "table.csv").write_text('a,b\n1,"x, y"\n2,"\n"\n')
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "table.parquet")

    files = files_below(tmp_path)

    assert [file.name for file in files] == ["array.json", "lines.jsonl", "table.csv", "table.parquet"]
    assert [[record for _, record in read_records(file)] for file in files] == [ROWS] * 4
    assert [[where for where, _ in read_records(file)] for file in files[:3]] == [
        ["item 1", "item 2"],
        ["line 2", "line 4"],
        ["row 1", "row 2"],
    ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("rows.json", b"", "rows.json: the file is empty"),
        ("rows.json", b"[]", "rows.json: the file is empty"),
        ("rows.json", b"[1]", "rows.json, item 1: a number; it must be a JSON object"),
        ("rows.jsonl", b'{"a": 1}\n[]', "rows.jsonl, line 2: an empty list; it must be"),
        ("rows.jsonl", b'{"a": 1}\n{"a":', "rows.jsonl, line 2: not JSON"),
        ("rows.json", b"[" * 100_000, "rows.json, line 1: JSON that cannot be read"),
        ("rows.json", b"\xff", "rows.json: cannot be read as UTF-8 text"),
        ("rows.csv", b"a,b\n1", "rows.csv, row 1: row has another number of fields than the header"),
        ("rows.csv", b"a,b\n", "rows.csv: the file is empty"),
        ("rows.parquet", b"PAR1", "rows.parquet, row 1: file is not readable as Parquet"),
    ],
)
def test_what_is_no_record_is_told_by_its_place(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError, match=re.escape(sentence)):
        read_records(tmp_path / name)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_records(tmp_path / "none.json")


def test_a_dataset_of_the_hub_is_read_at_the_revision_named(hub: Hub, tmp_path: Path) -> None:
    environment = hub.env(home=tmp_path / "home")
    (tmp_path / "repo").mkdir()
    command = [Path(sys.executable).parent / "hf", "upload", "org/records", tmp_path / "repo", "--repo-type", "dataset"]
    revisions = []
    for number in (1, 2):
        (tmp_path / "repo" / "rows.jsonl").write_text(json.dumps({"a": number}))
        (tmp_path / "repo" / "weights.bin").write_text("not fetched")
        subprocess.run(command, env=environment, check=True, capture_output=True)
        revisions.append(hub.head("org/records", "dataset"))
    code = (
        "from eval_tasks.suites.files import *\n"
        f"for revision in (None, {revisions[0]!r}):\n"
        "    folder = local_copy('org/records', 'DATA', revision)\n"
        "    print([path.name for path in folder.iterdir()], read_records(files_below(folder)[0]))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)

    assert done.stdout.splitlines() == [f"['rows.jsonl'] [('line 1', {{'a': {number}}})]" for number in (2, 1)]


def test_a_file_or_folder_here_is_taken_as_it_is(tmp_path: Path) -> None:
    assert local_copy(str(tmp_path), "DATA") == tmp_path
