"""Builds the dataset from raw corpora or a shop's own tables: Parquet files, card and manifest.

python -m dataset_builders.build --raw corpora --out dataset
python -m dataset_builders.build --tables my_shop --out dataset --tasks review_rating,also_buy
"""

import argparse
import sys
import tempfile
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

from common.dataset import MANIFEST, languages
from common.errors import UserError, plain_errors
from common.files import replaced
from common.tasks import TASKS
from dataset_builders.assembly import OWN_TEST, assemble_rows
from dataset_builders.contamination import read_evaluation_sets
from dataset_builders.dataset_files import config_facts, word_counts, write_dataset
from dataset_builders.derived import derive
from dataset_builders.engine import connect, reader
from dataset_builders.engine_errors import plain_engine_errors
from dataset_builders.explanation import convertible, table_origins, with_derived
from dataset_builders.map_parser import read_map
from dataset_builders.mapped_files import find_mapped
from dataset_builders.mapping import ShopMap
from dataset_builders.record_counts import RecordCounts
from dataset_builders.record_reading import readable
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.scales import PROPOSE
from dataset_builders.sources.own_tables import NAME as OWN
from dataset_builders.splits import Split, parse_sizes
from dataset_builders.staging import find_corpora, find_tables, stage, unread_names
from dataset_builders.tables import SESSION_QUERIES, SESSION_QUERY_COLUMNS, STAGED
from dataset_builders.workers import Run, usable_cores, worker_pool


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", metavar="A,B", help="tasks to build (default: all that the input supports)")
    parser.add_argument(
        "--size",
        default="full",
        metavar="SIZE",
        help="full, unlimited, a share of full such as 0.1, or rows such as 900+100; other sizes for some tasks behind it: "
        "0.1,also_buy=110+40",
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
    parser.add_argument("--licences", choices=("all", "commercial"), default="all", help="which corpora may be used")
    parser.add_argument(
        "--memory-limit", default="4GB", metavar="SIZE", help="what the engine may hold before it spills to disk"
    )
    parser.add_argument(
        "--evaluation-sets",
        type=Path,
        metavar="DIR",
        help="folder with ShopBench, ECInstruct, Shopping MMLU or others: what stands in them is taken out of train",
    )
    parser.add_argument(
        "--session-queries",
        type=Path,
        metavar="DIR",
        help="what python -m dataset_builders.session_queries wrote; without it the queries of next_query are made by rule",
    )
    parser.add_argument(
        "--engine",
        default="duckdb",
        metavar="ENGINE",
        help="duckdb, pyspark, or pyspark://host:port for a cluster that sees the folder of --out (default: duckdb)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: all cores)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read raw files (default: one for each core)")
    parser.add_argument("--title", default="Online shop tasks", help="the dataset's name on its card")
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
        manifest, built, counts = build_rows(arguments, out / "staged", run)
        if not built:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in manifest["not_built"].items())
            raise UserError(f"{arguments.raw or arguments.tables} yields no row of any task. {reasons}")
        write_dataset(out, manifest, built, counts, arguments.title, run)
    print_tables(manifest, arguments.out)


def build_rows(arguments: argparse.Namespace, staged: Path, run: Run) -> tuple[dict[str, Any], dict[str, Split], RecordCounts]:
    """The manifest, the rows of every task that can be built, and what became of the records. Tables, rows: in `staged`."""
    sizes = parse_sizes(arguments.size)
    if not 0 <= arguments.word_rows <= 1:
        raise UserError(f"--word-rows must be a share from 0 to 1, not {arguments.word_rows}.")
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
    built = rows.splits
    manifest = {
        "configs": config_facts(built, run),
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
        "in_words": word_counts(built),
        "near_duplicates": rows.near_duplicates,
        "decontamination": decontamination(rows.contaminated, [OWN_TEST, *(found.name for found in sets)]),
        "skipped_evaluation_records": {found.name: found.skipped for found in sets if found.skipped},
        "masked": {source: dict(sorted(kinds.items())) for source, kinds in sorted(rows.masked.items()) if kinds},
        **queries_made_by(built.get("next_query"), written),
        "unclaimed_files": [readable(path.relative_to(folder)) for path in unclaimed],
        "synthetic": (folder / SAMPLE_MARKER).exists(),
        "locales": list(locales),
        "size": arguments.size,
        "seed": arguments.seed,
    }
    return manifest, built, counts


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


