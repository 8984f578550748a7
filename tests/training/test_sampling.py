"""training/sampling.py: sampled answers of the tiny model."""

import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.training.random_adapters import random_adapter
from training.sampling import Sampling, batches, by_transformers, encode, load, sample

PROMPTS = [
    [{"role": "user", "content": text}] for text in ("Rate it.", "Which of these products fits the query best? Answer.", "No")
]
LIMITS = [6, 9, 3]
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> tuple[Any, Any]:
    return load(str(tiny_llama), None)


def answers(loaded: tuple[Any, Any], how: Sampling) -> dict[int, list[str]]:
    return dict(by_transformers(*loaded, PROMPTS, LIMITS, how))


def test_every_prompt_has_its_answers_whatever_the_order(loaded: tuple[Any, Any]) -> None:
    found = answers(loaded, Sampling(4, seed=1))
    assert sorted(found) == [0, 1, 2]
    assert all(len(texts) == 4 for texts in found.values())
    assert len({text for texts in found.values() for text in texts}) > 6, "a random model draws other tokens every time"
    tokenizer = loaded[1]
    for place, texts in found.items():
        assert all(len(tokenizer(text)["input_ids"]) <= 3 * LIMITS[place] for text in texts), "bytes that merge differently"


def test_a_seed_draws_the_same_answers_and_another_one_others(loaded: tuple[Any, Any]) -> None:
    assert answers(loaded, Sampling(2, seed=1)) == answers(loaded, Sampling(2, seed=1)) != answers(loaded, Sampling(2, seed=2))


def test_greedy_answers_are_those_of_each_prompt_alone(loaded: tuple[Any, Any]) -> None:
    import torch

    model, tokenizer = loaded
    found = answers(loaded, Sampling(1, temperature=0))
    for place, prompt in enumerate(PROMPTS):
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            said = model.generate(**ids, max_new_tokens=LIMITS[place], do_sample=False)[0, ids["input_ids"].size(1) :]
        assert found[place] == [tokenizer.decode(said, skip_special_tokens=True)]


@pytest.mark.parametrize("window", [None, 4], ids=["full attention", "sliding window"])
def test_the_copies_of_a_prompt_share_its_states_and_answer_alike(tiny_llama: Path, window: int | None) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, MistralConfig

    model, tokenizer = load(str(tiny_llama), None)
    if window:
        own = AutoConfig.from_pretrained(tiny_llama).to_dict()
        torch.manual_seed(0)
        config = MistralConfig(**{key: own[key] for key in SIZES}, sliding_window=window)
        model = AutoModelForCausalLM.from_config(config).eval()
    seen: list[int] = []
    hook = model.register_forward_pre_hook(lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True)
    alone = dict(by_transformers(model, tokenizer, PROMPTS, LIMITS, Sampling(1, temperature=0)))
    once = max(seen)
    seen.clear()
    copies = dict(by_transformers(model, tokenizer, PROMPTS, LIMITS, Sampling(3, temperature=1e-4)))
    hook.remove()
    assert copies == {place: texts * 3 for place, texts in alone.items()}
    assert max(seen) <= once, "no prompt is computed three times"


def test_batches_hold_every_place_once_within_the_budget() -> None:
    lengths = [5, 100, 7, 7, 3, 60, 1]
    found = list(batches(lengths, 24))
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= 24 for batch in found)
    assert [1] in found
    assert list(batches([], 10)) == []


def test_no_prompts_have_no_answers(loaded: tuple[Any, Any]) -> None:
    assert list(by_transformers(*loaded, [], [], Sampling(2))) == []


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \*\.safetensors; give a model folder or Hub id"):
        list(sample("transformers", str(tmp_path), None, PROMPTS, LIMITS, Sampling(1)))


def test_without_vllm_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"run make setup-vllm, and this with \.venv-vllm/bin/python, or give --engine transf"):
        list(sample("vllm", "org/base", None, PROMPTS, LIMITS, Sampling(1)))


def test_an_adapter_is_sampled_with_its_own_template_and_end_and_without_reasoning(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    adapter = random_adapter(tiny_llama, tmp_path / "adapter", seed=3)
    own = AutoTokenizer.from_pretrained(tiny_llama)
    own.chat_template = "{{ messages[0]['content'] }}{{ ' so: ' if enable_thinking is false else '<think>' }}"
    own.save_pretrained(adapter)
    model, tokenizer = load(str(tiny_llama), adapter)
    assert tokenizer.decode(encode(tokenizer, PROMPTS)[0]) == "Rate it. so: "
    ids = torch.tensor(encode(tokenizer, PROMPTS[:1]))
    out = model.generate(input_ids=ids, max_new_tokens=9, do_sample=False)[0, ids.size(1) :].tolist()
    end = max(map(out.index, out))
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(out[end])
    ((_, (said,)),) = by_transformers(model, tokenizer, PROMPTS[:1], [9], Sampling(1, temperature=0))
    assert said == tokenizer.decode(out[:end], skip_special_tokens=True)


def test_penalties_of_the_base_s_generation_config_are_ignored(loaded: tuple[Any, Any], tiny_llama: Path) -> None:
    model, tokenizer = load(str(tiny_llama), None)
    model.generation_config.repetition_penalty = 5.0
    assert answers((model, tokenizer), Sampling(1, temperature=0)) == answers(loaded, Sampling(1, temperature=0))


def test_without_vllm_the_sentence_says_where_it_is(monkeypatch: pytest.MonkeyPatch, tiny_llama: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(
        UserError, match=r"run make setup-vllm, and this with .venv-vllm/bin/python, or give --engine transformers"
    ):
        list(sample("vllm", str(tiny_llama), None, PROMPTS, LIMITS, Sampling(1)))
