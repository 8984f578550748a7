"""Raw files in, canonical tables as Parquet out, with every record that yields none counted by its reason."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.errors import UserError
from dataset_builders import spans
from dataset_builders.file_paths import snapshot_date
from dataset_builders.raw_files import FOR_PEOPLE, format_of
from dataset_builders.record_counts import RecordCounts
from dataset_builders.record_reading import FilePart, RawFile, ReadJob, ReadParts, plain_read_errors, read_job, readable
from dataset_builders.records import Rejected
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.scales import PROPOSE, ScaleCounts, check_narrow
from dataset_builders.sources import corpus_modules, own_tables
from dataset_builders.tables import TABLES
from dataset_builders.workers import Run


def find_corpora(folder: Path, commercial_only: bool) -> tuple[list[RawFile], list[Path]]:
    """The raw files below `folder` that a corpus claims, in order of their names, and those that none does.

    Files of the sample corpora are named so, and carry the sample's licence: they only look like the real ones.
    """
    sample = (folder / SAMPLE_MARKER).exists()
    claimed, unclaimed, barred = [], [], set()
    for path in input_files(folder):
        with plain_read_errors(path):
            corpus = next((corpus for corpus in corpus_modules() if corpus.claims(path)), None)
        if corpus is None:
            unclaimed.append(path)
            continue
        source = f"{corpus.NAME}_sample" if sample else corpus.NAME
        licence = "Apache-2.0" if sample else corpus.LICENCE
        if commercial_only and licence not in ("Apache-2.0", "CC-BY-4.0"):
            barred.add(corpus.NAME)
            continue
        read, canonical = partial(corpus.read, path), partial(corpus.canonical, path=path)
        claimed.append(RawFile(path, source, licence, partial(corpus.spans, path), read, canonical))
    if barred and not claimed:
        raise UserError(
            f"{folder} holds only corpora whose licence does not allow commercial use: {', '.join(sorted(barred))}. "
            "Add others, or leave out --licences commercial."
        )
    if not claimed:
        raise UserError(
            f"{folder} holds no file of a known corpus. Expected are, for example, Gift_Cards.jsonl, meta_Gift_Cards.jsonl, "
            "Gift_Cards_5.json.gz, shopping_queries_dataset_examples.parquet or train-qar.jsonl; for your own tables "
            "use --tables."
        )
    return claimed, unclaimed


def find_tables(folder: Path, encoding: str | None = None, locale: str = "us") -> tuple[list[RawFile], list[Path]]:
    """The same for a shop's own tables; `locale` is that of rows that name none. Raises UserError for a file that is no
    table."""
    claimed, unclaimed, opened, scales = [], [], [], list[ScaleCounts]()
    for path in input_files(folder):
        table = own_tables.table_of(path, folder)
        if table is None:
            unclaimed.append(path)
            continue
        with plain_read_errors(path):
            file = own_tables.open_file(path, folder, table, encoding, locale)
            facts = own_tables.column_facts(file)
        opened.append(file)
        scales.append(facts.scale)
        claimed.append(
            RawFile(
                path,
                own_tables.NAME,
                own_tables.LICENCE,
                partial(own_tables.spans, file),
                partial(own_tables.read, file),
                partial(own_tables.canonical, file=file, floats=facts.floats),
                (table.name,),
                snapshot_date(path, folder),
                file.form.note if file.form else "",
            )
        )
    if not claimed:
        names = ", ".join(f"{name}.csv" for name in TABLES)
        raise UserError(
            f"{folder} holds no canonical table. Expected is at least one of {names}, or the same as Parquet, TSV or JSON. "
            f"Not read: {unread_names(unclaimed, folder) or 'nothing, it is empty'}. Give the files these names, or let "
            f"{PROPOSE} say in a map which file is which table."
        )
    own_tables.check_categories(opened)
    check_narrow(scales)
    return claimed, unclaimed


def unread_names(paths: list[Path], folder: Path, most: int = 10) -> str:
    """Names of files that were not read, with the table that a near name may mean."""
    shown = [_with_hint(readable(path.relative_to(folder))) for path in paths[:most]]
    return ", ".join(shown) + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def _with_hint(name: str) -> str:
    from difflib import get_close_matches

    top, path = Path(name).parts[0].lower(), Path(name)
    stem = top if top in TABLES else path.stem.lower()
    near = [table for table in TABLES if table in stem or stem.rstrip("s") == table.rstrip("s")] or get_close_matches(
        stem, TABLES, 1
    )
    told = [f"is it {near[0]}?"] if near else []
    if format_of(path) is None:
        told.append("its name has no ending" if not path.suffix else "no CSV, TSV, JSON or Parquet")
    return f"{name} ({' '.join(told)})" if told else name


def input_files(folder: Path) -> list[Path]:
    """The files below a folder that may be input, in order of their names."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give the folder that holds the input.")
    found, seen = [], set()
    # Links to folders are followed, since corpora often lie on another disk, but no folder is entered twice.
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        paths = (Path(parent, name) for name in names)
        seen_paths = [path for path in paths if not _is_hidden(path.relative_to(folder))]
        if lost := next((path for path in seen_paths if path.is_symlink() and not path.exists()), None):
            raise UserError(f"{readable(lost)} is a link to a file that is not there. Mend it or take it away.")
        found += [path for path in seen_paths if path.is_file()]
    found.sort()
    return [path for path in found if path.name != SAMPLE_MARKER and not FOR_PEOPLE.fullmatch(path.name)]


