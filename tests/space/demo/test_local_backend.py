"""Base and tuned model in this process: what they say beside what plain transformers and PEFT say, one row at a time."""

import json
import pickle
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from space.demo import local_backend, model_pair
from space.demo.backend import AnswerRequest, BackendBusy, BackendError, ModelAnswer
from space.demo.local_backend import LocalBackend
from space.demo.model_pair import load
from space.demo.streaming import BatchStreamer, GenerationJob, TokenisedRequest, answer_text
from space.demo.tokens import first_tokens, token_ids
from tests.training.random_adapters import random_adapter

LABELS = ("1", "2", "3", "4", "5")
PROMPTS = (
    "Review: The bottle leaks.\nAnswer: ",
    "Product: red running shoes for women\nQuery: ",
    "Question: does the lamp come with a bulb?\nAnswer: ",
    "Title: Kaffeekanne für zwei, 日本製, 🛒\nQuery: ",
)
RAMBLE = AnswerRequest(PROMPTS[0], 1900)
"""A random model hardly ever ends by itself: some seconds of work."""


@pytest.fixture(scope="module", autouse=True)
def _in_float32() -> Iterator[None]:
    """As on a machine without bfloat16, so that one row and two differ by nothing but the order of a few sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_pair, "fastest_dtype", lambda: torch.float32)
        yield


@pytest.fixture(scope="module")
def tiny_dora(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(tiny_llama, tmp_path_factory.mktemp("tiny_dora") / "adapter", seed=1, lora_alpha=64, use_dora=True)


@pytest.fixture(scope="module")
def local(tiny_llama: Path, tiny_adapter: Path) -> LocalBackend:
    model = LocalBackend(str(tiny_llama), str(tiny_adapter))
    model.wait(60)
    return model


def last(model: LocalBackend, request: AnswerRequest, seconds: float = 60) -> dict[str, ModelAnswer]:
    *_, said = model.stream(request, seconds)
    return said


def said_alone(base: Path, adapter: Path, request: AnswerRequest) -> dict[str, ModelAnswer]:
    """What `generate` says to one row, of the base without PEFT and of the tuned model without a mixed batch."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    said = {}
    for who in ("base", "tuned"):
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if who == "tuned":
            model = PeftModel.from_pretrained(model, adapter)
        turns = [{"role": "user", "content": request.prompt}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        options = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
        written = model.generate(**ids, max_new_tokens=request.max_new_tokens, **options)
        text = tokenizer.decode(written.sequences[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        probabilities = written.logits[0][0].double().softmax(-1)
        labels = [float(probabilities[tokenizer(label)["input_ids"][0]]) for label in request.labels]
        said[who] = ModelAnswer(text, probabilities=tuple(label / sum(labels) for label in labels) or None)
    return said


@pytest.mark.parametrize("prompt", PROMPTS)
def test_side_by_side_both_say_in_float32_what_each_says_alone(
    local: LocalBackend, tiny_llama: Path, tiny_adapter: Path, prompt: str
) -> None:
    request = AnswerRequest(prompt, 40, LABELS)
    together, alone = last(local, request), said_alone(tiny_llama, tiny_adapter, request)
    for who in ("base", "tuned"):
        assert together[who].text == alone[who].text
        assert together[who].probabilities == pytest.approx(alone[who].probabilities, abs=1e-5)
    assert together["base"].text != together["tuned"].text


def test_a_text_is_as_likely_as_the_evaluation_finds_it(local: LocalBackend, tiny_llama: Path, tiny_adapter: Path) -> None:
    from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    options = parse_options(f"model_name={tiny_llama},dtype=float32", TransformersBackend.OPTIONS)
    loaded = load(options, [tiny_adapter])
    requests = [AnswerRequest(prompt, 8, text=text) for prompt in PROMPTS for text in ("steel bottle", "1", "日本製")]
    prompts = [
        ScoredPrompt(Prompt((("user", each.prompt),), each.prompt, each.max_new_tokens), (each.text,)) for each in requests
    ]
    found = {place: answers for place, answers in local.answer_all(requests, 60) if isinstance(answers, dict)}
    for who, adapter in (("base", None), ("tuned", tiny_adapter)):
        expected = dict(loaded.score(prompts, adapter))
        for place in range(len(requests)):
            assert found[place][who].likelihood == pytest.approx(expected[place][0], abs=1e-3)
    assert found[0]["base"].likelihood != pytest.approx(found[0]["tuned"].likelihood, abs=1e-2)
    alone = last(local, replace(requests[0], only=("base",)))
    assert alone["base"].likelihood == pytest.approx(found[0]["base"].likelihood, abs=1e-3)
    assert set(alone) == {"base"}
    with pytest.raises(BackendError, match="too long"):
        last(local, AnswerRequest(PROMPTS[0], 8, text="odd words " * 3000))


def test_an_adapter_that_cannot_be_mixed_answers_after_its_base(tiny_llama: Path, tiny_dora: Path) -> None:
    model = LocalBackend(str(tiny_llama), str(tiny_dora))
    model.wait(60)
    request = AnswerRequest(PROMPTS[1], 20, LABELS)
    updates = list(model.stream(request, 60))
    alone = said_alone(tiny_llama, tiny_dora, request)
    assert {who: said.text for who, said in updates[-1].items()} == {who: said.text for who, said in alone.items()}
    assert updates[-1]["tuned"].probabilities == pytest.approx(alone["tuned"].probabilities, abs=1e-5)
    assert updates[0]["tuned"] == ModelAnswer()


def test_both_grow_at_the_same_time_until_both_have_finished(local: LocalBackend) -> None:
    *growing, done = local.stream(AnswerRequest(PROMPTS[0], 30), 60)
    halfway = growing[len(growing) // 2]
    for who in ("base", "tuned"):
        assert 0 < len(halfway[who].text) < len(done[who].text)
        assert halfway[who].seconds is None
        assert done[who].seconds is not None
        assert not done[who].cut


def test_without_an_adapter_only_the_base_answers(tiny_llama: Path, local: LocalBackend) -> None:
    model = LocalBackend(str(tiny_llama))
    model.wait(60)
    assert list(model.names) == ["base"]
    request = AnswerRequest(PROMPTS[0], 12)
    said = last(model, request)
    assert list(said) == ["base"]
    assert said["base"].text == last(local, request)["base"].text


def test_the_chances_of_labels_sum_to_one_and_are_there_with_the_first_token(local: LocalBackend) -> None:
    first = next(local.stream(AnswerRequest(PROMPTS[0], 5, ("no", "yes")), 60))
    for said in first.values():
        assert said.probabilities is not None
        assert sum(said.probabilities) == pytest.approx(1)


def test_labels_that_begin_alike_have_no_chances(local: LocalBackend) -> None:
    assert last(local, AnswerRequest(PROMPTS[0], 3, ("1", "1st")))["base"].probabilities is None


def test_without_labels_there_are_no_chances(local: LocalBackend) -> None:
    assert last(local, AnswerRequest(PROMPTS[0], 3))["tuned"].probabilities is None


@pytest.mark.parametrize(
    ("answers", "firsts"),
    [
        ([[1, 2, 5], [1, 2, 6, 7]], [5, 6]),
        ([[1, 2, 5], [1, 2, 5, 7]], []),
        ([[1, 2], [1, 2, 5]], []),
        ([[1, 9, 5], [1, 2, 6]], []),
        ([], []),
    ],
    ids=["known", "alike", "no token of its own", "another prompt", "no labels"],
)
def test_first_tokens_are_known_only_where_all_differ(answers: list[list[int]], firsts: list[int]) -> None:
    assert first_tokens([1, 2], answers) == firsts


def test_a_model_without_a_chat_template_continues_the_prompt(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    pair = load(str(folder), None, lambda stage: None)
    assert token_ids(pair.tokenizer, "The bottle") == pair.tokenizer("The bottle")["input_ids"]
    label_ids = [pair.tokenizer(label)["input_ids"][0] for label in LABELS]
    assert pair.tokenised(AnswerRequest("The bottle: ", 3, LABELS)).label_ids == label_ids


def test_an_adapter_with_a_tokenizer_of_its_own_is_asked_with_that(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_start|>", "user:")
    turns = [{"role": "user", "content": PROMPTS[0]}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32), own)
    out = tuned.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :].tolist()
    end = max(map(out.index, out))
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(out[end])
    tokenizer.save_pretrained(own)

    model = LocalBackend(str(tiny_llama), str(own))
    model.wait(60)
    said = last(model, AnswerRequest(PROMPTS[0], 20))
    assert said["tuned"].text == tokenizer.decode(out[:end], skip_special_tokens=True)
    assert not said["tuned"].cut
    alone = LocalBackend(str(tiny_llama))
    alone.wait(60)
    assert said["base"].text == last(alone, AnswerRequest(PROMPTS[0], 20))["base"].text


def test_a_hybrid_reasoning_model_is_asked_not_to_reason(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "hybrid"))
    template = folder / "chat_template.jinja"
    off = "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}"
    template.write_text(template.read_text().replace("assistant\\n' }}", "assistant\\n' }}" + off))
    pair = load(str(folder), None, lambda stage: None)
    assert pair.tokenizer.decode(token_ids(pair.tokenizer, "Rate it.")).endswith("assistant\n<think></think>")


def test_penalties_of_the_base_s_generation_config_are_ignored_as_in_the_evaluation(
    tiny_llama: Path, local: LocalBackend, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    config = base / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"repetition_penalty": 5.0, "no_repeat_ngram_size": 2}))
    model = LocalBackend(str(base))
    model.wait(60)
    request = AnswerRequest(PROMPTS[0], 12)
    assert last(model, request)["base"].text == last(local, request)["base"].text


@pytest.mark.parametrize(
    ("written", "shown"),
    [("<think>hm</think>\n\n4", "4"), ("<think>\n\n</think>\n\n", ""), ("<think>hm", "<think>hm"), ("4", "4")],
)
def test_reasoning_is_shown_only_until_it_is_over(written: str, shown: str) -> None:
    assert answer_text(written) == shown


def test_a_prompt_of_too_many_tokens_is_refused_in_a_sentence(local: LocalBackend) -> None:
    with pytest.raises(BackendError, match=r"^The prompt is too long: \d+ tokens, and the model takes 2008\. Shorten it\.$"):
        next(local.stream(AnswerRequest("word " * 3000, 40), 60))


def test_an_answer_is_cut_where_its_time_ends(local: LocalBackend) -> None:
    said = last(local, RAMBLE, seconds=1)
    for one in said.values():
        assert one.cut
        assert one.text
        assert one.seconds is not None
        assert one.seconds < 5


def test_what_has_finished_is_not_cut_when_the_other_is(tiny_llama: Path, tiny_adapter: Path) -> None:
    """The base ends with its first token; the tuned model does not write that one."""
    pair = load(str(tiny_llama), str(tiny_adapter), lambda stage: None)
    request = pair.tokenised(RAMBLE)
    first = {who: one.text for who, one in next(read_job(pair, replace(request, max_new_tokens=1))).items()}
    assert first["base"] != first["tuned"]
    pair.model.generation_config.eos_token_id = pair.tokenizer(first["base"])["input_ids"][0]
    *_, said = read_job(pair, request, seconds=1)
    assert not said["base"].cut
    assert said["tuned"].cut
    assert said["base"].seconds < said["tuned"].seconds


def read_job(pair: Any, request: TokenisedRequest, seconds: float = 60) -> Iterator[dict[str, ModelAnswer]]:
    job = GenerationJob(request, time.monotonic() + seconds)
    pair.run(job)
    return job.read()


def test_a_turn_that_does_not_come_in_time_is_told_as_busy(local: LocalBackend) -> None:
    ahead = local.stream(RAMBLE, 60)
    next(ahead)
    waiting = local.stream(AnswerRequest(PROMPTS[1], 3), 0.05)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(next, waiting)
        while local._jobs.empty():
            time.sleep(0.01)
        time.sleep(0.1)
        ahead.close()
        with pytest.raises(BackendBusy, match=r"^The model is busy with other requests\. Try again in a minute\.$"):
            answer.result(30)


def test_a_reader_that_goes_frees_the_place(local: LocalBackend) -> None:
    for _ in range(5):  # more work than the next one has time to wait for
        gone = local.stream(RAMBLE, 60)
        next(gone)
        gone.close()
    assert not last(local, AnswerRequest(PROMPTS[0], 8), seconds=10)["base"].cut


def test_many_at_once_each_get_their_own_answer(local: LocalBackend) -> None:
    requests = [AnswerRequest(f"{PROMPTS[number % 4]}{number}", 8, LABELS) for number in range(16)]
    alone = [last(local, request) for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(lambda request: last(local, request), requests))
    for one, other in zip(alone, together, strict=True):
        for who in ("base", "tuned"):
            assert one[who].text == other[who].text
            assert one[who].probabilities == other[who].probabilities
    assert len({said["base"].text for said in alone}) > 4


def test_a_failing_answer_is_a_sentence_and_the_next_one_comes(local: LocalBackend, capsys: pytest.CaptureFixture[str]) -> None:
    pair = local._pair.result()
    no_token = read_job(pair, TokenisedRequest([10**6], 3))
    with pytest.raises(BackendError, match=r"^The model failed on this prompt\. Try another one\.$"):
        next(no_token)
    assert "IndexError" in capsys.readouterr().err
    assert last(local, AnswerRequest(PROMPTS[0], 3))["base"].text
    assert not any(module._forward_pre_hooks for module in pair.model.modules())


def test_while_it_loads_it_says_so_and_answers_nothing(
    tiny_llama: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    asked = Event()
    monkeypatch.setattr(local_backend, "load", lambda *given: asked.wait(60) and load(*given))  # else it may be there by then
    model = LocalBackend(str(tiny_llama), str(tiny_adapter))
    assert model.state().kind == "loading"
    model.start()
    with pytest.raises(BackendError, match="still loading"):
        next(model.stream(AnswerRequest(PROMPTS[0], 3), 60))
    asked.set()
    model.wait(60)
    assert model.state().kind == "ready"
    load(str(tiny_llama), str(tiny_adapter), stages.append)
    assert stages == ["Starting PyTorch and transformers.", "Loading the weights of model.", "Loading the adapter adapter."]


def broken(folder: Path, name: str) -> Path:
    (folder / name).write_bytes(b"no weights")
    return folder


def test_what_cannot_be_loaded_is_told_in_a_sentence_without_a_path(
    tiny_llama: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    torn = broken(shutil.copytree(tiny_llama, tmp_path / "torn"), "model.safetensors")
    torn_adapter = broken(shutil.copytree(tiny_adapter, tmp_path / "torn_adapter"), "adapter_model.safetensors")
    cases = [
        (tmp_path / "gone", None, "The model gone could not be loaded. BASE_MODEL has to be"),
        (torn, None, "The model torn could not be loaded. BASE_MODEL has to be"),
        (tiny_llama, tmp_path / "gone", "The adapter gone could not be loaded. ADAPTER has to be a LoRA adapter of model"),
        (tiny_llama, torn_adapter, "The adapter torn_adapter could not be loaded. ADAPTER has to be a LoRA adapter of model"),
        (tiny_llama, tiny_llama, "The adapter model could not be loaded. ADAPTER has to be a LoRA adapter of model"),
    ]
    for base, adapter, sentence in cases:
        model = LocalBackend(str(base), adapter and str(adapter))
        with pytest.raises(BackendError) as error:
            model.wait(60)
        assert str(error.value).startswith(sentence)
        assert model.state().kind == "failed"
        assert model.state().message == str(error.value)
        assert str(tmp_path) not in str(error.value)
        with pytest.raises(BackendError, match="could not be loaded"):
            next(model.stream(AnswerRequest(PROMPTS[0], 3), 60))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "sprung")


def test_pickled_weights_are_never_opened(tiny_llama: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(tiny_adapter, tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").unlink()
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    (base / "model.safetensors").unlink()
    for path in (adapter / "adapter_model.bin", base / "pytorch_model.bin"):
        path.write_bytes(pickle.dumps(Trap(tmp_path / "trap")))
    for names in ((str(tiny_llama), str(adapter)), (str(base), None)):
        with pytest.raises(BackendError):
            load(*names, lambda stage: None)
    assert not (tmp_path / "trap").exists()


def test_code_that_comes_with_a_model_is_not_run(tiny_llama: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "own.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w').close()\n")
    with pytest.raises(BackendError):
        load(str(base), None, lambda stage: None)
    assert not (tmp_path / "trap").exists()


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_each_row_says_the_text_of_its_own_tokens_and_never_half_a_character_on_the_way(
    tokenizer: Any, first: str, second: str
) -> None:
    rows = [tokenizer(text)["input_ids"] for text in (first, second)]
    longest = max(map(len, rows))
    end = tokenizer.eos_token_id
    request = TokenisedRequest([1], longest + 1)
    told: list[dict[str, ModelAnswer]] = []
    streamer = BatchStreamer(("base", "tuned"), request, tokenizer, frozenset([end]), told.append)
    streamer.put(torch.tensor([[1], [1]]))
    for place in range(longest + 1):
        streamer.put(torch.tensor([row[place] if place < len(row) else end for row in rows]))
    streamer.end()
    assert [told[-1][who].text for who in ("base", "tuned")] == [
        tokenizer.decode(row, skip_special_tokens=True) for row in rows
    ]
    assert not any(one.text.endswith("\ufffd") for update in told for one in update.values() if one.seconds is None)
    assert not any(one.cut for one in told[-1].values())


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.mark.parametrize("who", ["base", "tuned"])
def test_one_model_alone_says_what_it_says_beside_the_other(local: LocalBackend, who: str) -> None:
    together = last(local, AnswerRequest(PROMPTS[0], 12, LABELS))
    alone = last(local, AnswerRequest(PROMPTS[0], 12, LABELS, only=(who,)))
    assert list(alone) == [who]
    assert alone[who].text == together[who].text
    assert alone[who].probabilities == pytest.approx(together[who].probabilities, abs=1e-5)


def test_many_are_answered_each_by_itself_until_the_time_is_up(local: LocalBackend) -> None:
    requests = [AnswerRequest(prompt, 5, only=("tuned",)) for prompt in (*PROMPTS, "word " * 3000)]
    found = dict(local.answer_all(requests, 60))
    for place, prompt in enumerate(PROMPTS):
        said = found[place]
        assert isinstance(said, dict)
        assert said["tuned"].text == last(local, AnswerRequest(prompt, 5, only=("tuned",)))["tuned"].text
    assert "too long" in str(found[len(PROMPTS)])
    assert dict(local.answer_all(requests, 0)) == {}
    rambling = dict(local.answer_all([RAMBLE, RAMBLE], 0.5))
    assert isinstance(rambling[0], dict)
    assert rambling[0]["tuned"].cut
    assert len(rambling) < 2 or isinstance(rambling[1], BackendError)
