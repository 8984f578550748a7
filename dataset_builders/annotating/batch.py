"""Files for providers' batch APIs (https://platform.openai.com/docs/guides/batch)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_builders.annotating.asks import Ask
from dataset_builders.annotating.replies import Replies


@dataclass
class BatchCounts:
    """What became of the lines: answered, rejected by reason, skipped by reason (these are in the next batch again)."""

    answered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def write_batch(asks: Iterable[Ask], model: str, store: Replies, folder: Path) -> list[Path]:
    """The batch files of what is missing in `store`, in a folder of their own, which is replaced. [] where nothing is."""


def read_batch(paths: Sequence[Path], model: str, store: Replies, asks: Iterable[Ask]) -> BatchCounts:
    """Takes over output and error files, in any order, that answer some of `asks`."""
