"""The base model and its LoRA adapter, loaded once. Both answer a prompt side by side, as two rows of one batch.

PEFT's mixed batches (https://huggingface.co/docs/peft/developer_guides/lora, "Inference with different LoRA adapters in the
same batch") compute the base weights of a layer for both rows at once and the adapter for the second row only. With an adapter
that PEFT cannot mix, such as DoRA, the tuned model answers after its base.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backend import Ask, Busy, ModelError, Said, public_name
from .streaming import Job, Question, Writing

MAX_PROMPT_TOKENS = 2048
ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]
IN_PEFT = {"base": "__base__", "tuned": "default"}
"""What PEFT calls the rows of a mixed batch."""


def public_names(base: str, adapter: str | None) -> dict[str, str]:
    name = public_name(base)
    return {"base": name} if adapter is None else {"base": name, "tuned": f"{name} + {public_name(adapter)}"}


@dataclass(frozen=True)
class ModelPair:
    """`batches` are the rows that a question is answered in, together within a batch, one batch after another."""

    tokenizer: Any
    model: Any
    batches: tuple[tuple[str, ...], ...]

    def question(self, ask: Ask) -> Question:
        """Raises ModelError where the prompt has too many tokens."""
        ids = token_ids(self.tokenizer, ask.prompt)
        window = getattr(self.model.config, "max_position_embeddings", None) or MAX_PROMPT_TOKENS
        most = min(MAX_PROMPT_TOKENS, window - ask.max_new_tokens)
        if len(ids) > most:
            raise ModelError(f"The prompt is too long: {len(ids)} tokens, and the model takes {most}. Shorten it.")
        answers = [token_ids(self.tokenizer, ask.prompt, label) for label in ask.labels]
        return Question(ids, ask.max_new_tokens, first_tokens(ids, answers))

    def write(self, job: Job) -> None:
        """Fills the job's updates."""
        try:
            self._write(job)
            job.updates.put(None)
        except ModelError as error:
            job.updates.put(error)
        except Exception as error:  # whatever it is, the page says one sentence and the log has the rest
            log(error)
            job.updates.put(ModelError("The model failed on this prompt. Try another one."))

    def _write(self, job: Job) -> None:
        started = time.monotonic()
        if started >= job.deadline:
            raise Busy("The model is busy with other requests. Try again in a minute.")
        said = {name: Said() for batch in self.batches for name in batch}

        def tell(update: dict[str, Said]) -> None:
            said.update(update)
            job.updates.put(dict(said))

        for number, batch in enumerate(self.batches, 1):
            until = started + (job.deadline - started) * number / len(self.batches)

            def stopped(until: float = until) -> bool:
                return job.stop.is_set() or time.monotonic() > until

            if job.stop.is_set():
                return
            self._generate(batch, job.question, stopped, tell)

    def _generate(
        self, batch: tuple[str, ...], question: Question, stopped: Callable[[], bool], tell: Callable[[dict[str, Said]], None]
    ) -> None:
        import torch

        mixed = {"adapter_names": [IN_PEFT[name] for name in batch]} if len(batch) > 1 else {}
        plain = self.model.disable_adapter() if len(self.batches) > 1 and batch == ("base",) else nullcontext()
        ends = self.model.generation_config.eos_token_id
        writing = Writing(batch, question, self.tokenizer, frozenset([ends] if isinstance(ends, int) else ends or ()))
        ids = torch.tensor([question.ids] * len(batch), device=self.model.device)
        with torch.inference_mode(), plain, own_hooks(self.model):
            self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=question.max_new_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                **mixed,
                **writing.steps(stopped, tell),
            )


def load(base: str, adapter: str | None, tell: Callable[[str], None]) -> ModelPair:
    """Says each stage by `tell`. Raises ModelError with a sentence for the page; the reason goes to the log."""
    name = public_name(base)
    problem = f"The model {name} could not be loaded. BASE_MODEL has to be a model folder or a Hub id."
    try:
        tell("Starting PyTorch and transformers.")
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tell(f"Loading the weights of {name}.")
        tokenizer = AutoTokenizer.from_pretrained(base)
        token_ids(tokenizer, "")  # the first call may change a fast tokenizer's settings, which two threads may not do at once
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=fastest_dtype(), use_safetensors=True)
        batches: tuple[tuple[str, ...], ...] = (("base",),)
        if adapter is not None:
            problem = (
                f"The adapter {public_name(adapter)} could not be loaded. ADAPTER has to be a LoRA adapter of {name}, a folder "
                "or a Hub id, with its weights in adapter_model.safetensors."
            )
            tell(f"Loading the adapter {public_name(adapter)}.")
            model = with_adapter(model, adapter)
            batches = (("base", "tuned"),) if mixes(model) else (("base",), ("tuned",))
        problem = f"The model {name} could not be moved to the {device()}; it may be too large for it."
        return ModelPair(tokenizer, model.eval().to(device()), batches)
    except Exception as error:  # wrong name, no network, a broken file: all end alike for the person at the page
        log(error)
        raise ModelError(problem) from None


def with_adapter(model: Any, adapter: str) -> Any:
    """PEFT by itself would also read pickled weights, so it gets a folder with the others; and it would put them on a GPU,
    which ZeroGPU does not allow yet."""
    from huggingface_hub import snapshot_download
    from peft import PeftModel

    folder = Path(adapter)
    if not folder.is_dir():
        folder = Path(snapshot_download(adapter, allow_patterns=ADAPTER_FILES))
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{adapter} holds no {name}")
    return PeftModel.from_pretrained(model, str(folder), torch_device="cpu")


def mixes(model: Any) -> bool:
    """Whether PEFT computes the rows of base and adapter in one batch."""
    import torch

    try:
        with torch.inference_mode(), own_hooks(model):
            model(input_ids=torch.zeros(2, 1, dtype=torch.long), adapter_names=list(IN_PEFT.values()))
    except (TypeError, ValueError) as error:
        log(error)
        return False
    return True


@contextmanager
def own_hooks(model: Any) -> Iterator[None]:
    """PEFT hooks itself into the layers for a mixed batch, and stays there if something fails on the way."""
    before = {module: set(module._forward_pre_hooks) for module in model.modules()}
    try:
        yield
    finally:
        for module, own in before.items():
            for hook in set(module._forward_pre_hooks) - own:
                del module._forward_pre_hooks[hook]


def token_ids(tokenizer: Any, prompt: str, answer: str | None = None) -> list[int]:
    """Ids of a prompt as the model is asked it, or of a prompt with its answer as the model was trained on it."""
    if not tokenizer.chat_template:
        continued = tokenizer(answer or "", add_special_tokens=False)["input_ids"]
        return [*tokenizer(prompt)["input_ids"], *continued]
    turns = [{"role": "user", "content": prompt}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=answer is None, return_dict=False))


def first_tokens(prompt: list[int], answers: list[list[int]]) -> list[int]:
    """The first token behind the prompt in each of `answers`, or nothing where one has none or two have the same."""
    known = all(answer[: len(prompt)] == prompt and len(answer) > len(prompt) for answer in answers)
    firsts = [answer[len(prompt)] for answer in answers] if known else []
    return firsts if len(set(firsts)) == len(firsts) else []


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_dtype() -> Any:
    """bfloat16 where the hardware computes in it, float32 elsewhere: emulated bfloat16 is several times slower."""
    import torch

    if device() == "cuda":
        real = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        real = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if real else torch.float32


def log(error: Exception) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
