"""Sampled answers of a model to prompts, by transformers or by vLLM: several to each prompt.

The evaluation has an engine of its own for one greedy answer each (eval_tasks/backends), which is faster on a CPU.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError, first_line
from common.model_files import check_model_folder, loading
from common.thinking import template_arguments
from training.adapters import adapter_tokenizer, rank_limit

Chat = Sequence[dict[str, str]]
"""Messages with role and content, the last of them the user's."""

TOKENS_AT_ONCE = {"cpu": 4 * 1024, "cuda": 64 * 1024}
"""Tokens of prompts and answers that transformers computes together."""

PROMPTS_AT_ONCE = 1024
"""Prompts that vLLM is given together; what it has answered is kept before the next ones."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: `count` to each prompt. A temperature of 0 is greedy, and then there is one."""

    count: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


Answers = Iterator[tuple[int, list[str]]]
"""(place of the prompt, its answers) as they come."""


def sample(
    engine: str, model: str, adapter: Path | None, prompts: Sequence[Chat], limits: Sequence[int], how: Sampling
) -> Answers:
    """Answers of at most `limits` tokens by `engine`, transformers or vllm. Raises UserError where a model cannot be loaded."""
    if engine == "vllm":
        return load_vllm(model, adapter, how)(prompts, limits)
    return by_transformers(*load(model, adapter), prompts, limits, how)


def load(name: str, adapter: Path | None) -> tuple[Any, Any]:
    """A base model with its adapter, on the GPU if there is one, and the adapter's or base's tokenizer. Raises UserError."""
    import torch
    from transformers import AutoModelForCausalLM

    if Path(name).is_dir():
        check_model_folder(Path(name), name)
    tokenizer = chat_tokenizer(name, adapter)
    with loading(name, "the model", "check --model"):
        model: Any = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
    if adapter:
        from peft import PeftModel

        with loading(str(adapter), "the adapter", "check --adapter, and whether --model is its base"):
            model = PeftModel.from_pretrained(model, str(adapter))
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def chat_tokenizer(name: str, adapter: Path | None) -> Any:
    """The adapter's own tokenizer, else the base's. Raises UserError where it has no chat template."""
    tokenizer = adapter_tokenizer(name, adapter)
    if tokenizer.chat_template is None:
        raise UserError(f"the model {adapter or name} has no chat template; take its instruct version")
    return tokenizer


def encode(tokenizer: Any, prompts: Sequence[Chat]) -> list[list[int]]:
    """The prompts' tokens by the chat template, without reasoning where it knows that, up to where the answer begins."""
    if not prompts:
        return []
    chats = [list(prompt) for prompt in prompts]
    arguments = template_arguments(tokenizer.get_chat_template())
    rendered = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=True, return_dict=True, **arguments)
    ids: list[list[int]] = rendered["input_ids"]
    return ids


