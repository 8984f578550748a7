"""Damaged input: the bad record is named, the good ones around it survive, and nothing raises."""

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders import records
from dataset_builders.records import Rejected, column_names, csv_rows, json_document, json_lines, parquet_rows

GOOD = b'{"a": 1}\n'


def told(found: Any) -> list[Any]:
    """Good records as they are, bad ones as their reasons."""
    return [record.reason if isinstance(record, Rejected) else record for _, record in found]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"not json\n", "line is not JSON"),
        (b"{'a': 1}\n", "line is not JSON"),
        (b'{"a": 1\n', "line is not JSON"),
        (b'{"a": 1}{"a": 2}\n', "line is not JSON"),
        (b"\x00\x00\n", "line is not JSON"),
        (b'{"a": "\x00"}\n', "line is not JSON"),
        (b"[" * 5000 + b"\n", "line is not JSON"),
        (b'{"a": "\xff\xfe"}\n', "line is not UTF-8"),
        (b'{"a": "caf\xe9"}\n', "line is not UTF-8"),
        (b"[1, 2]\n", "line is not a JSON object"),
        (b"null\n", "line is not a JSON object"),
        (b'"text"\n', "line is not a JSON object"),
    ],
)
@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_a_bad_line_is_named_and_its_neighbours_are_read(tmp_path: Path, bad: bytes, reason: str, ending: str) -> None:
    path, content = tmp_path / f"x{ending}", GOOD + bad + GOOD
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert told(json_lines(path)) == [{"a": 1}, reason, {"a": 1}]


@pytest.mark.parametrize(
    "content",
    [
        GOOD + GOOD,
        GOOD + b"\n\n  \n" + GOOD,
        GOOD + GOOD.strip(),
        GOOD.replace(b"\n", b"\r\n") * 2,
        b"\xef\xbb\xbf" + GOOD + GOOD,
        GOOD.replace(b"\n", b",\n") * 2,
    ],
    ids=["plain", "blank_lines", "no_last_newline", "windows", "byte_order_mark", "commas"],
)
def test_lines_of_every_usual_form_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert told(json_lines(tmp_path / "x.json")) == [{"a": 1}, {"a": 1}]


def test_a_line_beyond_the_bound_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 64)
    long = json.dumps({"a": "x" * 500}).encode() + b"\n"
    fits = json.dumps({"a": "x" * 54}).encode() + b"\n"
    assert len(fits) == 64
    (tmp_path / "x.json").write_bytes(GOOD + long + fits + GOOD + long.strip())
    found = told(json_lines(tmp_path / "x.json"))
    assert [found[0], found[2]["a"], found[3]] == [{"a": 1}, "x" * 54, {"a": 1}]
    assert [found[1][:14], found[4][:14]] == ["line is longer", "line is longer"]
    assert len(found) == 5


def noise(count: int) -> bytes:
    """Lines that gzip cannot shrink to one block."""
    draw = random.Random(0)
    return b"".join(json.dumps({"n": n, "x": draw.randbytes(200).hex()}).encode() + b"\n" for n in range(count))


def test_a_gzip_file_cut_short_yields_what_is_before_the_cut(tmp_path: Path) -> None:
    whole = gzip.compress(noise(2000))
    (tmp_path / "x.json.gz").write_bytes(whole[: len(whole) // 2])
    *before, (_, last) = json_lines(tmp_path / "x.json.gz")
    assert last == Rejected("compressed file is cut short: the rest is lost")
    assert len(before) > 500
    assert [record["n"] for _, record in before] == list(range(len(before)))


def test_a_damaged_gzip_file_yields_what_is_before_the_damage(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(noise(2000)))
    whole[len(whole) // 2 : len(whole) // 2 + 50] = b"\xff" * 50
    (tmp_path / "x.json.gz").write_bytes(whole)
    found = [record for _, record in json_lines(tmp_path / "x.json.gz")]
    assert found[-1] == Rejected("compressed file is damaged: the rest is lost")
    assert [record["n"] for record in found[:500]] == list(range(500))


def test_a_file_that_is_only_named_gz_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.json.gz").write_bytes(GOOD)
    assert told(json_lines(tmp_path / "x.json.gz")) == [{"a": 1}]


@given(content=st.binary(max_size=300), ending=st.sampled_from([".json", ".json.gz"]), packed=st.booleans())
def test_no_bytes_make_reading_lines_raise(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert all(isinstance(record, dict | Rejected) for _, record in json_lines(path))


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.csv", "x.parquet"])
def test_an_empty_file_yields_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    read = {"csv": csv_rows, "parquet": parquet_rows}.get(name.rpartition(".")[2], json_lines)
    assert list(read(tmp_path / name)) == []


def test_a_bad_byte_in_a_document_spoils_its_value_alone(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf[{"a": "caf\xe9"}, {"a": "\x00"}, {"a": 1}]')
    assert json_document(tmp_path / "x.json") == [{"a": "caf\udce9"}, {"a": "\x00"}, {"a": 1}]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 100_000 + b"}"])
def test_a_document_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert json_document(tmp_path / "x.json") == Rejected("file is not JSON")


FIELDS = "row has another number of fields than the header"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"1\n", FIELDS),
        (b"1,2,3\n", FIELDS),
        (b"caf\xe9,2\n", {"a": "café", "b": "2"}),
        (b"\xc3\xa9,\xe9\n", "row is not UTF-8"),
        (b'"x"y,2\n', "row is not CSV: ',' expected after '\"'"),
        (b'"1,2\n', "row has a quote that is not closed"),
        (b'"a\nb",2\n', {"a": "a\nb", "b": "2"}),
        (b'"say ""hi""",2\n', {"a": 'say "hi"', "b": "2"}),
        (b"\x00,2\n", {"a": "\x00", "b": "2"}),
        (b",\n", {"a": "", "b": ""}),
        (b"\n", "skipped"),
    ],
)
def test_a_bad_csv_row_is_named_and_its_neighbours_are_read(tmp_path: Path, bad: bytes, expected: Any) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n1,2\n" + bad + b"3,4\n")
    good = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    found = told(csv_rows(tmp_path / "x.csv"))
    assert found == [good[0], *([] if expected == "skipped" else [expected]), good[1]]


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfa,b\r\n1,2\r\n", b"a,b\n1,2", b'"a","b"\n"1","2"\n', b"a,b\r1,2\r"],
    ids=["excel", "no_last_newline", "all_quoted", "old_mac"],
)
def test_csv_of_every_usual_form_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert told(csv_rows(tmp_path / "x.csv")) == [{"a": "1", "b": "2"}]
    assert "a" in column_names(tmp_path / "x.csv")


