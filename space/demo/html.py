"""The page's own HTML. Every text that comes from a model, a row or a person is escaped here, in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from common.tasks import Family

from .answer_view import Line, Mark
from .dataset_pages import Row


@dataclass(frozen=True)
class Panel:
    """One column of the comparison: who answers, what it said so far, how that is read and how good it is."""

    title: str
    model: str
    family: Family
    """How the lines are laid out."""
    lines: tuple[Line, ...] = ()
    said: str | None = None
    """The answer as it came, where that is not what the lines show anyway."""
    state: str = ""
    problem: str = ""
    mark: Mark | None = None
    writing: bool = False
    truth: bool = False
    """Whether this is no model's answer but the right one."""


VERDICTS = {"correct": "✓", "partly": "≈", "wrong": "✗"}
GIST = 240
"""Characters of a text that stand in a folded row; as many as are shown on a wide screen."""
DETACHED = "—"
"""Instead of a movement where a product has not been placed."""


def text(value: str) -> str:
    """Escaped for HTML. Braces and dollars too: the component that shows the page reads some of them as template code."""
    return escape(value).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def panels(columns: Sequence[Panel]) -> str:
    family = columns[0].family if columns else ""
    return f'<div class="panels {family}">{"".join(map(panel, columns))}</div>'


def panel(column: Panel) -> str:
    name = f'<span class="model">{text(column.model)}</span>' if column.model else ""
    parts = [f"<header><h3>{text(column.title)}</h3>{_mark(column.mark)}{name}</header>"]
    if column.said is not None:
        parts.append(f'<p class="said" tabindex="0" role="group" aria-label="Answer">{text(column.said)}</p>')
    if column.problem:
        parts.append(f'<p class="problem">{text(column.problem)}</p>')
    if column.lines:
        parts.append(_lines(column.lines, column.family))
    if column.state:
        parts.append(f'<p class="state">{text(column.state)}</p>')
    kinds = " writing" * column.writing + " right-answer" * column.truth
    return f'<section class="panel{kinds}" aria-label="{text(column.title)}">{"".join(parts)}</section>'


def _mark(mark: Mark | None) -> str:
    if mark is None:
        return ""
    note = f" · {text(mark.note)}" if mark.note else ""
    sign = f'<span aria-hidden="true">{VERDICTS[mark.verdict]}</span>'
    return f'<span class="mark {mark.verdict}">{sign} {mark.verdict}{note}</span>'


def _lines(lines: tuple[Line, ...], family: Family) -> str:
    if family == "generation":
        return "".join(f"<blockquote>{text(line.text)}</blockquote>" for line in lines)
    kind = "ol" if family == "ranking" else "ul"
    shown = (_line(line, family, place) for place, line in enumerate(lines, 1))
    return f'<{kind} class="lines {family}">{"".join(shown)}</{kind}>'


def _line(line: Line, family: Family, place: int) -> str:
    flags = {"chosen": line.chosen, "right": line.right is True, "wrong": line.right is False}
    kinds = " ".join(name for name, holds in flags.items() if holds)
    number = str(place) if family == "ranking" else line.number
    parts = [
        f'<span class="number">{text(number)}</span>' if number else "",
        f'<span class="title">{text(line.text)}</span>',
        f'<span class="note {text(line.note)}">{text(line.note)}</span>' if line.note and family == "ranking" else "",
        _movement(line) if family == "ranking" else _tick(line, family),
        _chance(line.chance) if family == "multiple_choice" and line.chance is not None else "",
    ]
    return f'<li class="{kinds}">{"".join(parts)}</li>'


def _movement(line: Line) -> str:
    """Where a product came from: its number in the prompt, and how far it went."""
    if line.moved is None:
        return f'<span class="moved"><span aria-hidden="true">{DETACHED}</span><span class="spoken">not placed</span></span>'
    way, arrow = ("up", "▲") if line.moved > 0 else ("down", "▼") if line.moved < 0 else ("stays", "")
    far = str(abs(line.moved)) if line.moved else ""
    spoken = f"was {text(line.number)}, {way} {far}".strip()
    seen = f"{arrow}{far}" if line.moved else "="
    return f'<span class="moved {way}"><span aria-hidden="true">{seen}</span><span class="spoken">{spoken}</span></span>'


def _tick(line: Line, family: Family) -> str:
    """What can be said of a pick or an option: that it was chosen, and whether it should have been."""
    retrieval = family == "retrieval"
    if line.right is True:
        sign, word = ("✓", "right") if line.chosen else ("○", "missed" if retrieval else "right")
    elif line.right is False:
        sign, word = "✗", "wrong"
    elif line.chosen:
        sign, word = "●", "picked" if retrieval else "chosen"
    else:
        return ""
    return f'<span class="tick"><span aria-hidden="true">{sign}</span> {text(line.note or word)}</span>'


def _chance(chance: float) -> str:
    share = min(max(chance, 0.0), 1.0)
    shown = "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")
    return f'<span class="chance">{text(shown)}</span><span class="bar" style="--share: {share:.4f}"></span>'


def status(message: str, kind: str) -> str:
    """The line at the top; `kind` is loading, ready or failed."""
    return f'<p class="status {kind}" role="status"><span class="dot"></span>{text(message)}</p>'


def alert(message: str) -> str:
    return f'<p class="alert" role="alert">{text(message)}</p>' if message else ""


def spoken(message: str) -> str:
    """For those who listen to the page only."""
    return f'<p class="spoken" role="status">{text(message)}</p>'


def hint(message: str) -> str:
    return f'<p class="hint">{text(message)}</p>' if message else ""


def prompt(words: str, label: str = "The prompt that is sent") -> str:
    return f'<pre class="prompt" tabindex="0" role="group" aria-label="{text(label)}">{text(words)}</pre>'


def row_card(number: int, gist: str, row: Row) -> str:
    """A row of the dataset: what it is about and its answer, unfolded the whole of it."""
    facts = {"completion": row.completion, "source": row.source, "licence": row.licence}
    shown = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in facts.items() if value)
    return (
        f'<details class="row"><summary><span class="number">{number:,}</span><span class="gist">{text(gist[:GIST])}</span>'
        f'<span class="answer">{text(row.completion[:GIST])}</span></summary>'
        f"{prompt(row.prompt, f'Prompt of row {number:,}')}<dl>{shown}</dl></details>"
    )
