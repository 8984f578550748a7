"""The card's text and metadata, rendered from CardInputs."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.tasks import Family
from dataset_builders.citations import REFERENCES
from eval_tasks.reporting.model_metadata import eval_result
from eval_tasks.reporting.notes import notes
from eval_tasks.reporting.report import Report, ScoreLine
from eval_tasks.reporting.results import shown_time
from eval_tasks.reporting.table import metric_name, number, share
from eval_tasks.suites.suite import SUITES, task_title
from model_card import markdown, tables
from model_card.conclusions import conclusions, headline
from model_card.consistency import ENDPOINT, decoding, inconsistencies
from model_card.evaluations import BASELINES, SuiteComparison
from model_card.inputs import SHOP, CardInputs
from model_card.notebook import COLAB, has_notebook
from model_card.plot import SHOWN_WIDTH
from model_card.quick_start import ADAPTER_FOLDER, BASE_FOLDER, quick_start
from model_card.served import ServedComparison
from training import curves

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TEMPLATE = Path(__file__).with_name("template.md")
PLOT = "scores.png"
HUB_LICENCES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}
"""Licence identifiers of the Hub; any other licence, or a mix of several, is `other`."""

FAMILY_TITLES: dict[Family, str] = {
    "multiple_choice": "choices",
    "ranking": "rankings",
    "retrieval": "selections",
    "generation": "short texts",
}

LANGUAGES = {"en": "English", "ja": "Japanese", "es": "Spanish"}
"""Language code of a corpus -> its name."""

LONGEST_NOTE = 4000
"""Characters."""


def render(inputs: CardInputs, with_plot: bool) -> str:
    """The whole README.md, metadata first."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.filters |= {"plain": markdown.plain, "identifier": markdown.identifier, "count": markdown.count}
    report, summary = inputs.shop.report, inputs.adapter.summary
    lines = [*tables.task_lines(report.lines), *mean_lines(report)]
    overall = report.mean.cells[report.last]
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        metadata=card_data(inputs).to_yaml(),
        title=inputs.title,
        repo_id=inputs.repo_id,
        base=inputs.base,
        base_folder=BASE_FOLDER,
        adapter_folder=ADAPTER_FOLDER,
        data=inputs.data,
        dataset_id=inputs.dataset_id,
        families=markdown.listed([words for family, words in FAMILY_TITLES.items() if family in _families(inputs)]),
        languages=markdown.listed([LANGUAGES.get(code, markdown.plain(code)) for code in _languages(inputs)]),
        measured=inputs.measured,
        untrained=[task.title for task in inputs.untrained],
        unmeasured=[task.title for task in inputs.unmeasured],
        headline=headline(report),
        rows=overall.rows if overall else None,
        inconsistencies=inconsistencies(inputs),
        start=quick_start(inputs),
        colab=COLAB.format(repo_id=inputs.repo_id) if has_notebook(inputs) else None,
        curves=inputs.adapter.curves,
        conclusions=conclusions(report),
        plot=PLOT if with_plot else None,
        plot_width=SHOWN_WIDTH,
        with_base=report.last > 0,
        scores=tables.scores_table(report, lines),
        bold_differences=any(gain and gain.clear for _, line in lines for gain in line.gains),
        intervals=any(cell and cell.low is not None for _, line in lines for cell in line.cells),
        how=how_measured(inputs),
        answer_forms=tables.answers_table(forms) if (forms := inputs.shop.answer_forms) else None,
        served=[served_section(each, inputs) for each in inputs.served],
        baselines=tables.baselines_table(report, lines),
        baseline_words=[(name, BASELINES[name]) for name in report.names[report.last + 1 :] if name in BASELINES],
        notes=_notes(report, SHOP),
        others=[other_suite(suite) for suite in inputs.others],
        configs=tables.configs_table(inputs.data, inputs.config),
        sources=tables.sources_table(inputs.data),
        config=inputs.config,
        train_rows=summary.get("train_rows"),
        validation_rows=summary.get("validation_rows"),
        trained_fingerprint=summary.get("dataset_fingerprint"),
        recipe=tables.recipe_table(inputs) if summary else None,
        weakest=_weakest(report),
        least_readable=_least_readable(report),
        licences=tables.licences_table(inputs),
        references=[REFERENCES[name] for name in (inputs.data.sources if inputs.data else ()) if name in REFERENCES],
        citation_key=re.sub(r"[^A-Za-z0-9]+", "_", inputs.title).strip("_") or "adapter",
        citation_base=re.sub(r"[^\w ./:,-]", "", inputs.base.title),
        year=found[0] if (found := re.match(r"\d{4}(?=-)", inputs.tuned.model.run.times[0])) else None,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def card_data(inputs: CardInputs) -> "ModelCardData":
    """The metadata block, for huggingface_hub 1.33. It holds ids of the Hub and never a folder."""
    from huggingface_hub import ModelCardData

    licence = _hub_licence(inputs)
    other = licence == "other"
    return ModelCardData(
        language=_languages(inputs),
        license=licence,
        license_name="see-licences-below" if other else None,
        license_link=f"https://huggingface.co/{inputs.repo_id}#licences" if other and inputs.repo_id else None,
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=inputs.base.hub_id,
        base_model_relation="adapter" if inputs.base.hub_id else None,
        datasets=[inputs.dataset_id] if inputs.dataset_id else None,
        tags=[
            *("lora", "e-commerce", "shopping"),
            *dict.fromkeys(task.family.replace("_", "-") for task in inputs.measured),
            *curves.tags(inputs.adapter.curves),
        ],
        model_name=inputs.title,
        eval_results=eval_results(inputs),
        co2_eq_emissions=_emissions(inputs),
    )


