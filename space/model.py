"""One base model, with or without a LoRA adapter, that answers one question at a time."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

MAX_PROMPT_TOKENS = 2048


class ModelError(Exception):
    """Something that the person at the page should read as it stands: one sentence, no internals."""


def public_name(source: str) -> str:
    """A Hub id as it is; of a folder only its last name, since the page tells nothing about the machine."""
    return Path(source).resolve().name if Path(source).exists() or Path(source).is_absolute() else source


@dataclass(frozen=True)
class Job:
    """One answer to write: into `stream`, until it is complete, `stop` is set or the clock passes `deadline`."""

    inputs: Any
    max_new_tokens: int
    tuned: bool
    stream: "Stream"
    deadline: float
    stop: Event = field(default_factory=Event)
    done: Future[None] = field(default_factory=Future)


class Stream:
    """What `generate` writes to: the whole text so far after each token, then None.

    The tokens are decoded together each time. transformers' own streamers decode in pieces, and where a character has more
    than one token the pieces do not add up to the text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.texts: SimpleQueue[str | None] = SimpleQueue()
        self._tokenizer = tokenizer
        self._tokens: list[int] | None = None

    def put(self, tokens: Any) -> None:
        if self._tokens is None:  # the prompt comes first
            self._tokens = []
            return
        self._tokens += tokens.tolist()
        self.texts.put(self._tokenizer.decode(self._tokens, skip_special_tokens=True))

    def end(self) -> None:
        self.texts.put(None)


class Model:
    """Loads in the background. All work is done by one thread, in turn: the adapter is switched on and off for whole
    answers, so two requests at once can neither mix models nor get each other's words."""

    def __init__(self, base: str, adapter: str | None = None) -> None:
        self.base = base
        self.adapter = adapter
        self.load_seconds = 0.0
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._loaded: Future[tuple[Any, Any]] = Future()
        Thread(target=self._work, daemon=True, name="model").start()

    @property
    def ready(self) -> bool:
        return self._loaded.done()

    def wait(self, seconds: float) -> None:
        """Waits until the model is there. Raises ModelError if it cannot be, or not in this time."""
        try:
            self._loaded.result(timeout=seconds)
        except TimeoutError:
            raise ModelError("The model is still loading. Try again in a minute.") from None

    def stream(self, prompt: str, max_new_tokens: int, tuned: bool, seconds: float) -> Iterator[str]:
        """The answer so far, again and again as it grows: greedy, within `seconds`. Call `wait` before."""
        tokenizer, model = self._loaded.result()
        if tokenizer.chat_template:
            turns = [{"role": "user", "content": prompt}]
            inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        else:
            inputs = tokenizer(prompt, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        window = getattr(model.config, "max_position_embeddings", None) or MAX_PROMPT_TOKENS
        most = min(MAX_PROMPT_TOKENS, window - max_new_tokens)
        if length > most:
            raise ModelError(f"The prompt is too long: {length} tokens, and the model takes {most}. Shorten it.")

        job = Job(inputs, max_new_tokens, tuned, Stream(tokenizer), time.monotonic() + seconds)
        self._jobs.put(job)
        try:
            while (text := job.stream.texts.get()) is not None:
                yield text
            job.done.result()
        finally:
            job.stop.set()  # the reader has gone: the worker ends at the next token

    def _work(self) -> None:
        start = time.monotonic()
        try:
            loaded = load(self.base, self.adapter)
        except ModelError as error:
            self._loaded.set_exception(error)
            return
        self.load_seconds = time.monotonic() - start
        self._loaded.set_result(loaded)
        while True:
            self._generate(*loaded, self._jobs.get())

    def _generate(self, _: Any, model: Any, job: Job) -> None:
        import torch

        def out_of_time(input_ids: Any, scores: Any, **_: Any) -> Any:
            over = job.stop.is_set() or time.monotonic() > job.deadline
            return torch.full((input_ids.shape[0],), over, device=input_ids.device, dtype=torch.bool)

        plain = self.adapter is not None and not job.tuned
        try:
            with torch.inference_mode(), model.disable_adapter() if plain else nullcontext():
                model.generate(
                    **job.inputs.to(model.device),
                    max_new_tokens=job.max_new_tokens,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    streamer=job.stream,
                    stopping_criteria=[out_of_time],
                )
            job.done.set_result(None)
        except Exception as error:  # whatever it is, the page says one sentence and the log has the rest
            log(error)
            job.done.set_exception(ModelError("The model failed on this prompt. Try another one."))
        finally:
            job.stream.end()


def load(base: str, adapter: str | None) -> tuple[Any, Any]:
    """Tokenizer and model. Raises ModelError with a sentence for the page; the reason goes to the log."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=fastest_dtype(), use_safetensors=True)
    except Exception as error:  # wrong name, no network, a broken file: all end alike for the person at the page
        log(error)
        sentence = f"The model {public_name(base)} could not be loaded. BASE_MODEL has to be a model folder or a Hub id."
        raise ModelError(sentence) from None
    if adapter is not None:
        from peft import PeftModel

        try:
            model = PeftModel.from_pretrained(model, adapter)
        except Exception as error:
            log(error)
            names = public_name(adapter), public_name(base)
            raise ModelError(
                "The adapter {} could not be loaded. ADAPTER has to be a LoRA adapter of {}.".format(*names)
            ) from None
    model.eval()
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")


def fastest_dtype() -> Any:
    """bfloat16 where the hardware computes in it, float32 elsewhere: emulated bfloat16 is several times slower."""
    import torch

    bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if bf16 else torch.float32


def log(error: Exception) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
