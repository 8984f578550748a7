"""Parts of raw files that can be read alone, so that a large file is read by several processes."""

import re
from dataclasses import dataclass
from pathlib import Path

from dataset_builders.raw_files import DAMAGED, is_compressed, open_bytes

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Span:
    """A part of a file that can be read alone: bytes of JSON lines, or row groups of Parquet, from `start` up to `stop`.

    `before` is the number of lines or rows before it, and `size` about how many bytes of text it holds.
    """

    start: int = 0
    stop: int | None = None
    before: int = 0
    size: int = 0


WHOLE = Span()

SPAN_BYTES = 16 * 2**20
"""About how much text a span holds. It depends on nothing but the file, and so does what is read from it."""

BLOCK = 2**20
"""Bytes that are held in memory while lines are counted."""

LONGEST_FIRST_LINE = 32 * 2**20
"""Bytes of a first line that is looked at."""

_SEVERAL = re.compile(rb"\}\s*,?\s*\{")

COMPRESSION = 6
"""About how many times as large as a compressed file its text is."""


def whole_span(path: Path) -> list[Span]:
    """A file that cannot be read in parts: compressed, CSV, or a JSON document."""
    size = path.stat().st_size
    return [Span(size=size * COMPRESSION if is_compressed(path) else size)]


def line_spans(path: Path) -> list[Span]:
    """JSON lines in parts that begin and end with a line; a compressed file is one."""
    size = path.stat().st_size
    if size <= SPAN_BYTES or is_compressed(path):
        return whole_span(path)
    starts, before = [0], [0]
    with path.open("rb") as file:
        while starts[-1] + SPAN_BYTES < size:
            lines = before[-1]
            for _ in range(-(-SPAN_BYTES // BLOCK)):
                lines += file.read(BLOCK).count(b"\n")
            while (rest := file.readline(BLOCK)) and not rest.endswith(b"\n"):
                pass
            starts.append(file.tell())
            before.append(lines + rest.endswith(b"\n"))
    if starts[-1] >= size:
        starts, before = starts[:-1], before[:-1]
    stops = [*starts[1:], size]
    return [Span(start, stop, lines, stop - start) for start, stop, lines in zip(starts, stops, before, strict=True)]


def parquet_spans(path: Path) -> list[Span]:
    """A Parquet file's row groups in parts; a file that cannot be read is one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return whole_span(path)
    spans: list[Span] = []
    start = rows = before = size = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        size += metadata.row_group(group).total_byte_size
        if size >= SPAN_BYTES or group == metadata.num_row_groups - 1:
            spans.append(Span(start, group + 1, before, size))
            start, before, rows, size = group + 1, before + rows, 0, 0
    return spans or whole_span(path)


def json_spans(path: Path) -> list[Span]:
    """The parts of a file that `json_records` reads: a list or other documents are one."""
    return whole_span(path) if is_json_document(path) else line_spans(path)


def is_json_document(path: Path) -> bool:
    """Whether the first line begins a list, or a document over several lines, or holds several, or all of the file is in it."""
    try:
        with open_bytes(path) as file:
            line = b""
            while not line.strip() and (read := file.readline(LONGEST_FIRST_LINE)):
                line = read.removeprefix(BOM)
            line = line.strip()
            if line.startswith(b"[") or line == b"{":
                return True
            if len(line) >= LONGEST_FIRST_LINE or not line.startswith(b"{"):
                return False
            return (_SEVERAL.search(line) is not None and not _is_json(line)) or not file.read(2**16).strip()
    except DAMAGED:
        return False


def _is_json(line: bytes) -> bool:
    import orjson

    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
