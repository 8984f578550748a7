"""Publishes a built dataset, card included, to the Hugging Face Hub in one commit."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from common import publishing
from common.dataset import MANIFEST, SPLITS, data_pattern, read_manifest
from common.errors import UserError, plain_errors
from common.files import folder_files
from common.publishing import Destination, Upload
from common.tasks import TASKS
from dataset_builders.benchmark import EVAL_YAML, eval_yaml
from dataset_builders.dataset_files import CHECKSUMS, check_checksums
from dataset_builders.plots import AGREEMENT_IMAGES, IMAGES

CARD = "README.md"
PICTURES = [*IMAGES.values(), AGREEMENT_IMAGES]
STALE = [*(data_pattern(task, split) for task in TASKS for split in SPLITS), *PICTURES, EVAL_YAML]
"""Names that only a build gives; what an earlier publish left under them goes, other files stay."""

PLACEHOLDER = "org/name"
"""Stands for the dataset's name on a card that was built before it had one."""

NAMED_IN_LINKS = ((f"https://huggingface.co/datasets/{PLACEHOLDER}/viewer/", -1), (f"inspect eval hf/{PLACEHOLDER}/", 1))
"""Beginnings of addresses with it, and how many of them there are; -1 is all."""

AGAIN = "build it again with python -m dataset_builders.build"


@dataclass(frozen=True)
class CheckedDataset:
    """A folder that passed `read_dataset`: config -> split -> rows, the number of all rows, and the paths to publish."""

    folder: Path
    configs: dict[str, dict[str, int]]
    rows: int
    files: list[str]


def read_dataset(folder: Path) -> CheckedDataset:
    """Checks that the folder is a whole build: card, manifest, checksums, and every file that these name.

    Raises UserError with what is wrong. Files beside these (rejected records, say) are no part of the dataset.
    """
    if not folder.is_dir():
        raise UserError(f"--data {folder} is not a folder; make it with python -m dataset_builders.build --out {folder}")
    if missing := [name for name in (CARD, MANIFEST, CHECKSUMS) if not (folder / name).is_file()]:
        raise UserError(f"{folder} is not a built dataset, it has no {' and no '.join(missing)}; {AGAIN}")
    expected = _manifest_rows(folder)
    patterns = _card_patterns(folder / CARD)
    if differing := sorted(map(str, expected.keys() ^ patterns.keys())):
        names = ", ".join(differing)
        raise UserError(f"{folder}: {CARD} and {MANIFEST} do not name the same configs ({names}); {AGAIN}")
    whole = check_checksums(folder)
    rows: dict[str, int] = {}
    for config, splits in patterns.items():
        for split in {*expected[config], *splits}:
            paths = [path for pattern in splits.get(split, ()) for path in _matching(folder, whole, config, pattern)]
            rows |= {path: _count_rows(folder / path) for path in paths if path not in rows}
            counted, number = sum(rows[path] for path in paths), expected[config].get(split, 0)
            if counted != number:
                raise UserError(f"{folder}: {config} has {counted} {split} rows, but {number} in {MANIFEST}; {AGAIN}")
    if not any(rows.values()):
        raise UserError(f"{folder} has no rows; {AGAIN} from more data")
    # load_dataset fails on an empty file, and with it every config that has it.
    if empty := [path for path, number in rows.items() if not number]:
        raise UserError(f"{folder}/{empty[0]} has no rows; {AGAIN} from more data, or without this task (--tasks)")
    licences = [path for path in folder_files(folder) if path.startswith("LICENSE")]
    images = [path for pattern in PICTURES for path in whole if fnmatchcase(path, pattern)]
    configs = {name: expected[name] for name in patterns}
    return CheckedDataset(folder, configs, sum(rows.values()), [CARD, MANIFEST, CHECKSUMS, *licences, *images, *sorted(rows)])


