"""Scores in a model's repository, in the two forms that the Hub reads.

`.eval_results/*.yaml` appear on the model's page and in the leaderboard of a dataset that is registered as a benchmark
(https://huggingface.co/docs/hub/eval-results), so they hold the tasks of its `eval.yaml`; `model-index` in README.md is the
older form and holds all (https://github.com/huggingface/hub-docs/blob/main/modelcard.md). Scores of others in it are kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dataset import Manifest
from common.errors import UserError
from common.tasks import TASKS, Task
from dataset_builders.benchmark import in_benchmark
from eval_tasks.backends.cache_key import data_version
from eval_tasks.reporting.hub_dataset import LightevalRun
from eval_tasks.reporting.results import Run, Score, task_of
from eval_tasks.reporting.table import metric_words
from eval_tasks.suites.suite import place

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SUITE = "shop:"

LOCAL = "local"
"""The dataset's type in the model-index where it is not on the Hub."""


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


def contradicted(scores: Mapping[str, float], files: Mapping[str, str]) -> list[str]:
    """Tasks for which a file in `.eval_results` holds another value than `scores`.

    `files`: path -> content; unreadable files are skipped.
    """
    import yaml
    from huggingface_hub import parse_eval_result_entries

    found = []
    for content in files.values():
        try:
            entries = parse_eval_result_entries(yaml.safe_load(content))
        except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            continue
        found += [entry.task_id for entry in entries if scores.get(entry.task_id, entry.value) != entry.value]
    return list(dict.fromkeys(found))


# --- The model-index ---


def with_model_index(readme: str, scores: DatasetScores, name: str) -> str:
    """A model's README.md with these scores in its metadata; see `with_results`."""
    results = [
        eval_result(TASKS[task], score.value, score.few_shots, scores.dataset, scores.commit)
        for task, score in scores.tasks.items()
    ]
    return with_results(readme, results, name)


def eval_result(
    task: Task, value: float, few_shots: int, dataset_id: str | None, revision: str | None, max_samples: int | None = None
) -> "EvalResult":
    """One task's score for the model-index, on at most `max_samples` test rows. `dataset_id` is None for a local dataset."""
    from huggingface_hub import EvalResult

    metric = metric_words(task.metric)
    return EvalResult(
        task_type="text-generation",
        task_name=task.title,
        dataset_type=dataset_id or LOCAL,
        dataset_name=dataset_id.split("/")[-1] if dataset_id else "a local build",
        dataset_config=task.name,
        dataset_split="test",
        dataset_revision=revision,
        dataset_args={"num_few_shot": few_shots, **({"max_samples": max_samples} if max_samples else {})},
        metric_type="rouge" if task.metric == "rougel" else task.metric,
        metric_name=metric[:1].upper() + metric[1:],
        metric_value=round(value, 4),
    )


def read_card(readme: str) -> Any:
    """A README.md, which may be empty, as a ModelCard. Raises UserError where its metadata cannot be read."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        return ModelCard(readme or "---\n---\n")
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the metadata of the model's README.md cannot be read ({reason}); mend it on the Hub") from None


def with_results(readme: str, results: "Sequence[EvalResult]", name: str) -> str:
    """A model's README.md with these scores in place of former ones of the same tasks, on the same datasets or a local build.

    `name` becomes the model's name if the card has none. Raises UserError for a card whose metadata cannot be read.
    """
    card = read_card(readme)
    datasets, tasks = {LOCAL, *(result.dataset_type for result in results)}, {result.dataset_config for result in results}
    kept = [
        result
        for result in card.data.eval_results or []
        if result.dataset_type not in datasets or result.dataset_config not in tasks
    ]
    card.data.model_name = card.data.model_name or name
    card.data.eval_results = [*kept, *results]
    return str(card)


def over_former(readme: str, former: str) -> str:
    """A new README.md that replaces `former`, with the scores of others in the former model-index.

    A new score on a local build is replaced by a former one of the same value that names its dataset on the Hub. New scores
    on a dataset replace its former ones. Former scores on a local build are dropped.
    """
    card = read_card(readme)
    try:
        before = read_card(former).data.eval_results or []
    except UserError:  # the Hub shows no score of metadata that cannot be read
        before = []
    published = {
        (result.dataset_config, result.metric_type, result.metric_value): result
        for result in before
        if result.dataset_type != LOCAL
    }
    own = []
    for result in card.data.eval_results:
        same = published.get((result.dataset_config, result.metric_type, result.metric_value))
        own.append(same if same and result.dataset_type == LOCAL else result)
    written = {(result.dataset_type, result.dataset_config) for result in own}
    kept = [
        result
        for result in before
        if result.dataset_type != LOCAL and (result.dataset_type, result.dataset_config) not in written
    ]
    card.data.eval_results = [*kept, *own]
    return str(card)
