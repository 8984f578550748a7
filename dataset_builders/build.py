"""Builds the dataset from raw corpora or a shop's own tables: Parquet files, card and manifest.

python -m dataset_builders.build --raw corpora --out dataset
python -m dataset_builders.build --tables my_shop --out dataset --tasks review_rating,also_buy
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cores import usable_cores
from common.dataset import MANIFEST
from common.errors import UserError, plain_errors
from common.files import replaced
from common.languages import languages
from common.tasks import TASKS
from dataset_builders.assembly import OWN_TEST, BuiltRows, assemble_rows
from dataset_builders.build_report import print_explanation, print_tables
from dataset_builders.dataset_files import config_facts, word_counts, write_dataset
from dataset_builders.derived import derive
from dataset_builders.engine import add_engine_options, connect, reader
from dataset_builders.engine_errors import plain_engine_errors
from dataset_builders.evaluation_sets import read_evaluation_sets
from dataset_builders.explanation import with_derived
from dataset_builders.map_parser import read_map
from dataset_builders.mapped_files import find_mapped
from dataset_builders.mapping import ShopMap
from dataset_builders.record_counts import RecordCounts
from dataset_builders.record_reading import readable
from dataset_builders.row_facts import RowFacts
from dataset_builders.row_progress import row_progress
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.splits import parse_sizes
from dataset_builders.staging import find_corpora, find_tables, stage, unread_names
from dataset_builders.tables import SESSION_QUERIES, SESSION_QUERY_COLUMNS, STAGED
from dataset_builders.workers import Run, worker_pool


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.build", description=__doc__.split("\n", maxsplit=1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--raw", type=Path, metavar="DIR", help="folder with files of the raw corpora")
    source.add_argument("--tables", type=Path, metavar="DIR", help="folder with a shop's own tables: CSV, TSV, JSON or Parquet")
    parser.add_argument(
        "--map",
        type=Path,
        metavar="YAML",
        help="says which file in --tables is which table, and what its columns and values mean; "
        "python -m dataset_builders.map proposes one",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="folder of the dataset; an earlier one is replaced")
    target.add_argument("--explain", action="store_true", help="only print what each task would be built from; write nothing")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which rows are drawn (default: %(default)s)")
    parser.add_argument("--tasks", metavar="A,B", help="tasks to build (default: all that the input supports)")
    parser.add_argument(
        "--size",
        default="full",
        metavar="SIZE",
        help="full, unlimited, a share of full such as 0.1, or rows such as 900+100; other sizes for some tasks behind it: "
        "0.1,also_buy=110+40 (default: full)",
    )
    parser.add_argument(
        "--locales",
        metavar="A,B",
        help="locales of judgments and products; a product's title is that of the first one that it has "
        "(default: those of --map, else us)",
    )
    parser.add_argument(
        "--word-rows",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of the train rows of choices, rankings and retrievals: those asked in words, whose answers can be scored "
        "(default: %(default)s); test rows are all numbered",
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of the text files in --tables (default: detected)")
    parser.add_argument(
        "--licences", choices=("all", "commercial"), default="all", help="which corpora may be used (default: %(default)s)"
    )
    parser.add_argument(
        "--evaluation-sets",
        type=Path,
        metavar="DIR",
        help="folder with ShopBench, ECInstruct, Shopping MMLU or others: train rows that share text with them are left out",
    )
    parser.add_argument(
        "--session-queries",
        type=Path,
        metavar="DIR",
        help="what python -m dataset_builders.session_queries wrote; without it the queries of next_query are made by rule",
    )
    add_engine_options(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read raw files (default: one for each core)")
    parser.add_argument("--title", default="Online shop tasks", help="the dataset's name on its card (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    workers = parse_workers(arguments.workers)
    exhausted = plain_engine_errors(arguments.memory_limit)
    if arguments.explain:
        with tempfile.TemporaryDirectory(prefix="shop-tables-") as folder, worker_pool(workers) as run, exhausted:
            print_explanation(build_rows(arguments, Path(folder) / "staged", run)[0])
        return
    with replaced(arguments.out, MANIFEST) as out, worker_pool(workers) as run, exhausted:
        manifest, rows, counts = build_rows(arguments, out / "staged", run)
        if not rows.splits:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in manifest["not_built"].items())
            raise UserError(f"{arguments.raw or arguments.tables} yields no row of any task. {reasons}")
        with row_progress("Writing") as progress:
            write_dataset(out, manifest, rows.splits, rows.facts, counts, arguments.title, progress.counted(run))
    print_tables(manifest, arguments.out)


def build_rows(arguments: argparse.Namespace, staged: Path, run: Run) -> tuple[dict[str, Any], BuiltRows, RecordCounts]:
    """The manifest, the rows of every task that can be built, and what became of the records. Tables, rows: in `staged`."""
    sizes = parse_sizes(arguments.size)
    if not 0 <= arguments.word_rows <= 1:
        raise UserError(f"--word-rows must be a share from 0 to 1, not {arguments.word_rows}.")
    if arguments.raw and arguments.encoding:
        raise UserError("--encoding is for a shop's own tables: give --tables in place of --raw.")
    asked = parse_tasks(arguments.tasks)
    sets = read_evaluation_sets(arguments.evaluation_sets) if arguments.evaluation_sets else []
    folder = arguments.raw or arguments.tables
    shop = parse_map_option(arguments)
    of_map = ",".join(shop.locales()) if shop else ""
    locales = parse_locales(arguments.locales if arguments.locales is not None else of_map or "us")
    if arguments.raw:
        files, unclaimed = find_corpora(folder, arguments.licences == "commercial")
    elif shop:
        files, unclaimed = find_mapped(folder, shop, arguments.encoding, locales[0])
    else:
        files, unclaimed = find_tables(folder, arguments.encoding, locales[0])
    for file in files:
        if file.note:
            print(f"note: {readable(file.path.relative_to(folder))} {file.note}", file=sys.stderr)
    counts = RecordCounts()
    staged.mkdir()
    connection = connect(arguments.memory_limit, arguments.threads, staged / "spill", arguments.engine)
    written = stage_session_queries(arguments.session_queries, staged) if arguments.session_queries else None
    stage(files, folder, staged, frozenset(locales), counts, reader(connection, run))
    derived = derive(connection, staged, shop.derived, counts) if shop else {}
    licences = {file.source: file.licence for file in files}
    unread = unread_names(unclaimed, folder)
    names = asked or list(TASKS)
    rows = assemble_rows(
        connection, staged, names, sizes, licences, arguments.seed, sets, counts, locales, unread, run, arguments.word_rows
    )
    manifest = {
        "configs": config_facts(rows.facts),
        "rejects": {source: dict(sorted(reasons.items())) for source, reasons in sorted(counts.rejects.items())},
        "sources": {
            file.source: {"licence": file.licence, "read": counts.read[file.source], "used": rows.used.get(file.source, 0)}
            for file in files
        },
        "not_built": with_derived(rows.not_built, derived),
        "tables": {name: counts.tables[name].as_json() for name in STAGED if name in counts.tables},
        **({"map": shop.as_json(), "derived": derived} if shop else {}),
        "joins": [match.as_json() for match in rows.key_matches],
        "dropped_values": dict(sorted(counts.dropped.items())),
        "short": rows.short,
        "in_words": word_counts(rows.facts),
        "near_duplicates": rows.near_duplicates,
        "decontamination": decontamination(rows.contaminated, [OWN_TEST, *(found.name for found in sets)]),
        "skipped_evaluation_records": {found.name: found.skipped for found in sets if found.skipped},
        "masked": masked_counts(rows.facts),
        **queries_made_by(rows.facts.get("next_query"), written),
        "unclaimed_files": [readable(path.relative_to(folder)) for path in unclaimed],
        "synthetic": (folder / SAMPLE_MARKER).exists(),
        "locales": list(locales),
        "size": arguments.size,
        "seed": arguments.seed,
    }
    return manifest, rows, counts


def parse_map_option(arguments: argparse.Namespace) -> ShopMap | None:
    """The map of --map. Raises UserError where it is not of a shop's own tables."""
    if arguments.map is None:
        return None
    if arguments.raw:
        raise UserError("--map is for a shop's own tables: give --tables in place of --raw.")
    return read_map(arguments.map)


