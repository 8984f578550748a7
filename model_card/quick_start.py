"""The quick start: three programs with the same prompt, each of which runs as printed.

notebook.py is made of the parts of the first one. All decode greedily, without the penalties of the base's generation config,
as the evaluation does, and in the dtype of the base's own weights, which vLLM would otherwise change (float32 becomes
bfloat16). All use the adapter's own tokenizer, chat template and end token where it has them; a hybrid reasoning model is asked
not to reason, as in the evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.prompts import render_prompt
from common.tasks import TASKS
from common.thinking import template_arguments
from model_card.inputs import CardInputs

BASE_FOLDER = "path/to/base-model"
ADAPTER_FOLDER = "path/to/this-adapter"

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's max_lora_rank: MaxLoRARanks in
https://github.com/vllm-project/vllm/blob/main/vllm/config/lora.py."""

NOT_IN_VLLM = {
    "use_dora": "DoRA",
    "lora_bias": "a LoRA bias",
    "modules_to_save": "modules that are trained whole",
    "alora_invocation_tokens": "Activated LoRA",
    "layer_replication": "replicated layers",
    "use_qalora": "QALoRA",
}
"""Field of an adapter's configuration -> the feature, which vLLM does not support: _validate_features in
https://github.com/vllm-project/vllm/blob/main/vllm/lora/peft_helper.py."""

EXAMPLES: dict[str, dict[str, Any]] = {
    "review_rating": {"category": "Kitchen", "review": "The lid leaked after two days and the handle came off."},
    "query_product_ranking": {
        "query": "blue water bottle",
        "products": ["Desk lamp", "Blue steel bottle, 750 ml", "Bottle brush", "Green steel bottle", "Blue glass bottle"],
    },
    "next_query": {
        "actions": ["Searched: tent", "Viewed: Two-person tent"],
        "queries": ["two-person tent", "light tent", "sofa", "sleeping bag", "red shoes"],
    },
    "answer_generation": {"question": "Is a bulb in the box?", "snippets": ["A bulb came with the lamp.", "Bright enough."]},
}
"""Fields of an invented row; the first of these tasks that was measured is shown."""

LOAD = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "{base}"
adapter = "{adapter}"

tokenizer = AutoTokenizer.from_pretrained({tokenizer})
model = AutoModelForCausalLM.from_pretrained(base, dtype="{dtype}", device_map="auto")
model = PeftModel.from_pretrained(model, adapter).eval()"""

PROMPT = '''\
prompt = """\\
{prompt}"""'''

GENERATE = """\
inputs = tokenizer.apply_chat_template(
    [{{"role": "user", "content": prompt}}],
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",{arguments}
).to(model.device)
output = model.generate(
    **inputs,
    max_new_tokens={max_new_tokens},
    do_sample=False,
    repetition_penalty=1.0,
    stop_strings=tokenizer.eos_token,
    tokenizer=tokenizer,
)
answer = output[0, inputs["input_ids"].shape[1] :]
{show}tokenizer.decode(answer, skip_special_tokens=True){end}"""

TRANSFORMERS = f"{LOAD}\n\n{PROMPT}\n{GENERATE}"

VLLM = '''\
from transformers import AutoTokenizer
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

base = "{base}"
adapter = "{adapter}"

prompt = """\\
{prompt}"""

if __name__ == "__main__":  # vLLM may start processes that import this file
    llm = LLM(base, dtype="{dtype}", enable_lora=True, max_lora_rank={max_lora_rank})
    tokenizer = AutoTokenizer.from_pretrained({tokenizer})  # vLLM itself has the base's
    ids = tokenizer.apply_chat_template(
        [{{"role": "user", "content": prompt}}],
        add_generation_prompt=True,
        return_dict=False,{deep_arguments}
    )
    (output,) = llm.generate(
        {{"prompt_token_ids": ids}},
        SamplingParams(
            temperature=0, max_tokens={max_new_tokens}, stop_token_ids=[tokenizer.eos_token_id]
        ),
        lora_request=LoRARequest("{name}", 1, adapter),
    )
    print(output.outputs[0].text)'''

SERVE = """\
vllm serve {base} {serve_tokenizer}--dtype {dtype} --generation-config vllm \\
    --enable-lora --max-lora-rank {max_lora_rank} --lora-modules {name}={adapter}"""

CLIENT = '''\
from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key="none")
prompt = """\\
{prompt}"""
answer = client.chat.completions.create(
    model="{name}",
    messages=[{{"role": "user", "content": prompt}}],
    temperature=0,
    max_tokens={max_new_tokens},{extra_body}
)
print(answer.choices[0].message.content)'''


@dataclass(frozen=True)
class QuickStart:
    """Programs, and the command that serves the model; None where vLLM cannot load the adapter because of `obstacles`."""

    transformers: str
    vllm: str | None
    serve: str | None
    client: str | None
    obstacles: list[str]


def quick_start(inputs: CardInputs) -> QuickStart:
    names = [task.name for task in inputs.measured if task.name in EXAMPLES]
    task = TASKS[names[0] if names else "review_rating"]
    config, own = inputs.adapter.config, inputs.adapter.template is not None
    arguments = template_arguments(inputs.adapter.template)
    rank, obstacles = max_lora_rank(config), vllm_obstacles(config)
    words = transformers_words(inputs)
    words |= {
        "serve_tokenizer": f"--tokenizer {words['adapter']} " if own else "",
        "deep_arguments": words["arguments"].replace("\n", "\n    "),
        "extra_body": f'\n    extra_body={{"chat_template_kwargs": {arguments!r}}},' if arguments else "",
        "name": inputs.title,
        "show": "print(",
        "end": ")",
        "prompt": render_prompt(task.templates[0], EXAMPLES[task.name]),
        "max_new_tokens": task.max_new_tokens,
        "max_lora_rank": rank,
    }
    vllm, serve, client = (None if obstacles else text.format_map(words) for text in (VLLM, SERVE, CLIENT))
    return QuickStart(TRANSFORMERS.format_map(words), vllm, serve, client, obstacles)


def transformers_words(inputs: CardInputs) -> dict[str, Any]:
    """What LOAD and GENERATE name: the models, the tokenizer, the type of the weights, and arguments of the chat template."""
    arguments = template_arguments(inputs.adapter.template)
    return {
        "base": inputs.base.hub_id or BASE_FOLDER,
        "adapter": inputs.repo_id or ADAPTER_FOLDER,
        "tokenizer": "base" if inputs.adapter.template is None else "adapter",
        "dtype": inputs.base.dtype or "auto",
        "arguments": "".join(f"\n    {name}={value!r}," for name, value in arguments.items()),
    }


def max_lora_rank(config: Mapping[str, Any]) -> int | None:
    """The smallest max_lora_rank for the adapter's ranks; None if they are too large."""
    pattern = config.get("rank_pattern")
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    if not all(isinstance(rank, int) for rank in ranks):
        return None
    return next((limit for limit in RANKS if limit >= max(ranks)), None)


def vllm_obstacles(config: Mapping[str, Any]) -> list[str]:
    """Features of an adapter that vLLM does not support."""
    found = [words for field, words in NOT_IN_VLLM.items() if config.get(field)]
    if config.get("peft_type", "LORA") != "LORA":
        return ["anything but LoRA"]
    return found if max_lora_rank(config) else [*found, f"a rank above {RANKS[-1]}"]
