"""The card's tables, as Markdown."""

from typing import Any

from model_card import markdown
from model_card.facts import Facts
from model_card.inputs import Data
from model_card.results import Comparison

SHORT = 12
"""Digits of a fingerprint in a table; the one that was trained on is given in full."""


def base_score(line: Comparison) -> str:
    """A table's cell."""
    return markdown.score(line.base.value, line.base.stderr) if line.base else markdown.MISSING


def difference(line: Comparison) -> str:
    """A table's cell."""
    return markdown.signed(line.difference, line.stderr) if line.same_prompts else "other prompts"


def scores_table(facts: Facts) -> str:
    with_base = facts.base_results is not None
    columns = ["Task", "Metric", "Rows:", *(["Base:"] if with_base else []), "Tuned:", *(["Difference:"] if with_base else [])]

    def row(line: Comparison, title: str) -> list[str]:
        before, after = ([base_score(line)], [difference(line)]) if with_base else ([], [])
        tuned = markdown.score(line.tuned.value, line.tuned.stderr)
        return [title, line.metric, markdown.count(line.tuned.rows), *before, tuned, *after]

    rows = [row(line, line.title) for line in facts.lines] + [row(line, f"**{line.title}**") for line in facts.means]
    return markdown.table(columns, rows)


def unreadable_table(facts: Facts) -> str:
    with_base = facts.base_results is not None
    rows = [
        [
            line.title,
            *([markdown.share(line.base.unparsable if line.base else None)] if with_base else []),
            markdown.share(line.tuned.unparsable),
        ]
        for line in [*facts.lines, facts.means[-1]]
    ]
    return markdown.table(["Task", *(["Base:"] if with_base else []), "Tuned:"], rows)


def configs_table(data: Data | None) -> str | None:
    if data is None:
        return None
    rows = [
        [
            markdown.plain(name),
            markdown.count(config.get("train")),
            markdown.count(config.get("test")),
            markdown.identifier(str(config.get("fingerprint") or "")[:SHORT]),
        ]
        for name, config in data.configs.items()
    ]
    return markdown.table(["Config", "Train rows:", "Test rows:", f"Fingerprint, first {SHORT}"], rows)


def sources_table(data: Data | None) -> str | None:
    if data is None or not data.sources:
        return None
    rows = [
        [markdown.plain(name), *(markdown.count(source[key]) for key in ("read", "used", "left_out"))]
        for name, source in data.sources.items()
    ]
    return markdown.table(["Source", "Raw records read:", "In a row:", "Left out, with a reason:"], rows)


def licences_table(facts: Facts) -> str:
    sources = facts.data.sources.items() if facts.data else ()
    rows = [[f"Source: {markdown.plain(name)}", markdown.plain(source["licence"])] for name, source in sources]
    base = [f"Base model: {markdown.plain(facts.base.title)}", markdown.plain(facts.base.licence or "not known here")]
    return markdown.table(["Part", "Licence as its authors state it"], [base, *(rows or [["Data", "not known here"]])])


def recipe_table(facts: Facts) -> str:
    plain, figure, count = markdown.plain, markdown.figure, markdown.count
    lora, summary = facts.adapter.lora, facts.adapter.summary
    hardware, versions = facts.adapter.section("hardware"), facts.adapter.section("versions")
    device = plain(hardware.get("device") or "device not recorded")
    cores, memory = count(hardware.get("cores")), markdown.size(hardware.get("memory_bytes"))
    rows = [
        ("Method", plain(lora.get("peft_type") or "LoRA").replace("LORA", "LoRA")),
        ("LoRA rank r, alpha, dropout", ", ".join(figure(lora.get(key)) for key in ("r", "lora_alpha", "lora_dropout"))),
        ("LoRA target modules", plain(_module_kinds(lora.get("target_modules")))),
        ("Learning rate", figure(summary.get("learning_rate"))),
        ("Epochs, steps", f"{figure(summary.get('epochs'))}, {count(summary.get('steps'))}"),
        ("Rows per step, most tokens in a row", f"{count(summary.get('rows_per_step'))}, {count(summary.get('max_length'))}"),
        ("Tokens", count(summary.get("tokens"))),
        ("Seed", count(summary.get("seed"))),
        ("Training loss, validation loss", f"{figure(summary.get('train_loss'))}, {figure(summary.get('validation_loss'))}"),
        ("Hardware", f"{device}; cores: {cores}; memory: {memory}"),
        ("Time", markdown.duration(summary.get("seconds"))),
        ("Throughput", figure(summary.get("tokens_per_second"), "tokens/s")),
        ("Peak memory", markdown.size(summary.get("peak_memory_bytes"))),
        ("Time of the evaluation", markdown.duration(facts.tuned.seconds)),
        ("Versions", plain(", ".join(f"{name} {version}" for name, version in versions.items())) or markdown.MISSING),
    ]
    return markdown.table(["Setting or measurement", "Value"], rows)


def _module_kinds(modules: Any) -> str:
    """PEFT writes `all-linear` out as every module's full name; the last part of a name says what kind it is."""
    if isinstance(modules, list):
        return ", ".join(sorted({str(module).rsplit(".", 1)[-1] for module in modules})) or markdown.MISSING
    return str(modules or markdown.MISSING)
