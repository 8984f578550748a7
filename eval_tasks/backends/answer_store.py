"""Store of a model's answers in SQLite, so that an interrupted evaluation resumes with what is missing."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from common.errors import UserError
from eval_tasks.backends.prompts import Prompt, RefusedAnswer, ScoredPrompt

LOOKED_UP_AT_ONCE = 500


def answer_key(identity: Sequence[str], prompt: Prompt, constrained: bool, cut: int = 0) -> str:
    """What an answer is kept under: it changes with everything that the answer depends on.

    `cut`: tokens that the prompt loses, so that its answer does not depend on a limit that it does not reach.
    """
    limits = [prompt.max_new_tokens, prompt.task, prompt.stop, prompt.pattern if constrained else None, *([cut] if cut else [])]
    return hashlib.sha256(json.dumps([list(identity), prompt.messages, prompt.plain, limits]).encode()).hexdigest()


def score_key(identity: Sequence[str], scored: ScoredPrompt, cut: int = 0) -> str:
    """What the likelihoods of a prompt's candidates are kept under, as JSON text. `cut`: see `answer_key`."""
    asked = [list(identity), scored.prompt.messages, scored.prompt.plain, "likelihoods", scored.candidates, scored.ended, cut]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class AnswerStore:
    """A SQLite file of answers by their key. Several processes may use it at once.

    Raises UserError where the file cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path.parent} cannot be made ({error.strerror}); name another folder as cache_dir") from None
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID")

    def find(self, keys: Iterable[str]) -> dict[str, str]:
        """Key -> answer, of those that are there."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, str] = {}
        with self._connection() as connection:
            for start in range(0, len(wanted), LOOKED_UP_AT_ONCE):
                part = wanted[start : start + LOOKED_UP_AT_ONCE]
                marks = ",".join("?" * len(part))
                found.update(connection.execute(f"SELECT key, text FROM answers WHERE key IN ({marks})", part).fetchall())
        return {key: _decoded(text) for key, text in found.items()}

    def keep(self, answers: Mapping[str, str]) -> None:
        """Answers by key, all on disk when this returns."""
        with self._connection() as connection, connection:
            rows = [(key, _encoded(text)) for key, text in answers.items()]
            connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"the answers in {self.path} cannot be read or written ({error}); remove that file or mend the disk"
            ) from None


def _encoded(text: str) -> str:
    """As ASCII JSON: SQLite takes no lone surrogates, and a text with a NUL would be cut by some of its tools."""
    return json.dumps({"refused": text.reason} if isinstance(text, RefusedAnswer) else text)


def _decoded(text: str) -> str:
    value = json.loads(text)
    return RefusedAnswer(value["refused"]) if isinstance(value, dict) else str(value)
