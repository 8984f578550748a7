"""What lighteval measured of the tuned model, its base and baselines, as a card sets them beside each other, suite by suite.

Scores, intervals and differences are those of eval_tasks.reporting, so a card says what the report says. What is read here is
what the report has no use for: how answers were decoded, how long it took, and which model and prompts they were.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.reporting.comparison import Line, Model, Report, make_report
from eval_tasks.reporting.details import by_row, read_details
from eval_tasks.reporting.results import read_run, results_files, task_of
from eval_tasks.suites.suite import SUITES
from model_card.markdown import number

CONSTRAINED = "_constrained"
"""What eval_tasks puts behind the name of a model whose decoding was limited to answers that can be read."""

BASELINES = {
    "random": "a label, an order or a train row drawn at random",
    "majority": "the commonest answer of the train rows",
    "tfidf": "likeness of words (TF-IDF), with a linear model over it",
    "bm25": "likeness of words (BM25)",
    "minilm": "likeness of sentence embeddings (all-MiniLM-L6-v2), with a linear model over it",
}
"""Baseline of eval_tasks, the simplest first -> what it goes by."""

Merged = tuple[tuple[str, str, float], ...]
"""(name, sha256 of the weights, weight) of the adapters in a merged model."""


@dataclass(frozen=True)
class Evaluation:
    """One model's results in one suite. `called` is what they call it, a name or a place.

    `prompts`: task -> lighteval's hash of all that was asked. `temperature`: 0 is greedy decoding, None where it is not told.
    `seconds`: of the whole run. `adapter_sha256`: of the weights of the adapter that answered, where the results tell.
    """

    model: Model
    called: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    constrained: bool = False
    seconds: float | None = None
    adapter_sha256: str | None = None
    merged: Merged | None = None

    def of_tasks(self, names: Sequence[str]) -> "Evaluation":
        """The same with these tasks only."""
        run = self.model.run
        scores = {task: score for task, score in run.scores.items() if task in names}
        return replace(self, model=replace(self.model, run=replace(run, scores=scores)))


@dataclass(frozen=True)
class Comparison:
    """One suite: the tuned model beside its base and baselines, as far as they were measured."""

    suite: str
    tuned: Evaluation
    base: Evaluation | None = None
    baselines: tuple[Evaluation, ...] = ()

    @property
    def evaluations(self) -> list[Evaluation]:
        """The base first, baselines last."""
        return [*([self.base] if self.base else []), self.tuned, *self.baselines]

    @cached_property
    def report(self) -> Report:
        """On the tasks that the tuned model was scored on."""
        return make_report([comparable(one, self.tuned)[0].model for one in self.evaluations])

    @property
    def lines(self) -> list[Line]:
        """Scores by task."""
        return list(self.report.lines)

    @property
    def other_prompts(self) -> dict[str, list[str]]:
        """Model -> the tasks that it was asked with other prompts than the tuned model, and has no score of in the report."""
        return {one.model.name: other for one in self.evaluations if (other := comparable(one, self.tuned)[1])}


def read_comparisons(tuned: Sequence[Path], base: Sequence[Path], baselines: Sequence[Path]) -> list[Comparison]:
    """The suites that the tuned model was scored on, in their order.

    Of each path a results file, or the newest of each suite in a folder; a baseline's may also be a folder in which
    eval_tasks.run left several models. Raises UserError.
    """
    mine, theirs = read_evaluations("tuned", tuned), read_evaluations("base", base)
    if any(one.model.run.baseline for one in mine.values()):
        raise UserError(f"{tuned[0]} holds the results of a baseline; give those of the tuned model with --results")
    others = [read_evaluations(name, paths) for name, paths in baseline_places(baselines).items()]
    return [
        Comparison(suite, mine[suite], theirs.get(suite), tuple(one[suite] for one in others if suite in one))
        for suite in SUITES
        if suite in mine
    ]


def read_evaluations(name: str, paths: Sequence[Path]) -> dict[str, Evaluation]:
    """Suite -> the results of one model, shown as `name`.

    Raises UserError, also where paths hold different models or the same task twice.
    """
    parts: dict[str, list[Evaluation]] = {}
    for path in paths:
        for file, tasks in results_files(path).items():
            whole = _read_file(name, file)
            for suite in dict.fromkeys(task.partition(":")[0] for task in tasks):
                own = [task for task in tasks if task.partition(":")[0] == suite]
                run = whole.model.run
                unscored = tuple(task for task in run.unscored if task.partition(":")[0] == suite)
                part = replace(whole, model=replace(whole.model, run=replace(run, unscored=unscored)))
                parts.setdefault(suite, []).append(part.of_tasks(own))
    models = {one.called: None for found in parts.values() for one in found}
    if len(models) > 1:
        raise UserError(f"{' and '.join(map(str, paths))} hold results of {' and '.join(models)}; give those of one model")
    return {suite: reduce(_joined, found) for suite, found in parts.items()}


def baseline_places(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Baseline -> where its results are, the simplest baseline first. Raises UserError for a path without any."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        places = [(run.model, place) for place in _places(path) if (run := read_run(place)).baseline]
        if not places:
            raise UserError(f"{path} holds no results of a baseline; evaluate with eval_tasks.run --baseline first")
        for name, place in places:
            found.setdefault(name, []).append(place)
    known = list(BASELINES)
    return {
        name: found[name] for name in sorted(found, key=lambda name: (known.index(name) if name in known else len(known), name))
    }


def comparable(evaluation: Evaluation, tuned: Evaluation) -> tuple[Evaluation, list[str]]:
    """What can stand beside the tuned model's scores, and the tasks that cannot: they were asked with other prompts.

    Where both kept their answers, differences are taken over the rows that both answered, and nothing needs to go.
    """
    shared = [task for task in evaluation.model.run.scores if task in tuned.model.run.scores]
    other = [
        task
        for task in shared
        if not (evaluation.model.answers.get(task) and tuned.model.answers.get(task))
        and (asked := evaluation.prompts.get(task))
        and (wanted := tuned.prompts.get(task))
        and asked != wanted
    ]
    return evaluation.of_tasks([task for task in shared if task not in other]), other


def _read_file(name: str, file: Path) -> Evaluation:
    run = read_run(file)
    document = json.loads(file.read_text(encoding="utf-8"))
    general = _dict(document, "config_general")
    config = _dict(general, "model_config")
    return Evaluation(
        model=Model(name, run, {task: by_row(answers) for task, answers in read_details(file).items()}),
        called=run.model.removesuffix(CONSTRAINED),
        prompts=dict(_prompts(document)),
        temperature=number(_dict(config, "generation_parameters").get("temperature")),
        constrained=run.model.endswith(CONSTRAINED),
        seconds=_seconds(general.get("total_evaluation_time_secondes")),
        adapter_sha256=str(config["adapter_sha256"]) if config.get("adapter_sha256") else None,
        merged=_merged(Path(run.model)),
    )


def _joined(one: Evaluation, other: Evaluation) -> Evaluation:
    """Two runs of one model over tasks of one suite, as one. Raises UserError."""
    first, second = one.model.run, other.model.run
    if twice := sorted(first.scores.keys() & second.scores.keys()):
        raise UserError(f"two of the results have scores of {twice[0]}; give each task once")
    limits = [limit for limit in (first.max_samples, second.max_samples) if limit]
    run = replace(
        first,
        times=(*first.times, *second.times),
        scores=first.scores | second.scores,
        max_samples=min(limits) if limits else None,
        unscored=(*first.unscored, *second.unscored),
    )
    return replace(
        one,
        model=Model(one.model.name, run, {**one.model.answers, **other.model.answers}),
        prompts={**one.prompts, **other.prompts},
        temperature=one.temperature if one.temperature == other.temperature else None,
        constrained=one.constrained or other.constrained,
        seconds=None if one.seconds is None or other.seconds is None else one.seconds + other.seconds,
        adapter_sha256=one.adapter_sha256 if one.adapter_sha256 == other.adapter_sha256 else None,
    )


def _places(path: Path) -> list[Path]:
    """The path itself if it holds one model's results, else the folders in it that hold some."""
    if not path.is_dir() or len({file.parent for file in path.rglob("results_*.json")}) <= 1:
        return [path]
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and any(folder.rglob("results_*.json"))]


def _prompts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Task and the hash of its prompts."""
    summaries = _dict(document, "summary_tasks")
    for key in summaries:
        if found := _dict(_dict(summaries, key), "hashes").get("hash_examples"):
            yield task_of(key), str(found)


def _merged(folder: Path) -> Merged | None:
    """What training.merge says is in a merged model's folder; None where it is not here."""
    try:
        adapters = json.loads((folder / "merge.json").read_text(encoding="utf-8"))["adapters"]
        return tuple((str(one["name"]), str(one["sha256"]), float(one["weight"])) for one in adapters)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dict(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _seconds(value: Any) -> float | None:
    try:
        return float(value)  # lighteval writes it as text
    except (TypeError, ValueError):
        return None
