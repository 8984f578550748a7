"""Replies on disk: an SQLite file with a write-ahead log (https://www.sqlite.org/wal.html), locked by one process at a time.

`put` is atomic, and what it wrote survives any end of the process. `sync` makes it survive a power cut too; an fsync takes
milliseconds in which no reply would be read, so it is not done for each.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from common.errors import UserError
from dataset_builders.labelling.requests import LabelReply, LabelRequest

FILE = "replies.sqlite"
LOCK = ".replies.lock"

LOG_PAGES = 5000
"""Pages of 4 KiB until the log is written into the file, which takes some tens of milliseconds."""

TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY, text TEXT NOT NULL, reason TEXT NOT NULL, prompt_tokens INT NOT NULL, completion_tokens INT NOT NULL
);
CREATE TABLE IF NOT EXISTS first_tries (key BLOB PRIMARY KEY, text TEXT NOT NULL, fault TEXT NOT NULL);
"""


class ReplyStore:
    """`with ReplyStore(out) as store:` locks the folder `out` and creates it if it is missing.

    Every method raises UserError where the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        with self._sentences(), ExitStack() as opened:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                opened.enter_context(FileLock(self.folder / LOCK, blocking=False))
            except Timeout:
                raise UserError(f"another run is using {self.folder}; wait for it to end, or give another folder") from None
            self._writer = self._connect(opened)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=NORMAL")
            self._writer.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
            self._writer.executescript(TABLES)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def get(self, key: str) -> LabelReply | None:
        """The reply of a LabelRequest's `key(model)`."""
        with self._sentences():
            found = self._writer.execute(
                "SELECT text, reason, prompt_tokens, completion_tokens FROM replies WHERE key = ?", (bytes.fromhex(key),)
            ).fetchone()
        return LabelReply(*found) if found else None

    def missing(self, requests: Iterable[LabelRequest], model: str) -> Iterator[LabelRequest]:
        """The requests without an answer, each once, lazily, however many there are.

        `put` may be called meanwhile, also by another thread.
        """
        with ExitStack() as opened:
            with self._sentences():
                reader = self._connect(opened)
                # In SQLite's own temporary file, since keys of millions of requests would fill memory.
                reader.execute("CREATE TEMP TABLE given (key BLOB PRIMARY KEY) WITHOUT ROWID")
            for request in requests:
                key = (bytes.fromhex(request.key(model)),)
                with self._sentences():
                    new = reader.execute("INSERT OR IGNORE INTO given VALUES (?)", key).rowcount
                    found = new and reader.execute("SELECT text, reason FROM replies WHERE key = ?", key).fetchone()
                if new and (not found or LabelReply(*found).unanswered):
                    yield request

    def put(self, replies: Mapping[str, LabelReply]) -> None:
        """Writes replies by key: all of them, or none."""
        rows = [
            (bytes.fromhex(key), reply.text, reply.reason, reply.prompt_tokens, reply.completion_tokens)
            for key, reply in replies.items()
        ]
        with self._sentences(), self._writer:
            self._writer.execute("BEGIN")
            self._writer.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", rows)

    def sync(self) -> None:
        """Fsyncs all that was put. May be called in another thread than the rest."""
        with self._sentences(), suppress(FileNotFoundError), (self.folder / f"{FILE}-wal").open("rb") as log:
            os.fsync(log.fileno())

    def first_try(self, key: str) -> tuple[str, str] | None:
        """(text, fault) of a structured answer from a batch that was not of its schema, if there was one."""
        with self._sentences():
            found: tuple[str, str] | None = self._writer.execute(
                "SELECT text, fault FROM first_tries WHERE key = ?", (bytes.fromhex(key),)
            ).fetchone()
        return found

    def put_first_try(self, key: str, text: str, fault: str) -> None:
        """Keeps an answer that is not of its schema, so that the next batch can send a second request."""
        with self._sentences():
            self._writer.execute("INSERT OR IGNORE INTO first_tries VALUES (?, ?, ?)", (bytes.fromhex(key), text, fault))

    def _connect(self, opened: ExitStack) -> sqlite3.Connection:
        # Without Python's own transactions: one that a reader keeps open would let the log grow for ever.
        connection = sqlite3.connect(self.folder / FILE, timeout=60, isolation_level=None, check_same_thread=False)
        opened.callback(connection.close)
        return connection

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(
                f"the replies in {self.folder / FILE} cannot be read or written ({error}); make room on the disk, or repair or "
                "remove that file"
            ) from None
        except OSError as error:
            raise UserError(f"{self.folder} cannot be used ({error.strerror}); give another folder") from None
