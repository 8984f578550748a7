"""The base model and its LoRA adapter, loaded once. Both answer a prompt side by side, as two rows of one batch.

PEFT's mixed batches (https://huggingface.co/docs/peft/developer_guides/lora, "Inference with different LoRA adapters in the
same batch") compute the base weights of a layer for both rows at once and the adapter for the second row only. PEFT cannot mix
some kinds of adapter, such as DoRA; with those the tuned model answers after its base. So it does where the adapter brings a
tokenizer along that is not its base's: it is asked with its own, chat template and end token included.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .backend import AnswerRequest, Answers, BackendBusy, BackendError, ModelAnswer, public_name
from .streaming import BatchStreamer, GenerationJob, TokenisedRequest
from .tokens import first_tokens, text_ids, token_ids

MAX_PROMPT_TOKENS = 2048
GATED = (
    "The model or its adapter is gated on the Hub. Its terms have to be accepted on its page, and HF_TOKEN be a token of "
    "the account that did so, on the Hub as a secret of the Space."
)
ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]
TOKENIZER_FILES = ["tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "chat_template.jinja"]
PEFT_NAMES = {"base": "__base__", "tuned": "default"}
"""What PEFT calls the rows of a mixed batch."""
GREEDY: dict[str, Any] = {
    **{"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None},
    **{"repetition_penalty": 1.0, "no_repeat_ngram_size": 0},
}
"""Decoding as the evaluation does it, whatever the base's generation config asks for."""


def public_names(base: str, adapter: str | None) -> dict[str, str]:
    name = public_name(base)
    return {"base": name} if adapter is None else {"base": name, "tuned": f"{name} + {public_name(adapter)}"}


@dataclass(frozen=True)
class ModelPair:
    """`batches` are the names of the rows: those of one batch are generated together, the batches one after another.

    `tuned_tokenizer` is that of the tuned model, where it has one of its own.
    """

    tokenizer: Any
    model: Any
    batches: tuple[tuple[str, ...], ...]
    tuned_tokenizer: Any = None

    def tokenised(self, request: AnswerRequest) -> TokenisedRequest:
        """Raises BackendError where the prompt has too many tokens."""
        base = self._tokenised(self.tokenizer, request)
        return replace(base, tuned=self._tokenised(self.tuned_tokenizer, request)) if self.tuned_tokenizer else base

    def _tokenised(self, tokenizer: Any, request: AnswerRequest) -> TokenisedRequest:
        ids, text = (
            text_ids(tokenizer, request.prompt, request.text) if request.text else (token_ids(tokenizer, request.prompt), [])
        )
        window = getattr(self.model.config, "max_position_embeddings", None) or MAX_PROMPT_TOKENS
        most = min(MAX_PROMPT_TOKENS, window - (len(text) or request.max_new_tokens))
        if len(ids) > most:
            raise BackendError(f"The prompt is too long: {len(ids)} tokens, and the model takes {most}. Shorten it.")
        if text:
            return TokenisedRequest(ids, 0, only=request.only, text_ids=text)
        answers = [token_ids(tokenizer, request.prompt, label) for label in request.labels]
        return TokenisedRequest(ids, request.max_new_tokens, first_tokens(ids, answers), only=request.only)

    def run(self, job: GenerationJob) -> None:
        """Generates the job's answers into its updates. Never raises."""
        try:
            self._run(job)
            job.updates.put(None)
        except BackendError as error:
            job.updates.put(error)
        except Exception as error:  # the page shows one sentence, the log the reason
            log(error)
            job.updates.put(BackendError("The model failed on this prompt. Try another one."))

    def _run(self, job: GenerationJob) -> None:
        started = time.monotonic()
        if started >= job.deadline:
            raise BackendBusy("The model is busy with other requests. Try again in a minute.")
        asked = [tuple(name for name in batch if name in (job.request.only or batch)) for batch in self.batches]
        batches = [batch for batch in asked if batch]
        answers = {name: ModelAnswer() for batch in batches for name in batch}

        def report(update: Answers) -> None:
            answers.update(update)
            job.updates.put(dict(answers))

        for number, batch in enumerate(batches, 1):
            until = started + (job.deadline - started) * number / len(batches)

            def stopped(until: float = until) -> bool:
                return job.cancelled.is_set() or time.monotonic() > until

            if job.cancelled.is_set():
                return
            request = job.request.of(batch[0])
            if request.text_ids:
                report(self._likelihoods(batch, request))
            else:
                self._generate(batch, request, stopped, report)

    def _likelihoods(self, batch: tuple[str, ...], request: TokenisedRequest) -> Answers:
        """How likely the request's text is as the answer, from one forward pass over prompt and text."""
        import torch

        started = time.monotonic()
        ids = torch.tensor([[*request.prompt_ids, *request.text_ids]] * len(batch), device=self.model.device)
        given, mixed = ids[:, :-1], self._mixed(batch)
        with torch.inference_mode(), self._adapter_of(batch), own_hooks(self.model):
            logits = self.model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False, **mixed).logits
            logs = logits[:, -len(request.text_ids) :].float().log_softmax(-1)
            chosen = logs.gather(-1, ids[:, -len(request.text_ids) :, None])[..., 0].double().sum(-1).tolist()
        seconds = time.monotonic() - started
        return {name: ModelAnswer(seconds=seconds, likelihood=one) for name, one in zip(batch, chosen, strict=True)}

    def _mixed(self, batch: tuple[str, ...]) -> dict[str, Any]:
        """What tells PEFT which rows of a batch the adapter is for, where it holds several."""
        return {"adapter_names": [PEFT_NAMES[name] for name in batch]} if len(batch) > 1 else {}

    def _adapter_of(self, batch: tuple[str, ...]) -> Any:
        """A context without the adapter, where the batch is the base alone."""
        adapted = any("tuned" in names for names in self.batches)
        return self.model.disable_adapter() if adapted and batch == ("base",) else nullcontext()

    def _generate(
        self, batch: tuple[str, ...], request: TokenisedRequest, stopped: Callable[[], bool], report: Callable[[Answers], None]
    ) -> None:
        import torch

        def stop(ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((ids.shape[0],), stopped(), device=ids.device, dtype=torch.bool)

        own = self.tuned_tokenizer is not None and batch == ("tuned",)
        tokenizer = self.tuned_tokenizer if own else self.tokenizer
        eos = self.model.generation_config.eos_token_id
        eos_ids = frozenset([eos] if isinstance(eos, int) else eos or ()) | ({tokenizer.eos_token_id} - {None})
        streamer = BatchStreamer(batch, request, tokenizer, eos_ids, report)
        ids = torch.tensor([request.prompt_ids] * len(batch), device=self.model.device)
        with torch.inference_mode(), self._adapter_of(batch), own_hooks(self.model):
            self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request.max_new_tokens,
                eos_token_id=sorted(eos_ids) or None,
                **GREEDY,
                streamer=streamer,
                stopping_criteria=[stop],
                logits_processor=[streamer.record_probabilities],
                **self._mixed(batch),
            )


