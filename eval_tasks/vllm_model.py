"""Any causal model with vLLM, and LoRA adapters without merging, as a backend of lighteval, in the environment of its own:

    make setup-vllm
    .venv-vllm/bin/lighteval custom "model_name=BASE,adapter=ADAPTER" eval_tasks/vllm_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

BASE and ADAPTER are folders or Hub ids (`org/name@revision`). Options beside those of every backend (prompts.COMMON_OPTIONS):
`dtype` (auto, float32, bfloat16, float16), `max_length` (tokens of prompt and answer; default: all that the model takes and the
memory holds) and `memory` (share of the GPU's memory that vLLM takes, or of the machine's where there is no GPU; by default 0.9
and 0.5). `constrained=true` limits each answer to what its task's parser can read.

Prompts, patterns and what ends an answer are those of transformers_model.py, so the answers are the same up to rounding.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError, first_line
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, int_option


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
    lora = {"enable_lora": True, "max_lora_rank": rank_limit(adapters)} if adapters else {}
    try:
        llm = vllm.LLM(
            str(folder),
            dtype=options["dtype"],
            max_model_len=-1 if options["max_length"] == "0" else int_option(options, "max_length"),
            gpu_memory_utilization=memory_share(options["memory"], current_platform.is_cpu()),
            enforce_eager=current_platform.is_cpu(),  # compiling takes minutes there and gains little
            structured_outputs_config={"backend": "guidance"},  # what limits decoding in the transformers backend, too
            **lora,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"vLLM cannot load {options['model_name']} ({first_line(error)}); its reason is above") from None
    loras: dict[Path, Any] = {}

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        if adapter and adapter not in loras:
            loras[adapter] = load_adapter(llm, adapter, len(loras) + 1)
        yield from generate(llm, prompts, loras[adapter] if adapter else None, constrained)

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        if adapter and adapter not in loras:
            loras[adapter] = load_adapter(llm, adapter, len(loras) + 1)
        yield from likelihoods(llm, prompts, loras[adapter] if adapter else None)

    config = llm.llm_engine.model_config
    versions = (f"vllm {vllm.__version__}", f"torch {torch.__version__}")
    identity = (
        "vllm",
        lighteval_model.folder_identity(folder),
        str(config.dtype),
        f"{config.max_model_len} positions",
        *versions,
    )
    return LoadedModel(identity, answer, score)


def memory_share(option: str, cpu: bool) -> float:
    """Raises UserError for an option that is no share."""
    try:
        share = float(option or (0.5 if cpu else 0.9))
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"the model option memory is a share such as 0.5, not {option!r}")
    return share


def rank_limit(adapters: Sequence[Path]) -> int:
    """The least rank limit of vLLM that these adapters fit into. Raises UserError for an adapter that vLLM cannot use."""
    from vllm.config.lora import LoRAConfig, MaxLoRARanks
    from vllm.lora.peft_helper import PEFTHelper

    limits = sorted(get_args(MaxLoRARanks))
    highest = 1
    for adapter in adapters:
        try:
            config = PEFTHelper.from_local_dir(str(adapter), None)
            config.validate_legal(LoRAConfig(max_lora_rank=limits[-1]))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(
                f"vLLM cannot use the adapter {adapter} ({first_line(error)}); put it into the base with python -m "
                "training.merge, or take the transformers backend"
            ) from None
        highest = max(highest, config.r, *config.rank_pattern.values())
    return int(next(limit for limit in limits if limit >= highest))


def load_adapter(llm: Any, adapter: Path, number: int) -> Any:
    """vLLM's handle of an adapter, which is loaded once. Raises UserError where it does not fit the base."""
    from vllm.lora.request import LoRARequest

    request = LoRARequest(str(adapter), number, str(adapter))
    try:
        llm.llm_engine.add_lora(request)
    except Exception as error:  # whatever the engine's process raised
        raise UserError(f"the adapter {adapter} cannot be put on this base: {first_line(error)}") from None
    return request


