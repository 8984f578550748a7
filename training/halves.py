"""The test rows of a dataset in two halves: one to choose a setting on, one to score the choice on."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.dataset import data_file, data_pattern, split_revision
from common.errors import UserError, first_line
from common.files import write_json
from common.tasks import TASKS

if TYPE_CHECKING:
    import pyarrow as pa

CHOICE, REPORT = "choice", "report"
"""The rows that something is chosen on, and those that the choice is scored on."""

Rows = dict[str, "pa.Table"]
"""Task -> its rows."""


def read_test_rows(data: str, tasks: Sequence[str]) -> Rows:
    """The test rows of a dataset folder or Hub dataset, of all its tasks or some."""
    import pyarrow.parquet as pq

    folder = _dataset_folder(data)
    found = {name: sorted(folder.glob(data_pattern(name, "test"))) for name in TASKS}
    try:
        rows = {name: pq.ParquetDataset(paths).read() for name, paths in found.items() if paths}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the test rows of {data}: {first_line(error)}; build the dataset again") from None
    rows = {name: table for name, table in rows.items() if table.num_rows}
    if not rows:
        raise UserError(f"{data} holds no test rows; give the --out of python -m dataset_builders.build, or its Hub id")
    if unknown := [name for name in tasks if name not in rows]:
        raise UserError(f"--tasks: {data} has no test rows of {', '.join(unknown)}; it has those of {', '.join(rows)}")
    return {name: table for name, table in rows.items() if not tasks or name in tasks}


def _dataset_folder(data: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if Path(data).is_dir():
        return Path(data)
    name, revision = split_revision(data)
    try:
        patterns = [data_pattern("*", "test")]
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except HFValidationError:
        raise UserError(f"there is no dataset folder {data}; check --data") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"no dataset folder is {data}, nor can it be had from the Hub: {first_line(error)}; check --data"
        ) from None


def in_choice(group: str) -> bool:
    """Whether a group's rows are in the half to choose on. It depends on the group alone, so all tasks agree."""
    return hashlib.md5(f"sweep|{group}".encode()).digest()[0] % 2 == 0


def halves(rows: Rows) -> dict[str, Rows]:
    """The rows that the weight is chosen on and the others. Raises UserError where a task has too few groups for two halves."""
    sides: dict[str, Rows] = {CHOICE: {}, REPORT: {}}
    for task, table in rows.items():
        chosen = [
            in_choice(str(group)) for group in table["group" if "group" in table.column_names else "sample_id"].to_pylist()
        ]
        for side, mask in ((CHOICE, chosen), (REPORT, [not place for place in chosen])):
            sides[side][task] = table.filter(mask)
            if not any(mask):
                raise UserError(f"{task} has too few test rows to halve; leave it out by --tasks, or give --choose-on all")
    return sides


def fingerprint(table: "pa.Table") -> str:
    return hashlib.sha256(json.dumps(table.to_pylist(), sort_keys=True).encode()).hexdigest()


def write_rows(folder: Path, rows: Rows) -> None:
    """A dataset folder with these rows as its test split, in place of an earlier one."""
    import pyarrow.parquet as pq

    shutil.rmtree(folder, ignore_errors=True)
    configs = []
    for task, table in rows.items():
        path = folder / data_file(task, "test")
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        configs.append({"config_name": task, "data_files": [{"split": "test", "path": data_pattern(task, "test")}]})
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n", encoding="utf-8")
    facts = {task: {"test": table.num_rows, "fingerprint": fingerprint(table)} for task, table in rows.items()}
    write_json(folder / "manifest.json", {"configs": facts})
