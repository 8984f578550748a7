"""The page's own HTML. Every text that comes from a model, a row or a person is escaped here, in one place."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from reading import Line, Mark


@dataclass(frozen=True)
class Panel:
    """One column of the comparison: who answers, what it said so far, how that is read and how good it is."""

    title: str
    model: str
    said: str | None = None
    state: str = ""
    lines: tuple[Line, ...] = ()
    problem: str = ""
    mark: Mark | None = None
    shape: str = ""
    """The task's family: how the lines are laid out."""


VERDICTS = {"correct": "✓", "partly": "≈", "wrong": "✗"}


def text(value: str) -> str:
    """Escaped for HTML. Braces and dollars too: the component that shows the page reads some of them as template code."""
    return escape(value).replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;")


def panels(columns: Iterable[Panel]) -> str:
    return f'<div class="panels">{"".join(map(panel, columns))}</div>'


def panel(column: Panel) -> str:
    parts = [
        f"<header><h3>{text(column.title)}</h3>{_mark(column.mark)}</header>",
        f'<p class="model">{text(column.model)}</p>',
    ]
    if column.said is not None:
        parts.append(f'<h4>Answer</h4><pre class="said" tabindex="0">{text(column.said) or "&nbsp;"}</pre>')
    if column.problem:
        parts.append(f'<h4>Read as</h4><p class="problem">Unreadable. {text(column.problem)}</p>')
    if column.lines:
        heading = "" if column.said is None else "<h4>Read as</h4>"
        parts.append(heading + _lines(column.lines, column.shape))
    if column.state:
        parts.append(f'<p class="state">{text(column.state)}</p>')
    return f'<section class="panel" aria-label="{text(column.title)}">{"".join(parts)}</section>'


def _mark(mark: Mark | None) -> str:
    if mark is None:
        return ""
    note = f" · {text(mark.note)}" if mark.note else ""
    return f'<span class="mark {mark.verdict}">{VERDICTS[mark.verdict]} {mark.verdict}{note}</span>'


def _lines(lines: tuple[Line, ...], shape: str) -> str:
    if shape == "generation":
        return "".join(f"<blockquote>{text(line.text)}</blockquote>" for line in lines)
    return f'<ul class="lines {shape}{"" if any(line.text for line in lines) else " short"}">{"".join(map(_line, lines))}</ul>'


def _line(line: Line) -> str:
    flags = {"chosen": line.chosen, "right": line.right is True, "wrong": line.right is False}
    kinds = [name for name, holds in flags.items() if holds]
    title = f'<span class="title">{text(line.text)}</span>' if line.text else ""
    note = f'<span class="note{" best" * (line.note == "exact")}">{text(line.note)}</span>' if line.note else ""
    spoken = '<span class="spoken">chosen</span>' if line.chosen else ""
    return f'<li class="{" ".join(kinds)}"><span class="number">{text(line.number)}</span>{title}{note}{spoken}</li>'


def status(message: str, kind: str) -> str:
    """The line at the top; `kind` is loading, ready or failed."""
    return f'<p class="status {kind}" role="status"><span class="dot"></span>{text(message)}</p>'


def alert(message: str) -> str:
    return f'<p class="alert" role="alert">{text(message)}</p>' if message else ""


def hint(message: str) -> str:
    return f'<p class="hint">{text(message)}</p>'