def generate(llm: Any, prompts: Sequence[Prompt], lora: Any, constrained: bool) -> Iterator[tuple[int, str]]:
    """(place, text) of each prompt's answer as soon as it is there; all prompts are queued at once. Raises UserError."""
    from vllm.inputs import tokens_input
    from vllm.v1.engine.exceptions import EngineDeadError

    from eval_tasks.backends.generation import prompt_ids

    engine, tokenizer = llm.llm_engine, llm.get_tokenizer()
    chat = tokenizer.chat_template is not None
    waiting: dict[str, int] = {}
    try:
        for place, ids in enumerate(prompt_ids(tokenizer, prompts, engine.model_config.max_model_len)):
            name = str(next(llm.request_counter))
            engine.add_request(name, tokens_input(ids), sampling(prompts[place], chat, constrained), lora_request=lora)
            waiting[name] = place
        while waiting:
            for output in engine.step():
                if output.finished:
                    place = waiting.pop(output.request_id)
                    yield place, decoded_text(tokenizer, output.outputs[0], () if chat else prompts[place].stop)
    except ValueError as error:
        raise UserError(f"vLLM refuses a prompt: {first_line(error)}") from None
    except EngineDeadError:
        raise UserError("vLLM has died; its reason is above. Answers so far are kept") from None
    finally:
        engine.abort_request(list(waiting))


def likelihoods(llm: Any, prompts: Sequence[ScoredPrompt], lora: Any) -> Iterator[tuple[int, Likelihoods]]:
    """(place, Likelihoods) of each prompt, by vLLM's log-probabilities of the tokens that it reads. Raises UserError.

    The tokens are those of the transformers backend. Where the turn's end is scored, each token that may end it is read.
    """
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.exceptions import EngineDeadError

    from eval_tasks.backends.likelihoods import collected, end_tokens, log_sum, placed_texts

    engine, tokenizer = llm.llm_engine, llm.get_tokenizer()
    placed = placed_texts(tokenizer, prompts, engine.model_config.max_model_len - 1)  # one token has to be generated
    ends = end_tokens(tokenizer, turn_ends(llm))
    sampling = SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
    )
    waiting: dict[str, int] = {}

    def scores() -> Iterator[tuple[int, float]]:
        parts: dict[int, list[float]] = {}
        for place, text in enumerate(placed.texts):
            for end in [(token,) for token in ends] if text.ended else [()]:
                name = str(next(llm.request_counter))
                engine.add_request(name, tokens_input([*text.ids, *end]), sampling, lora_request=lora)
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


def turn_ends(llm: Any) -> frozenset[int]:
    """Tokens that end an answer, as in the transformers backend: the tokenizer's, and those of the generation config."""
    own = llm.llm_engine.model_config.try_get_generation_config().get("eos_token_id")
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in (*listed, llm.get_tokenizer().eos_token_id) if token is not None)


def decoded_text(tokenizer: Any, output: Any, stop: Sequence[str]) -> str:
    """What was written, without the token that ends a turn and without what begins at a stop sequence."""
    ended = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
    text = str(tokenizer.decode(output.token_ids[:-1] if ended else output.token_ids, skip_special_tokens=True))
    return text[: min((text.index(end) for end in stop if end in text), default=len(text))]


def sampling(prompt: Prompt, chat: bool, constrained: bool) -> Any:
    """Greedy decoding, without the penalties of a model's generation config."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        temperature=0.0,
        max_tokens=prompt.max_new_tokens,
        stop=None if chat else list(prompt.stop),  # a chat model ends its turn by itself
        structured_outputs=StructuredOutputsParams(regex=prompt.pattern) if constrained and prompt.pattern else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


class VllmBackend(lighteval_model.Backend):
    OPTIONS: ClassVar[Mapping[str, str]] = {"dtype": "auto", "max_length": "0", "memory": ""}
    load = staticmethod(load)
