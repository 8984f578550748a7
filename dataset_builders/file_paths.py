"""What the path of a file says: that it is a copy, partition columns, the date of a snapshot, the table format around it."""

import re
from pathlib import Path

_BACKUP = re.compile(
    r"(^|[^a-z])(bak|backup|old|archive?|copy|tmp|orig|kopie|sicherung|copie|sauvegarde|copia)([^a-z]|$)"
    r"|(^|/)(previous|deleted|trash|\$recycle\.bin)/",
    re.IGNORECASE,
)
_NUMBERED_COPY = re.compile(r" \(\d+\)(?=\.)")
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d{2})(?:([-_./])(\d{1,2})(?:\2(\d{1,2}))?|(\d{2})(\d{2})?)"  # 2024-06, 2024/6/1, 2024.06.01, 20240601
    r"(?:[T_ -]?(\d{2})[-_:]?(\d{2})[-_:]?(\d{2})?)?(?!\d)"  # T1200, _12-00-59
)
_DATE_PART = re.compile(r"\b(?:year|month|day|y|m|d)=", re.IGNORECASE)
_PARTITION = re.compile(r"([^=/]+)=([^/]*)")


def is_copy(path: Path, folder: Path) -> bool:
    """Whether a file below `folder` looks like a copy: `old/part.csv`, `part - Copy.csv`, `part (1).csv` beside `part.csv`."""
    # A partition's value, as in `brand=Old Navy/`, says nothing of copies.
    name = "/".join(part for part in path.relative_to(folder).parts if "=" not in part)
    original = _NUMBERED_COPY.sub("", path.name)
    return _BACKUP.search(name) is not None or (original != path.name and path.with_name(original).exists())


def partition_values(path: Path, folder: Path) -> dict[str, str]:
    """`{"locale": "de"}` of `products/locale=de/part-0.csv`, as Hive and Spark lay out partitions.

    https://spark.apache.org/docs/latest/sql-data-sources-parquet.html#partition-discovery
    """
    from urllib.parse import unquote

    parts = path.relative_to(folder).parts[:-1]
    matches = (_PARTITION.fullmatch(part) for part in parts)
    return {match[1]: unquote(match[2]) for match in matches if match and match[2] != "__HIVE_DEFAULT_PARTITION__"}


def snapshot_date(path: Path, folder: Path) -> str:
    """The last date in the path below `folder`, as 20240601, or 202406 without a day, or 202406011200 with a time of day; empty
    where there is none."""
    text = _DATE_PART.sub("", path.relative_to(folder).as_posix())  # year=2024/month=6/day=1
    dates = []
    for match in _DATE.finditer(text):
        month, day = match[3] or match[5], match[4] or match[6] or ""
        if 1 <= int(month) <= 12 and int(day or 1) in range(1, 32):
            dates.append(match[1] + month.zfill(2) + (day.zfill(2) + "".join(match.groups("")[6:]) if day else ""))
    return dates[-1] if dates else ""


def table_format_of(folder: Path) -> str | None:
    """The name of the table format whose log lies in the folder; its data files alone would bring removed rows back."""
    if (folder / "_delta_log").is_dir():
        return "Delta Lake"
    if any((folder / "metadata").glob("*.metadata.json")):
        return "Apache Iceberg"
    if (folder / "manifest").is_dir() and (folder / "snapshot").is_dir():
        return "Apache Paimon"
    return "Apache Hudi" if (folder / ".hoodie").is_dir() else None
