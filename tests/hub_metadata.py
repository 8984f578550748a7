"""What the Hub refuses in the metadata of a README.md, as far as its documentation tells.

Models: https://github.com/huggingface/hub-docs/blob/main/modelcard.md, https://huggingface.co/docs/hub/model-cards and
model-cards-co2. Datasets: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md and huggingface_hub's
DatasetCardData. Licences: https://huggingface.co/docs/hub/repositories-licenses.
"""

import re
from collections.abc import Iterator
from typing import Any

LICENCES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0
artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0
etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++
osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
gemma unknown other
"""
TASKS = """
text-classification token-classification table-question-answering question-answering zero-shot-classification translation
summarization feature-extraction text-generation fill-mask sentence-similarity table-to-text multiple-choice text-ranking
text-retrieval other
"""
SUBTASKS = """
acceptability-classification entity-linking-classification fact-checking intent-classification language-identification
multi-class-classification multi-label-classification multi-input-text-classification natural-language-inference
semantic-similarity-classification sentiment-classification topic-classification semantic-similarity-scoring sentiment-scoring
sentiment-analysis hate-speech-detection text-scoring extractive-qa open-domain-qa closed-domain-qa dialogue-modeling
dialogue-generation conversational language-modeling multiple-choice-qa document-retrieval utterance-retrieval
"""
"""Those for text, of https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/pipelines.ts."""

SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T n>1T"
ANNOTATORS = "found crowdsourced expert-generated machine-generated no-annotation other"
RELATIONS = "adapter finetune merge quantized"

REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")


def metadata_errors(repo_type: str, metadata: dict[str, Any]) -> list[str]:
    """What is wrong, in the order of the fields."""
    checks = {"model": _of_model, "dataset": _of_dataset}.get(repo_type)
    return [*_of_both(metadata), *checks(metadata)] if checks else []


def _of_both(metadata: dict[str, Any]) -> Iterator[str]:
    yield from _unknown(metadata, "license", LICENCES)
    yield from (f'"language" must not be {code!r}' for code in _listed(metadata, "language") if not _is(LANGUAGE, code))
    yield from (f'"tags" must be texts, not {tag!r}' for tag in _listed(metadata, "tags") if not isinstance(tag, str))
    if "license_name" in metadata and not _is(re.compile(r"[a-z0-9.-]+"), metadata["license_name"]):
        yield '"license_name" must be an id of small letters'
    if "license_link" in metadata and not re.match(r"(https?://|LICENSE)", str(metadata["license_link"])):
        yield '"license_link" must be a link, LICENSE or LICENSE.md'


def _of_model(metadata: dict[str, Any]) -> Iterator[str]:
    for field in ("base_model", "datasets"):
        yield from (f'"{field}" must be ids, not {name!r}' for name in _listed(metadata, field) if not _is(REPO_ID, name))
    yield from _unknown(metadata, "base_model_relation", RELATIONS)
    yield from _unknown(metadata, "pipeline_tag", TASKS)
    emissions = metadata.get("co2_eq_emissions", 0)
    grams = emissions.get("emissions") if isinstance(emissions, dict) else emissions
    if not isinstance(grams, int | float):
        yield '"co2_eq_emissions.emissions" must be a number'
    for model in _listed(metadata, "model-index"):
        if not model.get("name"):
            yield '"model-index[0].name" is required'
        for place, result in enumerate(model.get("results", [])):
            where = f"model-index[0].results[{place}]"
            wanted = {"task": ("type",), "dataset": ("name", "type")}
            lacking = ((part, key) for part, keys in wanted.items() for key in keys if not result[part].get(key))
            yield from (f'"{where}.{part}.{key}" is required' for part, key in lacking)
            for metric in result.get("metrics") or [{}]:
                yield from (f'"{where}.metrics.{key}" is required' for key in ("type", "value") if metric.get(key) is None)


def _of_dataset(metadata: dict[str, Any]) -> Iterator[str]:
    yield from _unknown(metadata, "task_categories", TASKS)
    yield from _unknown(metadata, "size_categories", SIZES)
    yield from _unknown(metadata, "task_ids", SUBTASKS)
    yield from _unknown(metadata, "annotations_creators", ANNOTATORS)
    yield from _unknown(metadata, "language_creators", ANNOTATORS)
    names = [config.get("config_name") for config in _listed(metadata, "configs")]
    if len(set(names)) < len(names) or not all(names):
        yield '"configs" must have names, each once'
    for config in _listed(metadata, "configs"):
        for part in _listed(config, "data_files"):
            if isinstance(part, dict) and not (part.get("split") and part.get("path")):
                yield f'"configs.data_files" of {config["config_name"]} must have a split and a path'


def _unknown(metadata: dict[str, Any], field: str, known: str) -> Iterator[str]:
    return (f'"{field}" must not be {value!r}' for value in _listed(metadata, field) if value not in known.split())


def _listed(metadata: dict[str, Any], field: str) -> list[Any]:
    value = metadata.get(field, [])
    return value if isinstance(value, list) else [value]


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
