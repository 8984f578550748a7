"""Which files a map reads, whether they hold what it names, and how they are read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Literal

from common.errors import UserError
from dataset_builders.file_paths import is_copy, partition_values, snapshot_date
from dataset_builders.mapping import MAPPED_TABLES, ColumnMap, FileMap, LookUp, ShopMap, near
from dataset_builders.raw_files import TextFormat, format_of, is_parquet, text_format
from dataset_builders.record_reading import RawFile, plain_read_errors, readable
from dataset_builders.records import Placed, Rejected
from dataset_builders.scales import ScaleCounts, check_narrow
from dataset_builders.sources import mapped_tables, own_tables
from dataset_builders.sources.mapped_tables import MappedFile, MappedTable, OtherFile
from dataset_builders.sources.own_tables import SAMPLED_RECORDS, OwnFile
from dataset_builders.staging import input_files


def find_mapped(
    folder: Path, shop: ShopMap, encoding: str | None = None, locale: str = "us"
) -> tuple[list[RawFile], list[Path]]:
    """The files below `folder` that the map names, in order of their names, and those that it does not.

    `locale` is that of rows for which neither the map nor the file names one. Raises UserError for what the map names and the
    folder or a file lacks.
    """
    paths = input_files(folder)
    wanted: dict[Path, list[FileMap]] = {}
    others: dict[LookUp, list[Path]] = {}
    for entry in shop.files:
        for path in _matching(paths, folder, shop, entry):
            wanted.setdefault(path, []).append(entry)
        if entry.look_up:
            others[entry.look_up] = _matching(paths, folder, shop, entry.look_up)
    derives_snippets = any(each.name == "snippets" for each in shop.derived)
    claimed, scales = [], list[ScaleCounts]()
    for path in sorted(wanted):
        with plain_read_errors(path):
            entries = [_with_snippets(entry) if derives_snippets else entry for entry in wanted[path]]
            claimed.append(_raw_file(path, folder, shop, entries, others, encoding, locale, scales))
    check_narrow(scales)
    read = {*wanted, *(path for matching in others.values() for path in matching)}
    return claimed, [path for path in paths if path not in read]


def _matching(paths: Sequence[Path], folder: Path, shop: ShopMap, named: FileMap | LookUp) -> list[Path]:
    """The files that a pattern of the map means. Raises UserError where there is none."""
    found = [path for path in paths if _matches(path, folder, named.pattern)]
    if not found:
        told = near(named.pattern, [readable(path.relative_to(folder)) for path in paths]) if paths else f"{folder} is empty."
        raise UserError(f"{shop.path}, line {named.line}: {folder} has no file {named.pattern}. {told}")
    return found


def _other_file(
    paths: Sequence[Path],
    folder: Path,
    shop: ShopMap,
    entry: FileMap,
    look_up: LookUp,
    own: Sequence[str],
    encoding: str | None,
) -> OtherFile:
    """The files that an entry looks rows up in, with those of its columns that are theirs alone."""
    kind = kind_of(paths[0])
    forms = tuple(text_format(path, encoding) if kind == "csv" else None for path in paths)
    known = file_columns(paths[0], paths[0].relative_to(folder), kind, forms[0])
    if look_up.other not in known:
        told = f"{readable(paths[0].relative_to(folder))} lacks the column {look_up.other}"
        raise UserError(f"{shop.path}, line {look_up.line}: {told}. {near(look_up.other, known)}")
    named = {name if name in known else name.split(".", maxsplit=1)[0] for name, *_ in entry.named_columns()}
    columns = tuple(name for name in known if name in named and name not in own)
    changed = tuple(path.stat().st_mtime_ns for path in paths)
    return OtherFile(tuple(paths), kind, forms, look_up.by, look_up.other, columns, changed)


def _matches(path: Path, folder: Path, pattern: str) -> bool:
    """Whether a map's pattern means the file; a copy such as `events_old.csv` must be named, or a pattern of copies."""
    name = readable(path.relative_to(folder))
    return name == pattern or (fnmatchcase(name, pattern) and (not is_copy(path, folder) or is_copy(folder / pattern, folder)))


def _with_snippets(entry: FileMap) -> FileMap:
    if entry.table != "questions" or "snippets" in entry.columns:
        return entry
    return replace(entry, columns={**entry.columns, "snippets": ColumnMap("list")})


