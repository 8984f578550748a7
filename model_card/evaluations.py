"""Evaluation results of the tuned model, its base and baselines, compared suite by suite.

Scores, intervals and differences come from eval_tasks.reporting, so the card and the report agree. Read here is what only the
card needs: decoding, duration, prompt hashes, and which model was measured.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.words import is_scored
from eval_tasks.reporting.comparison import make_report
from eval_tasks.reporting.details import by_row, read_details
from eval_tasks.reporting.report import EvaluatedModel, Report
from eval_tasks.reporting.results import read_run, results_files, task_of
from eval_tasks.suites.suite import SHOP, SUITES, UNSEEN, shop_task
from model_card.markdown import number

TUNED, BASE = "tuned", "base"
"""Names of the two models."""

CONSTRAINED, SCORED = "_constrained", "_scored"
"""Suffixes, in this order, that eval_tasks gives the name of a model with constrained decoding, and with scored answers."""

BASELINES = {
    "random": "a random label, order or train row",
    "majority": "the most frequent answer of the train rows",
    "tfidf": "TF-IDF similarity with a linear model",
    "bm25": "BM25 similarity",
    "minilm": "similarity of sentence embeddings (all-MiniLM-L6-v2) with a linear model",
    "qlm": "likelihood of the query behind each product, by the untuned base",
}
"""Baseline of eval_tasks, the simplest first -> its method."""

Merged = tuple[tuple[str, str, float], ...]
"""(name, sha256 of the weights, weight) of the adapters in a merged model."""


@dataclass(frozen=True)
class ModelResults:
    """One model's results in one suite. `called` is the model's name or path in them.

    `prompts`: task -> lighteval's hash of its prompts. `temperature`: 0 is greedy decoding. `seconds`: of the whole run.
    `adapter_sha256`: of the adapter's weights. None stands for what the results do not record. `backend`: of eval_tasks, "" of
    lighteval's own.
    """

    model: EvaluatedModel
    called: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    constrained: bool = False
    seconds: float | None = None
    adapter_sha256: str | None = None
    merged: Merged | None = None
    backend: str = ""

    def of_tasks(self, names: Sequence[str]) -> "ModelResults":
        """The results of these tasks only."""
        run = self.model.run
        scores = {task: score for task, score in run.scores.items() if task in names}
        return replace(self, model=replace(self.model, run=replace(run, scores=scores)))


@dataclass(frozen=True)
class SuiteComparison:
    """One suite: the tuned model beside its base and baselines, where they were measured.

    `unseen` has the results of the same models on rows in an unseen wording. `scored` has those of answers that were scored,
    where `tuned` and `base` wrote them. Both by the name of the model.
    """

    suite: str
    tuned: ModelResults
    base: ModelResults | None = None
    baselines: tuple[ModelResults, ...] = ()
    unseen: Mapping[str, ModelResults] = field(default_factory=dict)
    scored: Mapping[str, ModelResults] = field(default_factory=dict)

    @property
    def evaluations(self) -> list[ModelResults]:
        """All models, the base first and baselines last."""
        return [*([self.base] if self.base else []), self.tuned, *self.baselines]

    @cached_property
    def report(self) -> Report:
        """The report on the tasks that the tuned model has a score of."""
        models = [comparable(one, self.tuned)[0].model for one in self.evaluations]
        return make_report([_with_unseen(model, self.unseen.get(model.name)) for model in models])

    @cached_property
    def answer_forms(self) -> Report | None:
        """Written beside scored answers, on the tasks that can be scored: the tuned model's, then the base's, then baselines.

        None where the tuned model was not asked both ways.
        """
        if TUNED not in self.scored:
            return None
        pairs = [(one, self.scored[one.model.name]) for one in (self.tuned, self.base) if one and one.model.name in self.scored]
        tasks = [
            task
            for task in self.tuned.model.run.scores
            if (found := shop_task(task)) and is_scored(found) and task in self.scored[TUNED].model.run.scores
        ]
        models = [
            replace(one.of_tasks(tasks).model, name=f"{name}, {form}")
            for pair in pairs
            for one, form, name in zip(pair, ("written", "scored"), (pair[0].model.name,) * 2, strict=True)
        ]
        baselines = [comparable(one, self.tuned)[0].of_tasks(tasks).model for one in self.baselines]
        return make_report([*models, *baselines]) if tasks else None

    @property
    def other_prompts(self) -> dict[str, list[str]]:
        """Model -> tasks with other prompts than the tuned model's, which are left out of the report."""
        return {one.model.name: other for one in self.evaluations if (other := comparable(one, self.tuned)[1])}


