"""Scores of the shop tasks, read from the files that lighteval 0.13 writes, and the tuned model beside its base.

File shape: lighteval/logging/evaluation_tracker.py (`results`, `config_general`, `config_tasks`, `summary_tasks`). The
averages in that file (`all`, `shop:_average`) are not used: they mix metrics that a task does not have.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from dataset_builders.errors import UserError
from dataset_builders.tasks import FAMILIES, TASKS, Task
from eval_tasks.reporting.details import Answer, by_row, read_details
from model_card.markdown import number, signed

SUITE = "shop"
Z95 = 1.96
"""Half-width of a 95 % interval in standard errors."""

METRICS = {"accuracy": "Accuracy", "ndcg": "NDCG", "hit_rate": "Hit rate", "rougel": "ROUGE-L"}


@dataclass(frozen=True)
class Score:
    """What one model got in one task.

    `prompts` is lighteval's hash over the prompts asked ("" where none is stored), `version` the task's (0 where it has none),
    `answers` what was said to each row, where the run kept it (--save-details).
    """

    value: float
    stderr: float | None = None
    unparsable: float | None = None
    rows: int | None = None
    prompts: str = ""
    version: int = 0
    answers: Mapping[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """One evaluation run. `temperature` 0 is greedy decoding; `seconds` is the whole run's time."""

    scores: dict[str, Score]
    few_shots: int = 0
    temperature: float | None = None
    max_samples: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One line of the table of scores: a task, or the mean of several (`tasks` says how many).

    `paired_stderr` is the difference's over the same rows, None where it cannot be had.
    """

    title: str
    metric: str
    tuned: Score
    base: Score | None = None
    tasks: int = 1
    paired_stderr: float | None = None

    @property
    def same_prompts(self) -> bool:
        """False only where both runs tell what they asked and it differs: then a difference would mean nothing."""
        return not (self.base and self.base.prompts and self.tuned.prompts and self.base.prompts != self.tuned.prompts)

    @property
    def difference(self) -> float | None:
        """Tuned minus base."""
        return self.tuned.value - self.base.value if self.base and self.same_prompts else None

    @property
    def stderr(self) -> float | None:
        """Of the difference: over the same rows, else as of independent runs, which is too wide where rows agree."""
        if self.paired_stderr is not None:
            return self.paired_stderr
        if self.base is None or self.tuned.stderr is None or self.base.stderr is None:
            return None
        return math.hypot(self.tuned.stderr, self.base.stderr)

    @property
    def clear(self) -> bool:
        """Whether the difference lies outside its 95 % interval around zero."""
        return self.difference is not None and self.stderr is not None and abs(self.difference) > Z95 * self.stderr


def read_results(path: Path) -> Results:
    """The shop scores of a results file, or of the newest such file in a folder. Raises UserError."""
    for file in _result_files(path):
        results = parse_results(_load(file), file)
        if results.scores:
            details = read_details(file)
            kept = {name: by_row(details.get(f"{SUITE}:{name}", ())) for name in results.scores}
            return replace(results, scores={name: replace(score, answers=kept[name]) for name, score in results.scores.items()})
    raise UserError(f"{path} holds no score of a {SUITE} task; evaluate with --custom-tasks eval_tasks/shop.py first")


def parse_results(document: Any, file: Path) -> Results:
    """Scores of a decoded results file, those of other suites left out. Raises UserError."""
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        raise UserError(f"{file} is not a lighteval results file; give a results_*.json or the folder that holds it")
    found = [(key, *_task_of(key)) for key in document["results"]]
    shots = {few_shots for _, task, few_shots in found if task}
    if len(shots) > 1:
        raise UserError(f"{file} mixes runs with {sorted(shots)} examples in the prompt; evaluate with one of them")
    general = _dict(document, "config_general")
    max_samples = number(general.get("max_samples"))
    return Results(
        scores={task.name: _score(document, key, task, file) for key, task, _ in found if task},
        few_shots=shots.pop() if shots else 0,
        temperature=number(_dict(_dict(general, "model_config"), "generation_parameters").get("temperature")),
        max_samples=None if max_samples is None else int(max_samples),
        seconds=_seconds(general.get("total_evaluation_time_secondes")),
    )


def compare(tuned: Results, base: Results | None) -> list[Comparison]:
    """One comparison per measured task, in the order of the tasks."""
    lines = []
    for name in _measured(tuned):
        task, after, before = TASKS[name], tuned.scores[name], base.scores.get(name) if base else None
        metric = METRICS.get(task.metric, task.metric)
        lines.append(Comparison(task.title, metric, after, before, paired_stderr=_paired_stderr(after, before, task.metric)))
    return lines


def _paired_stderr(tuned: Score, base: Score | None, metric: str) -> float | None:
    """None where a run kept no answers, where the rows are not the same, or where all differ alike and so tell no error."""
    if base is None or not tuned.answers or tuned.answers.keys() != base.answers.keys():
        return None
    from eval_tasks.reporting.comparison import paired_values
    from eval_tasks.reporting.intervals import overall_paired

    first, second = paired_values(tuned.answers, base.answers, metric)
    found = overall_paired([first], [second])
    return (found.high - found.low) / (2 * Z95) or None


def family_means(tuned: Results, base: Results | None) -> list[Comparison]:
    """The mean of each family that has a measured task, then of all tasks, each task weighing the same."""
    measured = [(TASKS[name].family, line) for name, line in zip(_measured(tuned), compare(tuned, base), strict=True)]
    means = [
        _mean(f"{family.replace('_', ' ').capitalize()}, mean", lines)
        for family in FAMILIES
        if (lines := [line for of, line in measured if of == family])
    ]
    return [*means, _mean("All tasks, mean", [line for _, line in measured])]


def verdict(lines: Sequence[Comparison], mean: Comparison) -> list[str]:
    """What the scores say, in sentences: where the tuned model gains, and where it loses."""
    judged = [line for line in lines if line.difference is not None]
    if not judged:
        return ["The base model was not measured on the same prompts, so nothing can be said about what tuning changed."]
    differences = [(line, round(line.difference or 0.0, 3)) for line in judged]
    better = [line for line, difference in differences if difference > 0]
    worse = [line for line, difference in differences if difference < 0]
    equal = len(judged) - len(better) - len(worse)
    also = f", and the same on {equal}" if equal else ""
    sentences = [f"The tuned model scores higher than the base on {len(better)} of {len(judged)} tasks{also}."]
    if worse:
        sentences.append(f"**It scores lower than the base on {len(worse)}: {_listed(worse)}.**")
    else:
        sentences.append("It scores lower on none.")
    if unclear := [line for line in (*better, *worse) if line.stderr is not None and not line.clear]:
        sentences.append(f"Within its 95 % interval, so possibly chance: {_listed(unclear)}.")
    if mean.difference is not None:
        word = {1: "higher than", -1: "lower than", 0: "equal to"}[_sign(round(mean.difference, 3))]
        chance = "" if mean.stderr is None or mean.clear or word == "equal to" else ", possibly by chance"
        sentences.append(f"The mean over all {mean.tasks} tasks is {word} the base's ({signed(mean.difference)}){chance}.")
    return sentences


def _result_files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a results_*.json that lighteval wrote, or its folder")
    # The time stands in the name; a copied or checked-out file's own time says nothing.
    files = sorted(path.rglob("results_*.json"), key=lambda file: file.name, reverse=True)
    if not files:
        raise UserError(f"{path} holds no results_*.json; run lighteval with --output-dir {path} first")
    for one, other in pairwise(sorted({file.parent for file in files})):
        raise UserError(f"{path} holds the results of more than one model; name one of them, such as {one} or {other}")
    return files


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{file} cannot be read as JSON ({error}); evaluate again") from error


def _dict(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _seconds(value: Any) -> float | None:
    try:
        return float(value)  # lighteval writes it as text
    except (TypeError, ValueError):
        return None


def _task_of(key: str) -> tuple[Task | None, int]:
    """`shop:also_buy|0` -> the task and 0; any other key -> None."""
    name, _, shots = key.partition("|")
    suite, _, task = name.partition(":")
    return (TASKS.get(task) if suite == SUITE else None), int(shots) if shots.isdecimal() else 0


def _score(document: dict[str, Any], key: str, task: Task, file: Path) -> Score:
    metrics = _dict(document["results"], key)
    value = number(metrics.get(task.metric))
    if value is None:
        raise UserError(f"{file}: {key} has no number for {task.metric}, the metric of this task; evaluate again")
    return Score(
        value=value,
        stderr=number(metrics.get(f"{task.metric}_stderr")),
        unparsable=number(metrics.get("unparsable")),
        rows=_rows(document, key),
        version=int(number(_dict(document, "versions").get(key)) or 0),
        prompts=str(_dict(_dict(_dict(document, "summary_tasks"), key), "hashes").get("hash_examples", "")),
    )


def _rows(document: dict[str, Any], key: str) -> int | None:
    """Rows asked. lighteval 0.13 leaves its own counter at -1; the task's declares how many there are to ask."""
    config, asked_for = _dict(_dict(document, "config_tasks"), key), _dict(document, "config_general").get("max_samples")
    counters = [number(config.get(name)) for name in ("effective_num_docs", "original_num_docs")]
    rows = next((rows for rows in counters if rows is not None and rows > 0), None)
    limit = number(asked_for)
    if rows is None:
        return None
    return int(rows if limit is None else min(rows, limit))