def queries_made_by(parts: Split | None, models: list[str] | None) -> dict[str, Any]:
    """Who made the queries of next_query's rows: `models` are those that wrote some, None where all were made by rule."""
    if parts is None:
        return {}
    if models is None:
        return {"queries_made_by": "rule"}
    rows = Counter(row.queries_by for row in chain(parts.train, parts.test))
    by = "rule" if not rows["model"] else "model and rule" if rows["rule"] else "model"
    return {
        "queries_made_by": by,
        "session_queries": {"models": models, "rows": {name: rows[name] for name in ("model", "rule")}},
    }


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


def print_explanation(manifest: dict[str, Any]) -> None:
    """Per task: whether it can be built, from which tables, how many rows, or what is missing."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "made from", "train", "test", "what is missing")
    for name in (*manifest["not_built"], *manifest["configs"]):
        if name in TASKS:
            rows = manifest["configs"].get(name, {"train": 0, "test": 0})
            missing = manifest["not_built"].get(name, "")
            table.add_row(name, ", ".join(TASKS[name].tables), f"{rows['train']:,}", f"{rows['test']:,}", missing)
    console = Console(markup=False)
    console.print(table)
    for line in table_origins(manifest) if "map" in manifest else []:
        console.print(line, highlight=False, soft_wrap=True)


def print_tables(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)  # names of files may look like markup
    rows = Table("config", "train", "test", "fingerprint", title="Rows")
    for name, config in manifest["configs"].items():
        rows.add_row(name, f"{config['train']:,}", f"{config['test']:,}", config["fingerprint"][:12])
    rejects = Table("source", "reason", "records", title="Records that are in no row")
    for source, reasons in manifest["rejects"].items():
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
            rejects.add_row(source, reason, f"{count:,}")
    leaks = Table("evaluation set", "rule", "rows", title="Rows taken out of train")
    for hit in manifest["decontamination"]:
        leaks.add_row(hit["set"], hit["rule"], f"{hit['rows']:,}")
    console.print(rejects)
    console.print(leaks)
    console.print(rows)
    if "map" not in manifest and convertible(manifest["rejects"].get(OWN, ())):
        console.print(f"A map can say what values mean that no table takes: {PROPOSE}", highlight=False, soft_wrap=True)
    for name, missing in manifest["short"].items():
        console.print(
            f"short: {name}: {missing['train']:,} rows to train and {missing['test']:,} to test on fewer than asked for",
            highlight=False,
        )
    if by_rule := manifest.get("session_queries", {}).get("rows", {}).get("rule"):
        console.print(
            f"next_query: {by_rule:,} rows have queries made by rule, since none were written for their sessions; give the "
            "--seed and the --size that they were written with, or write the missing ones",
            highlight=False,
        )
    for name, count in manifest["skipped_evaluation_records"].items():
        console.print(f"not read, {count:,} records of the evaluation set {name} are not sound", highlight=False)
    for name, reason in manifest["not_built"].items():
        console.print(f"not built: {name}: {reason}", highlight=False)
    unclaimed = "the map does not name it" if "map" in manifest else "no corpus has such a file"
    for name in manifest["unclaimed_files"]:
        console.print(f"not read, since {unclaimed}: {name}", highlight=False)
    console.print(f"The dataset is in {out}", highlight=False)


if __name__ == "__main__":
    with plain_errors():
        main()