def test_a_csv_file_with_pandas_nameless_index_column_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b",a,b\n0,1,2\n1,3,\n")
    assert told(csv_rows(tmp_path / "x.csv")) == [{"": "0", "a": "1", "b": "2"}, {"": "1", "a": "3", "b": ""}]


@pytest.mark.parametrize("header", [b"a" * 200_000, b'"a"b', b"a\rb\x00,\xff"], ids=["long", "stray_quote", "control"])
def test_a_csv_header_of_any_form_is_looked_at(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(header + b",b\n1,2\n")
    csv.field_size_limit(131_072)  # as it is before anything is read
    assert isinstance(column_names(tmp_path / "x.csv"), frozenset)
    assert list(csv_rows(tmp_path / "x.csv"))


@given(content=st.binary(max_size=200) | st.text('ab,"\n\r\x00é', max_size=60).map(str.encode))
def test_no_bytes_make_reading_csv_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    assert isinstance(column_names(path), frozenset)
    assert all(isinstance(record, dict | Rejected) for _, record in csv_rows(path))


def parquet(path: Path, **columns: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", a=[1, 2], b=["x", None], secret=["s", "s"])
    assert told(parquet_rows(path, ("b", "a", "absent"))) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1 not really PAR1", b"a,b\n1,2\n"])
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    assert told(parquet_rows(tmp_path / "x.parquet", ("a",))) == ["file is not readable as Parquet"]
    assert column_names(tmp_path / "x.parquet") == frozenset()


def test_a_parquet_file_cut_short_or_damaged_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", a=[f"text number {n}" for n in range(40)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert told(parquet_rows(path, ("a",))) == ["file is not readable as Parquet"]
    path.write_bytes(whole[:100] + b"\xff" * 50 + whole[150:])
    assert "row group of the Parquet file is damaged" in told(parquet_rows(path, ("a",)))


def test_a_parquet_column_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", nameless=[1, 2])
    path.write_bytes(path.read_bytes().replace(b"nameless", b"name\xffess"))
    assert column_names(path) == frozenset()
    assert told(parquet_rows(path, ("a",))) == ["file is not readable as Parquet"]


def test_a_damaged_page_is_told_by_its_checksum(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, table = tmp_path / "x.parquet", pa.table({"a": ["honest text"]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False, write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"honest", b"forged"))
    assert told(parquet_rows(path, ("a",))) == ["row group of the Parquet file is damaged"]


def test_a_value_that_python_cannot_hold_spoils_its_row_alone(tmp_path: Path) -> None:
    import pyarrow as pa

    spoilt = "row holds a value that cannot be read"
    times = parquet(tmp_path / "x.parquet", a=pa.array([0, 2**62, 1, 2**62], pa.timestamp("us")), b=list(range(4)))
    assert [row if row == spoilt else row["b"] for row in told(parquet_rows(times, ("a", "b")))] == [0, spoilt, 2, spoilt]
    nowhere = parquet(tmp_path / "z.parquet", a=pa.array([1], pa.timestamp("us", tz="No/Where")))
    assert told(parquet_rows(nowhere, ("a",))) == [spoilt]
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 2, 4)))
    texts = parquet(tmp_path / "y.parquet", a=pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"\xff\xfeok")))
    assert told(parquet_rows(texts, ("a",))) == [spoilt, {"a": "ok"}]
