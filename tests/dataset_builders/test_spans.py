"""Parts of files: read one after another they are the whole, and each begins and ends with a record."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_builders import records, spans
from dataset_builders.records import json_lines, json_records, parquet_rows
from dataset_builders.spans import json_spans, line_spans, parquet_spans

LINES = st.lists(
    st.sampled_from([b"{}", b'{"a": "' + b"x" * 90 + b'"}', b"", b"  ", b"no json", b'{"a": 1}\r', b"\xff"]), max_size=40
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, size=st.integers(1, 300), longest=st.sampled_from([50, 10**6]), ends=st.booleans())
def test_json_lines_in_parts_are_the_file(tmp_path: Path, lines: list[bytes], size: int, longest: int, ends: bool) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n" * ends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "SPAN_BYTES", size)
        patch.setattr(spans, "BLOCK", 7)
        patch.setattr(records, "MAX_LINE_BYTES", longest)
        parts = line_spans(path)
        assert [record for part in parts for record in json_lines(path, part)] == list(json_lines(path))
        assert sum(part.size for part in parts) == path.stat().st_size


def test_large_json_lines_and_parquet_files_have_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "SPAN_BYTES", 500)
    monkeypatch.setattr(spans, "BLOCK", 100)
    line = b'{"a": "text"}\n'
    for name, content in (
        ("a.jsonl", line * 300),
        ("b.jsonl.gz", gzip.compress(line * 300)),
        ("c.json", b"[" + b"{},\n" * 300 + b"{}]"),
    ):
        (tmp_path / name).write_bytes(content)
    pq.write_table(pa.table({"a": [str(number) * 9 for number in range(300)]}), tmp_path / "d.parquet", row_group_size=20)
    assert len(json_spans(tmp_path / "a.jsonl")) > 5
    assert len(json_spans(tmp_path / "b.jsonl.gz")) == len(json_spans(tmp_path / "c.json")) == 1
    assert len(list(json_records(tmp_path / "c.json", json_spans(tmp_path / "c.json")[0]))) == 301
    parts = parquet_spans(tmp_path / "d.parquet")
    assert len(parts) > 3
    assert [row for part in parts for row in parquet_rows(tmp_path / "d.parquet", span=part)] == list(
        parquet_rows(tmp_path / "d.parquet")
    )


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_a_parquet_file_that_cannot_be_read_is_one_part(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    [part] = parquet_spans(tmp_path / "x.parquet")
    assert list(parquet_rows(tmp_path / "x.parquet", span=part)) == list(parquet_rows(tmp_path / "x.parquet"))
