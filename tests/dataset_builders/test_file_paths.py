"""What the paths of files say: the date of a snapshot, and that a file is a copy."""

from pathlib import Path

import pytest

from dataset_builders.file_paths import is_copy, snapshot_date


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("products/20240601.csv", "20240601"),
        ("products/dt=2024-06-01/part.csv", "20240601"),
        ("products/2024.06.01.csv", "20240601"),
        ("products/2024/06/01/part.csv", "20240601"),
        ("products/year=2024/month=6/day=1/part.csv", "20240601"),
        ("products/2024-06.csv", "202406"),
        ("products/products_202406.csv", "202406"),
        ("products/2024-06-01T12:00:59Z.csv", "20240601120059"),
        ("products/20240601_1200.csv", "202406011200"),
        ("products/2024-06-01-00001.csv", "20240601"),
        ("2023-01-01/products/2024-06-01.csv", "20240601"),
        ("products/part-2024-13.csv", ""),
        ("products/part-2024-00001.csv", ""),
        ("products/123420240601.csv", ""),
    ],
)
def test_the_date_of_a_snapshot_is_the_last_in_the_path(path: str, date: str) -> None:
    assert snapshot_date(Path("shop") / path, Path("shop")) == date


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        ("products/deleted/part.csv", True),
        ("products/$RECYCLE.BIN/part.csv", True),
        ("products/Kopie von part.csv", True),
        ("products/archiv/part.csv", True),
        ("products/trash_cans.csv", False),
        ("products/originals.csv", False),
        ("products/brand=Old Navy/part.csv", False),
    ],
)
def test_copies_and_what_was_thrown_away_are_told_by_their_names(path: str, copy: bool) -> None:
    assert is_copy(Path("shop") / path, Path("shop")) == copy
