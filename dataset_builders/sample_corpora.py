"""Writes raw e-commerce corpora in the five real formats, with invented products: input for trying everything out.

    python -m dataset_builders.sample_corpora --out DIR [--scale 0.01] [--seed 0]

At scale 1 there are as many records as in the system that this project rebuilds. The same seed and scale give the same bytes,
whatever the number of processes.
"""

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cores import usable_cores
from common.errors import UserError, plain_errors
from common.files import replaced
from dataset_builders.samples import amazon, ecinstruct, esci, merrec
from dataset_builders.samples.catalog import categories
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.workers import worker_pool

GENERATOR = "dataset_builders.sample_corpora"
VERSION = 2
LICENCE = "Apache-2.0"

# Records at scale 1; the reviews and products of Amazon Review Data are those of one category.
REVIEWS, PRODUCTS = 50_000, 30_000
QUERIES = {"us": 75_000, "es": 7_500, "jp": 7_500}
QUERY_PRODUCTS = {"us": 800_000, "es": 80_000, "jp": 80_000}
SESSIONS, SESSIONS_PER_PART = 30_500, 4_000
QUESTIONS = {"train": 160_000, "val": 20_000, "test": 20_000}
INSTRUCTIONS = 116_528

SMALLEST_SCALE, LARGEST_SCALE = 0.0001, 10.0


@dataclass(frozen=True)
class SampleJob:
    """One file: `write(path, seed, *arguments)` writes it and returns the number of its records."""

    path: str
    write: Callable[..., int]
    arguments: tuple[Any, ...]


def plan(scale: float) -> list[SampleJob]:
    """The files of a sample folder, those that take longest first."""

    def scaled(number: int, at_least: int) -> int:
        return max(at_least, round(number * scale))

    products, reviews = scaled(PRODUCTS, 96), scaled(REVIEWS, 60)
    judged = {locale: scaled(number, 800) for locale, number in QUERY_PRODUCTS.items()}
    queries = {locale: scaled(number, 40) for locale, number in QUERIES.items()}
    jobs = [
        SampleJob("esci/shopping_queries_dataset_examples.parquet", esci.write_examples, (judged, queries)),
        SampleJob("esci/shopping_queries_dataset_products.parquet", esci.write_products, (judged, queries)),
    ]
    sessions = scaled(SESSIONS, 20)
    parts = math.ceil(sessions / SESSIONS_PER_PART)
    for part in range(parts):
        share = sessions * (part + 1) // parts - sessions * part // parts
        jobs.append(SampleJob(f"merrec/20230501/part-{part:03}.parquet", merrec.write_events, (part, share)))
    for split, number in QUESTIONS.items():
        jobs.append(SampleJob(f"amazonqa/{split}-qar.jsonl", amazon.write_questions, (split, products, scaled(number, 10))))
    jobs.append(SampleJob("ecinstruct/ecinstruct.json", ecinstruct.write_rows, (scaled(INSTRUCTIONS, 20),)))
    for category in categories():
        folder = "amazon_reviews_2018"
        jobs.append(SampleJob(f"{folder}/meta_{category}.json.gz", amazon.write_products, (category, products)))
        jobs.append(SampleJob(f"{folder}/{category}_5.json.gz", amazon.write_reviews, (category, products, reviews)))
    return jobs


def write_corpora(out: Path, scale: float, seed: int, processes: int) -> dict[str, int]:
    """Writes the folder and returns the number of records by file.

    It is written beside `out` and renamed, the marker last: a broken run leaves what was there before. Raises UserError if
    `out` holds anything but an earlier sample folder, or cannot be written.
    """
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise UserError(f"--scale is {scale:g}; give a number from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}")
    if processes < 1:
        raise UserError(f"--processes is {processes}; give 1 or more")
    out = out.absolute()
    try:
        _refuse_foreign(out)
        with replaced(out, SAMPLE_MARKER) as folder:
            jobs = plan(scale)
            for job in jobs:
                (folder / job.path).parent.mkdir(parents=True, exist_ok=True)
            records = _run(folder, seed, jobs, processes)
            marker = {
                "generator": GENERATOR,
                "version": VERSION,
                "seed": seed,
                "scale": scale,
                "licence": LICENCE,
                "records": dict(sorted(records.items())),
            }
            (folder / SAMPLE_MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}; choose another --out or free some space") from error
    return records


def _run(folder: Path, seed: int, jobs: list[SampleJob], processes: int) -> dict[str, int]:
    from tqdm import tqdm

    records = {}
    tasks = [(folder, seed, job) for job in jobs]
    with worker_pool(min(processes, len(jobs))) as run, tqdm(total=len(jobs), unit="file", desc="sample corpora") as bar:
        for path, number in run(_write, tasks):
            records[path] = number
            bar.update()
    return records


def _write(task: tuple[Path, int, SampleJob]) -> tuple[str, int]:
    folder, seed, job = task
    return job.path, job.write(folder / job.path, seed, *job.arguments)


def _refuse_foreign(out: Path) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise UserError(f"{out} is not a folder; choose another --out")
    if any(out.iterdir()) and not _is_sample_folder(out):
        raise UserError(f"{out} holds something else than sample corpora; choose another --out or empty it")


def _is_sample_folder(folder: Path) -> bool:
    try:
        marker = json.loads((folder / SAMPLE_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("generator") == GENERATOR


def _show(out: Path, records: dict[str, int]) -> None:
    """A table of the files; those that differ by category or part only share a line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(out))
    for name, side in (("file", "left"), ("records", "right"), ("MB", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    lines: dict[str, list[str]] = {}
    for path in sorted(records):
        lines.setdefault(_kind(path), []).append(path)
    for name, paths in lines.items():
        label = f"{name} ({len(paths)} files)" if len(paths) > 1 else paths[0]
        table.add_row(label, f"{sum(records[path] for path in paths):,}", _megabytes(out, paths))
    table.add_section()
    table.add_row("all", f"{sum(records.values()):,}", _megabytes(out, list(records)))
    Console().print(table)


def _kind(path: str) -> str:
    folder, _, name = path.rpartition("/")
    if name.startswith("meta_"):
        return f"{folder}/meta_*.json.gz"
    if name.endswith("_5.json.gz"):
        return f"{folder}/*_5.json.gz"
    return f"{folder}/part-*.parquet" if name.startswith("part-") else path


def _megabytes(out: Path, paths: list[str]) -> str:
    return f"{sum((out / path).stat().st_size for path in paths) / 1e6:,.1f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {GENERATOR}", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; an earlier sample folder is replaced"
    )
    parser.add_argument("--scale", type=float, default=0.01, help="1 for full size, 6 million records (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the draw of products, queries and sessions (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=usable_cores(), metavar="N", help="that write (default: one for each core)"
    )
    options = parser.parse_args(arguments)
    with plain_errors():
        # What ends a job politely must clean up as Ctrl-C does.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        records = write_corpora(options.out, options.scale, options.seed, options.processes)
        _show(options.out, records)


if __name__ == "__main__":
    main()
