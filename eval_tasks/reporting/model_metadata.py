"""Scores in a model's repository, in the two forms that the Hub reads.

`.eval_results/*.yaml` appear on the model's page and in the leaderboard of a dataset that is registered as a benchmark
(https://huggingface.co/docs/hub/eval-results), so they hold the tasks of its `eval.yaml`; `model-index` in README.md is the
older form and holds all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.dataset import Manifest
from common.errors import UserError
from common.tasks import TASKS
from dataset_builders.benchmark import in_benchmark
from eval_tasks.backends.cache_key import data_version
from eval_tasks.reporting.hub_dataset import LightevalRun
from eval_tasks.reporting.model_index import eval_result, with_results
from eval_tasks.reporting.results import Run, Score, task_of
from eval_tasks.suites.suite import place

SUITE = "shop:"


@dataclass(frozen=True)
class DatasetScores:
    """Scores on a dataset's test rows: task -> score, task -> time of its run. `commit` is the dataset's, None if unknown."""

    tasks: Mapping[str, Score]
    times: Mapping[str, str]
    dataset: str
    commit: str | None


def shop_scores(run: Run) -> dict[str, Score]:
    """Task -> score on the dataset's own test split. Raises UserError where there is none or --max-samples was set."""
    tasks = sorted((task for task in run.scores if task.startswith(SUITE)), key=place)  # in the model card's order
    scores = {task.removeprefix(SUITE): run.scores[task] for task in tasks}
    if not scores:
        raise UserError(f"there is no score of a {SUITE} task for the model's repository; leave out --model-repo")
    if run.max_samples:
        raise UserError(
            f"at most {run.max_samples} rows of a task were asked, which is no score of the dataset; evaluate without "
            "--max-samples, or leave out --model-repo"
        )
    return scores


def times_of(runs: Iterable[LightevalRun], tasks: Iterable[str]) -> dict[str, str]:
    """Task of the dataset -> the time of the newest run that has it."""
    times: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.time):  # the newest last
        times |= {task_of(key).removeprefix(SUITE): run.time for key in run.document["results"] if key.startswith(SUITE)}
    return {task: times[task] for task in tasks}


def check_rows(scores: Mapping[str, Score], data: Manifest) -> None:
    """Raises UserError where a score was measured on other rows than the dataset holds."""
    held = {name: data_version(str(config.fingerprint)) for name, config in data.configs.items()}
    if other := [name for name, score in scores.items() if score.version != held.get(name)]:
        raise UserError(
            f"{', '.join(other)}: measured on other rows than {data.hub_id} holds; publish the dataset that was evaluated on, "
            f"or evaluate with SHOP_DATASET={data.hub_id}"
        )


def write_entries(folder: Path, scores: DatasetScores, source: str) -> None:
    """Writes `.eval_results/*.yaml` into the folder, of the tasks that the dataset's eval.yaml has.

    `source`: the address of the answers. Without such a task there is no file.
    """
    if not any(in_benchmark(TASKS[name]) for name in scores.tasks):
        return
    file = folder / ".eval_results" / f"{scores.dataset.replace('/', '--')}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(_entries_yaml(scores, source), encoding="utf-8")


def _entries_yaml(scores: DatasetScores, source: str) -> str:
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=scores.dataset,
            task_id=name,
            value=round(score.value, 4),
            dataset_revision=scores.commit,
            date=iso_time(scores.times[name]),
            source_url=source,
            source_name="Scores and answers",
            notes=f"{score.metric} of {score.rows or 'all'} test rows, {score.few_shots} examples in the prompt",
        )
        for name, score in scores.tasks.items()
        if in_benchmark(TASKS[name])
    ]
    return str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True))


def iso_time(time: str) -> str:
    """`2026-01-31T10-20-30.5` of a results file's name as `2026-01-31T10:20:30`."""
    day, _, clock = time.partition("T")
    return f"{day}T{clock.partition('.')[0].replace('-', ':')}" if clock else day


def with_model_index(readme: str, scores: DatasetScores, name: str) -> str:
    """A model's README.md with these scores in its metadata; see `with_results`."""
    results = [
        eval_result(TASKS[task], score.value, score.few_shots, scores.dataset, scores.commit)
        for task, score in scores.tasks.items()
    ]
    return with_results(readme, results, name)
