"""Any causal model with vLLM, and LoRA adapters without merging, as a backend of lighteval, in the environment of its own:

    make setup-vllm
    .venv-vllm/bin/lighteval custom "model_name=BASE,adapter=ADAPTER" eval_tasks/vllm_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

BASE and ADAPTER are folders or Hub ids (`org/name@revision`). Options beside those of every backend (prompts.COMMON_OPTIONS):
`dtype` (auto, float32, bfloat16, float16), `max_length` (tokens of prompt and answer; default: all that the model takes and the
memory holds) and `memory` (share of the GPU's memory that vLLM takes, or of the machine's where there is no GPU; by default 0.9
and 0.5). `engine.KEY=VALUE` is any other argument of vLLM's engine, with its own types:

    engine.tensor_parallel_size=2   engine.quantization=fp8   engine.kv_cache_dtype=fp8   engine.max_num_seqs=64

`constrained=true` limits each answer to what its task's parser can read. Prompts, patterns and what ends an answer are those of
transformers_model.py, each adapter's own tokenizer included, so the answers are the same up to rounding.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError, first_line
from common.model_files import check_model_folder
from common.thinking import argument_value
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.cache_key import folder_stamp
from eval_tasks.backends.chat_format import ChatFormat, format_identity, kept_ids, load_format, tokens_cut
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, int_option
from training.adapters import rank_limit

ENGINE = "engine."
"""Prefix of model options that are arguments of vLLM's engine."""

OWN_ARGUMENTS = {
    "model": "give model_name=…",
    "dtype": "give dtype=…",
    "max_model_len": "give max_length=…",
    "gpu_memory_utilization": "give memory=…",
    "enable_lora": "give adapter=…",
    "max_lora_rank": "it is that of the adapters",
    "tokenizer": "an adapter is asked with its own, a base with its own",
    "trust_remote_code": "code that comes with a model is not run",
}
"""Argument of the engine that is set otherwise -> how."""