def load(base: str, adapter: str | None, progress: Callable[[str], None]) -> ModelPair:
    """Loads both onto the GPU or CPU; `progress` gets each stage. Raises BackendError; the reason goes to the log."""
    name = public_name(base)
    problem = f"The model {name} could not be loaded. BASE_MODEL has to be a model folder or a Hub id."
    try:
        progress("Starting PyTorch and transformers.")
        from transformers import AutoModelForCausalLM, AutoTokenizer

        progress(f"Loading the weights of {name}.")
        tokenizer = AutoTokenizer.from_pretrained(base)
        token_ids(tokenizer, "")  # the first call may change a fast tokenizer's settings, which is not thread-safe
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=fastest_dtype(), use_safetensors=True)
        batches: tuple[tuple[str, ...], ...] = (("base",),)
        tuned_tokenizer = None
        if adapter is not None:
            problem = (
                f"The adapter {public_name(adapter)} could not be loaded. ADAPTER has to be a LoRA adapter of {name}, a folder "
                "or a Hub id, with its weights in adapter_model.safetensors."
            )
            progress(f"Loading the adapter {public_name(adapter)}.")
            folder = adapter_folder(adapter)
            model = with_adapter(model, folder)
            if (folder / "tokenizer_config.json").is_file():
                own = AutoTokenizer.from_pretrained(folder)
                tuned_tokenizer = None if asks_alike(tokenizer, own) else own
            batches = (("base", "tuned"),) if tuned_tokenizer is None and mixes(model) else (("base",), ("tuned",))
        problem = f"The model {name} could not be moved to the {device()}; it may be too large for it."
        return ModelPair(tokenizer, model.eval().to(device()), batches, tuned_tokenizer)
    except Exception as error:  # wrong name, no network, a broken file: the page shows the same sentence
        log(error)
        raise BackendError(GATED if is_gated(error) else problem) from None


def is_gated(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is the Hub's refusal to hand out a gated repository."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None and not isinstance(error, GatedRepoError):
        error = error.__cause__ or error.__context__
    return error is not None


def adapter_folder(adapter: str) -> Path:
    """Where the adapter's files are, with its tokenizer's. Raises FileNotFoundError, and what the Hub's client raises."""
    from huggingface_hub import snapshot_download

    folder = Path(adapter)
    if not folder.is_dir():
        folder = Path(snapshot_download(adapter, allow_patterns=[*ADAPTER_FILES, *TOKENIZER_FILES]))
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{adapter} holds no {name}")
    return folder


def with_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter, from its safetensors file only: by default PEFT would also read pickled weights.

    It is put on the CPU, since ZeroGPU has no GPU at this moment.
    """
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder), torch_device="cpu")


def asks_alike(one: Any, other: Any) -> bool:
    """Whether two tokenizers make the same tokens of every chat, and end it alike."""
    return bool(
        one.chat_template == other.chat_template
        and one.eos_token_id == other.eos_token_id
        and one.get_vocab() == other.get_vocab()
    )


def mixes(model: Any) -> bool:
    """Whether PEFT supports mixed batches with this adapter."""
    import torch

    try:
        with torch.inference_mode(), own_hooks(model):
            model(input_ids=torch.zeros(2, 1, dtype=torch.long), adapter_names=list(PEFT_NAMES.values()))
    except (TypeError, ValueError) as error:
        log(error)
        return False
    return True


@contextmanager
def own_hooks(model: Any) -> Iterator[None]:
    """Removes the hooks that PEFT adds for a mixed batch and leaves behind after an error."""
    before = {module: set(module._forward_pre_hooks) for module in model.modules()}
    try:
        yield
    finally:
        for module, own in before.items():
            for hook in set(module._forward_pre_hooks) - own:
                del module._forward_pre_hooks[hook]


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_dtype() -> Any:
    """bfloat16 where the hardware supports it, else float32: emulated bfloat16 is several times slower."""
    import torch

    if device() == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        supported = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if supported else torch.float32


def log(error: Exception) -> None:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
