"""What `predict` and `rank` share: the options that name the input and the model, and the model that they load."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import UserError
from eval_tasks.backends.prompts import LISTS, LISTS_HELP, parse_options
from eval_tasks.prediction.asking import Answerer
from eval_tasks.run import add_backend_options, backend_class, base_options


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", metavar="INPUT", help="Parquet, CSV or JSON lines: a file, a folder or a dataset's Hub id")
    parser.add_argument(
        "--input-revision", metavar="REVISION", help="branch, tag or commit of an input on the Hub (default: main)"
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="FIELD=COLUMN", help="a field's column, called otherwise; repeat"
    )
    parser.add_argument("--model", metavar="BASE", help="folder or Hub id, or an endpoint's name of the model")
    parser.add_argument("--adapter", metavar="ADAPTER", help="folder, Hub id or id@revision")
    add_backend_options(parser)
    parser.add_argument("--lists", choices=LISTS, help=f"{LISTS_HELP} (default: as the model was trained, else words)")


def required(arguments: argparse.Namespace, *names: str) -> None:
    """Raises UserError where one is not given."""
    if missing := [f"--{name}" for name in names if not getattr(arguments, name)]:
        raise UserError(f"give {' and '.join(missing)}")


def mapped_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Field -> column of `FIELD=COLUMN,FIELD=COLUMN` texts. Raises UserError."""
    found: dict[str, str] = {}
    for pair in (pair for text in pairs for pair in text.split(",")):
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not (name and equals and column) or name in found:
            raise UserError(f"--map {pair!r}: write FIELD=COLUMN, each field once, such as query=search_term")
        found[name] = column
    return found


def load_model(arguments: argparse.Namespace, constrained: bool) -> tuple[Answerer, list[str]]:
    """The model, and what its answers depend on. Raises UserError."""
    backend: Any
    if arguments.backend == "endpoint":
        from eval_tasks.backends import served_model as backend  # without lighteval
    else:
        backend = backend_class(arguments.backend)
    options: Mapping[str, str] = parse_options(",".join(base_options(arguments)), backend.OPTIONS)
    if arguments.backend == "endpoint":
        options = {**options, "skip_failures": "true"}
        if arguments.adapter:
            raise UserError("an endpoint serves adapters under their own names: give the adapter's name there as --model")
    adapter, adapter_stamp = None, ""
    if arguments.adapter:
        from eval_tasks.backends.lighteval_model import adapter_identity, local_adapter

        adapter = local_adapter(arguments.adapter)
        adapter_stamp = adapter_identity(adapter)
    loaded = backend.load(options, [adapter] if adapter else [])
    return Answerer(loaded, adapter, constrained), [*loaded.identity, adapter_stamp]
