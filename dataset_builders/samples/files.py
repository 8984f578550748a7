"""Streaming writers whose bytes depend on the records alone, and product ids."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow

SAMPLE_MARKER = "sample_corpora.json"
"""The file that says of a folder that its corpora are samples; written last."""

_ROWS_PER_GROUP = 50_000
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_json_lines(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Writes one JSON object a line, compressed where the name ends in .gz, and returns their number."""
    import orjson

    number = 0
    with _opened(path) as file:
        for record in records:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            number += 1
    return number


def write_json_list(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Writes one JSON list, an object a line, and returns their number."""
    number = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, record in enumerate(records, 1):
            file.write(",\n" if number > 1 else "\n")
            json.dump(record, file, ensure_ascii=False)
        file.write("\n]\n")
    return number


def write_parquet(path: Path, schema: "pyarrow.Schema", rows: Iterable[Sequence[Any]]) -> int:
    """Writes rows whose values stand in the schema's order and returns their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetWriter(path, schema) as writer:
        remaining = iter(rows)
        while batch := list(islice(remaining, _ROWS_PER_GROUP)):
            columns = [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            number += len(batch)
    return number


@lru_cache(maxsize=65_536)
def asin(space: int, index: int) -> str:
    """A product id of ten characters, another for each pair of a space below 2^14 and an index below 2^32."""
    number = ((space << 32 | index) * 0x9E3779B97F5 + 0x5851F42D) % 2**46  # an odd factor permutes the numbers below 2^46
    characters = []
    for _ in range(9):
        number, digit = divmod(number, 36)
        characters.append(_DIGITS[digit])
    return "B" + "".join(characters)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        # The header of a gzip file would hold the file's name and the time.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as compressed:
            yield compressed
