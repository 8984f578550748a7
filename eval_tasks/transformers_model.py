"""Any causal model with transformers, and a LoRA adapter without merging, as a backend of lighteval:

    lighteval custom "model_name=BASE,adapter=ADAPTER" eval_tasks/transformers_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

BASE and ADAPTER are folders or Hub ids (`org/name@revision`). Options beside those of every backend (prompts.COMMON_OPTIONS):
`dtype` (auto, float32, bfloat16, float16) and `max_length` (tokens of prompt and answer; default: all that the model takes).
`constrained=true` limits each answer to what its task's parser can read. It is several times as fast as `lighteval accelerate`
on the CPU (see backends/generation.py), and resumes where it was interrupted (see backends/lighteval_model.py).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.errors import UserError, first_line
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, int_option

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load(options: Mapping[str, str], adapters: Sequence[Path] = ()) -> LoadedModel:
    """A base model on the GPU if there is one, else on all cores. Raises UserError."""
    import peft
    import torch
    import transformers

    from eval_tasks.backends.constrained_decoding import grammar_tokenizer
    from eval_tasks.backends.generation import BatchGenerator, check_attention
    from eval_tasks.backends.kv_buffers import ATTENTION
    from eval_tasks.backends.likelihoods import tree_likelihoods

    if options["dtype"] not in DTYPES:
        raise UserError(f"the model option dtype must be one of {', '.join(DTYPES)}, not {options['dtype']!r}")
    folder = lighteval_model.local_folder(options["model_name"], revision=options["revision"] or None)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        base: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=options["dtype"], attn_implementation=ATTENTION, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UserError(f"the model {options['model_name']} cannot be loaded: {first_line(error)}") from None
    base.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    positions = base.config.get_text_config().max_position_embeddings
    if options["max_length"] != "0":
        positions = min(positions, int_option(options, "max_length"))
    check_attention(base.config, positions)
    grammar = grammar_tokenizer(tokenizer, base.get_output_embeddings().weight.size(0))
    generator = BatchGenerator(base, tokenizer, ends(base, tokenizer), positions, grammar)

    def answer(prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        with adapted(base, adapter) if adapter else nullcontext():
            yield from generator.answers(prompts, constrained)

    def score(prompts: Sequence[ScoredPrompt], adapter: Path | None) -> Iterator[tuple[int, Likelihoods]]:
        with adapted(base, adapter) if adapter else nullcontext():
            yield from tree_likelihoods(generator, prompts)

    versions = (f"torch {torch.__version__}", f"transformers {transformers.__version__}", f"peft {peft.__version__}")
    identity = ("transformers", lighteval_model.folder_identity(folder), str(base.dtype), f"{positions} positions", *versions)
    return LoadedModel(identity, answer, score)


@contextmanager
def adapted(base: Any, adapter: Path) -> Iterator[None]:
    """The base with an adapter's weights beside its own as long as the context is open. Raises UserError."""
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"the adapter {adapter} cannot be put on this base: {first_line(error)}") from None
    try:
        yield
    finally:
        model.unload()


def ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those of the model's generation config, such as Llama 3's."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


class TransformersBackend(lighteval_model.Backend):
    OPTIONS: ClassVar = {"dtype": "auto", "max_length": "0"}
    load = staticmethod(load)
