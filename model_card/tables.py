"""The card's tables, as Markdown. An interval is in small print below its figure, so that columns stay narrow."""

from collections.abc import Sequence
from typing import Any

from common.dataset import Manifest
from eval_tasks.reporting.report import Report, ScoreCell, ScoreGain, ScoreLine
from eval_tasks.reporting.table import NOTHING, gain_interval, metric_name, number, score_interval, share, signed
from eval_tasks.suites.suite import task_title
from model_card import markdown
from model_card.inputs import CardInputs

SHORT = 12
"""Digits shown of a fingerprint in a table; the one that was trained on is shown in full."""

UNBROKEN = "\u00a0"
"""A non-breaking space, so that an interval stays on one line."""


# --- Scores ---


def scores_table(report: Report, lines: Sequence[tuple[str, ScoreLine]], names: Sequence[str] = ("Base", "Tuned")) -> str:
    """Each model but the baselines, and behind every one but the first its difference to that.

    `lines`: name -> line; a line without a metric is a mean. `names` of the models; a single one takes the last.
    """
    first, *others = names if report.last else names[-1:]
    titles = [f"{first}:", *(title for name in others for title in (f"{name}:", "Difference:"))]
    rows = []
    for name, line in lines:
        cells = line.cells[: report.last + 1]
        figures = [text for pair in zip(map(_score, cells), map(_gain, line.gains), strict=False) for text in pair]
        shares = f"{UNBROKEN}→{UNBROKEN}".join(share(cell.unparsable if cell else None) for cell in cells)
        rows.append([_name_and_rows(name, line, cells[-1]), figures[0], *figures[2:], shares])
    return markdown.table(["Task", *titles, "Unreadable:"], rows)


def answers_table(report: Report) -> str:
    """Written beside scored answers of each model, the tuned model's difference and the best baseline's score; see
    SuiteComparison.answer_forms."""
    names = [f"{name[:1].upper()}{name[1:]}:" for name in report.names[: report.last + 1]]
    beside = len(report.models) > len(names)
    columns = ["Task", *names[:2], "Difference:", *names[2:], *(["Best baseline:"] if beside else [])]
    rows = []
    for name, line in lines_and_mean(report):
        values = [number(cell.value if cell else None) for cell in line.cells[: len(names)]]
        best = [number(report.best_baseline(line))] if beside else []
        rows.append([_with_small(_name(name, line), metric_name(line)), *values[:2], _gain(line.gains[1]), *values[2:], *best])
    return markdown.table(columns, rows)


def lines_and_mean(report: Report) -> list[tuple[str, ScoreLine]]:
    return [*task_lines(report.lines), *([("all of these, mean", report.mean)] if len(report.lines) > 1 else [])]


def baselines_table(report: Report, lines: Sequence[tuple[str, ScoreLine]]) -> str | None:
    """The tuned model beside baselines, the highest score of a line in bold; None without baselines."""
    shown = range(report.last, len(report.models))
    lines = [(name, line) for name, line in lines if any(line.cells[place] for place in shown[1:])]
    if not lines:
        return None
    rows = []
    for name, line in lines:
        values = [cell.value if (cell := line.cells[place]) else None for place in shown]
        most = max(round(value, 3) for value in values if value is not None)
        best = [value is not None and round(value, 3) == most for value in values]
        texts = [f"**{number(value)}**" if bold else number(value) for value, bold in zip(values, best, strict=True)]
        rows.append([_name(name, line), *texts])
    return markdown.table(["Task", "Tuned:", *(f"{markdown.plain(report.names[place])}:" for place in shown[1:])], rows)


def task_lines(lines: Sequence[ScoreLine]) -> list[tuple[str, ScoreLine]]:
    return [(task_title(line.name), line) for line in lines]


def _name(name: str, line: ScoreLine) -> str:
    shown = markdown.plain(name[:1].upper() + name[1:])
    return shown if line.metric else f"**{shown}**"


def _name_and_rows(name: str, line: ScoreLine, tuned: ScoreCell | None) -> str:
    rows = f"{tuned.rows:,} rows" if tuned and tuned.rows else ""
    return _with_small(_name(name, line), ", ".join(filter(None, (metric_name(line), rows))))


def _score(cell: ScoreCell | None) -> str:
    return _with_small(number(cell.value), score_interval(cell).replace(" ", UNBROKEN)) if cell else NOTHING


def _gain(gain: ScoreGain | None) -> str:
    if gain is None:
        return NOTHING
    shown = f"**{signed(gain.value)}**" if gain.clear else signed(gain.value)
    return _with_small(shown, gain_interval(gain).replace(" ", UNBROKEN))


def _with_small(text: str, small: str) -> str:
    return f"{text}<br><sub>{small}</sub>" if small else text


