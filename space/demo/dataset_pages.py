"""Rows of a dataset that the build made, in a folder or on the Hub, read a page at a time from its Parquet files.

Of a dataset on the Hub only the files of the tasks and splits that are asked for are fetched, once, into the Hub's cache.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from common.answers import gold, render_completion
from common.tasks import TASKS

from .backend import public_name
from .examples import Examples

FILE = re.compile(r"data/([^/]+)/([^/]+)-[0-9]+-of-[0-9]+\.parquet")
HUB_SECONDS = 10.0
MOST_BYTES = 500_000_000
"""Of the files of one task and split, beyond which they are not fetched for a visitor."""
MEMORY = "500MB"
"""What DuckDB may take for a page: it reads a file piece by piece."""

Contents = dict[str, tuple[str, ...]]
"""Splits by task."""


class DataError(Exception):
    """Rows cannot be shown; the message is a sentence for who looks at the page."""


@dataclass(frozen=True)
class Row:
    prompt: str
    completion: str
    source: str
    licence: str


@dataclass(frozen=True)
class Page:
    """Some of the rows that were looked for; `start` is the place of the first of them, from 0, and `total` counts them all."""

    rows: tuple[Row, ...]
    start: int
    total: int


class Rows(Protocol):
    """What can be browsed. Both methods raise DataError."""

    @property
    def name(self) -> str:
        """What a visitor may know of where the rows are from."""

    def contents(self) -> Contents:
        """Which splits of which tasks there are."""

    def page(self, task: str, split: str, words: str, start: int, count: int) -> Page:
        """Up to `count` rows from place `start` on, of those whose prompt or completion holds `words`, in any case."""


class ShippedRows:
    """The examples that came with the page, where no dataset is set."""

    name = "the examples of this page"

    def __init__(self, examples: Examples) -> None:
        self._examples = {name: rows for name, rows in examples.items() if name in TASKS}

    def contents(self) -> Contents:
        return dict.fromkeys(self._examples, ("examples",))

    def page(self, task: str, split: str, words: str, start: int, count: int) -> Page:
        rows = [
            Row(row.prompt, render_completion(TASKS[task], gold(TASKS[task], row.answer)), row.origin, "")
            for row in self._examples.get(task, ())
        ]
        found = [row for row in rows if words.lower() in row.prompt.lower() or words.lower() in row.completion.lower()]
        return Page(tuple(found[start : start + count]), start, len(found))


@dataclass(frozen=True)
class _File:
    """`path` is within the dataset; `size` in bytes."""

    path: str
    size: int


class Dataset:
    """A dataset by folder or Hub id. Its list of files is read once it is asked for, and kept."""

    def __init__(self, source: str, revision: str | None = None) -> None:
        self._folder = Path(source) if Path(source).is_dir() else None
        self._source, self._revision = source, revision
        self._files: dict[tuple[str, str], list[_File]] | None = None
        self._listing, self._fetching = Lock(), Lock()

    @property
    def name(self) -> str:
        return "the dataset" if self._folder else self._source

    @property
    def _title(self) -> str:
        return "The dataset" if self._folder else self.name

    @property
    def local(self) -> bool:
        return self._folder is not None

    def contents(self) -> Contents:
        found: dict[str, list[str]] = {}
        for task, split in self._list():
            found.setdefault(task, []).append(split)
        known = [*(task for task in TASKS if task in found), *sorted(found.keys() - TASKS.keys())]
        return {task: tuple(sorted(found[task], reverse=True)) for task in known}  # train before test

    def page(self, task: str, split: str, words: str, start: int, count: int) -> Page:
        columns = "prompt[1].content as prompt, completion[1].content as completion, source, licence"
        rows = f"from (select {columns} from read_parquet($files))"
        holds = "where contains(lower(prompt), lower($words)) or contains(lower(completion), lower($words))"
        given: dict[str, Any] = {"files": self.fetch(task, split)}
        if words:
            rows, given = f"{rows} {holds}", given | {"words": words}
        total = self.query(f"select count(*) {rows}", given)[0][0]
        found = self.query(f"select * {rows} limit $count offset $start", given | {"count": count, "start": start})
        return Page(tuple(Row(*(str(value or "") for value in row)) for row in found), start, total)

    def fetch(self, task: str, split: str) -> list[str]:
        """Paths of the Parquet files of one task and split, on this machine. Raises DataError."""
        files = self._list().get((task, split), [])
        if not files:
            raise DataError(f"There are no {split} rows of this task in {self.name}.")
        if self._folder:
            return [str(self._folder / file.path) for file in files]
        if (size := sum(file.size for file in files)) > MOST_BYTES:
            raise DataError(f"These are {size / 1e9:.1f} GB, too much to be fetched for a look. See {self.name} on the Hub.")
        return [self._download(file.path) for file in files]

    def query(self, sql: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
        """What DuckDB finds. Raises DataError where the files are not such as the build makes."""
        import duckdb

        try:
            with duckdb.connect(config={"threads": 1, "memory_limit": MEMORY}) as connection:
                return connection.execute(sql, given).fetchall()
        except duckdb.Error as error:
            raise DataError(f"{self._title} cannot be read as dataset rows. Build it again.") from error

    def _list(self) -> dict[tuple[str, str], list[_File]]:
        with self._listing:
            if self._files is None:
                files = _by_split(_files_in(self._folder) if self._folder else self._hub_files())
                if not files:
                    told = "holds no data/<task>/<split>-*.parquet. Name a folder or Hub id that the build made."
                    raise DataError(f"{self._title} {told}")
                self._files = files
            return self._files

    def _hub_files(self) -> list[_File]:
        from httpx import HTTPError
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError

        try:
            info = HfApi().dataset_info(self._source, revision=self._revision, timeout=HUB_SECONDS, files_metadata=True)
        except (HFValidationError, HTTPError, OSError) as error:
            return self._cached_files(error)
        return [_File(file.rfilename, file.size or 0) for file in info.siblings or ()]

    def _cached_files(self, reason: Exception) -> list[_File]:
        """What was fetched before, while the Hub cannot be asked."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            cache = snapshot_download(self._source, repo_type="dataset", revision=self._revision, local_files_only=True)
        except (HFValidationError, LocalEntryNotFoundError, OSError):
            told = "is neither a folder here nor a dataset that the Hub gives out now. Check its name, or try again later."
            raise DataError(f"{public_name(self._source)} {told}") from reason
        return _files_in(Path(cache))

    def _download(self, path: str) -> str:
        from httpx import HTTPError
        from huggingface_hub import hf_hub_download

        try:
            with self._fetching:
                return hf_hub_download(
                    self._source, path, repo_type="dataset", revision=self._revision, etag_timeout=HUB_SECONDS
                )
        except (HTTPError, OSError) as error:
            raise DataError(f"The Hub does not give out {self.name} now. Try again later.") from error


def _files_in(folder: Path) -> list[_File]:
    paths = folder.glob("data/*/*.parquet")
    return [_File(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def _by_split(files: Iterable[_File]) -> dict[tuple[str, str], list[_File]]:
    found: dict[tuple[str, str], list[_File]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if match := FILE.fullmatch(file.path):
            found.setdefault((match[1], match[2]), []).append(file)
    return found
