"""Scores in a model's repository, in the two forms that the Hub reads.

`.eval_results/*.yaml` are shown on the model's page and gathered in the leaderboard of the dataset, if that is registered as a
benchmark (https://huggingface.co/docs/hub/eval-results); `model-index` in README.md is the older form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends.cache_key import data_version
from eval_tasks.reporting.results import Run, Score
from eval_tasks.suites.suite import place

if TYPE_CHECKING:
    from common.dataset import Manifest

SUITE = "shop:"


@dataclass(frozen=True)
class ModelScores:
    """Scores on a dataset's test rows. `scores` and `times`: task -> score, and the time of its run; `commit` of the dataset
    (None: not known)."""

    scores: Mapping[str, Score]
    times: Mapping[str, str]
    dataset: str
    commit: str | None


def shop_scores(run: Run) -> dict[str, Score]:
    """Task -> score of those of the dataset's own test split; other suites' rows have no dataset that a score could be of.

    Raises UserError where there is none, or where only some rows were asked.
    """
    tasks = sorted((task for task in run.scores if task.startswith(SUITE)), key=place)  # as the model's card has them
    scores = {task.removeprefix(SUITE): run.scores[task] for task in tasks}
    if not scores:
        raise UserError(f"there is no score of a {SUITE} task for the model's repository; leave out --model-repo")
    if run.max_samples:
        raise UserError(
            f"at most {run.max_samples} rows of a task were asked, which is no score of the dataset; evaluate without "
            "--max-samples, or leave out --model-repo"
        )
    return scores


def check_rows(scores: Mapping[str, Score], data: "Manifest") -> None:
    """Raises UserError where a score was measured on other rows than the dataset holds."""
    held = {name: data_version(str(config.fingerprint)) for name, config in data.configs.items()}
    if other := [name for name, score in scores.items() if score.version != held.get(name)]:
        raise UserError(
            f"{', '.join(other)}: measured on other rows than {data.hub_id} holds; publish the dataset that was evaluated on, "
            f"or evaluate with SHOP_DATASET={data.hub_id}"
        )


def write_entries(folder: Path, found: ModelScores, source: str) -> None:
    """Writes `.eval_results/*.yaml` into the folder. `source`: the address of the answers."""
    file = folder / ".eval_results" / f"{found.dataset.replace('/', '--')}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(_entries_yaml(found, source), encoding="utf-8")


def _entries_yaml(found: ModelScores, source: str) -> str:
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=found.dataset,
            task_id=name,
            value=round(score.value, 4),
            dataset_revision=found.commit,
            date=iso_time(found.times[name]),
            source_url=source,
            source_name="Scores and answers",
            notes=f"{score.metric} of {score.rows or 'all'} test rows, {score.few_shots} examples in the prompt",
        )
        for name, score in found.scores.items()
    ]
    return str(yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True))


def iso_time(time: str) -> str:
    """2026-01-31T10:20:30 for the time in the name of a results file, which has no colons."""
    day, _, clock = time.partition("T")
    return f"{day}T{clock.partition('.')[0].replace('-', ':')}" if clock else day


def with_model_index(readme: str, found: ModelScores, name: str) -> str:
    """A model's README.md with these scores in its metadata; what it had of the same tasks goes, all else stays.

    `name` is the model's, where its card has none. Raises UserError for a card whose metadata cannot be read.
    """
    from eval_tasks.reporting.model_index import eval_result, with_results

    results = [
        eval_result(TASKS[task], score.value, score.few_shots, found.dataset, found.commit)
        for task, score in found.scores.items()
    ]
    return with_results(readme, results, name)
