"""The page's HTML. Every text from a model, a row or a visitor is escaped here."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from common.tasks import Family

from .answer_view import AnswerLine, Grade
from .dataset_pages import ShownRow


@dataclass(frozen=True)
class AnswerPanel:
    """One column of the comparison: a model's answer, or the right answer."""

    title: str
    model: str
    family: Family
    """Selects the layout of the lines."""
    lines: tuple[AnswerLine, ...] = ()
    raw_text: str | None = None
    """The answer as generated; None where the lines show just that."""
    state: str = ""
    problem: str = ""
    grade: Grade | None = None
    generating: bool = False
    is_gold: bool = False


VERDICTS = {"correct": "✓", "partly": "≈", "wrong": "✗"}
SUMMARY_CHARS = 240
"""Of a text in a folded row: as many as a wide screen shows."""


def escaped(value: str) -> str:
    """The text escaped for HTML. Braces and dollars too: gradio.HTML reads some of them as template code."""
    return escape(value).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def panels(columns: Sequence[AnswerPanel]) -> str:
    family = columns[0].family if columns else ""
    return f'<div class="panels {family}">{"".join(map(panel, columns))}</div>'


def panel(column: AnswerPanel) -> str:
    name = f'<span class="model">{escaped(column.model)}</span>' if column.model else ""
    parts = [f"<header><h3>{escaped(column.title)}</h3>{_grade(column.grade)}{name}</header>"]
    if column.raw_text is not None:
        parts.append(f'<p class="said" tabindex="0" role="group" aria-label="Answer">{escaped(column.raw_text)}</p>')
    if column.problem:
        parts.append(f'<p class="problem">{escaped(column.problem)}</p>')
    if column.lines:
        parts.append(_lines(column.lines, column.family))
    if column.state:
        parts.append(f'<p class="state">{escaped(column.state)}</p>')
    kinds = " writing" * column.generating + " right-answer" * column.is_gold
    return f'<section class="panel{kinds}" aria-label="{escaped(column.title)}">{"".join(parts)}</section>'


def _grade(grade: Grade | None) -> str:
    if grade is None:
        return ""
    note = f" · {escaped(grade.note)}" if grade.note else ""
    sign = f'<span aria-hidden="true">{VERDICTS[grade.verdict]}</span>'
    return f'<span class="mark {grade.verdict}">{sign} {grade.verdict}{note}</span>'


def _lines(lines: tuple[AnswerLine, ...], family: Family) -> str:
    if family == "generation":
        return "".join(f"<blockquote>{escaped(line.text)}</blockquote>" for line in lines)
    kind = "ol" if family == "ranking" else "ul"
    shown = (_line(line, family, place) for place, line in enumerate(lines, 1))
    return f'<{kind} class="lines {family}">{"".join(shown)}</{kind}>'


def _line(line: AnswerLine, family: Family, place: int) -> str:
    flags = {"chosen": line.chosen, "right": line.right is True, "wrong": line.right is False}
    kinds = " ".join(name for name, holds in flags.items() if holds)
    number = str(place) if family == "ranking" else line.number
    parts = [
        f'<span class="number">{escaped(number)}</span>' if number else "",
        f'<span class="title">{escaped(line.text)}</span>',
        f'<span class="note {escaped(line.note)}">{escaped(line.note)}</span>' if line.note and family == "ranking" else "",
        _movement(line) if family == "ranking" else _tick(line, family),
        _probability(line.probability) if family == "multiple_choice" and line.probability is not None else "",
        _share(f"{line.score:.2f}", line.score) if line.score is not None else "",
        f'<span class="chance">{line.likelihood:.1f}</span>' if line.likelihood is not None else "",
    ]
    return f'<li class="{kinds}">{"".join(parts)}</li>'


def _movement(line: AnswerLine) -> str:
    """How far a ranked product moved, and its number in the prompt for screen readers."""
    if line.moved is None:
        return '<span class="moved"><span aria-hidden="true">—</span><span class="spoken">not placed</span></span>'
    way, arrow = ("up", "▲") if line.moved > 0 else ("down", "▼") if line.moved < 0 else ("stays", "")
    far = str(abs(line.moved)) if line.moved else ""
    spoken = f"was {escaped(line.number)}, {way} {far}".strip()
    seen = f"{arrow}{far}" if line.moved else "="
    return f'<span class="moved {way}"><span aria-hidden="true">{seen}</span><span class="spoken">{spoken}</span></span>'


def _tick(line: AnswerLine, family: Family) -> str:
    """Whether a candidate or option was chosen, and whether that is right."""
    retrieval = family == "retrieval"
    if line.right is True:
        sign, word = ("✓", "right") if line.chosen else ("○", "missed" if retrieval else "right")
    elif line.right is False:
        sign, word = "✗", "wrong"
    elif line.chosen:
        sign, word = "●", "picked" if retrieval else "chosen"
    else:
        return ""
    return f'<span class="tick"><span aria-hidden="true">{sign}</span> {escaped(line.note or word)}</span>'


def _probability(probability: float) -> str:
    share = min(max(probability, 0.0), 1.0)
    return _share("<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %"), share)


def _share(shown: str, share: float) -> str:
    return f'<span class="chance">{escaped(shown)}</span><span class="bar" style="--share: {share:.4f}"></span>'


def status_line(message: str, kind: str) -> str:
    """The line at the top; `kind` is that of a BackendState."""
    return f'<p class="status {kind}" role="status"><span class="dot"></span>{escaped(message)}</p>'


def alert(message: str) -> str:
    return f'<p class="alert" role="alert">{escaped(message)}</p>' if message else ""


def spoken(message: str) -> str:
    """A message for screen readers only."""
    return f'<p class="spoken" role="status">{escaped(message)}</p>'


def hint(message: str) -> str:
    return f'<p class="hint">{escaped(message)}</p>' if message else ""


def prompt_block(words: str, label: str = "The prompt that is sent") -> str:
    return f'<pre class="prompt" tabindex="0" role="group" aria-label="{escaped(label)}">{escaped(words)}</pre>'


@dataclass(frozen=True)
class ShownAnswer:
    """The cells of a table's row; `failed`: it holds a reason in place of an answer."""

    cells: tuple[str, ...]
    failed: bool = False


def answer_table(head: Sequence[str], rows: Sequence[ShownAnswer], label: str) -> str:
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    body = "".join(
        f'<tr class="{"failed" * row.failed}">{"".join(f"<td>{escaped(cell)}</td>" for cell in row.cells)}</tr>' for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(label)}"><table class="answers">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def row_card(number: int, summary: str, row: ShownRow) -> str:
    """A row of the dataset, folded to its summary and completion."""
    facts = {"completion": row.completion, "source": row.source, "licence": row.licence}
    shown = "".join(f"<dt>{name}</dt><dd>{escaped(value)}</dd>" for name, value in facts.items() if value)
    return (
        f'<details class="row"><summary><span class="number">{number:,}</span>'
        f'<span class="gist">{escaped(summary[:SUMMARY_CHARS])}</span>'
        f'<span class="answer">{escaped(row.completion[:SUMMARY_CHARS])}</span></summary>'
        f"{prompt_block(row.prompt, f'Prompt of row {number:,}')}<dl>{shown}</dl></details>"
    )
