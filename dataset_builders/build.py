"""Builds the dataset: raw corpora, or a shop's own tables, in; Parquet, card and manifest out.

python -m dataset_builders.build --raw corpora --out dataset
python -m dataset_builders.build --tables my_shop --out dataset --tasks review_rating,also_buy
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.card import config_tasks, data_file, render_card
from dataset_builders.errors import UserError, plain_errors
from dataset_builders.folders import replaced
from dataset_builders.records import Rejected
from dataset_builders.rows import Row, make_row
from dataset_builders.splits import Size, Split, parse_sizes, split
from dataset_builders.staging import SAMPLE_MARKER, Ledger, find_corpora, find_tables, readable, stage
from dataset_builders.tasks import TASKS, Task

if TYPE_CHECKING:
    from dataset_builders.engine import Harvest

MANIFEST = "manifest.json"
ROW_GROUP = 1000
"""Rows a row group: small enough that a viewer or a streaming reader gets its first rows without the whole file."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.build", description=__doc__.split("\n", maxsplit=1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--raw", type=Path, metavar="DIR", help="folder with files of the raw corpora")
    source.add_argument("--tables", type=Path, metavar="DIR", help="folder with canonical tables as Parquet or CSV")
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
    parser.add_argument("--locales", default="us", metavar="A,B", help="locales of judgments and products (default: us)")
    parser.add_argument("--licences", choices=("all", "commercial"), default="all", help="which corpora may be used")
    parser.add_argument(
        "--memory-limit", default="4GB", metavar="SIZE", help="what the engine may hold before it spills to disk"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: all cores)")
    parser.add_argument("--title", default="Online shop tasks", help="the dataset's name on its card")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.explain:
        with tempfile.TemporaryDirectory(prefix="shop-tables-") as folder:
            print_explanation(gather(arguments, Path(folder) / "staged")[0])
        return
    with replaced(arguments.out, MANIFEST) as out:
        manifest, built, ledger = gather(arguments, out / "staged")
        if not built:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in manifest["not_built"].items())
            raise UserError(f"{arguments.raw or arguments.tables} yields no row of any task. {reasons}")
        write_dataset(out, manifest, built, ledger, arguments.title)
    print_tables(manifest, arguments.out)


def gather(arguments: argparse.Namespace, staged: Path) -> tuple[dict[str, Any], dict[str, Split], Ledger]:
    """The manifest, the rows of every task that can be built, and what became of the records. Tables go to `staged`."""
    sizes = parse_sizes(arguments.size)
    asked = parse_tasks(arguments.tasks)
    folder = arguments.raw or arguments.tables
    files, unclaimed = find_corpora(folder, arguments.licences == "commercial") if arguments.raw else find_tables(folder)
    locales = frozenset(name.strip() for name in arguments.locales.split(","))
    ledger = Ledger()
    staged.mkdir()
    stage(files, folder, staged, locales, ledger)
    built, not_built, used = harvest(arguments, asked, sizes, staged, {file.source: file.licence for file in files}, ledger)
    manifest = {
        "configs": {
            config: {
                "train": sum(len(built[name].train) for name in names),
                "test": sum(len(built[name].test) for name in names),
                "fingerprint": fingerprint([built[name] for name in names]),
            }
            for config, names in config_tasks(list(built)).items()
        },
        "rejects": {source: dict(sorted(reasons.items())) for source, reasons in sorted(ledger.rejects.items())},
        "sources": {
            file.source: {"licence": file.licence, "read": ledger.read[file.source], "used": used.get(file.source, 0)}
            for file in files
        },
        "not_built": not_built,
        "unclaimed_files": [readable(path.relative_to(folder)) for path in unclaimed],
        "synthetic": (folder / SAMPLE_MARKER).exists(),
        "locales": sorted(locales),
        "size": arguments.size,
        "seed": arguments.seed,
    }
    return manifest, built, ledger


