"""Lines of a CSV file, read again where a record turns out to be none: for a stray quote, or other rules for quotes; and which
of them name the columns."""

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from dataset_builders.raw_files import DAMAGED, is_separator_line
from dataset_builders.values import visible

_NUMBER = re.compile(r"\d+")
TOTALS = frozenset({"total", "total:", "totals", "grand total", "sum", "sum:", "summe", "summe:", "gesamt", "gesamtsumme"})
"""How the line begins that reports and spreadsheets put below their rows, in lower case."""


class ReplayedLines:
    """The lines of a file, of which those of the current record can be read again.

    Marks of UTF-8, which stand within files that were joined, and a first line for Excel are none of the lines.
    """

    def __init__(self, file: TextIO) -> None:
        self.file, self.replayed, self.taken, self.number = file, list[str](), list[str](), 0

    def __iter__(self) -> "ReplayedLines":
        return self

    def __next__(self) -> str:
        line = self.replayed.pop() if self.replayed else next(self.file).removeprefix("\ufeff")
        self.number += 1
        if self.number == 1 and is_separator_line(line):
            return next(self)
        self.taken.append(line)
        return line

    def begin(self) -> int:
        """Begins a record; the number of the line that comes next."""
        self.taken = []
        return self.number + 1

    def rewind(self) -> None:
        """Puts all lines of the current record but its first back."""
        self.put_back(1)

    def put_back(self, kept: int = 0) -> None:
        self.number -= len(self.taken) - kept
        self.replayed.extend(reversed(self.taken[kept:]))
        self.taken = self.taken[:kept]


def escaped_row(lines: ReplayedLines, width: int, delimiter: str) -> list[str] | None:
    """The record with backslashes before quotes, delimiters and line ends, as Spark and MySQL write them, or None where it is
    none.

    Its lines are taken then; else they are as they were.
    """
    if not any('\\"' in line or f"\\{delimiter}" in line or line.rstrip("\r\n").endswith("\\") for line in lines.taken):
        return None
    before = len(lines.taken)
    lines.put_back()
    # Any other backslash, as in \N, is itself.
    other = re.compile(rf'\\(["\\]|{re.escape(delimiter)}|\r?\n)|\\')
    ended = (line if line.endswith(("\r", "\n")) else f"{line}\n" for line in lines)  # csv wants it behind an escaped line end
    escaped = (other.sub(lambda match: match[0] if match[1] else "\\\\", line) for line in ended)
    try:
        row = next(csv.reader(escaped, delimiter=delimiter, escapechar="\\", strict=True))
    except (csv.Error, StopIteration, *DAMAGED):
        row = []
    if len(row) == width and not swallows_rows(lines.taken, width, delimiter):
        return row
    lines.put_back(min(before, len(lines.taken)))
    while len(lines.taken) < before:
        next(lines)
    return None


def unquoted_row(lines: ReplayedLines, width: int, delimiter: str) -> list[str] | None:
    """The record, of one line, as MySQL and BigQuery write tabs between values: a quote is itself. None where it is none."""
    if delimiter != "\t" or len(lines.taken) != 1:
        return None
    row = lines.taken[0].rstrip("\r\n").split(delimiter)
    return row if len(row) == width else None


def swallows_rows(taken: Sequence[str], width: int, delimiter: str) -> bool:
    """Whether a record over several lines holds whole rows of the file in one of its fields: most lines between its first and
    its last, or the last, where that begins with the like of what the first does, such as another id."""
    if len(taken) < 2 or width < 3:
        return False
    inner = [_fields(line, delimiter) for line in taken[1:-1]]
    if sum(len(row) == width for row in inner) > len(inner) / 2:
        return True
    first, last = taken[0].split(delimiter, 1)[0], _fields(taken[-1], delimiter)
    return len(last) == width and _NUMBER.sub("0", first.strip('"')) == _NUMBER.sub("0", last[0])


def _fields(line: str, delimiter: str) -> list[str]:
    with suppress(csv.Error):
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    return []


def columns_named(row: Sequence[str], before: Sequence[str] = ()) -> tuple[list[str], int]:
    """Names of columns, as those `before` spell them, and how many fields a row has at least: none for delimiters behind the
    last name."""
    known = {name.lower(): name for name in before}
    names = [known.get(name.lower(), name) for name in map(visible, row)]
    return names, max((place for place, name in enumerate(names, 1) if name), default=0)


def is_header(row: Sequence[str], header: set[str]) -> bool:
    """Whether most values of the row are names of columns."""
    found = {visible(value).lower() for value in row} - {""}
    return len(found & header) > len(found) / 2 and len(found & header) >= min(2, len(header))
