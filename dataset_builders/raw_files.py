"""Files as corpora and shops leave them: compression and encoding are found by content, the delimiter by the first lines."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TextIO, cast

from common.errors import UserError

Format = Literal["parquet", "csv", "jsonl", "json"]

FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
"""Ending of a file's name, without that of its compression -> format. A `.json` file may hold JSON lines too."""

FOR_PEOPLE = re.compile(r".*\.md|(readme|licen[cs]e|notices?|notes?|changelog|requirements|checksums?)\b.*\.txt", re.IGNORECASE)
"""Names of files that are no input."""

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
DELIMITERS = (",", ";", "\t", "|")
SNIFFED_BYTES = 2**16
SNIFFED_LINES = 20

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
"""What reading a compressed file raises where it is cut short or damaged."""

_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_BOMS = (  # UTF-32's first, since its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")
_SEPARATOR = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?', re.IGNORECASE)


@dataclass(frozen=True)
class TextFormat:
    """How a text file is read. `guessed` says that not all of its bytes are UTF-8: it is read as cp1252, or as UTF-8 without
    the rows that are not."""

    encoding: str
    guessed: bool = False

    @property
    def note(self) -> str:
        """What a reader should know, or nothing."""
        if not self.guessed:
            return ""
        if self.encoding == "cp1252":
            return "is not UTF-8 and was read as cp1252; give --encoding if letters look wrong"
        return "is not all UTF-8, and rows that are not are rejected; give --encoding, such as shift_jis, gb18030 or cp1251"


def stem_and_ending(path: Path) -> tuple[str, str]:
    """`reviews` and `.csv` of `reviews.csv.gz`; the ending in lower case."""
    name = path.name
    for compression in COMPRESSIONS:
        if name.lower().endswith(compression):
            name = name[: -len(compression)]
    return Path(name).stem, Path(name).suffix.lower()


def format_of(path: Path) -> Format | None:
    """The format that a file's name tells, or None."""
    return FORMATS.get(stem_and_ending(path)[1])


def is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(6)
    return beginning.startswith((_GZIP, _BZIP2, _XZ)) or _is_zstandard(beginning)


def _is_zstandard(beginning: bytes) -> bool:
    """Also where a frame to skip comes first, as pzstd writes it (RFC 8878, 3.1.2)."""
    return beginning.startswith(_ZSTD) or (beginning[1:4] == b"\x2a\x4d\x18" and 0x50 <= beginning[0] <= 0x5F)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's content, decompressed if its first bytes say that it is compressed, whatever its name says."""
    with path.open("rb") as raw:
        beginning = raw.read(6)
        raw.seek(0)
        if beginning.startswith(_GZIP):
            with gzip.open(raw, "rb") as file:
                yield cast(IO[bytes], file)
        elif beginning.startswith(_BZIP2):
            with bz2.open(raw, "rb") as file:
                yield io.BufferedReader(_Decompressed(file))
        elif beginning.startswith(_XZ):
            with lzma.open(raw, "rb") as file:
                yield file
        elif _is_zstandard(beginning):
            import pyarrow as pa

            with pa.CompressedInputStream(raw, "zstd") as stream:
                yield io.BufferedReader(_Decompressed(stream))
        else:
            yield raw


class _Decompressed(io.RawIOBase):
    """What a decompressor yields; damage, which some tell as an OSError without a number, is one of DAMAGED."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self.stream.read(len(buffer))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise zlib.error(str(error)) from error
        buffer[: len(found)] = found
        return len(found)


def text_format(path: Path, encoding: str | None = None) -> TextFormat:
    """The encoding of a text file: the one given, the one of its byte order mark, UTF-8, or what its bytes look like.

    A file with bytes that are not UTF-8 is taken for Windows' cp1252 only if none of its other bytes are UTF-8 sequences beyond
    ASCII, and if its letters beyond ASCII stand between others, as in Western Europe: in a mixed file, and in one in another
    script, rows that are not UTF-8 are rejected one by one. Raises UserError for an encoding that Python does not know.
    """
    if encoding:
        try:
            name = codecs.lookup(encoding).name
            io.TextIOWrapper(io.BytesIO(b"id"), name, errors="replace").read()
            return TextFormat("utf-8-sig" if name == "utf-8" else name)
        except (LookupError, UnicodeError):  # also for codecs of Python that are no encodings of files, such as rot13
            raise UserError(f"Unknown --encoding {encoding}; give one such as utf-8, utf-16, cp1252 or iso-8859-2.") from None
    with open_bytes(path) as file:
        beginning = _first_bytes(file)
        for mark, name in _BOMS:
            if beginning.startswith(mark):
                return TextFormat(name)
        if wide := _utf16_without_mark(beginning):
            return TextFormat(wide)
        decoder = codecs.getincrementaldecoder("utf-8")()
        others, invalid, chunk = False, False, beginning
        while chunk:
            others = others or _MULTIBYTE.search(chunk) is not None
            if not invalid:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    invalid = True
            if invalid and others:
                return TextFormat("utf-8", guessed=True)
            try:
                chunk = file.read(2**20)
            except DAMAGED:  # its reader rejects the rest
                break
    if not invalid:
        return TextFormat("utf-8")
    return TextFormat("cp1252" if _looks_western(beginning) else "utf-8", guessed=True)


def _looks_western(beginning: bytes) -> bool:
    """False where most bytes beyond ASCII follow each other, as in Cyrillic, Greek or Chinese encodings."""
    runs = [len(run) for run in _HIGH.findall(beginning)]
    together = sum(run for run in runs if run > 1)
    return together < 8 or together <= sum(runs) / 2


def _first_bytes(file: IO[bytes]) -> bytes:
    try:
        return file.read(SNIFFED_BYTES)
    except DAMAGED:
        return b""


def _utf16_without_mark(beginning: bytes) -> str | None:
    """The first line, which names columns or keys, has a NUL for every other byte in UTF-16."""
    line = beginning[: beginning.find(b"\n") + 1] or beginning
    even, odd = line[0::2], line[1::2]
    if len(odd) < 8:
        return None
    if odd.count(0) > 0.6 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > 0.6 * len(even) and odd.count(0) < 0.1 * len(odd) else None


@contextmanager
def open_text(path: Path, form: TextFormat) -> Iterator[TextIO]:
    """The file's text, line ends as they are. A byte that is not of the encoding becomes a lone surrogate."""
    errors = "surrogateescape" if form.encoding.startswith("utf-8") else "replace"
    with open_bytes(path) as file, io.TextIOWrapper(file, form.encoding, errors=errors, newline="") as text:
        yield text


def wide_encoding(path: Path) -> str | None:
    """UTF-16 or UTF-32 where the file's first bytes say so."""
    with open_bytes(path) as file:
        beginning = _first_bytes(file)
    marked = next((name for mark, name in _BOMS if beginning.startswith(mark) and name != "utf-8-sig"), None)
    return marked or _utf16_without_mark(beginning)


def delimiter_of(path: Path, form: TextFormat) -> str:
    """The delimiter with which the first lines have the most fields, the same number in each; where none fits, that of the
    header. Excel writes it into a first line of its own, `sep=;`."""
    with open_text(path, form) as file:
        try:
            head = file.read(SNIFFED_BYTES)
        except DAMAGED:
            return DELIMITERS[0]
    if told := _SEPARATOR.match(head):
        return told[1]
    header = head.lstrip("\r\n").split("\n", 1)[0]
    return max(DELIMITERS, key=lambda delimiter: (_fields(head, delimiter), header.count(delimiter)))


def header_line(path: Path, form: TextFormat) -> int | None:
    """The line that names the columns, where a title or comments stand before it; None where the first one does."""
    with open_text(path, form) as file:
        try:
            head = file.read(SNIFFED_BYTES)
        except DAMAGED:
            return None
    if _SEPARATOR.match(head):
        return None
    found = [_wide_lines(head, delimiter) for delimiter in DELIMITERS]
    if any(len(first) > 1 and not first[0].startswith("#") for _, first, _ in found):
        return None
    width, first, line = max(found, key=lambda lines: lines[0])
    return line if width > 1 and line > 1 and len(first) != width else None


def _wide_lines(head: str, delimiter: str) -> tuple[int, list[str], int]:
    """How many fields most of the first records have, the filled ones of the very first, and the line where the first record
    begins that has so many, all filled."""
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for row in reader:
            if row:
                records.append((line, row))
            line = reader.line_num + 1
            if len(records) > SNIFFED_LINES:
                break
    except csv.Error:
        pass
    if len(records) < 2:
        return 0, [], 0
    width = Counter(len(row) for _, row in records[1:]).most_common(1)[0][0]
    begin = next((line for line, row in records if len(row) == width and all(row)), 0)
    return width, [value for value in records[0][1] if value.strip()], begin


def is_separator_line(line: str) -> bool:
    """Whether the line only names the delimiter, for Excel."""
    return _SEPARATOR.fullmatch(line) is not None


def _fields(head: str, delimiter: str) -> int:
    """Number of fields of the header if most of the following records have as many, else 1."""
    counts: list[int] = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter):
            if row:
                counts.append(len(row))
            if len(counts) > SNIFFED_LINES:
                break
    except csv.Error:
        pass
    agreeing = sum(count == counts[0] for count in counts) if counts else 0
    return counts[0] if counts and agreeing > len(counts) / 2 else 1
