"""The card's text and metadata, made from facts that were read elsewhere."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builders.card import REFERENCES
from dataset_builders.tasks import FAMILIES, TASKS, Family, Task, render_prompt
from eval_tasks.answering.cache_key import data_version
from model_card import markdown, tables
from model_card.facts import Facts
from model_card.results import METRICS, Results, verdict

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TEMPLATE = Path(__file__).with_name("template.md")
PLOT = "scores.png"
BASE_FOLDER = "path/to/base-model"
ADAPTER_FOLDER = "path/to/this-adapter"
HUB_LICENCES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}
"""Licence identifiers of the Hub that a source here may have; any other, or a mix, is `other` there."""

FAMILY_TITLES: dict[Family, str] = {
    "multiple_choice": "choices",
    "ranking": "rankings",
    "retrieval": "selections",
    "generation": "short texts",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "review_rating": {"category": "Kitchen", "review": "The lid leaked after two days and the handle came off."},
    "query_product_ranking": {
        "query": "blue water bottle",
        "products": ["Desk lamp", "Blue steel bottle, 750 ml", "Bottle brush", "Green steel bottle", "Blue glass bottle"],
    },
    "next_query": {
        "actions": ["Searched: tent", "Viewed: Two-person tent"],
        "queries": ["two-person tent", "light tent", "sofa", "sleeping bag", "red shoes"],
    },
    "answer_generation": {"question": "Is a bulb in the box?", "snippets": ["A bulb came with the lamp.", "Bright enough."]},
}
"""Fields for the quick start: the first of these tasks that was measured is shown."""

SNIPPET = '''\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "{base}"
adapter = "{adapter}"

tokenizer = AutoTokenizer.from_pretrained(adapter)
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
model = PeftModel.from_pretrained(model, adapter).eval()

prompt = """\\
{prompt}"""
inputs = tokenizer.apply_chat_template(
    [{{"role": "user", "content": prompt}}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
output = model.generate(**inputs, max_new_tokens={max_new_tokens}, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))'''


def render(facts: Facts, with_plot: bool) -> str:
    """The whole README.md, metadata first."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.filters |= {
        name: getattr(markdown, name) for name in ("plain", "identifier", "count", "figure", "share", "score")
    }
    summary, last = facts.adapter.summary, facts.means[-1]
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        metadata=card_data(facts).to_yaml(),
        title=facts.title,
        repo_id=facts.repo_id,
        base=facts.base,
        base_folder=BASE_FOLDER,
        adapter_folder=ADAPTER_FOLDER,
        data=facts.data,
        dataset_id=facts.dataset_id,
        families=[FAMILY_TITLES[family] for family in FAMILIES if any(task.family == family for task in facts.measured)],
        measured=facts.measured,
        untrained=[task.title for task in facts.untrained],
        unmeasured=[task.title for name, task in TASKS.items() if name not in facts.tuned.scores],
        snippet=snippet(facts),
        verdict=" ".join(verdict(facts.lines, last)),
        plot=PLOT if with_plot else None,
        with_base=facts.base_results is not None,
        paired=last.paired_stderr is not None,
        scores=tables.scores_table(facts),
        unreadable=tables.unreadable_table(facts),
        decoding=_decoding(facts.tuned, facts.base_results),
        tuned=facts.tuned,
        configs=tables.configs_table(facts.data),
        sources=tables.sources_table(facts.data),
        other_rows=_other_rows_note(facts),
        config=facts.config,
        train_rows=summary.get("train_rows"),
        validation_rows=summary.get("validation_rows"),
        fingerprint_note=_fingerprint_note(facts),
        recipe=tables.recipe_table(facts),
        emissions=summary.get("emissions_kg"),
        weakest=min(facts.lines, key=lambda line: line.tuned.value) if len(facts.lines) > 1 else None,
        least_readable=max(facts.lines, key=lambda line: line.tuned.unparsable or 0),
        licences=tables.licences_table(facts),
        references=[REFERENCES[name] for name in (facts.data.sources if facts.data else ()) if name in REFERENCES],
        citation_key=re.sub(r"[^A-Za-z0-9]+", "_", facts.title).strip("_") or "adapter",
        citation_base=re.sub(r"[^\w ./:,-]", "", facts.base.title),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def card_data(facts: Facts) -> "ModelCardData":
    """The metadata block, as huggingface_hub 1.33 models it. Only ids of the Hub stand in it, never a folder."""
    from huggingface_hub import ModelCardData

    licence = _hub_licence(facts)
    other = licence == "other"
    return ModelCardData(
        language="en",
        license=licence,
        license_name="see-licences-below" if other else None,
        license_link=f"https://huggingface.co/{facts.repo_id}#licences" if other and facts.repo_id else None,
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=facts.base.hub_id,
        base_model_relation="adapter" if facts.base.hub_id else None,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        tags=["lora", "e-commerce", "shopping", *dict.fromkeys(task.family.replace("_", "-") for task in facts.measured)],
        model_name=facts.title,
        eval_results=eval_results(facts),
    )