def by_transformers(model: Any, tokenizer: Any, prompts: Sequence[Chat], limits: Sequence[int], how: Sampling) -> Answers:
    import torch

    ids = encode(tokenizer, prompts)
    count = how.count if how.temperature > 0 else 1
    budget = TOKENS_AT_ONCE.get(model.device.type, TOKENS_AT_ONCE["cuda"])
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    own = model.generation_config.eos_token_id
    ends = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id} - {None}
    plain = {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}  # whatever the base's generation config says
    options: dict[str, Any] = {"do_sample": False, "eos_token_id": sorted(ends) or None, **plain}
    if how.temperature > 0:
        options |= {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": 0}
    for places in batches([len(row) + limit for row, limit in zip(ids, limits, strict=True)], budget // max(1, count)):
        longest, room = max(len(ids[place]) for place in places), max(limits[place] for place in places)
        tokens = torch.full((len(places), longest), pad)
        mask = torch.zeros_like(tokens)
        for number, place in enumerate(places):
            tokens[number, longest - len(ids[place]) :] = torch.tensor(ids[place])
            mask[number, longest - len(ids[place]) :] = 1
        with torch.inference_mode():
            copies = repeated(model, tokens.to(model.device), mask.to(model.device), count, pad)
            torch.manual_seed(how.seed + places[0])
            said = model.generate(**copies, max_new_tokens=room, pad_token_id=pad, **options)[:, longest:]
        for number, place in enumerate(places):
            rows = said[number * count : (number + 1) * count, : limits[place]].tolist()
            yield place, decoded(tokenizer, rows, ends)


def repeated(model: Any, tokens: Any, mask: Any, count: int, pad: int) -> dict[str, Any]:
    """Arguments of generate for `count` answers to each prompt, whose tokens but the last are computed once for all of them.

    `tokens` and `mask` are of shape (prompts, length), padded on the left. Models that keep other states than keys and
    values compute every copy.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    copies = {"input_ids": tokens.repeat_interleave(count, 0), "attention_mask": mask.repeat_interleave(count, 0)}
    if count == 1 or not mask[:, :-1].any(1).all():
        return copies
    first = {"input_ids": tokens[:, :-1], "attention_mask": mask[:, :-1]}
    made = model.generate(
        **first, max_new_tokens=1, do_sample=False, num_beams=1, pad_token_id=pad, return_dict_in_generate=True
    )
    cache = made.get("past_key_values")
    if not all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in getattr(cache, "layers", [None])):
        return copies
    cache.batch_repeat_interleave(count)
    return copies | {"past_key_values": cache}


def decoded(tokenizer: Any, rows: Sequence[Sequence[int]], ends: Collection[int]) -> list[str]:
    """The texts of answers up to their end token, which need not be a special one."""
    until = [next((row[:place] for place, token in enumerate(row) if token in ends), row) for row in rows]
    return [str(text) for text in tokenizer.batch_decode(until, skip_special_tokens=True)]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Places from long to short, in batches of at most `budget` tokens with padding, or one."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def load_vllm(model: str, adapter: Path | None, how: Sampling) -> Callable[[Sequence[Chat], Sequence[int]], Answers]:
    """A function of prompts and limits that answers by vLLM. Raises UserError."""
    import os

    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import vllm
        from vllm.inputs import tokens_input
        from vllm.lora.request import LoRARequest
        from vllm.platforms import current_platform
    except ImportError as error:
        raise UserError(
            f"vLLM cannot be imported here ({first_line(error)}); run make setup-vllm, and this with .venv-vllm/bin/python, or "
            "give --engine transformers"
        ) from None
    cpu = current_platform.is_cpu()
    lora = {"enable_lora": True, "max_lora_rank": rank_limit([adapter])} if adapter else {}
    try:
        llm = vllm.LLM(model, gpu_memory_utilization=0.5 if cpu else 0.9, enforce_eager=cpu, seed=how.seed, **lora)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"vLLM cannot load {model} ({first_line(error)}); its reason is above") from None
    request = LoRARequest("adapter", 1, str(adapter)) if adapter else None
    tokenizer = chat_tokenizer(model, adapter)  # vLLM itself has the base's
    end = tokenizer.eos_token_id

    def answer(prompts: Sequence[Chat], limits: Sequence[int]) -> Answers:
        ids = encode(tokenizer, prompts)
        for start in range(0, len(ids), PROMPTS_AT_ONCE):
            places = range(start, min(start + PROMPTS_AT_ONCE, len(ids)))
            params = [
                vllm.SamplingParams(
                    n=how.count if how.temperature > 0 else 1,
                    temperature=how.temperature,
                    top_p=how.top_p,
                    seed=how.seed + place,
                    max_tokens=limits[place],
                    stop_token_ids=[end] if end is not None else None,
                )
                for place in places
            ]
            inputs = [tokens_input(ids[place]) for place in places]
            for place, output in zip(places, llm.generate(inputs, params, lora_request=request, use_tqdm=False), strict=True):
                yield place, decoded(tokenizer, [list(one.token_ids) for one in output.outputs], [end])

    return answer
