"""Likelihoods of given answers beside those of one full forward pass per candidate, on random models and in float32."""

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_tasks.backends import likelihoods
from eval_tasks.backends.likelihoods import plain_likelihoods, tree_likelihoods
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
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
def generator(tiny_llama: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from eval_tasks.backends.generation import BatchGenerator
    from eval_tasks.backends.kv_buffers import ATTENTION

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, attn_implementation=ATTENTION).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    return BatchGenerator(model, tokenizer, frozenset([tokenizer.eos_token_id]), 2048)


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


def test_likelihoods_are_those_of_a_full_forward_pass_per_candidate(generator: Any, reference: Any) -> None:
    prompts = asked(60)
    right = [by_hand(reference, generator.tokenizer, one) for one in prompts]
    plain = plain_likelihoods(reference, generator.tokenizer, generator.ends, 2048, prompts)
    for found in (in_order(tree_likelihoods(generator, prompts), 60), in_order(plain, 60)):
        assert [list(each) for each in found] == [pytest.approx(each, abs=1e-4) for each in right]


@pytest.mark.parametrize(("tokens", "sharing"), [(40, 48), (10**6, 10**6), (97, 2)])
def test_likelihoods_do_not_depend_on_how_prompts_are_batched(
    generator: Any, monkeypatch: pytest.MonkeyPatch, tokens: int, sharing: int
) -> None:
    prompts = asked(40, seed=1)
    usual = in_order(tree_likelihoods(generator, prompts), 40)
    monkeypatch.setattr(likelihoods, "TREE_TOKENS", tokens)
    monkeypatch.setattr(likelihoods, "LEAST_SHARING", sharing)
    found = in_order(tree_likelihoods(generator, prompts), 40)
    assert [list(each) for each in found] == [pytest.approx(list(each), abs=1e-4) for each in usual]


def test_the_end_of_the_turn_counts_only_where_one_candidate_begins_with_another() -> None:
    prompt = Prompt((("user", "a"),), "a", 8)
    assert ScoredPrompt(prompt, ("1", "10")).ended
    assert not ScoredPrompt(prompt, ("yes", "no")).ended
    assert not ScoredPrompt(prompt, ("same", "same")).ended


def test_likelihoods_of_all_first_tokens_sum_to_one(generator: Any) -> None:
    """What is scored is a distribution: no constant is left out of the figures."""
    prompt = asked(1)[0].prompt
    alphabet = tuple({generator.tokenizer.decode([token]) for token in range(3, 400)})
    (found,) = in_order(tree_likelihoods(generator, [ScoredPrompt(prompt, alphabet)]), 1)
    assert 0 < sum(map(math.exp, found)) <= 1 + 1e-5


def test_a_prompt_that_is_too_long_keeps_its_end(generator: Any) -> None:
    from dataclasses import replace

    short = replace(generator, positions=40)
    one, two = (
        ScoredPrompt(Prompt((("user", beginning * 100 + f" {' '.join(WORDS[:40])}"),), "", 8), ("yes", "no"))
        for beginning in ("garden hose ", "coffee maker ")
    )
    first, second = in_order(tree_likelihoods(short, [one, two]), 2)
    assert first == pytest.approx(second, abs=1e-4)


def test_no_prompts_have_no_likelihoods(generator: Any) -> None:
    assert list(tree_likelihoods(generator, [])) == []


def test_a_model_without_a_chat_template_is_asked_in_plain_text(generator: Any, reference: Any) -> None:
    """A token may begin in the blank that a prompt ends with: the likelihood is that of the text, however it is cut."""
    from copy import copy
    from dataclasses import replace

    tokenizer = copy(generator.tokenizer)
    tokenizer.chat_template = None
    (one,) = asked(1)
    (found,) = in_order(tree_likelihoods(replace(generator, tokenizer=tokenizer), [one]), 1)
    head = tokenizer(one.prompt.plain)["input_ids"]
    texts = [tokenizer(one.prompt.plain + candidate)["input_ids"] for candidate in one.candidates]
    start = next(place for place in reversed(range(len(head) + 1)) if all(ids[:place] == head[:place] for ids in texts))
    for ids, value in zip(texts, found, strict=True):
        with torch.inference_mode():
            logs = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        assert value == pytest.approx(sum(float(logs[place - 1, ids[place]]) for place in range(start, len(ids))), abs=1e-4)