def eval_results(facts: Facts) -> "list[EvalResult]":
    """The tuned model's scores for the model-index, one a task."""
    revision = facts.data.revision if facts.data else None
    return [
        eval_result(task, line.tuned.value, facts.tuned.few_shots, facts.dataset_id, revision)
        for task, line in zip(facts.measured, facts.lines, strict=True)
    ]


def eval_result(task: Task, value: float, few_shots: int, dataset_id: str | None, revision: str | None) -> "EvalResult":
    """A score on the test rows of a task, for the model-index. `dataset_id` None: of a local build."""
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="text-generation",
        task_name=task.title,
        dataset_type=dataset_id or "local",
        dataset_name=dataset_id.split("/")[-1] if dataset_id else "a local build",
        dataset_config=task.name,
        dataset_split="test",
        dataset_revision=revision,
        dataset_args={"num_few_shot": few_shots},
        metric_type="rouge" if task.metric == "rougel" else task.metric,
        metric_name=METRICS.get(task.metric, task.metric),
        metric_value=round(value, 4),
    )


def snippet(facts: Facts) -> str:
    """The quick start: a program that runs as it stands once base and adapter can be loaded."""
    names = [task.name for task in facts.measured if task.name in EXAMPLES]
    task = TASKS[names[0] if names else "review_rating"]
    return SNIPPET.format(
        base=facts.base.hub_id or BASE_FOLDER,
        adapter=facts.repo_id or ADAPTER_FOLDER,
        prompt=render_prompt(task.templates[0], EXAMPLES[task.name]),
        max_new_tokens=task.max_new_tokens,
    )


def _decoding(tuned: Results, base: Results | None) -> str:
    def words(results: Results) -> str:
        if results.temperature is None:
            return "decoding not recorded"
        return "greedy decoding" if results.temperature == 0 else f"sampling at temperature {results.temperature:g}"

    if base is None or words(base) == words(tuned):
        return f"{words(tuned).capitalize()}."
    return f"Base: {words(base)}; tuned: {words(tuned)}; so the difference is not tuning's alone."


def _fingerprint_note(facts: Facts) -> str:
    trained = facts.adapter.summary.get("dataset_fingerprint")
    if not isinstance(trained, str):
        return "The training run recorded no fingerprint of its rows."
    known = facts.data.configs.get(facts.config, {}).get("fingerprint") if facts.data else None
    shown = f"Fingerprint of its rows at training: {markdown.identifier(trained)}"
    if known is None:
        return f"{shown}."
    if known == trained:
        return f"{shown}, the one above."
    return f"**{shown}, which is not the one above:** the dataset was built again since, and held-out rows may have been seen."


def _other_rows_note(facts: Facts) -> str:
    """Which scores were measured on rows that the manifest does not describe: the task's version tells its fingerprint."""
    titles = []
    for task in facts.measured:
        version = facts.tuned.scores[task.name].version
        fingerprint = facts.data.configs.get(task.name, {}).get("fingerprint") if facts.data else None
        if version and fingerprint and version != data_version(fingerprint):
            titles.append(task.title)
    return f"**Measured on another build of the dataset than the one below: {'; '.join(titles)}.**" if titles else ""


def _hub_licence(facts: Facts) -> str:
    """One licence only if base and every source state that same one."""
    sources = [source["licence"] for source in facts.data.sources.values()] if facts.data else []
    names = {"-".join(licence.lower().split()) for licence in (facts.base.licence or "", *(sources or [""]))}
    return names.pop() if len(names) == 1 and names <= HUB_LICENCES else "other"
