"""What benchmarks/gpu.py measures on: randomly initialised models of a given shape, their tokenizer, and invented rows."""

import json
import random
from pathlib import Path
from typing import Any

from common.dataset import data_file
from common.prompts import render_prompt
from common.tasks import TASKS

SHAPES: dict[str, dict[str, int]] = {
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 4096,
    },
}
"""Name -> fields of LlamaConfig. `8b` is Meta-Llama-3-8B-Instruct's."""

POSITIONS = 4096
VOCABULARY = 2000
"""Words of the invented language."""

SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|reserved_special_token_2|>")
"""Tokens that the recipes for Llama 3 name; the second ends a turn, the third pads."""

CHAT = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}{{ message['role'] + ':\\n' + message['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)

MIX = {"review_rating": 0.4, "query_product_ranking": 0.25, "also_buy": 0.2, "answer_generation": 0.15}
"""Task -> share of the rows. Lengths come out as on real rows: most of 50 to 200 tokens, lists of several hundred."""


def invented_row(task: str, number: int, draw: random.Random) -> dict[str, Any]:
    """A row in the shape of a built dataset. Ratings follow from a word of the review, so that there is something to learn."""

    def words(least: int, most: int) -> str:
        return " ".join(f"w{draw.randrange(VOCABULARY)}" for _ in range(draw.randint(least, most)))

    answer: Any
    if task == "review_rating":
        answer = str(draw.randint(1, 5))
        fields: dict[str, Any] = {"category": words(1, 2), "review": f"{words(5, 90)} stars{answer} {words(0, 30)}"}
        completion = answer
    elif task == "query_product_ranking":
        answer = draw.sample([1.0, 0.1, 0.1, 0.01, 0.0], 5)
        fields = {"query": words(1, 4), "products": [words(6, 14) for _ in range(5)]}
        completion = ",".join(str(place + 1) for place in sorted(range(5), key=lambda place: -answer[place]))
    elif task == "also_buy":
        answer = sorted(draw.sample(range(1, 16), 3))
        fields = {"product": words(6, 14), "number": "three", "candidates": [words(6, 14) for _ in range(15)]}
        completion = ",".join(map(str, answer))
    else:
        completion = answer = words(4, 20)
        fields = {"question": words(5, 12), "snippets": [words(10, 40) for _ in range(3)]}
    name = f"{task}-{number}"
    return {
        "prompt": [{"role": "user", "content": render_prompt(TASKS[task].templates[0], fields)}],
        "completion": [{"role": "assistant", "content": completion}],
        "task": task,
        "family": TASKS[task].family,
        "answer": json.dumps(answer),
        "group": name,
        "sample_id": name,
    }


def write_rows(folder: Path, train: int, test: int) -> Path:
    """A dataset folder with about so many rows in each split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(0)
    for split, count in (("train", train), ("test", test)):
        for task, share in MIX.items():
            first = 0 if split == "train" else train
            rows = [invented_row(task, first + number, draw) for number in range(round(count * share))]
            if rows:
                path = folder / data_file(task, split)
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(rows), path)
    return folder


def write_model(folder: Path, shape: str) -> Path:
    """A Llama of this shape with random weights in bfloat16, made on the GPU if there is one, and its tokenizer."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=POSITIONS, tie_word_embeddings=False, **ids)  # type: ignore[arg-type]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(do_sample=False, **ids)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer() -> Any:
    """A byte-level BPE tokenizer of the invented rows, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    draw = random.Random(0)
    texts = [row["prompt"][0]["content"] for number in range(40) for row in (invented_row(task, number, draw) for task in MIX)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=4000, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token=SPECIAL[2], model_max_length=POSITIONS
    )
    tokenizer.chat_template = CHAT
    return tokenizer
