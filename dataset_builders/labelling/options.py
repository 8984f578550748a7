"""Options of the commands that use a language model, and the ways to its replies.

A dry run sends nothing and estimates the cost; then there are files for a provider's batch API, and an endpoint.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.chat import KEY_NAME, Endpoint, api_key, base_url
from common.errors import UserError
from dataset_builders.labelling.costs import TokenPrices
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import LabelRequest

Requests = Callable[[], Iterable[LabelRequest]]
"""Called for each pass over the requests, of which there may be millions."""


@dataclass(frozen=True)
class LabelModel:
    """A language model: its endpoint, whose `url` is "" with batch files only, and its prices."""

    endpoint: Endpoint
    prices: TokenPrices

    @property
    def name(self) -> str:
        return self.endpoint.model


def add_options(parser: argparse.ArgumentParser) -> None:
    requests = parser.add_argument_group("requests")
    requests.add_argument("--model", required=True, metavar="NAME", help="the model's name at the endpoint")
    requests.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1")
    requests.add_argument(
        "--key-env", default=KEY_NAME, metavar="NAME", help="variable with the API key (default: %(default)s)"
    )
    requests.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="most tokens of an answer (default: the task's own); a reasoning model needs more",
    )
    requests.add_argument(
        "--extra", default="", metavar="JSON", help='more fields of each request, such as \'{"reasoning_effort": "low"}\''
    )
    requests.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests in flight (default: %(default)s)")
    requests.add_argument("--requests-per-minute", type=int, default=0, metavar="N", help="rate limit (default: none)")
    requests.add_argument("--tokens-per-minute", type=int, default=0, metavar="N", help="rate limit (default: none)")
    requests.add_argument("--timeout", type=int, default=120, metavar="S", help="seconds per try (default: %(default)s)")
    requests.add_argument("--retries", type=int, default=8, metavar="N", help="retries of a request (default: %(default)s)")
    requests.add_argument(
        "--answers", type=Path, metavar="DIR", help="where replies are kept as they arrive (default: OUT.answers)"
    )
    before = parser.add_argument_group("cost estimate")
    before.add_argument("--dry-run", action="store_true", help="print requests, tokens and cost; send nothing")
    before.add_argument("--price-in", type=float, default=0.0, metavar="X", help="price of a million tokens of prompts")
    before.add_argument("--price-out", type=float, default=0.0, metavar="X", help="price of a million tokens of answers")
    before.add_argument("--tokenizer", default="", metavar="MODEL", help="folder or Hub id whose tokenizer counts the prompts")
    batch = parser.add_argument_group("batch API")
    batch.add_argument("--batch-out", type=Path, metavar="DIR", help="write request files for missing replies; send nothing")
    batch.add_argument(
        "--batch-in", type=Path, nargs="+", default=[], metavar="FILE", help="read output and error files of a batch"
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UserError for values that make no sense."""
    for name, lowest in (
        *(("concurrency", 1), ("requests_per_minute", 0), ("tokens_per_minute", 0), ("timeout", 1), ("retries", 0)),
        *(("price_in", 0), ("price_out", 0), ("max_tokens", 1)),
    ):
        value = getattr(arguments, name)
        if value is not None and not lowest <= value < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} must be {lowest} or more, not {value}.")
    if not arguments.model.strip():
        raise UserError("--model is empty. Give the model's name at the endpoint.")
    if arguments.dry_run and arguments.batch_out:
        raise UserError("--dry-run writes nothing. Give either --dry-run or --batch-out.")
    try:
        extra = json.loads(arguments.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise UserError(f"--extra {arguments.extra} is not a JSON object. Give one such as '{{\"top_p\": 0.9}}'.")
    for name, folder in (("answers", answers_folder(arguments)), ("batch-out", arguments.batch_out)):
        if folder and folder.resolve().is_relative_to(arguments.out.resolve()):
            raise UserError(f"--{name} {folder} is inside --out, which is replaced. Give a folder outside of it.")
    if missing := [path for path in arguments.batch_in if not path.is_file()]:
        raise UserError(f"--batch-in {missing[0]} is not a file. Give the output and error files of a batch.")


def model_of(arguments: argparse.Namespace, name: str, url: str | None, key_env: str, prices: TokenPrices) -> LabelModel:
    """Raises UserError for an invalid URL or key."""
    endpoint = Endpoint(
        url=base_url(url) if url else "",
        model=name,
        concurrency=arguments.concurrency,
        timeout=arguments.timeout,
        retries=arguments.retries,
        requests_per_minute=arguments.requests_per_minute,
        tokens_per_minute=arguments.tokens_per_minute,
        key=api_key(os.environ, key_env),
        key_name=key_env,
    )
    return LabelModel(endpoint, prices)


def answers_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the replies, outside of --out, so that this can be made again without new requests."""
    folder: Path = arguments.answers or arguments.out.with_name(arguments.out.name + ".answers")
    return folder


def collect_replies(arguments: argparse.Namespace, models: Sequence[LabelModel], requests: Requests, store: ReplyStore) -> bool:
    """Stores every model's replies to the requests. False after a dry run or --batch-out, which leave some missing.

    Raises UserError where replies are missing and no endpoint is given, or it fails.
    """
    read_batches(arguments, models, requests, store)
    if arguments.dry_run:
        print_estimates(arguments, models, requests, store)
        return False
    if arguments.batch_out:
        write_batches(arguments, models, requests, store)
        return False
    for model in models:
        request_missing(model, requests, store)
    return True


def read_batches(arguments: argparse.Namespace, models: Sequence[LabelModel], requests: Requests, store: ReplyStore) -> None:
    from dataset_builders.labelling.batch import read_batch

    for model in models if arguments.batch_in else ():
        counts = read_batch(arguments.batch_in, model.name, store, requests())
        print(f"{model.name}: {counts.answered:,} answers read from the batch")
        for outcome, reasons in (("without an answer", counts.rejected), ("left for the next batch", counts.skipped)):
            for reason, lines in reasons.most_common():
                print(f"{model.name}: {lines:,} lines {outcome}: {reason}")


def print_estimates(arguments: argparse.Namespace, models: Sequence[LabelModel], requests: Requests, store: ReplyStore) -> None:
    from rich.console import Console
    from rich.table import Table

    from dataset_builders.labelling.costs import estimate_cost, token_counter

    count = token_counter(arguments.tokenizer)
    table = Table("model", title="Requests to send")
    for column in ("requests", "prompt tokens", "answer tokens, at most", "cost, at most"):
        table.add_column(column, justify="right")
    for model in models:
        estimate = estimate_cost(store.missing(requests(), model.name), count)
        cost = model.prices.cost(estimate.prompt_tokens, estimate.completion_tokens)
        digits = 2 if cost >= 1 else 4
        priced = f"{cost:,.{digits}f}" if model.prices != TokenPrices() else "no --price-in, --price-out"
        numbers = (estimate.requests, estimate.prompt_tokens, estimate.completion_tokens)
        table.add_row(model.name, *(f"{number:,}" for number in numbers), priced)
    Console(markup=False).print(table)
    if not arguments.tokenizer:
        print("Prompt tokens are estimated as a quarter of the characters; --tokenizer counts them")


def write_batches(arguments: argparse.Namespace, models: Sequence[LabelModel], requests: Requests, store: ReplyStore) -> None:
    """One folder per model: --batch-out for the first, its name with -2 for the second."""
    from dataset_builders.labelling.batch import write_batch

    for number, model in enumerate(models, 1):
        folder = arguments.batch_out if number == 1 else arguments.batch_out.with_name(f"{arguments.batch_out.name}-{number}")
        paths = write_batch(requests(), model.name, store, folder)
        print(f"{model.name}: {', '.join(map(str, paths)) or 'no reply is missing, so no file was written'}")


def request_missing(model: LabelModel, requests: Requests, store: ReplyStore) -> None:
    from dataset_builders.labelling.costs import progress_bar
    from dataset_builders.labelling.endpoint import request_all

    missing = sum(1 for _ in store.missing(requests(), model.name))
    if not missing:
        return
    total = sum(1 for _ in requests())
    if not model.endpoint.url:
        raise UserError(
            f"{missing:,} of {total:,} replies of {model.name} are missing. Give its --endpoint, or write request files for a "
            "batch API with --batch-out and read its output with --batch-in."
        )
    with progress_bar(total, model.prices) as progress:
        request_all(model.endpoint, requests(), store, progress)
