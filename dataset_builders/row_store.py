"""Dataset rows on disk, so that a build holds only numbers of each in memory, however many there are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, overload

from dataset_builders.rows import DatasetRow

_FIELDS = tuple(field.name for field in fields(DatasetRow))


@dataclass(frozen=True, eq=False)
class StoredRows(Sequence[DatasetRow]):
    """Rows in a file of JSON lines. `places`: int64 (2, rows), where the line of each begins and ends."""

    path: Path
    places: Any

    def __len__(self) -> int:
        return int(self.places.shape[1])

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
        return StoredRows(self.path, self.places[:, positions])

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], DatasetRow]]:
        """Gives a function that reads the row at a position."""
        with self.path.open("rb") as file:

            def row(position: int) -> DatasetRow:
                start, stop = self.places[:, position].tolist()
                file.seek(start)
                return decode_row(file.read(stop - start))

            yield row


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
