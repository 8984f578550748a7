"""Measures on a few short prompts how a model generates rightly: by the fast attention, in padded batches, or row by row.

The measure is `model.generate` on one prompt at a time. Every way is given the tokens that it chose, and must arrive at its
logits: so near ties do not matter, and a mask, a soft-cap or an attention sink that is lost shows.
"""

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

import torch

from common.errors import UserError, first_line
from common.tasks import TASKS
from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.generation import BatchGenerator, _merged
from eval_tasks.backends.generation_rows import GenerationRow
from eval_tasks.backends.kv_buffers import ATTENTION
from eval_tasks.backends.plain_generation import padded

STEPS = 6
SHARED = 9
OWN = (3, 28, 11, 1)
"""Tokens of the prompts after their common beginning, and of the answers that are compared."""

TOLERANCE = {torch.float32: 1e-3}
LOW_PRECISION_TOLERANCE = 0.1
"""How much logits may differ, as a share of their spread, averaged over a prompt's steps: what rounding makes, not a mask."""


class Way(StrEnum):
    """How a model generates: by generation.py, or by `generate` in padded batches or row by row."""

    FAST = "fast"
    BATCHED = "batched"
    SINGLE = "single"


def measured_way(model: Any, form: ChatFormat) -> Way:
    """The fastest way that gives the model's own logits; its attention is then set for that. Raises UserError if none does."""
    prompts = check_prompts(form.tokenizer)
    own = model.config._attn_implementation
    with torch.inference_mode():
        try:
            expected, tokens = own_logits(model, prompts)
        except Exception as error:  # whatever a model's code raises
            raise UserError(f"this model cannot generate: {first_line(error)}; evaluate it with another backend") from None
        with suppress(Exception):  # as above: then it is not fast
            model.set_attn_implementation(ATTENTION)
            if agree(fast_logits(BatchGenerator(model, form), prompts, tokens), expected, model.dtype):
                return Way.FAST
        model.set_attn_implementation(own)
        with suppress(Exception):
            if agree(padded_logits(model, prompts, tokens), expected, model.dtype):
                return Way.BATCHED
    return Way.SINGLE


def check_prompts(tokenizer: Any) -> list[list[int]]:
    """Prompts of different lengths with a common beginning, from the tasks' own words."""
    text = " ".join(task.templates[0] for task in TASKS.values())
    ids = list(tokenizer(text)["input_ids"])
    found, start = [], SHARED
    for count in OWN:
        found.append([*ids[:SHARED], *ids[start : start + count]])
        start += count
    return found


def own_logits(model: Any, prompts: Sequence[list[int]]) -> tuple[list[torch.Tensor], list[list[int]]]:
    """Logits (steps, vocabulary) of `generate` on each prompt alone, and the tokens that it chose."""
    logits, tokens = [], []
    for ids in prompts:
        row = torch.tensor([ids], device=model.device)
        said = model.generate(
            input_ids=row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=STEPS,
            min_new_tokens=STEPS,
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits.append(torch.cat(said.logits))
        tokens.append(said.sequences[0, len(ids) :].tolist())
    return logits, tokens


def fast_logits(generator: BatchGenerator, prompts: Sequence[list[int]], tokens: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The same of generation.py: a common beginning, padded rows behind it, and rows that leave and join."""
    rows = [GenerationRow(place, ids, STEPS) for place, ids in enumerate(prompts)]
    prefix = generator._prefix(prompts[0][:SHARED])
    parts = [generator._prefill_batch(part, SHARED, prefix) for part in (rows[:3], rows[3:])]
    found: list[list[torch.Tensor]] = [[logits] for _, whole in parts for logits in whole]
    for row, chosen in zip(rows, tokens, strict=True):
        row.written.append(chosen[0])
    batch = _merged([part for part, _ in parts])
    assert batch
    for step in range(1, STEPS):
        for row, logits in zip(rows, generator._decode_step(batch), strict=True):
            found[row.place].append(logits)
            row.written.append(tokens[row.place][step])
    return [torch.stack(steps) for steps in found]


def padded_logits(model: Any, prompts: Sequence[list[int]], tokens: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The same of `generate` on all prompts in one batch."""
    ids, mask = padded(prompts)
    forced = torch.tensor(tokens, device=model.device)

    def force(written: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chosen = forced[:, written.size(1) - ids.size(1)]
        return torch.full_like(scores, float("-inf")).scatter(1, chosen[:, None], 0.0)

    said = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=STEPS,
        logits_processor=[force],
        return_dict_in_generate=True,
        output_logits=True,
    )
    return list(torch.stack(said.logits, dim=1))


def agree(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], dtype: torch.dtype) -> bool:
    """Whether the logits (steps, vocabulary) of every prompt are the same but for rounding."""
    tolerance = TOLERANCE.get(dtype, LOW_PRECISION_TOLERANCE)
    for own, right in zip(found, expected, strict=True):
        spread = (right.float() - right.float().mean(-1, keepdim=True)).norm(dim=-1)
        if not ((own.float() - right.float()).norm(dim=-1) / spread).mean() <= tolerance:  # NaN is no agreement
            return False
    return True
