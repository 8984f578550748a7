"""One line that tells what is being done, and how many rows of it are done, in all and a second."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from dataset_builders.workers import Run

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class RowProgress:
    """The line. A row counts when a process takes it, or at most a few thousand rows before."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self.bar, self.task = bar, task
        self.rows, self.began = 0, monotonic()

    def begin(self, text: str) -> None:
        """The next piece of work."""
        self.rows, self.began = 0, monotonic()
        self.bar.update(self.task, description=text, rows="")

    def add(self, rows: int) -> None:
        self.rows += rows
        rate = self.rows / max(monotonic() - self.began, 0.001)
        self.bar.update(self.task, rows=f"{self.rows:,} rows, {rate:,.0f} a second")

    def counted(self, run: Run) -> Run:
        """The same for jobs whose length is their number of rows, which are added here."""

        def counted_run(function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
            return run(function, self._counted(jobs))

        return counted_run

    def _counted(self, jobs: Iterable[Any]) -> Iterator[Any]:
        for job in jobs:
            yield job
            self.add(len(job))


@contextmanager
def row_progress(text: str) -> Iterator[RowProgress]:
    """Shows the line on standard error while the block runs."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("{task.fields[rows]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield RowProgress(bar, bar.add_task(text, total=None, rows=""))