SAME_ANSWERS = {
    *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_num_seqs", "max_num_batched_tokens"),
    *("enable_prefix_caching", "enable_chunked_prefill", "enforce_eager", "block_size", "kv_cache_memory_bytes"),
    *("disable_log_stats", "max_parallel_loading_workers", "distributed_executor_backend", "cpu_offload_gb"),
}
"""Arguments that change speed and memory, and answers by rounding at most: not part of their identity."""


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """A base model with room for these adapters. Raises UserError."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import torch
        import vllm
        from vllm.platforms import current_platform
    except ImportError as error:
        raise UserError(
            f"vLLM cannot be imported here ({first_line(error)}); run make setup-vllm, and this with .venv-vllm/bin"
        ) from None

    folder = lighteval_model.local_folder(options["model_name"], revision=options["revision"] or None)
    check_model_folder(folder, options["model_name"])
    engine = engine_arguments(options)
    lora = {"enable_lora": True, "max_lora_rank": rank_limit(adapters)} if adapters else {}
    ends = generation_ends(folder)

    @cache
    def form(adapter: Path | None) -> ChatFormat:
        return load_format(folder, adapter, options, ends, 0)

    for adapter in (None, *adapters):
        form(adapter)  # an error shows before vLLM starts
    own: dict[str, Any] = {
        "dtype": options["dtype"],
        "max_model_len": -1 if options["max_length"] == "0" else int_option(options, "max_length"),
        "gpu_memory_utilization": memory_share(options["memory"], current_platform.is_cpu()),
        "enforce_eager": current_platform.is_cpu(),  # compiling takes minutes there and gains little
        "structured_outputs_config": {"backend": "guidance"},  # what limits decoding in the transformers backend, too
    }
    try:
        llm = vllm.LLM(str(folder), **{**own, **lora, **engine})
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"vLLM cannot load {options['model_name']} ({first_line(error)}); its reason is above") from None
    loras: dict[Path, Any] = {}
    config = llm.llm_engine.model_config

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        if adapter and adapter not in loras:
            loras[adapter] = load_adapter(llm, adapter, len(loras) + 1)
        yield from generate(llm, prompts, form(adapter), loras[adapter] if adapter else None, constrained)

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        if adapter:  # vLLM 0.32 gives no log-probabilities of a prompt's tokens with LoRA: its engine ends
            raise UserError(
                "vLLM cannot score answers with an adapter; give the folder of python -m training.merge as the model, "
                "or the backend transformers"
            )
        yield from likelihoods(llm, prompts, form(None))

    def cut(prompts: Sequence[Prompt], adapter: Path | None) -> list[int]:
        return tokens_cut(prompts, form(adapter), config.max_model_len)

    given = [f"{name}={value!r}" for name, value in sorted(engine.items()) if name not in SAME_ANSWERS]
    versions = (f"vllm {vllm.__version__}", f"torch {torch.__version__}", *given)
    identity = ("vllm", folder_stamp(folder), str(config.dtype), *format_identity(options), *versions)
    return LoadedModel(identity, answer, cut, score)


def engine_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    """The options engine.KEY=VALUE with the types of vLLM's EngineArgs. Raises UserError."""
    from pydantic import TypeAdapter, ValidationError
    from vllm import EngineArgs

    # A type that is text names a class that vLLM imports for type checkers only.
    hints: dict[str, Any] = {one.name: Any if isinstance(one.type, str) else one.type for one in fields(EngineArgs)}
    found = {}
    for name, text in options.items():
        key = name.removeprefix(ENGINE)
        if not name.startswith(ENGINE):
            continue
        if key in OWN_ARGUMENTS:
            raise UserError(f"the model option {name} is not for vLLM's engine alone; {OWN_ARGUMENTS[key]}")
        if key not in hints:
            near = get_close_matches(key, hints, 3)
            raise UserError(f"vLLM's engine has no argument {key}{'; did you mean ' + ', '.join(near) + '?' if near else ''}")
        try:
            found[key] = TypeAdapter(hints[key]).validate_python(argument_value(text))
        except ValidationError as error:
            reason = "; ".join(dict.fromkeys(one["msg"] for one in error.errors()))
            raise UserError(f"the model option {name} cannot be {text!r}: {reason}") from None
    return found


def generation_ends(folder: Path) -> list[int]:
    """End tokens of the base's generation config, else of its config."""
    from transformers import AutoConfig, GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        ends = AutoConfig.from_pretrained(folder).get_text_config().eos_token_id
    return [token for token in (ends if isinstance(ends, list) else [ends]) if token is not None]


def memory_share(option: str, cpu: bool) -> float:
    """Raises UserError for an option that is no share."""
    try:
        share = float(option or (0.5 if cpu else 0.9))
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"the model option memory is a share such as 0.5, not {option!r}")
    return share


def load_adapter(llm: Any, adapter: Path, number: int) -> Any:
    """vLLM's handle of an adapter, which is loaded once. Raises UserError where it does not fit the base."""
    from vllm.lora.request import LoRARequest

    request = LoRARequest(str(adapter), number, str(adapter))
    try:
        llm.llm_engine.add_lora(request)
    except Exception as error:  # whatever the engine's process raised
        raise UserError(f"the adapter {adapter} cannot be put on this base: {first_line(error)}") from None
    return request


