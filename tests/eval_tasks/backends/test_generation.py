"""Answers beside those of transformers' own `generate` on one prompt at a time, on a random model and in float32."""

import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends import generation
from eval_tasks.backends.generation import chunks
from eval_tasks.backends.prompts import Prompt, parse_options
from eval_tasks.transformers_model import TransformersBackend, load
from tests.tiny_llama import TEXT

WORDS = TEXT.split()


def prompts(count: int, seed: int = 0, limits: tuple[int, ...] = (5, 12, 30)) -> list[Prompt]:
    """Prompts of three beginnings and many lengths."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        beginning = " ".join(WORDS[10 * (number % 3) : 10 * (number % 3) + 8 + number % 3])
        text = f"{beginning} {' '.join(rng.choices(WORDS, k=rng.randint(1, 60)))}"
        found.append(Prompt((("user", text),), text, limits[number % len(limits)]))
    return found


@pytest.fixture(scope="module")
def generator(tiny_llama: Path) -> Any:
    return load(parse_options(f"model_name={tiny_llama},dtype=float32", TransformersBackend.OPTIONS))


def one_at_a_time(folder: Path, asked: list[Prompt]) -> list[str]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    found = []
    for prompt in asked:
        text = tokenizer.apply_chat_template(prompt.chat(), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=prompt.max_new_tokens, do_sample=False)
        found.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


def in_order(answers: Iterator[tuple[int, str]], count: int) -> list[str]:
    found = list(answers)
    assert sorted(place for place, _ in found) == list(range(count)), "each prompt is answered once"
    return [text for _, text in sorted(found)]


def test_answers_are_those_of_generate_on_one_prompt_at_a_time(generator: Any, tiny_llama: Path) -> None:
    asked = prompts(40)
    assert in_order(generator.answer(asked, None, False), 40) == one_at_a_time(tiny_llama, asked)


def test_answers_do_not_depend_on_how_many_are_read_and_written_at_once(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = prompts(50, seed=1)
    usual = in_order(generator.answer(asked, None, False), 50)
    monkeypatch.setattr(generation, "PREFILL_TOKENS", 90)
    monkeypatch.setattr(generation, "DECODED_ROWS", 6)
    assert in_order(generator.answer(asked, None, False), 50) == usual
    monkeypatch.setattr(generation, "DECODED_POSITIONS", 1)
    assert in_order(generator.answer(asked, None, False), 50) == usual


def test_the_buffers_of_rows_that_write_together_are_bounded(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "DECODED_POSITIONS", 400)
    monkeypatch.setattr(generation, "PREFILL_TOKENS", 100)
    sizes = []
    whole = generation._merged

    def watched(parts: Any) -> Any:
        batch = whole(parts)
        if batch:
            sizes.append(batch.buffers.filled.numel())
        return batch

    monkeypatch.setattr(generation, "_merged", watched)
    list(generator.answer(prompts(60, seed=2), None, False))
    assert sizes
    # What is there plus one reading, with room for the longest answer.
    assert max(sizes) < 3 * (400 + 100 + 16 * 100)


def test_no_prompts_are_no_answers(generator: Any) -> None:
    assert list(generator.answer([], None, False)) == []


def test_a_prompt_that_is_too_long_keeps_its_end(tiny_llama: Path) -> None:
    short = load(parse_options(f"model_name={tiny_llama},dtype=float32,max_length=64", TransformersBackend.OPTIONS))
    (long,) = prompts(1, limits=(8,))
    beginning = replace(long, messages=(("user", "garden hose " * 200 + long.plain),))
    other = replace(long, messages=(("user", "coffee maker " * 300 + long.plain),))
    first, second = in_order(short.answer([beginning, other], None, False), 2)
    assert first == second


def test_an_answer_ends_as_soon_as_its_reading_is_final(generator: Any) -> None:
    asked = [replace(prompt, max_new_tokens=30, task="shop:review_rating") for prompt in prompts(12, seed=3)]
    for text, free in zip(
        in_order(generator.answer(asked, None, False), 12),
        in_order(generator.answer([replace(prompt, task="") for prompt in asked], None, False), 12),
        strict=True,
    ):
        assert free.startswith(text)
        assert len(text.strip("\ufffd")) < len(free) or len(free.strip()) < 2


@pytest.mark.parametrize("pattern", ["yes|no", "[1-5],[1-5],[1-5]", r"[^\n]+"])
def test_constrained_answers_match_their_pattern(generator: Any, pattern: str) -> None:
    asked = [replace(prompt, pattern=pattern) for prompt in prompts(9, seed=4, limits=(30,))]
    assert (
        not any(re.fullmatch(pattern, text) for text in in_order(generator.answer(asked, None, False), 9))
        or pattern == r"[^\n]+"
    )
    for text in in_order(generator.answer(asked, None, True), 9):
        assert re.fullmatch(pattern, text.removesuffix("\ufffd"))


def test_rows_with_and_without_a_pattern_are_answered_together(generator: Any) -> None:
    asked = [replace(prompt, pattern="yes|no" if number % 2 else "") for number, prompt in enumerate(prompts(12, seed=5))]
    free, limited = (in_order(generator.answer(asked, None, constrained), 12) for constrained in (False, True))
    assert free[::2] == limited[::2]
    assert set(limited[1::2]) <= {"yes", "no"}


def test_a_pattern_that_is_none_is_told(generator: Any) -> None:
    asked = [replace(prompts(1)[0], pattern="(unclosed")]
    with pytest.raises(UserError, match="cannot limit decoding"):
        list(generator.answer(asked, None, True))


def test_a_model_without_a_chat_template_reads_plain_text_and_ends_at_a_stop_sequence(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    plain = load(parse_options(f"model_name={folder},dtype=float32", TransformersBackend.OPTIONS))
    asked = [replace(prompt, max_new_tokens=20) for prompt in prompts(8, seed=6)]
    free = in_order(plain.answer(asked, None, False), 8)
    stop = free[0][3]
    stopping = [replace(prompt, stop=(stop,)) for prompt in asked]
    for text, whole in zip(in_order(plain.answer(stopping, None, False), 8), free, strict=True):
        assert text == whole.partition(stop)[0]


def test_rows_that_are_read_together_stay_below_the_limit_unless_one_alone_is_longer() -> None:
    assert chunks([50, 10, 9, 9, 8], 20) == [[0], [1, 2], [3, 4]]
    assert chunks([], 20) == []


def test_every_task_has_a_limit_of_new_tokens() -> None:
    assert all(task.max_new_tokens > 0 for task in TASKS.values())
