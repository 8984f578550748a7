"""Files that are no table under a table's name: each is told by its first bytes, with what to do."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path

import pytest

from dataset_builders.other_formats import not_a_table


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("reviews.csv"), io.BytesIO())
    return packed.getvalue()


FILES = [
    ("products.csv", b"\xef\xbb\xbf<?xml version='1.0'?><rss/>", "is XML, as a product feed"),
    ("products.json", b"\n<rss version='2.0'>", "is XML"),
    ("products.csv", b"\r\n <TABLE><tr>", "is an HTML table"),
    ("products.csv", b"-- MySQL dump 10.13\n", "is an SQL dump; export the table as CSV"),
    ("products.csv", b"SQLite format 3\0", "is a database; export its tables"),
    ("products.json", b"Obj\x01\x04", "is Avro; convert it to Parquet"),
    ("products.csv", b"ARROW1\0\0", "is an Arrow file"),
    ("products.csv", b"\x04\x22\x4d\x18abc", "is compressed with LZ4"),
    ("products.parquet", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.* git lfs pull"),
    ("products.csv", b"-----BEGIN PGP MESSAGE-----", "is encrypted"),
    ("products.csv.gz", archive(), "is an archive; unpack it"),
    ("products.csv.gz", gzip.compress(gzip.compress(b"a,b\n")), "is compressed as a whole"),
    ("products.parquet", gzip.compress(b"PAR1"), "is compressed as a whole"),
    ("products.csv", zlib.compress(b"a,b\n" * 9), "is no text; export the table as CSV"),
    ("products.csv", b'[{"a": 1}]', "holds JSON; name it .json"),
]


@pytest.mark.parametrize(("name", "content", "told"), FILES, ids=[told for *_, told in FILES])
def test_what_is_no_table_says_what_it_is_and_what_to_do(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    import re

    (tmp_path / name).write_bytes(content)
    found = not_a_table(tmp_path / name)
    assert found
    assert re.match(told, found)


TABLES = {
    "empty": b"",
    "ORCID": b"ORCID,b\n1,2\n",
    "bracket": b"[x],b\n1,2\n",
    "id": b"id,a\n",
    "torn gzip": gzip.compress(b"id,a\n")[:-9],
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)  # gzip's time stamp must not be part of a test's name
def test_tables_and_damaged_files_are_left_to_their_reader(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "products.csv").write_bytes(content)
    assert not_a_table(tmp_path / "products.csv") is None
