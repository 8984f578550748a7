"""Replies on disk as they come, in a folder that one process has at a time."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from dataset_builders.annotating.asks import Ask, Reply


class Replies:
    """`with Replies(out) as store:` is one file in the folder `out`. Raises UserError where another process has it."""

    def __init__(self, folder: Path) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def get(self, key: str) -> Reply | None:
        """The reply of Ask.key(model)."""

    def missing(self, asks: Iterable[Ask], model: str) -> Iterator[Ask]:
        """Those without a reply, each once, one by one as `asks` gives them."""

    def put(self, replies: Mapping[str, Reply]) -> None:
        """Replies by key, all on disk when this returns."""
