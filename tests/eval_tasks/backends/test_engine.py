"""Tiny random models of many architectures answer as their own logits say, by whatever way was measured to be right."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval_tasks.backends import self_check
from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.engine import UNLIMITED, Engine, context_length, make_engine, seen_whole
from eval_tasks.backends.prompts import Prompt
from eval_tasks.backends.self_check import Way
from eval_tasks.transformers_model import greedy, vocabulary
from tests.tiny_architectures import ARCHITECTURES, QUICK, tiny_config, tiny_model
from tests.tiny_llama import TEXT, build_tokenizer

NEAR_TIE = 1e-3
"""Between the two best logits: rounding may choose either."""

README = Path(__file__).parents[3] / "eval_tasks" / "README.md"

WORDS = TEXT.split()


class Ids(ChatFormat):
    """Answers are the numbers of their tokens."""

    def text(self, written: Sequence[int]) -> str:
        return " ".join(map(str, written))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


def asked(count: int = 7, limits: Sequence[int] = (12, 5)) -> list[Prompt]:
    """Prompts of very different lengths, most of them with one beginning."""
    rng = random.Random(1)
    beginning = " ".join(WORDS[:8])
    texts = [f"{beginning if place else ''} {' '.join(rng.choices(WORDS, k=1 + 5 * place))}" for place in range(count)]
    return [Prompt((("user", text),), text, limits[place % len(limits)]) for place, text in enumerate(texts)]


def engine_of(name: str, tokenizer: Any) -> tuple[Engine, ChatFormat]:
    model = tiny_model(name, len(tokenizer))
    greedy(model)
    form = Ids(tokenizer, frozenset([tokenizer.eos_token_id]), {}, vocabulary(model))
    return make_engine(model, form, context_length(model.config)), form


def check_argmax(model: Any, ids: list[int], answer: list[int]) -> None:
    """Every token of the answer is the likeliest in one pass over the whole text, without a cache."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0, len(ids) - 1 : -1]
    chosen = logits[range(len(answer)), answer]
    assert (logits.max(-1).values - chosen).max() < NEAR_TIE


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in ARCHITECTURES]
)
def test_every_architecture_answers_as_its_own_logits_say(name: str, tokenizer: Any) -> None:
    engine, form = engine_of(name, tokenizer)
    prompts = asked()
    answers = dict(engine.answers(prompts, form, False))
    assert sorted(answers) == list(range(len(prompts)))
    engine.model.set_attn_implementation(engine.attention)
    for place, ids in enumerate(form.prompt_ids(prompts)):
        written = [int(token) for token in answers[place].split()]
        if len(written) < prompts[place].max_new_tokens:
            written += form.ends
        check_argmax(engine.model, ids, written)


@pytest.mark.parametrize("name", ["gemma2", "recurrent_gemma"])
def test_the_slow_ways_stop_early_and_limit_decoding_as_well(name: str, tokenizer: Any) -> None:
    engine, numbers = engine_of(name, tokenizer)
    assert engine.way != Way.FAST
    form = ChatFormat(numbers.tokenizer, numbers.ends, {}, numbers.vocabulary)
    prompts = [
        replace(prompt, task="shop:review_rating" if place % 2 else "", pattern="yes|no" if place % 2 else "", max_new_tokens=9)
        for place, prompt in enumerate(asked())
    ]
    free, limited = (dict(engine.answers(prompts, form, constrained)) for constrained in (False, True))
    assert {limited[place] for place in range(1, 7, 2)} <= {"yes", "no", "ye"}, "a rating is final after two letters"
    assert {place: limited[place] for place in range(0, 7, 2)} == {place: free[place] for place in range(0, 7, 2)}
    whole = dict(engine.answers([replace(prompt, task="") for prompt in prompts], form, False))
    assert all(whole[place].startswith(free[place].rstrip("\ufffd")) for place in range(7))
    assert any(len(free[place]) < len(whole[place]) for place in range(1, 7, 2))


def test_prompts_beyond_a_window_are_answered_by_generate_and_the_others_fast(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, form = engine_of("gemma3_text", tokenizer)
    assert (engine.way, engine.seen) == (Way.FAST, 512)
    prompts = asked()
    whole = dict(engine.answers(prompts, form, False))
    split = replace(engine, seen=60)
    lengths = list(map(len, form.prompt_ids(prompts)))
    assert min(lengths) < 40
    assert max(lengths) > 60
    assert dict(split.answers(prompts, form, False)) == whole
    assert engine.model.config._attn_implementation == self_check.ATTENTION, "it is fast again afterwards"


def test_a_model_that_cannot_generate_is_refused(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.errors import UserError

    model, form = tiny_model("llama", len(tokenizer)), Ids(tokenizer, frozenset(), {}, len(tokenizer))
    monkeypatch.setattr(model, "forward", lambda *arguments, **options: 1 / 0)
    with pytest.raises(UserError, match=r"this model cannot generate: .*another backend"):
        make_engine(model, form, 256)


def test_windows_chunks_and_changing_frequencies_bound_what_is_seen_as_a_whole() -> None:
    assert seen_whole(tiny_config("llama")) == UNLIMITED
    assert seen_whole(tiny_config("mistral with a window of 8")) == 8
    assert seen_whole(tiny_config("qwen2")) == UNLIMITED, "max_window_layers is none"
    assert seen_whole(tiny_config("gemma3_text")) == 512
    config = tiny_config("phi3")
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "factor": 2.0}
    config.rope_parameters = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 128, **factors}
    assert seen_whole(config) == 128


@pytest.mark.slow
def test_the_readme_lists_each_architecture_as_it_was_measured(tokenizer: Any) -> None:
    names = [name for name in ARCHITECTURES if " " not in name]
    table = re.findall(r"^\| (fast|right but slower|one prompt at a time) \| (.*) \|$", README.read_text(), re.MULTILINE)
    listed = {name: way for way, cells in table for name in re.findall(r"`(\w+)`", cells)}
    called = {Way.FAST: "fast", Way.BATCHED: "right but slower", Way.SINGLE: "one prompt at a time"}
    assert listed == {name: called[engine_of(name, tokenizer)[0].way] for name in names}
