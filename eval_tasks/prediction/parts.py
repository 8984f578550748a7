"""Answers on disk as Parquet parts, each whole, in the order of the rows: what is there is not asked again."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.answers import whole_characters
from common.errors import UserError
from common.files import read_object, write_json, write_whole
from eval_tasks.prediction.asking import REFUSED, Answerer, answered
from eval_tasks.prediction.input_rows import InputRow, InputTable, as_type
from eval_tasks.prediction.questions import RowForm

if TYPE_CHECKING:
    import pyarrow as pa

SETTINGS = "prediction.json"
FEWEST, MOST = 64, 4096
"""Rows of a part."""
SECONDS = 30.0
"""Parts grow until one takes about so long: so much is lost at most, or GROWTH times that, when a run is killed."""
GROWTH = 4
"""A part has at most so many times the rows of the one before."""
NUMBER = "row"
"""The column with a row's number in the input, from 1."""


@dataclass(frozen=True)
class AnswerParts:
    """The parts in a folder. A column of the input keeps its name, unless the answers have it too, or it is `reserved`.

    `pattern` is that of the parts' names, within the folder.
    """

    folder: Path
    input_columns: Mapping[str, "pa.DataType"]
    answer_columns: Mapping[str, "pa.DataType"]
    reserved: tuple[str, ...] = ()
    pattern: str = "part-*.parquet"

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(self.pattern))

    def rows(self, counted: dict[Path, int] | None = None) -> int:
        """Rows that have been written. `counted` keeps those of each part, so that none is counted again."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        counted = {} if counted is None else counted
        try:
            counted.update({path: pq.read_metadata(path).num_rows for path in self.files() if path not in counted})
            return sum(counted.values())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"a part in {self.folder} cannot be read ({error}); give another --out") from None

    def kept_name(self, name: str) -> str:
        """What a column of the input is called in the parts: itself, or `input_…` where that name is taken."""
        if name.lower() not in {*self.answer_columns, NUMBER, *self.reserved}:
            return name
        others, kept = {each.lower() for each in self.input_columns}, f"input_{name}"
        while kept.lower() in others:
            kept = f"input_{kept}"
        return kept

    def write(self, number: int, rows: Sequence[InputRow], answers: Sequence[Mapping[str, Any]]) -> None:
        """Writes part `number`, atomically."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {NUMBER: pa.array([row.number for row in rows], pa.int64())}
        for name, kind in self.input_columns.items():
            columns[self.kept_name(name)] = pa.array([as_type(row.values.get(name), kind) for row in rows], kind)
        for name, kind in self.answer_columns.items():
            values = [answer.get(name) for answer in answers]
            whole = [whole_characters(value) if isinstance(value, str) else value for value in values]
            columns[name] = pa.array(whole, kind)
        path = self.folder / f"part-{number:06d}.parquet"
        write_whole(path, lambda unfinished: pq.write_table(pa.table(columns), unfinished, compression="zstd"))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, Any]]]:
        """The rows of all parts, some at a time."""
        import pyarrow.parquet as pq

        for path in self.files():
            yield pq.read_table(path, columns=None if columns is None else list(columns)).to_pylist()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Makes the folder, and keeps other runs out of it; one that was made and stayed empty is removed. Raises UserError."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(f"{folder} cannot be made or opened ({error.strerror}); give another --out") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing to {folder}; wait for it, or give another --out") from None
        except OSError:
            pass  # some network disks cannot lock folders; there the user must avoid two runs at once
        yield
    finally:
        if made:
            with suppress(OSError):  # as long as the lock is held, so that no other run is in it
                folder.rmdir()
        os.close(descriptor)


def check_resumable(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises UserError for a folder with something else than answers of these settings."""
    path = folder / SETTINGS
    if path.is_file():
        earlier = read_object(path, "give another --out")
        if differing := [name for name in settings if earlier.get(name) != settings[name]]:
            raise UserError(f"{folder} holds the answers of another run (another {', '.join(differing)}); give another --out")
    elif any(each.name != f"{SETTINGS}.tmp" for each in folder.iterdir()):  # which a run leaves that is killed right there
        raise UserError(f"{folder} holds something else; give an empty or a new folder as --out")


def resume(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes down what the folder's answers are made of, after `check_resumable`. Raises UserError."""
    check_resumable(folder, settings)
    if not (path := folder / SETTINGS).is_file():
        write_json(path, dict(settings))


@contextmanager
def progress(total: int | None, done: int, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on stderr with the rate and the time that is left. It is given the number of rows that are on disk."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Rows"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bars:
        bar = bars.add_task("", total=total, completed=done, rate="")

        def advance(rows: int) -> None:
            rate = (rows - done) / max(time.monotonic() - start, 1e-9)
            bars.update(bar, completed=rows, rate=f"{rate:,.1f} rows/s")

        yield advance


def answer_rows(
    table: InputTable,
    form: RowForm,
    answerer: Answerer,
    parts: AnswerParts,
    shown: bool = True,
) -> None:
    """Writes the parts that are missing. Raises UserError, also where nothing at all could be answered."""
    done, number, size = parts.rows(), len(parts.files()), FEWEST
    rows = islice(table.read(), done, None)
    if done and shown:
        print(f"{done:,} rows are answered already", file=sys.stderr)
    with progress(table.rows or None, done, shown) as advance:
        while batch := list(islice(rows, size)):
            start = time.monotonic()
            answers = answered(batch, form, answerer)
            failed = [str(answer["error"]) for answer in answers if str(answer.get("error") or "").startswith(REFUSED)]
            if not number and failed and not any(answer.get("answer") for answer in answers):
                raise UserError(failed[0])
            parts.write(number, batch, answers)
            number, done = number + 1, done + len(batch)
            advance(done)
            size = next_size(len(batch), time.monotonic() - start)


def next_size(rows: int, seconds: float) -> int:
    """Rows of the next part, by how long the last one took."""
    return max(FEWEST, min(MOST, GROWTH * rows, int(rows * SECONDS / max(seconds, 1e-9))))