def generate(llm: Any, prompts: Sequence[Prompt], form: ChatFormat, lora: Any, constrained: bool) -> Iterator[tuple[int, str]]:
    """(place, text) of each prompt's answer as soon as it is there; all prompts are queued at once. Raises UserError."""
    from vllm.inputs import tokens_input
    from vllm.v1.engine.exceptions import EngineDeadError

    engine = llm.llm_engine
    grammar_end = llm.get_tokenizer().eos_token_id
    waiting: dict[str, int] = {}
    try:
        for place, ids in enumerate(kept_ids(prompts, form, engine.model_config.max_model_len)):
            name = str(next(llm.request_counter))
            how = sampling(prompts[place], form, constrained, grammar_end)
            engine.add_request(name, tokens_input(ids), how, lora_request=lora)
            waiting[name] = place
        while waiting:
            for output in engine.step():
                if output.finished:
                    place = waiting.pop(output.request_id)
                    yield place, decoded_text(form, output.outputs[0], () if form.chat else prompts[place].stop)
    except ValueError as error:
        raise UserError(f"vLLM refuses a prompt: {first_line(error)}") from None
    except EngineDeadError:
        raise UserError("vLLM has died; its reason is above. Answers so far are kept") from None
    finally:
        engine.abort_request(list(waiting))


def likelihoods(llm: Any, prompts: Sequence[ScoredPrompt], form: ChatFormat) -> Iterator[tuple[int, Likelihoods]]:
    """(place, Likelihoods) of each prompt, by vLLM's log-probabilities of the tokens that it reads. Raises UserError.

    The tokens are those of the transformers backend. Where the turn's end is scored, each token that may end it is read.
    """
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.exceptions import EngineDeadError

    from eval_tasks.backends.likelihoods import collected, end_tokens, log_sum, placed_texts

    engine = llm.llm_engine
    placed = placed_texts(form, prompts, engine.model_config.max_model_len - 1)  # one token has to be generated
    ends = end_tokens(form)
    sampling = SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
    )
    waiting: dict[str, int] = {}

    def scores() -> Iterator[tuple[int, float]]:
        parts: dict[int, list[float]] = {}
        for place, text in enumerate(placed.texts):
            for end in [(token,) for token in ends] if text.ended else [()]:
                name = str(next(llm.request_counter))
                engine.add_request(name, tokens_input([*text.ids, *end]), sampling)
                waiting[name] = place
        while waiting:
            for output in engine.step():
                if output.finished:
                    place = waiting.pop(output.request_id)
                    text, found = placed.texts[place], parts.setdefault(place, [])
                    pairs = zip(output.prompt_token_ids, output.prompt_logprobs, strict=True)
                    logs = [known[token].logprob if known else 0.0 for token, known in pairs]
                    found.append(sum(logs[text.start :]))
                    if len(found) == (len(ends) if text.ended else 1):
                        yield place, log_sum(found)

    try:
        yield from collected(placed, scores())
    except ValueError as error:
        raise UserError(f"vLLM refuses a prompt: {first_line(error)}") from None
    except EngineDeadError:
        raise UserError("vLLM has died; its reason is above. Scores so far are kept") from None
    finally:
        engine.abort_request(list(waiting))


def decoded_text(form: ChatFormat, output: Any, stop: Sequence[str]) -> str:
    """What was written, without the token that ends a turn and without what begins at a stop sequence."""
    ended = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
    text = form.text(output.token_ids[:-1] if ended else output.token_ids)
    return text[: min((text.index(end) for end in stop if end in text), default=len(text))]


def sampling(prompt: Prompt, form: ChatFormat, constrained: bool, grammar_end: int | None) -> Any:
    """Greedy decoding, without the penalties of a model's generation config, to the end tokens of the prompt's format.

    A pattern that is complete is ended by the base's own end token, `grammar_end`.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    pattern = prompt.pattern if constrained else ""
    return SamplingParams(
        temperature=0.0,
        max_tokens=prompt.max_new_tokens,
        stop=None if form.chat else list(prompt.stop),  # a chat model ends its turn itself
        ignore_eos=True,  # vLLM's own are the base's
        stop_token_ids=sorted(form.ends | ({grammar_end} if pattern and grammar_end is not None else set())),
        structured_outputs=StructuredOutputsParams(regex=pattern) if pattern else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


class VllmBackend(lighteval_model.Backend):
    OPTIONS: ClassVar[Mapping[str, str]] = {"dtype": "auto", "max_length": "0", "memory": "", ENGINE: ""}
    load = staticmethod(load)