def _measured(results: Results) -> list[str]:
    return [name for name in TASKS if name in results.scores]


def _mean(title: str, lines: Sequence[Comparison]) -> Comparison:
    """A model's mean is given only where it was measured on every line, so that both means are over the same tasks."""
    bases = [line.base for line in lines if line.base and line.same_prompts]
    errors = [line.paired_stderr for line in lines if line.paired_stderr is not None]
    return Comparison(
        title,
        "",
        _mean_score([line.tuned for line in lines]),
        _mean_score(bases) if len(bases) == len(lines) else None,
        len(lines),
        math.hypot(*errors) / len(lines) if len(errors) == len(lines) else None,
    )


def _mean_score(scores: Sequence[Score]) -> Score:
    errors = [score.stderr for score in scores if score.stderr is not None]
    unreadable = [score.unparsable for score in scores if score.unparsable is not None]
    rows = [score.rows for score in scores if score.rows is not None]
    return Score(
        value=sum(score.value for score in scores) / len(scores),
        stderr=math.hypot(*errors) / len(scores) if len(errors) == len(scores) else None,
        unparsable=sum(unreadable) / len(unreadable) if len(unreadable) == len(scores) else None,
        rows=sum(rows) if len(rows) == len(scores) else None,
    )


def _listed(lines: Sequence[Comparison]) -> str:
    return ", ".join(f"{line.title} ({signed(line.difference)})" for line in lines)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