def _manifest_rows(folder: Path) -> dict[str, dict[str, int]]:
    try:
        configs = read_manifest(str(folder)).configs
    except UserError:
        configs = {}
    rows = {name: {"train": config.train, "test": config.test} for name, config in configs.items()}
    complete = {name: {split: count for split, count in splits.items() if count is not None} for name, splits in rows.items()}
    if not rows or complete != rows:
        raise UserError(f"{folder / MANIFEST} is not what a build writes; {AGAIN}")
    return complete


def _card_patterns(path: Path) -> dict[str, dict[str, list[str]]]:
    """Config -> split -> globs, from the card's `configs:` (https://huggingface.co/docs/hub/datasets-manual-configuration)."""
    import yaml

    try:
        block = re.match(r"---\r?\n(.*?)\r?\n---\s*$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        configs = yaml.safe_load(block.group(1))["configs"] if block else []
        patterns = {config["config_name"]: _split_patterns(config["data_files"]) for config in configs}
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        patterns = {}
    if not patterns:
        raise UserError(f"{path} does not begin with a YAML block whose `configs:` name the data files; {AGAIN}")
    return patterns


def _split_patterns(data_files: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {part["split"]: [part["path"]] if isinstance(part["path"], str) else [*part["path"]] for part in data_files}


def _matching(folder: Path, whole: Sequence[str], config: str, pattern: str) -> list[str]:
    paths = [path for path in whole if fnmatchcase(path, pattern)]
    if not paths:
        raise UserError(f"{folder} is half a dataset: config {config} names {pattern}, which {CHECKSUMS} does not; {AGAIN}")
    return paths


def _count_rows(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); {AGAIN}") from None


def print_configs(configs: Mapping[str, Mapping[str, int]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("config", *SPLITS)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rows in configs.items():
        table.add_row(name, *(f"{rows[split]:,}" for split in SPLITS))
    Console().print(table)


def assemble(folder: Path, destination: Destination, dataset: CheckedDataset) -> Upload:
    """The dataset's files as links, its card with the repository's name, and what makes it a benchmark."""
    for path in set(dataset.files) - {CARD}:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((dataset.folder / path).resolve())
    card = (dataset.folder / CARD).read_text(encoding="utf-8")
    # The first mention only: further down, the text of a product may read so too.
    for before, times in ((f'load_dataset("{PLACEHOLDER}"', 1), (f"hf://datasets/{PLACEHOLDER}/", 1), *NAMED_IN_LINKS):
        card = card.replace(before, before.replace(PLACEHOLDER, str(destination.repo_id)), times)
    (folder / CARD).write_bytes(card.encode())
    tasks = len(dataset.configs.keys() & TASKS.keys())
    files = list(dataset.files)
    if benchmark := eval_yaml(
        benchmark_name(card, destination), {name: rows.get("test", 0) for name, rows in dataset.configs.items()}
    ):
        (folder / EVAL_YAML).write_bytes(benchmark.encode())
        files.append(EVAL_YAML)
    return Upload(folder, "dataset", f"Publish {dataset.rows:,} rows of {tasks} tasks", files, stale_patterns=STALE)


def benchmark_name(card: str, destination: Destination) -> str:
    """The dataset's title, or its repository's name where its card has none."""
    import yaml

    title = yaml.safe_load(card.split("---\n", 2)[1]).get("pretty_name")
    return str(title or str(destination.repo_id).split("/")[-1])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.publish", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what python -m dataset_builders.build wrote")
    publishing.add_options(parser, "dataset")
    arguments = parser.parse_args(argv)
    with plain_errors():
        destination = publishing.destination_of(arguments)
        dataset = read_dataset(arguments.data)
        print_configs(dataset.configs)
        publishing.publish(partial(assemble, dataset=dataset), destination)
    if not destination.dry_run:
        config = next((name for name in dataset.configs if name in TASKS), next(iter(dataset.configs)))
        at_revision = f', revision="{destination.revision}"' if destination.revision else ""
        print(f'load_dataset("{destination.repo_id}", "{config}"{at_revision})')


if __name__ == "__main__":
    main(sys.argv[1:])
