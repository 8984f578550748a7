"""Numbers on disk: what a build knows of every row or record and needs part by part only, however many there are."""

from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

AT_ONCE = 2**16
"""Numbers that are read at a time."""


class StoredNumbers:
    """Numbers of a numpy type, or bytes of one length ("S32"), in the order in which they were added.

    The file is in `folder`, by default where temporary files are, has no name there and goes with the object.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        self.kind, self.added = kind, 0
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115, it is open as long as the object is there

    def __len__(self) -> int:
        return self.added

    def add(self, numbers: Any) -> None:
        import numpy as np

        found = np.ascontiguousarray(numbers, self.kind)
        self._file.seek(0, SEEK_END)
        self._file.write(found.tobytes())
        self.added += len(found)

    def parts(self) -> Iterator[Any]:
        """Arrays of at most AT_ONCE numbers."""
        import numpy as np

        width = np.dtype(self.kind).itemsize
        for start in range(0, self.added, AT_ONCE):
            self._file.seek(start * width)
            yield np.frombuffer(self._file.read(AT_ONCE * width), self.kind)
