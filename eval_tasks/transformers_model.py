"""Any causal model with transformers, and a LoRA adapter without merging, as a backend of lighteval:

    lighteval custom "model_name=BASE,adapter=ADAPTER" eval_tasks/transformers_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

BASE and ADAPTER are folders or Hub ids (`org/name@revision`). Options beside those of every backend (prompts.COMMON_OPTIONS):
`dtype` (auto, float32, bfloat16, float16) and `max_length` (tokens of prompt and answer; default: all that the model takes).
`constrained=true` limits each answer to what its task's parser can read. An adapter is asked with its own tokenizer, template
and end tokens, where it has them. It is several times as fast as `lighteval accelerate` on the CPU (backends/generation.py)
with every model whose logits that gives (backends/self_check.py), and resumes where it was interrupted.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError
from common.model_files import check_model_folder, loading, reason_of
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.cache_key import folder_stamp
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, int_option

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """A base model on the GPU if there is one, else on all cores. Raises UserError."""
    import peft
    import torch
    import transformers

    from eval_tasks.backends.chat_format import ChatFormat, format_identity, load_format, tokens_cut
    from eval_tasks.backends.engine import context_length, make_engine

    folder = lighteval_model.local_folder(options["model_name"], revision=options["revision"] or None)
    base = load_base(folder, options)
    positions = context_length(base.config)
    if options["max_length"] != "0":
        positions = min(positions, int_option(options, "max_length"))
    model_ends = greedy(base)

    @cache
    def form(adapter: Path | None) -> ChatFormat:
        return load_format(folder, adapter, options, model_ends, vocabulary(base))

    engine = make_engine(base, form(None), positions)
    for adapter in adapters:  # an error shows before the first answer
        form(adapter)
        with adapted(base, adapter):
            pass

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        with adapted(base, adapter) if adapter else nullcontext():
            yield from engine.answers(prompts, form(adapter), constrained)

    def cut(prompts: Sequence[Prompt], adapter: Path | None) -> list[int]:
        return tokens_cut(prompts, form(adapter), positions)

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        with adapted(base, adapter) if adapter else nullcontext():
            yield from engine.likelihoods(prompts, form(adapter))

    versions = (f"torch {torch.__version__}", f"transformers {transformers.__version__}", f"peft {peft.__version__}")
    identity = ("transformers", folder_stamp(folder), str(base.dtype), *format_identity(options), *versions)
    return LoadedModel(identity, answer, cut, score)


def load_base(folder: Path, options: Mapping[str, str]) -> Any:
    """The model in a folder, ready to answer. Raises UserError."""
    import torch
    import transformers

    if options["dtype"] not in DTYPES:
        raise UserError(f"the model option dtype must be one of {', '.join(DTYPES)}, not {options['dtype']!r}")
    cuda = torch.cuda.is_available()
    check_model_folder(folder, options["model_name"])
    with loading(options["model_name"], "the model", "check its files, or fetch it again"):
        base: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=options["dtype"], local_files_only=True)
    if base.dtype == torch.float16 and not cuda and options["dtype"] == "auto":
        print("note: the weights are float16, which a CPU computes in float32; give dtype=bfloat16 for half", file=sys.stderr)
        base = base.float()
    if cuda:
        print("note: on a GPU, --backend vllm answers faster (make setup-vllm)", file=sys.stderr)
    return base.eval().to("cuda" if cuda else "cpu")


@contextmanager
def adapted(base: Any, adapter: Path) -> Iterator[None]:
    """The base with an adapter's weights beside its own as long as the context is open. Raises UserError."""
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"the adapter {adapter} cannot be put on this base: {reason_of(error)}") from None
    if model.active_peft_config.is_prompt_learning:
        raise UserError(f"the adapter {adapter} is a learned prompt, not weights; the vllm and transformers backends take LoRA")
    try:
        yield
    finally:
        model.unload()


def vocabulary(model: Any) -> int:
    """The number of logits."""
    head = model.get_output_embeddings()
    return int(head.weight.size(0) if head is not None else model.config.get_text_config().vocab_size)


def greedy(model: Any) -> tuple[int, ...]:
    """Makes `generate` greedy and without penalties, says what it ignores, and returns the end tokens of the model's own."""
    from transformers import GenerationConfig

    own = model.generation_config
    neutral = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    if ignored := [f"{name}={found}" for name, plain in neutral.items() if (found := getattr(own, name)) not in (None, plain)]:
        print(f"note: answers are decoded greedily; ignored of the generation config: {', '.join(ignored)}", file=sys.stderr)
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    plain: Any = GenerationConfig  # transformers has no types for it
    model.generation_config = plain(do_sample=False, pad_token_id=0, bos_token_id=own.bos_token_id)
    return tuple(token for token in ends if token is not None)


class TransformersBackend(lighteval_model.Backend):
    OPTIONS: ClassVar = {"dtype": "auto", "max_length": "0"}
    load = staticmethod(load)
