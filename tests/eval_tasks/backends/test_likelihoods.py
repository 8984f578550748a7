"""Likelihoods of given answers beside those of one full forward pass per candidate, on random models and in float32."""

import copy
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_tasks.backends import likelihoods
from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.likelihoods import placed_texts, plain_likelihoods, tree_likelihoods
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
from tests.eval_tasks.test_transformers_model import HYBRID
from tests.tiny_llama import TEXT

WORDS = TEXT.split()
CANDIDATES = (
    ("exact", "substitute", "complement", "irrelevant"),
    ("yes", "no"),
    tuple(map(str, range(1, 16))),
    ("garden hose with spray gun",),
    ("a", "ab", "abc"),
)


def asked(count: int, seed: int = 0) -> list[ScoredPrompt]:
    """Prompts of three beginnings and many lengths, some of them alike up to their ends, with candidates of every kind."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        beginning = " ".join(WORDS[10 * (number % 3) : 10 * (number % 3) + 8])
        text = f"{beginning} {' '.join(random.Random(number // 4).choices(WORDS, k=number // 4 % 40))} {rng.choice(WORDS)}"
        found.append(ScoredPrompt(Prompt((("user", text),), f"{text}\nAnswer: ", 8), CANDIDATES[number % len(CANDIDATES)]))
    return found


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    from transformers import AutoModelForCausalLM

    from eval_tasks.backends.kv_buffers import ATTENTION

    return AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, attn_implementation=ATTENTION).eval()


@pytest.fixture(scope="module")
def form(tiny_llama: Path) -> ChatFormat:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    return ChatFormat(tokenizer, frozenset([tokenizer.eos_token_id]), {}, len(tokenizer))


def by_trees(model: Any, form: ChatFormat, prompts: list[ScoredPrompt], positions: int = 2048) -> list[Likelihoods]:
    return in_order(tree_likelihoods(model, form, placed_texts(form, prompts, positions)), len(prompts))


@pytest.fixture(scope="module")
def reference(tiny_llama: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()


def by_hand(model: Any, tokenizer: Any, one: ScoredPrompt) -> list[float]:
    """One forward pass per candidate over the rendered text, nothing padded and nothing shared."""
    head = tokenizer.apply_chat_template(one.prompt.chat(), tokenize=False, add_generation_prompt=True)
    start, found = len(tokenizer(head, add_special_tokens=False)["input_ids"]), []
    for candidate in one.candidates:
        ids = tokenizer(head + candidate, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * one.ended
        with torch.inference_mode():
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found.append(sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids))))
    return found


def in_order(found: Any, count: int) -> list[Likelihoods]:
    known = dict(found)
    assert sorted(known) == list(range(count)), "each prompt is scored once"
    return [known[place] for place in range(count)]


def test_likelihoods_are_those_of_a_full_forward_pass_per_candidate(model: Any, form: ChatFormat, reference: Any) -> None:
    prompts = asked(60)
    right = [by_hand(reference, form.tokenizer, one) for one in prompts]
    plain = in_order(plain_likelihoods(reference, form, placed_texts(form, prompts, 2048)), 60)
    for found in (by_trees(model, form, prompts), plain):
        assert [list(each) for each in found] == [pytest.approx(each, abs=1e-4) for each in right]


@pytest.mark.parametrize(("tokens", "sharing"), [(40, 48), (10**6, 10**6), (97, 2)])
def test_likelihoods_do_not_depend_on_how_prompts_are_batched(
    model: Any, form: ChatFormat, monkeypatch: pytest.MonkeyPatch, tokens: int, sharing: int
) -> None:
    prompts = asked(40, seed=1)
    usual = by_trees(model, form, prompts)
    monkeypatch.setattr(likelihoods, "TREE_TOKENS", tokens)
    monkeypatch.setattr(likelihoods, "LEAST_SHARING", sharing)
    found = by_trees(model, form, prompts)
    assert [list(each) for each in found] == [pytest.approx(list(each), abs=1e-4) for each in usual]


def test_the_end_of_the_turn_counts_only_where_one_candidate_begins_with_another() -> None:
    prompt = Prompt((("user", "a"),), "a", 8)
    assert ScoredPrompt(prompt, ("1", "10")).ended
    assert not ScoredPrompt(prompt, ("yes", "no")).ended
    assert not ScoredPrompt(prompt, ("same", "same")).ended


def test_likelihoods_of_all_first_tokens_sum_to_one(model: Any, form: ChatFormat) -> None:
    """What is scored is a distribution: no constant is left out of the figures."""
    prompt = asked(1)[0].prompt
    alphabet = tuple({form.tokenizer.decode([token]) for token in range(3, 400)})
    (found,) = by_trees(model, form, [ScoredPrompt(prompt, alphabet)])
    assert 0 < sum(map(math.exp, found)) <= 1 + 1e-5


def test_a_prompt_that_is_too_long_keeps_its_end(model: Any, form: ChatFormat) -> None:
    one, two = (
        ScoredPrompt(Prompt((("user", beginning * 100 + f" {' '.join(WORDS[:40])}"),), "", 8), ("yes", "no"))
        for beginning in ("garden hose ", "coffee maker ")
    )
    first, second = by_trees(model, form, [one, two], positions=40)
    assert first == pytest.approx(second, abs=1e-4)


def test_no_prompts_have_no_likelihoods(model: Any, form: ChatFormat) -> None:
    assert by_trees(model, form, []) == []


def test_with_reasoning_switched_on_candidates_stand_behind_an_empty_think_block(model: Any, form: ChatFormat) -> None:
    tokenizer = copy.deepcopy(form.tokenizer)
    tokenizer.chat_template = HYBRID
    off, on = (replace(form, tokenizer=tokenizer, arguments={"enable_thinking": value}) for value in (False, True))
    assert on.rendered(asked(1)[0].prompt) != off.rendered(asked(1)[0].prompt)
    assert placed_texts(on, asked(5), 2048) == placed_texts(off, asked(5), 2048)


def test_a_model_without_a_chat_template_is_asked_in_plain_text(model: Any, form: ChatFormat, reference: Any) -> None:
    """A token may begin in the blank that a prompt ends with: the likelihood is that of the text, however it is cut."""
    from copy import copy
    from dataclasses import replace

    tokenizer = copy(form.tokenizer)
    tokenizer.chat_template = None
    (one,) = asked(1)
    (found,) = by_trees(model, replace(form, tokenizer=tokenizer), [one])
    head = tokenizer(one.prompt.plain)["input_ids"]
    texts = [tokenizer(one.prompt.plain + candidate)["input_ids"] for candidate in one.candidates]
    start = next(place for place in reversed(range(len(head) + 1)) if all(ids[:place] == head[:place] for ids in texts))
    for ids, value in zip(texts, found, strict=True):
        with torch.inference_mode():
            logs = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        assert value == pytest.approx(sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids))), abs=1e-4)


def test_a_model_with_another_attention_or_a_shorter_window_is_asked_the_plain_way(
    model: Any, form: ChatFormat, reference: Any
) -> None:
    from eval_tasks.backends.engine import Engine
    from eval_tasks.backends.self_check import Way

    prompts = asked(20, seed=2)
    usual = [list(each) for each in by_trees(model, form, prompts)]
    for engine in (
        Engine(reference, Way.SINGLE, 2048, 2048, "sdpa"),
        Engine(reference, Way.BATCHED, 2048, 2048, "sdpa"),
        Engine(model, Way.FAST, 2048, 16, "sdpa"),
        Engine(model, Way.FAST, 2048, 2048, "sdpa"),
    ):
        found = in_order(engine.likelihoods(prompts, form), 20)
        assert [list(each) for each in found] == [pytest.approx(each, abs=1e-4) for each in usual]
