"""Files that are no table, whatever their name says, by their first bytes: what each is, and what to do."""

from pathlib import Path

from dataset_builders.raw_files import DAMAGED, format_of, is_compressed, is_parquet, open_bytes, wide_encoding

_BEGINNING = 512
_UNPRINTED = frozenset(range(2, 9)) | frozenset(range(14, 32)) - {0x1A, 0x1B}
"""Bytes that no text holds; 1 separates columns as Hive writes them."""
MOST_UNPRINTED = 0.05
_WEB_PAGE = "is a web page, as a download that failed leaves it; download the table again"
_ARCHIVE = "is an archive; unpack it"
_DATABASE = "is a database; export its tables as CSV or Parquet"
_SQL = "is an SQL dump; export the table as CSV"
_XML = "is XML, as a product feed or an error of a server; export the table as CSV"
_CONVERT = "; convert it to Parquet"
_SIGNATURES = {
    b"pk\x03\x04": "is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV in UTF-8",
    b"%pdf": "is a PDF; export the table as CSV",
    b"<!doctyp": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<head": _WEB_PAGE,
    b"<table": "is an HTML table, which some systems name .xls or .csv; save it as CSV in a spreadsheet",
    b"<?xml": _XML,
    b"<rss": _XML,
    b"<feed": _XML,
    b"7z\xbc\xaf": _ARCHIVE,
    b"rar!": _ARCHIVE,
    b"\x04\x22m\x18": "is compressed with LZ4; unpack it",
    b"\xff\x06\x00\x00snappy": "is compressed with Snappy; unpack it",
    b"sqlite format 3": _DATABASE,
    b"pgdmp": _DATABASE,
    b"-- mysql": _SQL,
    b"-- mariadb": _SQL,
    b"-- phpmyadmin": _SQL,
    b"--\n-- postgresql": _SQL,
    b"insert into": _SQL,
    b"create table": _SQL,
    b"obj\x01": f"is Avro{_CONVERT}",
    b"arrow1\x00\x00": f"is an Arrow file (Feather){_CONVERT}",
    b"\x89png": "is a picture; export the table as CSV",
    b"\xff\xd8\xff": "is a picture; export the table as CSV",
    b"-----begin pgp": "is encrypted; decrypt it",
    b"version https://git-lfs": "is a pointer of Git LFS and not the file itself; fetch it with git lfs pull",
}
"""First bytes, in lower case, behind a byte order mark and blanks."""


def not_a_table(path: Path) -> str | None:
    """What is wrong with a file that holds no table, and what to do; None for any other."""
    with path.open("rb") as file:
        beginnings = [file.read(_BEGINNING)]
    if is_compressed(path):
        try:
            with open_bytes(path) as unpacked:
                beginnings.append(unpacked.read(_BEGINNING))
        except DAMAGED:  # its reader says so
            return None
        if format_of(path) == "parquet" or beginnings[1].startswith((b"PAR1", b"\x1f\x8b")):
            return "is compressed as a whole, and what is in it is compressed itself; unpack it"
    for beginning in beginnings:
        if beginning[257:262] == b"ustar":
            return _ARCHIVE
        text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        if found := next((told for magic, told in _SIGNATURES.items() if text.startswith(magic)), None):
            return found
    return _no_csv(path, beginnings[-1]) if format_of(path) == "csv" and not is_parquet(path) else None


def _no_csv(path: Path, beginning: bytes) -> str | None:
    if sum(byte in _UNPRINTED for byte in beginning) > MOST_UNPRINTED * len(beginning) and not wide_encoding(path):
        return "is no text; export the table as CSV, or give the file the ending of what it is"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "holds JSON; name it .json" if text[:1] in (b"[", b"{") and b'"' in text else None
