"""What the commands that ask a language model share: their options, and the three ways to answers.

These are a dry run (nothing is sent), files for a provider's batch API, and an endpoint.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.chat import KEY_NAME, Endpoint, api_key, base_url
from common.errors import UserError
from dataset_builders.labelling.costs import Prices
from dataset_builders.labelling.reply_store import Replies
from dataset_builders.labelling.requests import Ask


@dataclass(frozen=True)
class Model:
    """Who is asked: an endpoint, whose `url` is "" where only batch files are meant, and what it costs."""

    endpoint: Endpoint
    prices: Prices

    @property
    def name(self) -> str:
        return self.endpoint.model


def add_options(parser: argparse.ArgumentParser) -> None:
    asking = parser.add_argument_group("asking")
    asking.add_argument("--model", required=True, metavar="NAME", help="what the endpoint calls the model")
    asking.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, such as http://localhost:8000/v1")
    asking.add_argument("--key-env", default=KEY_NAME, metavar="NAME", help="variable with the key (default: %(default)s)")
    asking.add_argument("--max-tokens", type=int, metavar="N", help="tokens of an answer; more for a model that thinks aloud")
    asking.add_argument(
        "--extra", default="", metavar="JSON", help='laid over each request, such as \'{"reasoning_effort": "low"}\''
    )
    asking.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests at once (default: %(default)s)")
    asking.add_argument("--requests-per-minute", type=int, default=0, metavar="N", help="default: no limit")
    asking.add_argument("--tokens-per-minute", type=int, default=0, metavar="N", help="default: no limit")
    asking.add_argument("--timeout", type=int, default=120, metavar="S", help="seconds for one try (default: %(default)s)")
    asking.add_argument("--retries", type=int, default=8, metavar="N", help="tries after the first one (default: %(default)s)")
    asking.add_argument(
        "--answers", type=Path, metavar="DIR", help="where answers are kept as they come (default: OUT.answers)"
    )
    before = parser.add_argument_group("before anything is sent")
    before.add_argument("--dry-run", action="store_true", help="print requests, tokens and cost of what is not answered yet")
    before.add_argument("--price-in", type=float, default=0.0, metavar="X", help="price of a million tokens of prompts")
    before.add_argument("--price-out", type=float, default=0.0, metavar="X", help="price of a million tokens of answers")
    before.add_argument("--tokenizer", default="", metavar="MODEL", help="folder or Hub id that counts the prompts' tokens")
    batch = parser.add_argument_group("through a batch API")
    batch.add_argument(
        "--batch-out", type=Path, metavar="DIR", help="write its files for what is not answered yet; send nothing"
    )
    batch.add_argument(
        "--batch-in", type=Path, nargs="+", default=[], metavar="FILE", help="take over its output and error files"
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UserError for what cannot be meant."""
    for name, least in (
        *(("concurrency", 1), ("requests_per_minute", 0), ("tokens_per_minute", 0), ("timeout", 1), ("retries", 0)),
        *(("price_in", 0), ("price_out", 0), ("max_tokens", 1)),
    ):
        value = getattr(arguments, name)
        if value is not None and not least <= value < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {value} is too little. Give {least} or more.")
    if not arguments.model.strip():
        raise UserError("--model is empty. Give the name that the endpoint has for the model.")
    if arguments.dry_run and arguments.batch_out:
        raise UserError("--dry-run writes nothing. Leave it out, or --batch-out.")
    try:
        extra = json.loads(arguments.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise UserError(f"--extra {arguments.extra} is no JSON object. Give one such as '{{\"top_p\": 0.9}}'.")
    for name, folder in (("answers", answers_folder(arguments)), ("batch-out", arguments.batch_out)):
        if folder and folder.resolve().is_relative_to(arguments.out.resolve()):
            raise UserError(f"--{name} {folder} lies in the folder of --out, which is replaced. Give one beside it.")
    if missing := [path for path in arguments.batch_in if not path.is_file()]:
        raise UserError(f"--batch-in {missing[0]} is no file. Give the output and error files of a batch.")


def model_of(arguments: argparse.Namespace, name: str, url: str | None, key_env: str, prices: Prices) -> Model:
    """Raises UserError for an address or a key that cannot be one."""
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
    return Model(endpoint, prices)


def answers_folder(arguments: argparse.Namespace) -> Path:
    """Beside what is made of the answers, so that this can be made anew."""
    folder: Path = arguments.answers or arguments.out.with_name(arguments.out.name + ".answers")
    return folder


def get_answers(
    arguments: argparse.Namespace, models: Sequence[Model], asks: Callable[[], Iterable[Ask]], store: Replies
) -> bool:
    """Gets every model's replies to the asks into the store. False where that was not meant: told or written only.

    `asks` is called each time that they are gone through. Raises UserError where answers are missing and no endpoint is given,
    or it gives none.
    """
    take_batches(arguments, models, asks, store)
    if arguments.dry_run:
        print_estimates(arguments, models, asks, store)
        return False
    if arguments.batch_out:
        write_batches(arguments, models, asks, store)
        return False
    for model in models:
        ask_missing(model, asks, store)
    return True


def take_batches(
    arguments: argparse.Namespace, models: Sequence[Model], asks: Callable[[], Iterable[Ask]], store: Replies
) -> None:
    from dataset_builders.labelling.batch import read_batch

    for model in models if arguments.batch_in else ():
        counts = read_batch(arguments.batch_in, model.name, store, asks())
        print(f"{model.name}: {counts.answered:,} answers taken over from the batch")
        for told, reasons in (("without an answer", counts.rejected), ("left for the next batch", counts.skipped)):
            for reason, lines in reasons.most_common():
                print(f"{model.name}: {lines:,} lines {told}: {reason}")


def print_estimates(
    arguments: argparse.Namespace, models: Sequence[Model], asks: Callable[[], Iterable[Ask]], store: Replies
) -> None:
    from rich.console import Console
    from rich.table import Table

    from dataset_builders.labelling.costs import estimate, token_counter

    count = token_counter(arguments.tokenizer)
    table = Table("model", title="What would be sent")
    for column in ("requests", "tokens of prompts", "tokens of answers, at most", "cost, at most"):
        table.add_column(column, justify="right")
    for model in models:
        found = estimate(store.missing(asks(), model.name), count)
        cost = model.prices.cost(found.prompt_tokens, found.completion_tokens)
        digits = 2 if cost >= 1 else 4
        priced = f"{cost:,.{digits}f}" if model.prices != Prices() else "no --price-in, --price-out"
        table.add_row(model.name, f"{found.requests:,}", f"{found.prompt_tokens:,}", f"{found.completion_tokens:,}", priced)
    Console(markup=False).print(table)
    if not arguments.tokenizer:
        print("Tokens of prompts are a guess, a quarter of their characters: --tokenizer counts them")


def write_batches(
    arguments: argparse.Namespace, models: Sequence[Model], asks: Callable[[], Iterable[Ask]], store: Replies
) -> None:
    """A folder for each model: the one that was named, and beside it one for the second."""
    from dataset_builders.labelling.batch import write_batch

    for number, model in enumerate(models, 1):
        folder = arguments.batch_out if number == 1 else arguments.batch_out.with_name(f"{arguments.batch_out.name}-{number}")
        paths = write_batch(asks(), model.name, store, folder)
        print(f"{model.name}: {', '.join(map(str, paths)) or 'nothing is missing, so no file was written'}")


def ask_missing(model: Model, asks: Callable[[], Iterable[Ask]], store: Replies) -> None:
    from dataset_builders.labelling.costs import progress_bar
    from dataset_builders.labelling.endpoint import ask_all

    missing = sum(1 for _ in store.missing(asks(), model.name))
    if not missing:
        return
    total = sum(1 for _ in asks())
    if not model.endpoint.url:
        raise UserError(
            f"{missing:,} of {total:,} answers of {model.name} are missing. Give its --endpoint, or write them for a batch API "
            "with --batch-out and read them with --batch-in."
        )
    with progress_bar(total, model.prices) as progress:
        ask_all(model.endpoint, asks(), store, progress)