def stage_session_queries(folder: Path, staged: Path) -> list[str]:
    """Brings the table to the others, and gives the names of the models that wrote it. Raises UserError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{SESSION_QUERIES}.parquet"
    try:
        table = pq.read_table(path, columns=list(SESSION_QUERY_COLUMNS))
    except (OSError, pa.ArrowException):
        made = "make it with python -m dataset_builders.session_queries"
        raise UserError(f"--session-queries {folder} holds no {path.name} that can be read; {made}") from None
    pq.write_table(table, staged / path.name)
    models: list[str] = sorted(table["model"].unique().to_pylist())
    return models


def queries_made_by(facts: RowFacts | None, models: list[str] | None) -> dict[str, Any]:
    """Who made the queries of next_query's rows: `models` are those that wrote some, None where all were made by rule."""
    if facts is None:
        return {}
    if models is None:
        return {"queries_made_by": "rule"}
    rows = facts.queries_by
    by = "rule" if not rows["model"] else "model and rule" if rows["rule"] else "model"
    return {
        "queries_made_by": by,
        "session_queries": {"models": models, "rows": {name: rows[name] for name in ("model", "rule")}},
    }


def masked_counts(facts: Mapping[str, RowFacts]) -> dict[str, dict[str, int]]:
    """Source -> what was masked in its rows, and how many of each kind."""
    masked = sum((found.masked for found in facts.values()), Counter[tuple[str, str]]())
    sources = sorted({source for source, _ in masked})
    return {name: {kind: number for (source, kind), number in sorted(masked.items()) if source == name} for name in sources}


def decontamination(hits: Counter[tuple[str, str]], sets: list[str]) -> list[dict[str, Any]]:
    """Rows taken out of train by evaluation set and rule; a set that took none is named too."""
    found = [{"set": name, "rule": rule, "rows": rows} for (name, rule), rows in sorted(hits.items())]
    return found + [{"set": name, "rule": "", "rows": 0} for name in sets if name not in {hit["set"] for hit in found}]


def parse_locales(text: str) -> tuple[str, ...]:
    """Locales in the order given, in lower case. Raises UserError for one whose language is not known."""
    locales = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if not locales:
        raise UserError("--locales is empty. Give at least one, such as us or de.")
    languages(locales)
    return locales


def parse_workers(number: int | None) -> int:
    """Processes that were asked for, or one for each core. Raises UserError."""
    if number is not None and number < 1:
        raise UserError(f"--workers {number} is too few. Give 1 or more.")
    return number or usable_cores()


def parse_tasks(text: str | None) -> list[str] | None:
    """Names of tasks. Raises UserError for one that there is not."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UserError(f"--tasks knows no {', '.join(unknown) or 'empty list'}. The tasks are {', '.join(TASKS)}.")
    return names


if __name__ == "__main__":
    with plain_errors():
        main()
