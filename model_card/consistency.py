"""Consistency checks across the card's inputs; the card lists what they find before any score."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from common.prompts import read_fields
from eval_tasks.backends.cache_key import data_version
from model_card import markdown
from model_card.evaluations import ModelResults, SuiteComparison
from model_card.inputs import SHOP, CardInputs
from model_card.served import ServedComparison

ENDPOINT = "endpoint"
"""The backend whose results tell a name and no weights."""

SHORT = 12
"""Digits shown of a checksum."""

PROMPTS = 20
"""Prompts checked per task."""


def inconsistencies(inputs: CardInputs) -> list[str]:
    """Inconsistencies as sentences in Markdown."""
    suites = (inputs.shop, *inputs.others)
    models = [(*_of_model(inputs, suite.tuned), *_of_base(inputs, suite.base)) for suite in suites]
    return [
        *dict.fromkeys(sentence for found in models for sentence in found),
        *_of_training(inputs),
        *_of_test_rows(inputs),
        *(sentence for suite in suites for sentence in (*_of_prompts(suite), *_of_decoding(suite))),
        *_of_wording(inputs),
        *(sentence for comparison in inputs.served for sentence in _of_served(inputs, comparison)),
    ]


def _of_model(inputs: CardInputs, tuned: ModelResults) -> Iterator[str]:
    """Scores of another model than the adapter, by checksum or, without one, by name."""
    weights = inputs.adapter.weights_sha256
    called = markdown.plain(Path(tuned.called).name)
    if tuned.merged is not None:
        if weights and [(sha, weight) for _, sha, weight in tuned.merged] != [(weights, 1.0)]:
            parts = [f"{weight:g} of {markdown.plain(name)} ({_short(sha)})" for name, sha, weight in tuned.merged]
            held = markdown.listed(parts)
            yield f"The scores are of a merged model, {called}, that holds {held}, and not of this adapter as it is."
    elif tuned.adapter_sha256 and weights:
        if tuned.adapter_sha256 != weights:
            measured, own = _short(tuned.adapter_sha256), _short(weights)
            yield f"The scores are of other weights than this adapter's: {measured} was measured, and this is {own}."
    elif tuned.called and not _names(tuned.called) & _names(inputs.adapter.name, inputs.repo_id, inputs.title):
        yield f"The results call the model that was measured {called}; nothing in them shows that it is this adapter."


def _of_base(inputs: CardInputs, base: ModelResults | None) -> Iterator[str]:
    """Scores of another base than the adapter's."""
    trained_on = inputs.adapter.config.get("base_model_name_or_path")
    known = _names(inputs.base.hub_id, inputs.base.local_name, str(trained_on or "") or None)
    if base and base.called and known and not _names(base.called) & known:
        named = [markdown.plain(Path(str(name)).name) for name in (base.called, trained_on or inputs.base.title)]
        yield f"The base's scores are of a model that its results call {named[0]}, and the adapter's base is {named[1]}."


def _of_training(inputs: CardInputs) -> Iterator[str]:
    """A training summary with another base model, or of other rows than the dataset's."""
    base, recorded = inputs.adapter.config.get("base_model_name_or_path"), inputs.adapter.summary.get("base_model")
    if base and recorded and not _names(str(base)) & _names(str(recorded)):
        named = [markdown.plain(Path(str(name)).name) for name in (base, recorded)]
        yield f"The adapter names {named[0]} as its base, and the record of its training {named[1]}."
    trained = inputs.adapter.summary.get("dataset_fingerprint")
    config = inputs.data.configs.get(inputs.config) if inputs.data else None
    known = config.fingerprint if config else None
    if isinstance(trained, str) and known and known != trained:
        yield (
            "The dataset below is not the one that was trained on, by its fingerprint; it was built again since, or is another "
            "one, and rows that were held out of it may have been trained on."
        )


def _of_test_rows(inputs: CardInputs) -> Iterator[str]:
    """Scores on other rows than the dataset's: a task's version is made from the fingerprint of its rows."""
    configs = inputs.data.configs if inputs.data else {}
    models: dict[tuple[str, ...], list[str]] = {}
    served = [one for comparison in inputs.served for one in comparison.served]
    for evaluation in (*inputs.shop.evaluations, *served):
        other = tuple(
            name
            for task, score in evaluation.model.run.scores.items()
            if (name := task.partition(":")[2]) in configs
            and score.version
            and score.version != data_version(str(configs[name].fingerprint))
        )
        if other:
            models.setdefault(other, []).append(markdown.plain(evaluation.model.name))
    for other, names in models.items():
        were = "was" if len(names) == 1 else "were"
        yield (
            f"{markdown.listed(names)} {were} measured on other rows than the dataset below holds, in {_tasks(other, inputs)}."
        )


def _of_prompts(suite: SuiteComparison | ServedComparison) -> Iterator[str]:
    for name, tasks in suite.other_prompts.items():
        shown = _tasks([task.partition(":")[2] or task for task in tasks])
        yield f"{markdown.plain(name)} was asked with other prompts than the tuned model in {shown}, so it has no score there."


def _of_served(inputs: CardInputs, comparison: ServedComparison) -> Iterator[str]:
    """Other weights, prompts or decoding than the tuned model's. Of an endpoint the weights cannot be known."""
    for one in comparison.served:
        if one.backend != ENDPOINT:
            yield from _of_model(inputs, one)
        if decoding(one) != decoding(comparison.tuned):
            yield (
                f"{markdown.plain(one.model.name)} was measured with {decoding(one)} and the tuned model with "
                f"{decoding(comparison.tuned)}, so the difference is not that of serving alone."
            )
    yield from _of_prompts(comparison)


def _of_wording(inputs: CardInputs) -> Iterator[str]:
    """Prompts that do not match the templates of the quick start."""
    reworded = [
        task.name
        for task in inputs.measured
        if (asked := inputs.tuned.model.answers.get(f"{SHOP}:{task.name}"))
        and not any(read_fields(task, answer.prompt) for answer in islice(asked.values(), PROMPTS))
    ]
    if reworded:
        shown = _tasks(reworded, inputs)
        yield f"The prompts of the evaluation differ in wording from the quick start's templates, in {shown}."


def _of_decoding(suite: SuiteComparison) -> Iterator[str]:
    if suite.base and decoding(suite.base) != decoding(suite.tuned):
        yield (
            f"The base was measured with {decoding(suite.base)} and the tuned model with {decoding(suite.tuned)}, so the "
            "difference is not tuning's alone."
        )


def decoding(evaluation: ModelResults) -> str:
    """The decoding method in words."""
    if evaluation.temperature is None:
        words = "decoding that was not recorded"
    elif evaluation.temperature == 0:
        words = "greedy decoding"
    else:
        words = f"sampling at temperature {evaluation.temperature:g}"
    words = f"{words}, constrained to readable answers" if evaluation.constrained else words
    return f"scoring by likelihood, of texts {words}" if evaluation.model.run.answers == "scored" else words


def _names(*names: str | None) -> set[str]:
    """Last parts of names and paths, without the revision that eval_tasks appends to a name."""
    return {Path(name).name.partition("_at_")[0] for name in names if name}


def _short(sha256: str) -> str:
    return markdown.identifier(sha256[:SHORT])


def _tasks(names: Sequence[str], inputs: CardInputs | None = None) -> str:
    """Names of tasks, or `all N tasks`."""
    if inputs and len(names) == len(inputs.measured) > 1:
        return f"all {len(names)} tasks"
    return markdown.listed([markdown.identifier(name) for name in names])
