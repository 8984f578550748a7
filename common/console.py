"""Tables on the terminal."""

from collections.abc import Iterable, Sequence

WIDTH = 140
"""Columns where the output is no terminal, such as a file or a pipe."""


def print_table(header: Sequence[str], lines: Iterable[Sequence[object]], title: str | None = None, texts: int = 1) -> None:
    """Prints a table on standard output. The first `texts` columns are text; all others are numbers, aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < texts else "right")
    for line in lines:
        table.add_row(*map(str, line))
    Console(markup=False, width=None if Console().is_terminal else WIDTH).print(table)
