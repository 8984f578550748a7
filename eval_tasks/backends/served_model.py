"""A chat completions server as a loaded model. Importing it does not import lighteval, which takes seconds and 300 MB.

endpoint_model.py says what the options mean.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.chat import Endpoint, api_key
from common.errors import UserError
from common.thinking import argument_value
from eval_tasks.backends.chat_format import given_arguments
from eval_tasks.backends.endpoint import Reply, answers, scores
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, bool_option, int_option

EXTRA = "extra."
"""Prefix of model options that are fields of every request."""
OPTIONS: Mapping[str, str] = {
    **{"base_url": "", "concurrency": "64", "timeout": "120", "retries": "8"},
    **{"skip_failures": "false", "max_completion_tokens": "", "temperature": "0", "reasoning_effort": "", EXTRA: ""},
}


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """The endpoint, before any request. Raises UserError."""
    if adapters:
        raise UserError("an endpoint serves adapters under their own names: give the adapter's name there as model_name")
    endpoint, fields = from_options(options, os.environ), request_fields(options)
    skip = bool_option(options, "skip_failures")

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        return as_they_come(answers(endpoint, prompts, constrained, fields, skip))

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        return as_they_come(scores(endpoint, prompts, fields, skip))

    own = [json.dumps(fields, sort_keys=True)] if fields else []
    return LoadedModel(("endpoint", endpoint.url, endpoint.model, *own), answer, score=score)


def as_they_come(stream: AsyncIterator[Reply]) -> Iterator[Reply]:
    """What an asynchronous iterator yields, waited for."""

    async def following() -> Reply | None:
        return await anext(stream, None)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()  # not runner.run, which changes the process's signal handler and back, for each reply
        while (reply := loop.run_until_complete(following())) is not None:
            yield reply


def request_fields(options: Mapping[str, str]) -> dict[str, Any]:
    """Fields of every request beside the default ones; None leaves one out. Raises UserError."""
    fields: dict[str, Any] = {}
    if options["max_completion_tokens"]:
        fields["max_completion_tokens"] = int_option(options, "max_completion_tokens")
    if options["temperature"] != "0":
        fields["temperature"] = temperature(options["temperature"])
    if options["reasoning_effort"]:
        fields["reasoning_effort"] = options["reasoning_effort"]
    if template := given_arguments(options):
        fields["chat_template_kwargs"] = template
    extra = {name.removeprefix(EXTRA): argument_value(text) for name, text in options.items() if name.startswith(EXTRA)}
    return fields | extra


def temperature(text: str) -> float | None:
    """A number from 0 to 2, or None for `none`. Raises UserError."""
    if text.lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise UserError(f"the model option temperature must be between 0 and 2, or none, not {text!r}")
    return value


def from_options(options: Mapping[str, str], environment: Mapping[str, str]) -> Endpoint:
    """Raises UserError for invalid options."""
    url = options["base_url"] or environment.get("OPENAI_BASE_URL", "")
    if not url.startswith(("http://", "https://")):
        raise UserError("the model option base_url must be the server's URL, such as http://localhost:8000/v1")
    if options["revision"]:
        raise UserError("leave out the model option revision: an endpoint serves the revision that it was started with")
    numbers: dict[str, Any] = {
        name: int_option(options, name, lowest) for name, lowest in (("concurrency", 1), ("timeout", 1), ("retries", 0))
    }
    return Endpoint(url=url.rstrip("/"), model=options["model_name"], key=api_key(environment), **numbers)
