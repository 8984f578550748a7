"""Results of runs as a dataset repository in the layout of lighteval's own details repositories, see
EvaluationTracker.push_to_hub in
https://github.com/huggingface/lighteval/blob/v0.13.0/src/lighteval/logging/evaluation_tracker.py

    results_TIME.json, results_TIME.parquet     a run's scores and settings
    TIME/details_TASK|SHOTS_TIME.parquet        every answer of one task
    README.md                                   a config for each task, a split for each run and one called `latest`
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.reporting.details import details_folder
from eval_tasks.reporting.results import Run, results_files
from eval_tasks.suites.suite import place

RESULTS = "results_{time}.json"

DETAILS = re.compile(r"(?P<time>[^/]+)/details_(?P<task>.+)_(?P=time)\.parquet")
"""Path of a details file in the repository."""

SECRET = re.compile(r"(^|_)(key|token|secret|password|authorization|url|address)$", re.IGNORECASE)
"""Names of settings that may hold a secret, or the address of a machine."""

PATH = re.compile(r"(?<![\w.:/~-])(?:~|/)[\w.@+=-]*(?:/[\w.@+=-]+)+/?")
"""A path inside a text: absolute, or from somebody's home."""

TOKEN = re.compile(r"\b(hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,})")


@dataclass(frozen=True)
class LightevalRun:
    """One run of lighteval. `details`: task with its number of examples, such as `shop:also_buy|0` -> file."""

    time: str
    document: dict[str, Any]
    details: dict[str, Path]

    @property
    def model(self) -> str:
        """The model that lighteval was given: a Hub id, a folder, a name."""
        name = str(self.document.get("config_general", {}).get("model_name") or "")
        return str(Path(name).resolve()) if Path(name).exists() else name


def read_runs(paths: Iterable[Path]) -> list[LightevalRun]:
    """The runs that `results_files` finds in these folders, all of one model. Raises UserError."""
    runs = {file: _read_run(file) for path in paths for file in results_files(path)}
    if len(models := sorted({run.model for run in runs.values()})) > 1:
        raise UserError(f"{models[0]} and {models[1]} are two models; publish the results of each to a repository of its own")
    return list(runs.values())


def _read_run(file: Path) -> LightevalRun:
    time = file.stem.removeprefix("results_")
    folder = details_folder(file)
    files = sorted(folder.glob(f"details_*_{time}.parquet")) if folder else []
    details = {path.name.removeprefix("details_").removesuffix(f"_{time}.parquet"): path for path in files}
    return LightevalRun(time, json.loads(file.read_text(encoding="utf-8")), details)


def public_name(model: str) -> str:
    """A model's name without its folder."""
    return Path(model).name if _is_path(model) else model


def public_document(document: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A results file without local paths, addresses and tokens, and with `model` as the model's name."""
    places = sorted({str(Path.home()), str(Path.cwd()), *_paths_in(document)} - {"/"}, key=len, reverse=True)
    cleaned: dict[str, Any] = _public(document, places)
    general = cleaned["config_general"]
    general["model_name"] = model
    if isinstance(general.get("model_config"), dict):
        general["model_config"]["model_name"] = model
    return cleaned


def _public(value: Any, places: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {
            _public_text(str(key), places): None if SECRET.search(str(key)) else _public(item, places)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_public(item, places) for item in value]
    return _public_text(value, places) if isinstance(value, str) else value


def _public_text(text: str, places: Sequence[str]) -> str:
    if _is_path(text):
        return Path(text).name
    for known in places:
        text = text.replace(known, Path(known).name)
    text = PATH.sub(lambda found: Path(found[0]).name, text)
    return TOKEN.sub("***", re.sub(r"//[^/\s@]+@", "//", text))


def _paths_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {path for item in value.values() for path in _paths_in(item)}
    if isinstance(value, list):
        return {path for item in value for path in _paths_in(item)}
    return {value} if isinstance(value, str) and len(value) > 1 and _is_path(value) else set()


def _is_path(text: str) -> bool:
    """Whether the whole text is a path: it looks like one, or it exists."""
    if "\n" in text or len(text) > 1000:
        return False
    return text.startswith(("/", "~", "./", "../")) or ("/" in text and Path(text).exists())


def write_files(folder: Path, runs: Iterable[LightevalRun], model: str) -> list[str]:
    """Writes the repository's files without its card; returns their paths."""
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for run in runs:
        document = public_document(run.document, model)
        results = folder / RESULTS.format(time=run.time)
        results.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        table = pa.table({key: [json.dumps(value, indent=2)] for key, value in document.items()})
        pq.write_table(table, results.with_suffix(".parquet"))
        paths += [results.name, results.with_suffix(".parquet").name]
        for task, file in run.details.items():
            path = f"{run.time}/details_{task}_{run.time}.parquet"
            (folder / run.time).mkdir(exist_ok=True)
            shutil.copyfile(file, folder / path)
            paths.append(path)
    return paths


def config_name(task: str) -> str:
    """`shop_also_buy_0` for `shop:also_buy|0`, as lighteval names it."""
    return re.sub(r"\W", "_", task)


def split_name(time: str) -> str:
    return re.sub(r"[^\w.]", "_", time)


def configs(paths: Iterable[str]) -> list[dict[str, Any]]:
    """The card's `configs:` for the repository's files (https://huggingface.co/docs/hub/datasets-manual-configuration)."""
    files: dict[str, dict[str, str]] = {}
    for path in sorted(paths):
        if found := DETAILS.fullmatch(path):
            files.setdefault(config_name(found["task"]), {})[found["time"]] = path
        elif found := re.fullmatch(r"results_(.+)\.parquet", path):
            files.setdefault("results", {})[found[1]] = path
    return [
        {
            "config_name": name,
            "data_files": [
                *({"split": split_name(time), "path": [path]} for time, path in by_time.items()),
                {"split": "latest", "path": [by_time[max(by_time)]]},
            ],
        }
        for name, by_time in sorted(files.items())
    ]


def card(repo_id: str, model: str, run: Run, paths: Iterable[str]) -> str:
    """README.md. `run`: the newest scores of each suite; `paths`: all files of the repository."""
    import yaml

    declared = configs(paths)
    metadata = {"pretty_name": f"Evaluation of {model}", "tags": ["evaluation", "lighteval"], "configs": declared}
    block = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    named = [config["config_name"] for config in declared if config["config_name"] != "results"]
    rows = [
        f"| {task} | {score.metric} | {score.value:.4f} | {_error(score.stderr)} | {score.rows or '?'} | "
        f"{_share(score.unparsable)} |"
        for task, score in sorted(run.scores.items(), key=lambda item: place(item[0]))
    ]
    limited = f"At most {run.max_samples} rows of a task were asked.\n\n" if run.max_samples else ""
    load = f'load_dataset("{repo_id}", "{(named or ["results"])[0]}", split="latest")'
    answers = "Every config is a task with all answers of the runs" if named else "The runs were made without --save-details"
    return f"""---
{block}---

# Evaluation of {model}

| task | metric | score | standard error | rows | unreadable answers |
|---|---|--:|--:|--:|--:|
{chr(10).join(rows)}

{limited}The newest run of each suite, measured with [lighteval](https://github.com/huggingface/lighteval). {answers}, the
config `results` holds scores and settings; each split is one run, named by its time, and `latest` is the newest.

```python
from datasets import load_dataset

{load}
```

The answers are stored with the prompts that were asked, which keep the licences of their dataset.
"""


def _error(stderr: float | None) -> str:
    return "" if stderr is None else f"{stderr:.4f}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
