"""Scores in the `model-index` of a model's README.md; scores of others in it are kept.

The Hub's other form, `.eval_results/*.yaml`, is in model_metadata.py. Format:
https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.tasks import Task
from eval_tasks.reporting.table import metric_words

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LOCAL = "local"
"""The dataset's type in the model-index where it is not on the Hub."""


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
