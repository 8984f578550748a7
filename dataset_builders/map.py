"""Proposes a map from a shop's exports to tables, by presets, names and values.

python -m dataset_builders.map --tables exports --out shop.yaml
python -m dataset_builders.build --tables exports --map shop.yaml --out dataset
"""

import argparse
from pathlib import Path

from common.errors import UserError, plain_errors
from common.files import write_whole
from common.tasks import TASKS
from dataset_builders.build import parse_locales
from dataset_builders.file_profiles import profile_files
from dataset_builders.map_parser import parse_map
from dataset_builders.map_text import map_text
from dataset_builders.presets import preset_names, read_presets
from dataset_builders.proposal import propose
from dataset_builders.proposed import UNSURE, ProposedMap


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.map", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tables", type=Path, required=True, metavar="DIR", help="folder with a shop's exports")
    parser.add_argument("--out", type=Path, required=True, metavar="YAML", help="the map; an existing one is kept")
    parser.add_argument(
        "--preset", metavar="A,B", help=f"presets to recognise files by (default: all): {', '.join(preset_names())}"
    )
    parser.add_argument(
        "--locales",
        default="us",
        metavar="A,B",
        help="locales; the first is that of rows that name none (default: %(default)s)",
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of the text files in --tables (default: detected)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.out.exists():
        raise UserError(f"{arguments.out} exists. Give another --out, or remove it: it may hold your edits.")
    locales = parse_locales(arguments.locales)
    names = [name.strip() for name in arguments.preset.split(",") if name.strip()] if arguments.preset else preset_names()
    presets = read_presets(names)
    profiles, refused = profile_files(arguments.tables, arguments.encoding)
    proposed = propose(profiles, presets, locales)
    if arguments.preset and not any(file.preset for file in proposed.files):
        wanted = "; or ".join(", ".join(entry.recognised_by) for entry in presets)
        raise UserError(f"No file in {arguments.tables} has the columns of --preset {arguments.preset}: {wanted}.")
    if not proposed.files:
        told = "; ".join([*refused, *(f"{profile.pattern} has {', '.join(profile.columns[:12])}" for profile in profiles)])
        raise UserError(
            f"Nothing in {arguments.tables} looks like products, reviews, judgments, events, questions or orders. Found: "
            f"{told or 'no file'}. Write the map by hand (dataset_builders/README.md shows one); raw corpora go with --raw."
        )
    text = map_text(proposed, arguments.tables.name)
    parse_map(text, arguments.out)  # what is proposed is a map that can be read
    write_whole(arguments.out, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    print_proposal(proposed, refused, arguments)


def print_proposal(proposed: ProposedMap, refused: list[str], arguments: argparse.Namespace) -> None:
    """What became of every file, what to look at, and what to run next."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    table = Table("file", "table", "by", "unsure of", title="Proposed map")
    for file in proposed.files:
        unsure = ", ".join(name for name, note in file.notes.items() if note.startswith(UNSURE))
        table.add_row(file.profile.pattern, file.table, f"preset {file.preset}" if file.preset else "names and values", unsure)
    console.print(table)
    for name, made in proposed.derived.items():
        console.print(f"derived: {name} from {made['from']}")
    for note in proposed.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for name in proposed.left:
        console.print(f"not used: {name}", soft_wrap=True)
    for told in refused:
        console.print(f"not read: {told}", soft_wrap=True)
    tables = {file.table for file in proposed.files}
    if {"also_buy", "also_view"} & set(proposed.derived):
        tables.add("co_purchases")
    tasks = [name for name, task in TASKS.items() if set(task.tables) <= tables]
    console.print(f"tasks that have their tables: {', '.join(tasks) or 'none'}")
    console.print(f"The map is in {arguments.out}. Look at it, then run")
    command = f"python -m dataset_builders.build --tables {arguments.tables} --map {arguments.out} --out dataset"
    console.print(command, soft_wrap=True)


if __name__ == "__main__":
    with plain_errors():
        main()