def read_comparisons(tuned: Sequence[Path], base: Sequence[Path], baselines: Sequence[Path]) -> list[SuiteComparison]:
    """The suites that the tuned model has scores of, in their order.

    Each path is a results file, or a folder, from which the newest results of each suite are taken; a baseline's may also be
    the --out of eval_tasks.run with several models. Raises UserError.
    """
    mine, my_scored = by_form(TUNED, tuned)
    theirs, their_scored = by_form(BASE, base)
    if any(one.model.run.baseline for one in mine.values()):
        raise UserError(f"{tuned[0]} holds the results of a baseline; give those of the tuned model with --results")
    others = [read_evaluations(name, paths) for name, paths in baseline_places(baselines).items()]
    return [
        SuiteComparison(
            suite,
            mine[suite],
            theirs.get(suite),
            tuple(one[suite] for one in others if suite in one),
            _by_name(mine.get(UNSEEN), theirs.get(UNSEEN)) if suite == SHOP else {},
            _by_name(my_scored.get(suite), their_scored.get(suite)),
        )
        for suite in SUITES
        if suite in mine and suite != UNSEEN
    ]


def _by_name(*found: ModelResults | None) -> dict[str, ModelResults]:
    return {one.model.name: one for one in found if one}


def by_form(name: str, paths: Sequence[Path]) -> tuple[dict[str, ModelResults], dict[str, ModelResults]]:
    """Suite -> results, and those of scored answers where there are written ones too. Raises UserError."""
    scored = [path for path in paths if read_run(path).answers == "scored"]
    written = [path for path in paths if path not in scored]
    if not written or not scored:
        return read_evaluations(name, paths), {}
    found, beside = read_evaluations(name, written), read_evaluations(name, scored)
    if len(called := {one.called for one in (*found.values(), *beside.values())}) > 1:
        raise UserError(
            f"{' and '.join(map(str, paths))} hold results of {' and '.join(sorted(called))}; give those of one model"
        )
    return found, beside


def _with_unseen(model: EvaluatedModel, unseen: ModelResults | None) -> EvaluatedModel:
    """The model with its scores and answers in the unseen wording, which reports compare with the others."""
    if unseen is None:
        return model
    run, other = model.run, unseen.model
    return replace(model, run=replace(run, scores=run.scores | other.run.scores), answers={**model.answers, **other.answers})


def read_evaluations(name: str, paths: Sequence[Path]) -> dict[str, ModelResults]:
    """Suite -> the results of one model, shown as `name`.

    Raises UserError, also for paths with different models or the same task twice.
    """
    parts: dict[str, list[ModelResults]] = {}
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
    """Baseline -> paths of its results, the simplest baseline first. Raises UserError for a path without a baseline."""
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


def comparable(evaluation: ModelResults, tuned: ModelResults) -> tuple[ModelResults, list[str]]:
    """The results that are comparable with the tuned model's, and the tasks that are not, since their prompts differ.

    Where both runs kept their answers, differences are taken over shared rows, and every task is comparable.
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


def _read_file(name: str, file: Path) -> ModelResults:
    run = read_run(file)
    document = json.loads(file.read_text(encoding="utf-8"))
    general = _dict(document, "config_general")
    config = _dict(general, "model_config")
    return ModelResults(
        model=EvaluatedModel(name, run, {task: by_row(answers) for task, answers in read_details(file).items()}),
        called=run.model.removesuffix(SCORED).removesuffix(CONSTRAINED),
        prompts=dict(_prompts(document)),
        temperature=number(_dict(config, "generation_parameters").get("temperature")),
        constrained=run.model.removesuffix(SCORED).endswith(CONSTRAINED),
        seconds=_seconds(general.get("total_evaluation_time_secondes")),
        adapter_sha256=str(config["adapter_sha256"]) if config.get("adapter_sha256") else None,
        merged=_merged(Path(run.model)),
        backend=Path(str(config.get("model_definition_file_path") or "")).stem.removesuffix("_model"),
    )


def _joined(one: ModelResults, other: ModelResults) -> ModelResults:
    """Merges two runs of one model over different tasks of one suite. Raises UserError."""
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
        model=EvaluatedModel(one.model.name, run, {**one.model.answers, **other.model.answers}),
        prompts={**one.prompts, **other.prompts},
        temperature=one.temperature if one.temperature == other.temperature else None,
        constrained=one.constrained or other.constrained,
        seconds=None if one.seconds is None or other.seconds is None else one.seconds + other.seconds,
        adapter_sha256=one.adapter_sha256 if one.adapter_sha256 == other.adapter_sha256 else None,
    )


def _places(path: Path) -> list[Path]:
    """The path itself if it holds one model's results, else its subfolders with results."""
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
    """The adapters in a merged model's merge.json; None without one."""
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
