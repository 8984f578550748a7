"""What a model answers: greedily, in batches of prompts of like length, through the chat template."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builders.errors import UserError, first_line
from training.summary import usable_cores

BATCH_TOKENS = 8192
"""Tokens of a batch of prompts, padding and answers included."""

MOST_ROWS = 32


@dataclass(frozen=True)
class Prompt:
    text: str
    max_new_tokens: int


def model_answers(model: str, prompts: Sequence[Prompt]) -> list[str]:
    """Answers of a model's folder or Hub id, in the order of the prompts.

    As under lighteval: one turn of the user's, no stop sequences, since a chat model ends its turn by itself.
    """
    import torch
    from rich.console import Console
    from rich.progress import Progress

    tokenizer, loaded = _load(model)
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt.text}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    answers = [""] * len(prompts)
    with torch.inference_mode(), Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"Answers of {shown(model)}", total=len(prompts))
        for batch in batches([len(row) for row in ids], [prompt.max_new_tokens for prompt in prompts]):
            inputs = tokenizer.pad({"input_ids": [ids[place] for place in batch]}, padding_side="left", return_tensors="pt")
            written = loaded.generate(
                **inputs.to(loaded.device),
                max_new_tokens=prompts[batch[0]].max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
            new = written[:, inputs["input_ids"].shape[1] :]
            for place, answer in zip(batch, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[place] = answer
            progress.advance(bar, len(batch))
    return answers


def batches(lengths: Sequence[int], new: Sequence[int]) -> list[list[int]]:
    """Places of prompts that are answered together: as many new tokens, about as long, the longest first.

    A batch has at most MOST_ROWS prompts and, unless it is a single one, at most BATCH_TOKENS tokens.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: (new[place], -lengths[place])):
        if found:
            first = found[-1][0]  # the longest of its batch
            tokens = (len(found[-1]) + 1) * (lengths[first] + new[first])
            if new[first] == new[place] and len(found[-1]) < MOST_ROWS and tokens <= BATCH_TOKENS:
                found[-1].append(place)
                continue
        found.append([place])
    return found


def _load(model: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    except (OSError, ValueError) as error:
        raise UserError(
            f"The model {model} cannot be loaded: {first_line(error)}. Give a model folder or a Hub id as --base."
        ) from None
    if tokenizer.chat_template is None:
        raise UserError(f"The model {model} has no chat template. Give its instruct version as --base.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.set_num_threads(usable_cores())
    return tokenizer, loaded.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def shown(model: str) -> str:
    """A Hub id as it is, a folder by its last name."""
    return Path(model).resolve().name if Path(model).exists() or Path(model).is_absolute() else model


def kept(folder: Path, key: Any, make: Callable[[], list[str]]) -> list[str]:
    """What `make` gives, or what it gave in an earlier run for the same key: JSON in the folder, under the key's hash."""
    path = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"
    try:
        found: list[str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = make()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(found) + "\n", encoding="utf-8")
        unfinished.replace(path)
    return found
