"""What the path of a file says: that it is a copy, partition columns, the date of a snapshot, the table format around it."""

import re
from pathlib import Path

_BACKUP = re.compile(r"(^|[^a-z])(bak|backup|old|archive|copy|tmp)([^a-z]|$)", re.IGNORECASE)
_NUMBERED_COPY = re.compile(r" \(\d+\)(?=\.)")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(\d{2})[-_]?(\d{2})(?!\d)")
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
    """The last date in the path below `folder`, as 20240601; empty where there is none."""
    text = path.relative_to(folder).as_posix()
    dates = ["".join(match.groups()) for match in _DATE.finditer(text) if "01" <= match[2] <= "12" and "01" <= match[3] <= "31"]
    return dates[-1] if dates else ""


def table_format_of(folder: Path) -> str | None:
    """The name of the table format whose log lies in the folder; its data files alone would bring removed rows back."""
    if (folder / "_delta_log").is_dir():
        return "Delta Lake"
    if any((folder / "metadata").glob("*.metadata.json")):
        return "Apache Iceberg"
    return "Apache Hudi" if (folder / ".hoodie").is_dir() else None