def _raw_file(
    path: Path,
    folder: Path,
    shop: ShopMap,
    entries: list[FileMap],
    looked_up: Mapping[LookUp, Sequence[Path]],
    encoding: str | None,
    locale: str,
    scales: list[ScaleCounts],
) -> RawFile:
    """How the file is read; adds to `scales` what its ratings are, as far as the map does not say it."""
    name = path.relative_to(folder)
    own_tables.refuse_other_formats(path, folder)
    kind = kind_of(path)
    encodings = {entry.encoding for entry in entries if entry.encoding}
    if len(encodings) > 1:
        raise UserError(f"{shop.path} gives {readable(name)} more than one encoding: {', '.join(sorted(encodings))}.")
    form = text_format(path, next(iter(encodings), encoding)) if kind == "csv" else None
    partitions = partition_values(path, folder)
    columns = file_columns(path, name, kind, form)
    others = tuple(
        _other_file(looked_up[entry.look_up], folder, shop, entry, entry.look_up, columns, encoding)
        for entry in entries
        if entry.look_up
    )
    added = dict.fromkeys(column for other in others for column in other.columns)
    for entry in entries:
        _check_names(shop, entry, readable(name), kind, [*columns, *partitions, *added])
    named_columns = {column for entry in entries for column, *_ in entry.named_columns()}
    needed = {column if column in columns else column.split(".", maxsplit=1)[0] for column in named_columns}
    tables = tuple(
        MappedTable(
            entry, OwnFile(path, MAPPED_TABLES[entry.table], frozenset(entry.columns), form, {}, entry.locale or locale)
        )
        for entry in entries
    )
    file = MappedFile(path, form, tuple(sorted(needed)), partitions, tables, kind, tuple(dict.fromkeys(others)))
    profiled = []
    for mapped in tables:
        facts = own_tables.column_facts(mapped.file, _profiled(file, mapped))
        profiled.append(replace(mapped, floats=facts.floats))
        rating = mapped.map.columns.get("rating")
        if rating and not (rating.scale or rating.values or rating.take == "constant"):  # of others the map says what they mean
            scales.append(facts.scale)
    file = replace(file, tables=tuple(profiled))
    named = [entry.table for entry in entries] + ["product_ids" for entry in entries if entry.also_known_as]
    return RawFile(
        path,
        own_tables.NAME,
        own_tables.LICENCE,
        partial(mapped_tables.spans, file),
        partial(mapped_tables.read, file),
        partial(mapped_tables.canonical, file=file),
        tuple(dict.fromkeys(named)),
        snapshot_date(path, folder),
        form.note if form else "",
    )


def kind_of(path: Path) -> Literal["parquet", "csv", "json"]:
    """How a file is read, by its first bytes and its name."""
    if is_parquet(path) or format_of(path) == "parquet":
        return "parquet"
    return "csv" if format_of(path) == "csv" else "json"


def file_columns(path: Path, name: Path, kind: str, form: TextFormat | None) -> list[str]:
    """Names of a file's columns in order; of JSON those that the first records have."""
    if kind == "parquet":
        return own_tables.parquet_columns(path, name)
    if kind == "csv":
        return own_tables.header_of(path, name, form or text_format(path))
    return own_tables.json_keys(path)


def _check_names(shop: ShopMap, entry: FileMap, name: str, kind: str, columns: Iterable[str]) -> None:
    known = list(columns)
    if not known:  # an empty part file
        return
    for column, line, required in entry.named_columns():
        if known.count(column) > 1:
            raise UserError(f"{name} has the column {column} twice. Rename one of them, or take it out.")
        if column in known or column.split(".")[0] in known or (kind == "json" and not required):
            continue
        where = f"none of the first {SAMPLED_RECORDS:,} records of {name} has" if kind == "json" else f"{name} lacks"
        raise UserError(f"{shop.path}, line {line}: {where} the column {column}. {near(column, known)}")


def _profiled(file: MappedFile, mapped: MappedTable) -> Iterator[Placed]:
    """The table's rows under its own names, with None for what the map has no value for."""
    for place, record in mapped_tables.read(file):
        if isinstance(record, Rejected):
            continue
        for each in mapped_tables.kept({**file.partitions, **record}, mapped.map):
            for row in mapped_tables.mapped_rows(each, mapped.map):
                yield place, {key: None if isinstance(value, Rejected) else value for key, value in row.items()}
