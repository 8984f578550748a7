"""Reads the scores in lighteval 0.13's results files, for all suites.

File shape: lighteval/logging/evaluation_tracker.py (`results`, `config_general`, `config_tasks`). The averages in them (`all`,
`shop:_average`) are not used: they mix metrics that a task does not have.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_object
from eval_tasks.suites.suite import SUITES, family, is_known, metric_key, suite_name


@dataclass(frozen=True)
class Score:
    """One task of one run. `rows` is None where the file does not say; `version` changes with the rows.

    `unfinished` is the share of answers that are reasoning alone; 0 in results of versions that did not count them.
    """

    family: str
    metric: str
    value: float
    stderr: float | None
    unparsable: float | None
    rows: int | None
    version: int | None
    few_shots: int = 0
    unfinished: float = 0.0


@dataclass(frozen=True)
class Run:
    """What one model scored. `model` is its name in the results, `times` those of its runs, the newest first.

    `unscored` are tasks that were run and have no number. `max_samples` is the least limit that a run had on rows. `answers`
    says how it answered: see ANSWERS of eval_tasks.backends.prompts.
    """

    model: str
    times: tuple[str, ...]
    scores: dict[str, Score]
    baseline: bool = False
    max_samples: int | None = None
    unscored: tuple[str, ...] = ()
    answers: str = "written"
    lists: str = "words"


def shown_time(time: str) -> str:
    """`2026-01-02 10:30` for `2026-01-02T10-30-00.000001`."""
    day, _, clock = time.partition("T")
    return f"{day} {clock[:5].replace('-', ':')}" if clock else time


def task_of(key: str) -> str:
    """`shop:also_buy` for `shop:also_buy|0`."""
    return key.partition("|")[0]


def read_run(path: Path) -> Run:
    """The scores of a results file, or of those that `results_files` takes of a folder. Raises UserError."""
    files = results_files(path)
    documents = [_load(file) for file in files]
    scores: dict[str, Score] = {}
    for file, document in zip(files, documents, strict=True):
        scores |= {task: score for task, score in _scores(file, document).items() if task in files[file]}
    general = [document.get("config_general", {}) for document in documents]
    ran = {task_of(key) for document in documents for key in document["results"] if is_known(task_of(key))}
    limits = [limit for config in general if (limit := config.get("max_samples"))]
    return Run(
        model=str(general[0].get("model_name") or ""),
        times=tuple(file.stem.removeprefix("results_") for file in files),
        scores=scores,
        baseline=_is_baseline(general[0].get("model_config") or {}),
        max_samples=min(limits) if limits else None,
        unscored=tuple(sorted(ran - scores.keys())),
        answers=str((general[0].get("model_config") or {}).get("answers") or "written"),
        lists=str((general[0].get("model_config") or {}).get("lists") or "words"),
    )


def results_files(path: Path) -> dict[Path, list[str]]:
    """Results file -> its tasks: the file itself; or of a folder the newest, and the newest with a suite that is not in that.

    Raises UserError where there is none, where a file has no task of these suites, or a folder holds several models.
    """
    if path.is_file():
        return {path: list(_scores(path, _load(path)))}
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; give lighteval's --output-dir or one results_*.json")
    # The name ends with the time of the run, which a copied file keeps.
    files = sorted(path.rglob("results_*.json"), key=lambda file: file.name, reverse=True)
    if not files:
        raise UserError(f"{path}: holds no results_*.json; run lighteval with --output-dir {path}")
    if len(folders := sorted({str(file.parent) for file in files})) > 1:
        raise UserError(f"{path}: holds results of more than one model; give one of them, such as {folders[0]} or {folders[1]}")
    chosen: dict[Path, list[str]] = {}
    suites: set[str] = set()
    for file in files:
        tasks = [task for task in _scores(file, _load(file)) if suite_name(task) not in suites]
        if tasks:
            chosen[file] = tasks
            suites |= {suite_name(task) for task in tasks}
    return chosen


def _load(file: Path) -> dict[str, Any]:
    return read_object(file, "so it is not a results file of lighteval")


def _scores(file: Path, document: Mapping[str, Any]) -> dict[str, Score]:
    try:
        configs, limit = document.get("config_tasks", {}), document.get("config_general", {}).get("max_samples")
        found = [
            (task_of(key), score)
            for key, values in document["results"].items()
            if (score := _score(key, values, configs.get(key, {}), limit))
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: is not a results file of lighteval ({type(error).__name__}: {error})") from None
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    scores = dict(found)
    if not scores:
        raise UserError(f"{file}: has no score of a task of {', '.join(SUITES)}")
    if len(scores) < len(found):
        raise UserError(f"{file}: has tasks with different numbers of examples in the prompt; evaluate with one of them")
    return scores


def _score(key: str, values: Mapping[str, Any], config: Mapping[str, Any], limit: int | None) -> Score | None:
    task = task_of(key)
    if not is_known(task) or (value := _number(values.get(metric_key(task)))) is None:
        return None
    rows, shots = config.get("original_num_docs", -1), key.partition("|")[2]
    return Score(
        family=family(task),
        metric=_official_name(task, config),
        value=value,
        stderr=_number(values.get(f"{metric_key(task)}_stderr")),
        unparsable=_number(values.get("unparsable")),
        rows=min(rows, limit or rows) if rows > 0 else None,
        version=config.get("version"),
        few_shots=int(shots) if shots.isdecimal() else 0,
        unfinished=_number(values.get("unfinished")) or 0.0,
    )


def _official_name(task: str, config: Mapping[str, Any]) -> str:
    """What the suite calls a task's metric. Raises UserError for results of a version that did not write it."""
    key = metric_key(task)
    metrics = {str(metric.get("metric_name")): metric.get("official_name") for metric in config.get("metrics", [])}
    if key == "score" and not metrics.get(key):
        raise UserError(f"{task}: the results do not name its metric; they are of an earlier version, so evaluate again")
    return str(metrics.get(key) or key)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _is_baseline(config: Mapping[str, Any]) -> bool:
    return Path(str(config.get("model_definition_file_path", ""))).stem == "baseline_model"


def names_of(paths: Sequence[Path], runs: Sequence[Run]) -> list[str]:
    """A name for each run: of a folder its last part, of a file the model's. Names that are alike get more of their paths."""
    parts = [
        [Path(run.model).name or path.stem] if path.is_file() else [part for part in path.resolve().parts if part != "/"]
        for path, run in zip(paths, runs, strict=True)
    ]
    names = []
    for place, own in enumerate(parts):
        alike = [other for other in parts if other[-1] == own[-1]]
        lengths = range(1, max(map(len, alike)) + 1)
        length = next((n for n in lengths if sum(other[-n:] == own[-n:] for other in alike) == 1), None)
        number = sum(other[-1] == own[-1] for other in parts[: place + 1])
        names.append("/".join(own[-length:]) if length else f"{own[-1]} ({number})")
    return names
