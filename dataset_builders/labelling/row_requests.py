"""What a model is asked to check labels: the rows' own prompts."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from common.tasks import TASKS
from dataset_builders.labelling.requests import Ask
from dataset_builders.rows import DatasetRow

SYSTEM = "Answer in exactly the form that is asked for, with nothing before or after it."


def row_asks(
    rows: Iterable[DatasetRow],
    samples: int,
    temperature: float,
    max_tokens: int | None = None,
    system: str = SYSTEM,
    extra: str = "",
) -> Iterator[Ask]:
    """`samples` requests for each row, in order. `max_tokens` is of an answer (None: what the row's task allows)."""
    for row in rows:
        said = (*((("system", system),) if system else ()), ("user", row.prompt))
        most = max_tokens or TASKS[row.task].max_new_tokens
        for sample in range(samples):
            yield Ask(said, most, temperature, sample, extra=extra)


def drawn(rows: Sequence[tuple[str, DatasetRow]], most: int | None, seed: int) -> set[str]:
    """Ids of the rows of a task that are asked for: all, or the first of a draw, so that a larger number asks these again."""
    ids = [row.sample_id for _, row in rows]
    order = sorted(ids, key=lambda name: hashlib.md5(f"{seed}|annotate|{name}".encode()).hexdigest())
    return set(order[:most])
