"""What a build prints of its manifest: what each task is built from, rows, rejects, and what was not built."""

from pathlib import Path
from typing import Any

from common.tasks import TASKS
from dataset_builders.explanation import convertible, table_origins
from dataset_builders.scales import PROPOSE
from dataset_builders.sources.own_tables import NAME as OWN


def print_explanation(manifest: dict[str, Any]) -> None:
    """Per task: whether it can be built, from which tables, how many rows, or what is missing."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("task", no_wrap=True), "made from", "train", "test", "what is missing")
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
    if short := [f"{name} {missing['train']:,} and {missing['test']:,}" for name, missing in manifest["short"].items()]:
        console.print(
            f"Rows to train and to test on that --size asks for and the input has not: {'; '.join(short)}", highlight=False
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
