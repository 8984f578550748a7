"""Benchmarks of several parts: the first argument names one, the rest is its own."""

import sys
from collections.abc import Mapping
from importlib import import_module

from common.errors import UserError


def run_part(parts: Mapping[str, str], text: str) -> None:
    """Calls `main` of the module of the part that the command line names, or prints `text`. Raises UserError."""
    name, *argv = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(text.strip())
        return
    if name not in parts:
        raise UserError(f"there is no part {name!r}; give one of {', '.join(parts)}")
    import_module(parts[name]).main(argv)
