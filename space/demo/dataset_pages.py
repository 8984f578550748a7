"""Pages of a dataset's rows, read with DuckDB from the Parquet files that the build wrote, in a folder or on the Hub.

Of a dataset on the Hub only the files of the requested tasks and splits are downloaded, once, into the Hub's cache.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from common.tasks import TASKS

from .backend import public_name

FILE = re.compile(r"data/([^/]+)/([^/]+)-[0-9]+-of-[0-9]+\.parquet")
"""Path of a file: its task and its split."""
HUB_TIMEOUT = 10.0
MAX_DOWNLOAD_BYTES = 500_000_000
"""For one task and split; larger ones are not downloaded for a visitor."""
DUCKDB_MEMORY = "500MB"

Contents = dict[str, tuple[str, ...]]
"""Task -> its splits."""


class DatasetError(Exception):
    """Rows cannot be read; the message is one sentence for the visitor."""


@dataclass(frozen=True)
class ShownRow:
    """A row's texts; `completion` is the right answer as a model would write it."""

    prompt: str
    completion: str
    source: str
    licence: str


@dataclass(frozen=True)
class RowPage:
    """Consecutive rows of a query's result; `start` is the position of the first one, from 0, `total` the number of all."""

    rows: tuple[ShownRow, ...]
    start: int
    total: int


class DatasetReader:
    """A dataset by folder or Hub id. The list of its files is read on first use and kept."""

    def __init__(self, source: str, revision: str | None = None) -> None:
        self._folder = Path(source) if Path(source).is_dir() else None
        self._source, self._revision = source, revision
        self._sizes: dict[str, int] = {}
        self._listing, self._downloading = Lock(), Lock()

    @property
    def name(self) -> str:
        """Public: without the folder's path."""
        return "the dataset" if self._folder else self._source

    @property
    def is_local(self) -> bool:
        return self._folder is not None

    def contents(self) -> Contents:
        """The tasks that there are, with their splits. Raises DatasetError."""
        found: dict[str, set[str]] = {}
        for task, split in map(task_and_split, self._file_sizes()):
            found.setdefault(task, set()).add(split)
        tasks = [*(task for task in TASKS if task in found), *sorted(found.keys() - TASKS.keys())]
        return {task: tuple(sorted(found[task], reverse=True)) for task in tasks}  # train before test

    def page(self, task: str, split: str, words: str, start: int, count: int) -> RowPage:
        """Up to `count` rows from `start` on, of those whose prompt or completion contains `words`, ignoring case.

        Raises DatasetError.
        """
        columns = "prompt[1].content as prompt, completion[1].content as completion, source, licence"
        rows = f"from (select {columns} from read_parquet($files))"
        parameters: dict[str, Any] = {"files": self.fetch(task, split)}
        if words:
            rows += " where contains(lower(prompt), lower($words)) or contains(lower(completion), lower($words))"
            parameters["words"] = words
        total = self.query(f"select count(*) {rows}", parameters)[0][0]
        found = self.query(f"select * {rows} limit $count offset $start", parameters | {"count": count, "start": start})
        return RowPage(tuple(ShownRow(*(str(value or "") for value in row)) for row in found), start, total)

    def fetch(self, task: str, split: str) -> list[str]:
        """Local paths of the Parquet files of one task and split, downloaded where needed. Raises DatasetError."""
        sizes = {path: size for path, size in self._file_sizes().items() if task_and_split(path) == (task, split)}
        if not sizes:
            raise DatasetError(f"There are no {split} rows of this task in {self.name}.")
        if self._folder:
            return [str(self._folder / path) for path in sizes]
        if (total := sum(sizes.values())) > MAX_DOWNLOAD_BYTES:
            raise DatasetError(
                f"These are {total / 1e9:.1f} GB, too much to be fetched for a look. See {self.name} on the Hub."
            )
        return list(map(self._download, sizes))

    def query(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that DuckDB returns. Raises DatasetError where the files are not as the build writes them."""
        import duckdb

        try:
            with duckdb.connect(config={"threads": 1, "memory_limit": DUCKDB_MEMORY}) as connection:
                return connection.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise DatasetError(f"{self._subject} cannot be read as dataset rows. Build it again.") from error

    @property
    def _subject(self) -> str:
        return "The dataset" if self._folder else self.name

    def _file_sizes(self) -> dict[str, int]:
        """Path in the dataset -> bytes, of all files with rows."""
        with self._listing:
            if not self._sizes:
                sizes = _sizes_in(self._folder) if self._folder else self._sizes_on_hub()
                self._sizes = {path: sizes[path] for path in sorted(sizes) if FILE.fullmatch(path)}
            if not self._sizes:
                expected = "data/<task>/<split>-*.parquet. Name a folder or Hub id that the build made."
                raise DatasetError(f"{self._subject} holds no {expected}")
            return self._sizes

    def _sizes_on_hub(self) -> dict[str, int]:
        """Of the files on the Hub, or of those in its cache while the Hub cannot be reached."""
        from httpx import HTTPError
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HFValidationError

        try:
            info = HfApi().dataset_info(self._source, revision=self._revision, timeout=HUB_TIMEOUT, files_metadata=True)
            return {file.rfilename: file.size or 0 for file in info.siblings or ()}
        except (HFValidationError, HTTPError, OSError) as reason:
            try:
                cache = snapshot_download(self._source, repo_type="dataset", revision=self._revision, local_files_only=True)
            except (HFValidationError, OSError):
                advice = (
                    "is neither a folder here nor a dataset that the Hub gives out now. Check its name, or try again later."
                )
                raise DatasetError(f"{public_name(self._source)} {advice}") from reason
            return _sizes_in(Path(cache))

    def _download(self, path: str) -> str:
        from httpx import HTTPError
        from huggingface_hub import hf_hub_download

        try:
            with self._downloading:
                return hf_hub_download(
                    self._source, path, repo_type="dataset", revision=self._revision, etag_timeout=HUB_TIMEOUT
                )
        except (HTTPError, OSError) as error:
            raise DatasetError(f"The Hub does not give out {self.name} now. Try again later.") from error


def task_and_split(path: str) -> tuple[str, str]:
    match = FILE.fullmatch(path)
    assert match, path
    return match[1], match[2]


def _sizes_in(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.glob("data/*/*.parquet")}
