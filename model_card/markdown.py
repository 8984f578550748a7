"""Values as Markdown: escaped names from files, and figures with their units."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = "not measured"
LONGEST_NAME = 200

_PUNCTUATION = re.compile(r"([\\`*\[\]<>#|~$&])|((?<![^\W_])_|_(?![^\W_]))")
_LOCAL_PATH = re.compile(
    r"""(?<![\w.:/\\~])(?:file:)?            # not inside a URL, a Hub id or a relative path
    (?: ~?/+[^\s/"'()\[\],;]+/[^\s"'()\[\],;]*   # /home/jane/model, ~/models/x
      | ~/[^\s"'()\[\],;]+
      | [A-Za-z]:\\[^\s"',;]+ )              # C:\models""",
    re.VERBOSE,
)


def plain(value: Any, longest: int = LONGEST_NAME) -> str:
    """One line of text, escaped for Markdown and its tables. Local paths are left out."""
    line = " ".join(str(value).split())
    line = "".join(char for char in line if char.isprintable())
    line = _LOCAL_PATH.sub("(local path)", line)
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    return _PUNCTUATION.sub(r"\\\g<0>", line)


def number(value: Any) -> float | None:
    """A finite number, or None for anything else (JSON files may hold NaN, text or null)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def count(value: Any) -> str:
    """1234567 -> 1,234,567"""
    found = number(value)
    return MISSING if found is None else f"{found:,.0f}"


def figure(value: Any, unit: str = "") -> str:
    """A setting or a measured figure, to at most four digits."""
    found = number(value)
    return MISSING if found is None else f"{found:.4g} {unit}".strip()


def size(value: Any) -> str:
    """Bytes -> 1.9 GB"""
    found = number(value)
    if found is None:
        return MISSING
    unit = "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(found) < 1000:
            break
        found, unit = found / 1000, larger
    return f"{found:.3g} {unit}"


def duration(value: Any) -> str:
    """Seconds -> 1 h 2 min 3 s"""
    found = number(value)
    if found is None:
        return MISSING
    if 0 < found < 10:
        return f"{found:.1f} s"
    minutes, seconds = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 s"


def identifier(value: Any) -> str:
    """A name or hash as code, without characters that could end the code or the cell."""
    return f"`{re.sub(r'[^A-Za-z0-9_.:-]', '', str(value))[:LONGEST_NAME]}`" if value else MISSING


def listed(words: Sequence[str]) -> str:
    """a, b and c"""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of ready cells. A column whose name ends in a colon is aligned to the right."""
    header = [column.removesuffix(":") for column in columns]
    rule = ["---:" if column.endswith(":") else ":---" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