def _refuse_folder(error: OSError) -> None:
    """Else what is in a folder that cannot be opened would vanish from the count."""
    if _is_hidden(Path(Path(error.filename).name)) or error.filename.endswith("lost+found"):
        return
    raise UserError(f"{readable(Path(error.filename))} cannot be read: {error.strerror}. Mend it or take it away.") from None


def _is_hidden(path: Path) -> bool:
    """Also in a hidden folder: downloaders and notebooks keep theirs beside the data, copies of it among them. `~$` marks a
    workbook that is open."""
    return any(part.startswith((".", "_", "~$")) and part != "_delta_log" for part in path.parts)


def stage(
    files: Sequence[RawFile], folder: Path, out: Path, locales: frozenset[str], counts: RecordCounts, run: Run = map
) -> None:
    """Writes `<out>/<table>.parquet/`, a folder of parts, for every table that a record yielded a row of.

    `run` says where the files are read: `map` in this process, others in several (workers.py) or on Spark (engine.py). What is
    written, and all counts, are the same.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    jobs = read_jobs(files, folder, out, locales)
    done: dict[int, ReadParts] = {}
    columns = (TextColumn("Reading"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[records]:,} records"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=sum(job.size() for job in jobs), records=0)
        records = 0
        # The largest first, so that none of them runs alone at the end.
        for result in run(read_job, sorted(jobs, key=lambda job: -job.size())):
            if isinstance(result, UserError | OSError):
                raise result
            done[result.number] = result
            records += result.counts.read.total()
            progress.update(bar, advance=jobs[result.number].size(), records=records)
    for file in files:
        for table in file.tables:
            counts.tables[table].files.append(readable(file.path.relative_to(folder)))
    yielded = Counter[int]()
    for job in jobs:
        counts.merge(done[job.number].counts)
        for part, number in zip(job.parts, done[job.number].yielded, strict=True):
            yielded[part.number] += number
    for number, file in enumerate(files):
        if not yielded[number] and not file.tables:
            counts.read[file.source] += 1
            counts.reject(file.source, Rejected("file is empty"), readable(file.path.relative_to(folder)))


def read_jobs(files: Sequence[RawFile], folder: Path, out: Path, locales: frozenset[str]) -> list[ReadJob]:
    """What processes read, in order of the files: parts of large files, several small ones together.

    It depends on the files alone, so that each row is in the same part of its table whoever reads it.
    """
    jobs: list[ReadJob] = []
    parts: list[FilePart] = []

    def close() -> None:
        if parts:
            jobs.append(ReadJob(len(jobs), tuple(parts), out, locales))
            parts.clear()

    for number, file in enumerate(files):
        # A name that is not UTF-8 can be opened, but neither printed nor written down.
        name = readable(file.path.relative_to(folder))
        with plain_read_errors(file.path):
            parts_of_file = file.spans()
        for span in parts_of_file:
            if sum(part.span.size for part in parts) + span.size > spans.SPAN_BYTES:
                close()
            parts.append(FilePart(file, name, number, span))
    close()
    return jobs
