"""Dataset rows on disk: a build holds a number of four bytes for each in memory, however many there are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, overload

from dataset_builders.rows import DatasetRow

_FIELDS = tuple(field.name for field in fields(DatasetRow))


@dataclass(frozen=True, eq=False)
class StoredRows(Sequence[DatasetRow]):
    """Rows in a file of JSON without line ends; where each begins is in another beside it. `numbers`: int32 (rows,), the places
    of these rows among all in the file."""

    path: Path
    numbers: Any

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[DatasetRow]:
        with self.opened() as row:
            yield from map(row, range(len(self)))

    @overload
    def __getitem__(self, position: int) -> DatasetRow: ...
    @overload
    def __getitem__(self, position: slice) -> "StoredRows": ...
    def __getitem__(self, position: int | slice) -> "DatasetRow | StoredRows":
        if isinstance(position, slice):
            return self.taken(position)
        with self.opened() as row:
            return row(position)

    def taken(self, positions: Any) -> "StoredRows":
        """The rows at these positions, in their order. `positions` is what indexes an array: numbers, a mask or a slice."""
        return StoredRows(self.path, self.numbers[positions])

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], DatasetRow]]:
        """Gives a function that reads the row at a position."""
        import numpy as np

        edges = np.memmap(edges_path(self.path), np.int64, "r")
        with self.path.open("rb") as file:

            def row(position: int) -> DatasetRow:
                number = self.numbers[position]
                start, stop = edges[number : number + 2].tolist()
                file.seek(start)
                return decode_row(file.read(stop - start))

            yield row


class RowWriter:
    """Writes encoded rows to a file, some at a time."""

    def __init__(self, lines: BinaryIO, edges: BinaryIO) -> None:
        self.lines, self.edges, self.rows = lines, edges, 0
        self._write_edges([0])

    def add(self, lines: bytes, lengths: Any) -> Any:
        """Adds rows of `lengths` bytes, int64 (rows,); returns their numbers."""
        import numpy as np

        self._write_edges(self.lines.tell() + np.cumsum(lengths))
        self.lines.write(lines)
        first, self.rows = self.rows, self.rows + len(lengths)
        return np.arange(first, self.rows, dtype=np.int32)

    def _write_edges(self, edges: Any) -> None:
        import numpy as np

        self.edges.write(np.asarray(edges, np.int64).tobytes())


@contextmanager
def row_writer(path: Path) -> Iterator[RowWriter]:
    with path.open("wb") as lines, edges_path(path).open("wb") as edges:
        yield RowWriter(lines, edges)


def edges_path(path: Path) -> Path:
    """The file with the places at which rows begin, and at last the end, as int64."""
    return path.with_suffix(".edges")


def encode_row(row: DatasetRow) -> bytes:
    import orjson

    return orjson.dumps({name: getattr(row, name) for name in _FIELDS})


def decode_row(line: bytes) -> DatasetRow:
    import orjson

    found = orjson.loads(line)
    found["records"] = tuple(found["records"])
    found["content"] = {name: tuple(texts) for name, texts in found["content"].items()}
    found["masked"] = tuple((kind, number) for kind, number in found["masked"])
    return DatasetRow(**found)