# --- Data and training ---


def configs_table(data: Manifest | None, trained_on: str) -> str | None:
    """The config that was trained on and the configs of all tasks, without families."""
    from common.tasks import FAMILIES

    if data is None:
        return None
    rows = [
        [
            markdown.identifier(name),
            markdown.count(config.train),
            markdown.count(config.test),
            markdown.identifier(str(config.fingerprint or "")[:SHORT]),
        ]
        for name, config in data.configs.items()
        if name not in FAMILIES or name == trained_on
    ]
    return markdown.table(["Config", "Train rows:", "Test rows:", f"Fingerprint, first {SHORT}"], rows)


def sources_table(data: Manifest | None) -> str | None:
    if data is None or not data.sources:
        return None
    rows = [
        [markdown.plain(name), *map(markdown.count, (source.read, source.used, source.left_out))]
        for name, source in data.sources.items()
    ]
    return markdown.table(["Source", "Records read:", "Used in a row:", "Left out, with a reason:"], rows)


def licences_table(inputs: CardInputs) -> str:
    sources = inputs.data.sources.items() if inputs.data else ()
    rows = [[f"Source: {markdown.plain(name)}", markdown.plain(source.licence)] for name, source in sources]
    base = [f"Base model: {markdown.plain(inputs.base.title)}", markdown.plain(inputs.base.licence or "not known here")]
    return markdown.table(["Part", "Licence as its authors state it"], [base, *(rows or [["Data", "not known here"]])])


def recipe_table(inputs: CardInputs) -> str:
    """Recorded settings and measurements of the training run."""
    plain, figure, count = markdown.plain, markdown.figure, markdown.count
    lora, summary = inputs.adapter.lora, inputs.adapter.summary
    versions = inputs.adapter.section("versions")
    rows = [
        ("Method", plain(lora.get("peft_type") or "LoRA").replace("LORA", "LoRA")),
        ("Adapter that the training went on from", plain(summary.get("adapter") or markdown.MISSING)),
        ("LoRA rank", count(lora.get("r"))),
        ("LoRA alpha", figure(lora.get("lora_alpha"))),
        ("LoRA dropout", figure(lora.get("lora_dropout"))),
        ("LoRA modules", plain(_module_kinds(lora.get("target_modules")))),
        ("Task weights", plain(summary.get("task_weights") or markdown.MISSING)),
        ("Curriculum, share of the first epoch with easier rows", figure(summary.get("curriculum") or None)),
        ("Learning rate", figure(summary.get("learning_rate"))),
        ("Epochs", figure(summary.get("epochs"))),
        ("Steps", count(summary.get("steps"))),
        ("Rows per step", figure(summary.get("rows_per_step"))),
        ("Maximum tokens per row", count(summary.get("max_length"))),
        ("Seed", count(summary.get("seed"))),
        ("Training loss", figure(summary.get("train_loss"))),
        ("Validation loss", figure(summary.get("validation_loss"))),
        ("Hardware", _hardware(inputs)),
        ("Training time", markdown.duration(summary.get("seconds"))),
        ("Tokens", count(summary.get("tokens"))),
        ("Throughput", figure(summary.get("tokens_per_second"), "tokens/s")),
        ("Peak memory", markdown.size(summary.get("peak_memory_bytes"))),
        ("Emissions", figure(summary.get("emissions_kg"), "kg CO2e")),
        ("Evaluation time", markdown.duration(inputs.tuned.seconds)),
        ("Versions", plain(", ".join(f"{name} {version}" for name, version in versions.items())) or markdown.MISSING),
    ]
    return markdown.table(["Setting or measurement", "Value"], [row for row in rows if row[1] != markdown.MISSING])


def _hardware(inputs: CardInputs) -> str:
    hardware, processes = inputs.adapter.section("hardware"), markdown.number(inputs.adapter.summary.get("processes"))
    parts = [
        "CPU" if hardware.get("device") == "cpu" else markdown.plain(hardware.get("device") or markdown.MISSING),
        f"{markdown.count(hardware.get('cores'))} cores",
        f"{markdown.size(hardware.get('memory_bytes'))} of memory",
        f"{processes:.0f} processes" if processes and processes > 1 else markdown.MISSING,
    ]
    return ", ".join(part for part in parts if markdown.MISSING not in part) or markdown.MISSING


def _module_kinds(modules: Any) -> str:
    """Kinds of modules, the last part of their names: PEFT writes `all-linear` out as every module's full name."""
    if isinstance(modules, list):
        return ", ".join(sorted({str(module).rsplit(".", 1)[-1] for module in modules})) or markdown.MISSING
    return str(modules or markdown.MISSING)