def eval_results(inputs: CardInputs) -> "list[EvalResult]":
    """The tuned model's scores for the model-index, one a task."""
    revision = inputs.data.revision if inputs.data else None
    scores = [(task, inputs.tuned.model.run.scores[f"{SHOP}:{task.name}"]) for task in inputs.measured]
    limit = inputs.tuned.model.run.max_samples
    return [eval_result(task, score.value, score.few_shots, inputs.dataset_id, revision, limit) for task, score in scores]


def other_suite(suite: SuiteComparison) -> dict[str, Any]:
    """The section of a benchmark other than the dataset's own test rows: its tables of means and of tasks, and their number."""
    report = suite.report
    means = [
        *((f"{group.family.replace('_', ' ')}, mean of {len(group.lines)}", group.mean) for group in report.groups),
        ("all tasks, mean", report.mean),
    ]
    return {
        "title": SUITES[suite.suite].title,
        "note": SUITES[suite.suite].note,
        "means": tables.scores_table(report, means),
        "tasks": tables.scores_table(report, tables.task_lines(report.lines)),
        "count": len(report.lines),
        "baselines": tables.baselines_table(report, means),
        "notes": _notes(report, suite.suite),
    }


def mean_lines(report: Report) -> list[tuple[str, ScoreLine]]:
    """Means of the families with several tasks, and the mean over all tasks."""
    families = [(f"{group.family.replace('_', ' ')}, mean", group.mean) for group in report.groups if len(group.lines) > 1]
    return [*families, ("all tasks, mean", report.mean)] if len(report.lines) > 1 else []


def how_measured(inputs: CardInputs) -> str:
    """Decoding, few-shot examples and date, in a sentence."""
    run = inputs.tuned.model.run
    shots = sorted({score.few_shots for score in run.scores.values()})
    examples = "no few-shot examples" if shots == [0] else f"{' or '.join(map(str, shots))} few-shot examples"
    day = markdown.plain(shown_time(run.times[0]).partition(" ")[0])
    return f"{decoding(inputs.tuned).capitalize()}, {examples} in the prompts; measured on {day}."


def served_section(comparison: ServedComparison, inputs: CardInputs) -> dict[str, Any]:
    """The served models with one form of answers: their table, and sentences: of each, through what it was asked, how and when,
    and what to mind that the other tables do not say."""
    sentences = [
        f"**{markdown.plain(one.model.name)}**: asked through "
        f"{'an endpoint' if one.backend == ENDPOINT else markdown.plain(one.backend or 'lighteval')}, which calls it "
        f"{markdown.identifier(Path(one.called).name)}; {decoding(one)}; measured on "
        f"{markdown.plain(shown_time(one.model.run.times[0]).partition(' ')[0])}."
        for one in comparison.served
    ]
    known = _notes(inputs.shop.report, SHOP)
    sentences += [note for note in _notes(comparison.report, SHOP) if note not in known]
    names = ["Tuned", *map(markdown.plain, comparison.report.names[1:])]
    scores = tables.scores_table(comparison.report, tables.lines_and_mean(comparison.report), names)
    return {"answers": comparison.answers, "scores": scores, "sentences": sentences}


def _languages(inputs: CardInputs) -> list[str]:
    return inputs.data.languages if inputs.data else ["en"]


def _families(inputs: CardInputs) -> set[Family]:
    return {task.family for task in inputs.measured}


def _notes(report: Report, suite: str) -> list[str]:
    """The report's notes, with task names as code."""
    return [
        re.sub(rf"\b{suite}:([\w:]*\w)", r"`\1`", markdown.plain(note, LONGEST_NOTE)) for note in notes(report, advice=False)
    ]


def _weakest(report: Report) -> str | None:
    """The task with the lowest score; None for a single task."""
    scored = [(cell.value, line) for line in report.lines if (cell := line.cells[report.last])]
    if len(scored) < 2:
        return None
    value, line = min(scored, key=lambda found: found[0])
    return f"{task_title(line.name)} ({metric_name(line)} {number(value)})"


def _least_readable(report: Report) -> str | None:
    """The task with the largest share of unreadable answers; None if there are none."""
    shares = [(cell.unparsable or 0.0, line) for line in report.lines if (cell := line.cells[report.last])]
    found, line = max(shares, key=lambda found: found[0])
    return f"{task_title(line.name)} ({share(found)})" if found else None


def _emissions(inputs: CardInputs) -> dict[str, Any] | None:
    """Emissions in grams, see https://huggingface.co/docs/hub/model-cards-co2; None if not measured."""
    measured = markdown.number(inputs.adapter.summary.get("emissions_kg"))
    if measured is None:
        return None
    device = inputs.adapter.section("hardware").get("device")
    return {
        "emissions": round(measured * 1000, 4),
        "source": "the training run's own record",
        "training_type": "fine-tuning",
        **({"hardware_used": " ".join(str(device).split())} if device else {}),
    }


def _hub_licence(inputs: CardInputs) -> str:
    """The licence that the base model and every source state alike, else `other`."""
    sources = [source.licence for source in inputs.data.sources.values()] if inputs.data else []
    names = {"-".join(licence.lower().split()) for licence in (inputs.base.licence or "", *(sources or [""]))}
    return names.pop() if len(names) == 1 and names <= HUB_LICENCES else "other"
