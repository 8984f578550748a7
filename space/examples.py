"""Sample rows for the page: the ones that lie beside this file, or test rows of a built dataset."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("examples.json")
WRITTEN_HERE = "written for this page"

Examples = dict[str, tuple["Example", ...]]


@dataclass(frozen=True)
class Example:
    """A prompt with its right answer, in the shapes of a dataset row with `answer` decoded."""

    task: str
    prompt: str
    answer: Any
    origin: str = WRITTEN_HERE

    @property
    def key(self) -> str:
        """What a typed prompt is compared by: line ends and outer blanks differ between browsers."""
        return normal(self.prompt)


def normal(prompt: str) -> str:
    return prompt.replace("\r\n", "\n").strip()


def read_examples(path: Path = SHIPPED) -> Examples:
    """Rows of a JSON file by task."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return by_task(Example(row["task"], row["prompt"], row["answer"], row.get("origin", WRITTEN_HERE)) for row in rows)


def write_examples(path: Path, examples: Examples) -> None:
    """One row a line, so that a change of one row is a change of one line."""
    rows = [
        json.dumps({"task": row.task, "prompt": row.prompt, "answer": row.answer, "origin": row.origin}, ensure_ascii=False)
        for group in examples.values()
        for row in group
    ]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def by_task(rows: Iterable[Example]) -> Examples:
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.task, []).append(row)
    return {name: tuple(group) for name, group in groups.items()}


def dataset_examples(source: str, tasks: Iterable[str], per_task: int, max_chars: int, revision: str | None = None) -> Examples:
    """Up to `per_task` short enough test rows of every task in a dataset: a built folder, or a Hub id.

    The rows are drawn by `sample_id`, a hash, so the same dataset gives the same ones. Raises ValueError with a sentence
    if there are none.
    """
    import duckdb

    folder = Path(source)
    origin = "test split of the dataset"
    if not folder.is_dir():
        folder, origin = _download(source, revision), f"test split of {source}"
    rows: list[Example] = []
    for task in tasks:
        files = sorted(map(str, folder.glob(f"data/{task}/test-*.parquet")))
        if not files:
            continue
        query = (
            "select prompt[1].content, answer from read_parquet($files) "
            "where length(prompt[1].content) <= $most order by sample_id limit $count"
        )
        try:
            found = duckdb.execute(query, {"files": files, "most": max_chars, "count": per_task}).fetchall()
            rows += [Example(task, prompt, json.loads(answer), origin) for prompt, answer in found]
        except (duckdb.Error, ValueError) as error:
            raise ValueError(f"{files[0]} cannot be read as dataset rows; build the dataset again") from error
    if not rows:
        raise ValueError(f"{source} holds no data/<task>/test-*.parquet; name a folder or Hub id that the build made")
    return by_task(rows)


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns="data/*/test-*.parquet"))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{repo_id} is neither a folder here nor a dataset that the Hub gives out; check its name") from error