def parse_tasks(text: str | None) -> list[str] | None:
    """Names of tasks. Raises UserError for one that there is not."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UserError(f"--tasks knows no {', '.join(unknown) or 'empty list'}. The tasks are {', '.join(TASKS)}.")
    return names


def harvest(
    arguments: argparse.Namespace,
    asked: list[str] | None,
    sizes: dict[str, Size],
    staged: Path,
    licences: dict[str, str],
    ledger: Ledger,
) -> tuple[dict[str, Split], dict[str, str], dict[str, int]]:
    """Rows of every task that can be built, why others were not, and how many records of each source are in a row."""
    from rich.progress import Progress

    from dataset_builders import accounting
    from dataset_builders.engine import Draw, connect, load_tables
    from dataset_builders.recipes import recipes

    connection = connect(arguments.memory_limit, arguments.threads, staged / "spill")
    tables, left = load_tables(connection, staged)
    known, built, not_built = recipes(), {}, {}
    dropped: list[tuple[int, str, str]] = []
    chosen = asked or list(TASKS)
    with Progress() as progress:
        bar = progress.add_task("Building", total=len(chosen))
        for name in chosen:
            task = TASKS[name]
            progress.update(bar, description=f"Building {name}", advance=0)
            absent = [table for table in task.tables if table not in tables]
            if name not in known:
                not_built[name] = "has no recipe yet"
            elif absent:
                not_built[name] = f"needs the table{'s' * (len(absent) > 1)} {', '.join(absent)}"
            else:
                room = sizes[name]
                draw = Draw(arguments.seed, name)
                result = known[name](tables, draw, room.candidates())
                left.append(accounting.keep(result, name))
                rows = render(task, result, licences, arguments.seed, dropped)
                parts = split(rows, room, arguments.seed)
                dropped += [(record, row.source, f"{name}: task has its size") for row in parts.over for record in row.records]
                if parts.train or parts.test:
                    built[name] = parts
                else:
                    not_built[name] = "no record passed its filters"
            progress.advance(bar)
        progress.update(bar, description="Accounting for every record")
        kept = [row for parts in built.values() for row in (*parts.train, *parts.test)]
        used = accounting.settle(connection, staged, left, dropped, kept, ledger)
    return built, not_built, used


def render(
    task: Task, result: "Harvest", licences: dict[str, str], seed: int, dropped: list[tuple[int, str, str]]
) -> list[Row]:
    """The recipe's rows in order of their keys, each prompt once; what is left out goes to `dropped`."""
    rows, prompts = [], set()
    for harvested in result.rows.order_by("key").to_pyarrow().to_pylist():
        row = make_row(task, harvested, licences, seed)
        if isinstance(row, Row) and row.prompt not in prompts:
            prompts.add(row.prompt)
            rows.append(row)
            continue
        reason = row.reason if isinstance(row, Rejected) else "prompt repeats another's"
        records = [record for record in harvested["records"] if record is not None]
        dropped += [(record, harvested["source"], f"{task.name}: {reason}") for record in records]
    return rows


def fingerprint(parts: list[Split]) -> str:
    """sha256 over the sorted rows, each as JSON with its split: the same for the same rows in any order."""
    lines = sorted(
        json.dumps({"split": name, **row.as_columns()}, sort_keys=True, ensure_ascii=False)
        for part in parts
        for name, rows in (("train", part.train), ("test", part.test))
        for row in rows
    )
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def write_dataset(out: Path, manifest: dict[str, Any], built: dict[str, Split], ledger: Ledger, title: str) -> None:
    """Parquet of every split, card, manifest and the places of some rejected records; staged tables go."""
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    turn = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    names = ("task", "family", "answer", "source", "licence", "group", "sample_id")
    schema = pa.schema([("prompt", turn), ("completion", turn), *((name, pa.string()) for name in names)])
    for name, part in built.items():
        for split_name, rows in (("train", part.train), ("test", part.test)):
            if not rows:
                continue
            path = out / data_file(name, split_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist([row.as_columns() for row in rows], schema)
            pq.write_table(table, path, row_group_size=ROW_GROUP)
    examples = {}
    for name, part in built.items():
        row = min((*part.train, *part.test), key=lambda row: (len(row.prompt) > 1500, row.sample_id))
        examples[name] = {"prompt": row.prompt, "completion": row.completion}
    (out / "README.md").write_text(render_card(manifest, examples, title), encoding="utf-8")
    places = [
        {"source": source, "reason": reason, "places": places} for (source, reason), places in sorted(ledger.places.items())
    ]
    (out / "rejects").mkdir()
    # Places only: a rejected record may hold a reviewer's name.
    (out / "rejects" / "places.json").write_text(json.dumps(places, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(out / "staged")
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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
    Console(markup=False).print(table)


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
    console.print(rejects)
    console.print(rows)
    for name, reason in manifest["not_built"].items():
        console.print(f"not built: {name}: {reason}", highlight=False)
    for name in manifest["unclaimed_files"]:
        console.print(f"not read, since no corpus has such a file: {name}", highlight=False)
    console.print(f"The dataset is in {out}", highlight=False)


if __name__ == "__main__":
    with plain_errors():
        main()
