"""The Space's endpoint backend against vLLM's own server of a base and its adapter, beside the same two in this process."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch

from space.demo import model_pair
from space.demo.backend import AnswerRequest
from space.demo.local_backend import LocalBackend
from space.demo.remote_backend import EndpointSettings, RemoteBackend
from tests.tiny_llama import build_tiny_llama
from tests.training.random_adapters import random_adapter
from tests.vllm_server import needs_vllm, vllm_server

pytestmark = needs_vllm

LABELS = ("1", "2", "3", "4", "5")


class BothBackends(NamedTuple):
    here: LocalBackend
    there: RemoteBackend


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothBackends]:
    folder = tmp_path_factory.mktemp("vllm")
    base = build_tiny_llama(folder / "base", heads=2)
    adapter = random_adapter(base, folder / "adapter", seed=1, r=12, lora_alpha=24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_pair, "fastest_dtype", lambda: torch.float32)
        here = LocalBackend(str(base), str(adapter))
        here.wait(100)
    # Two adapters at once: on a CPU vLLM takes the last place of its list for the base's, so that has to be an empty one.
    lora = ["--enable-lora", "--max-lora-rank", "16", "--max-loras", "2", "--lora-modules", f"tuned={adapter}"]
    with vllm_server(base, "base", folder, *lora) as url:
        there = RemoteBackend(EndpointSettings(url, {"base": "base", "tuned": "tuned"}))
        there.wait(60)
        yield BothBackends(here, there)


@pytest.mark.parametrize("prompt", ["Review: The bottle leaks.\nAnswer: ", "Product: garden hose\nQuery: ", "coffee"])
def test_it_says_and_expects_in_float32_what_the_models_say_here(models: BothBackends, prompt: str) -> None:
    request = AnswerRequest(prompt, 24, LABELS)
    *_, here = models.here.stream(request, 60)
    updates = list(models.there.stream(request, 60))
    assert len(updates) > 10
    there = updates[-1]
    assert here["base"].text != here["tuned"].text
    for who in ("base", "tuned"):
        assert there[who].text.rstrip("\ufffd") == here[who].text.rstrip("\ufffd")  # vLLM leaves out half a character
        assert there[who].probabilities == pytest.approx(here[who].probabilities, abs=1e-4)


def test_an_answer_is_cut_where_its_time_ends(models: BothBackends) -> None:
    *_, said = models.there.stream(AnswerRequest("coffee", 1500), 2)
    assert all(one.cut and one.text for one in said.values())


def test_a_prompt_that_is_too_long_is_told_in_a_sentence(models: BothBackends) -> None:
    with pytest.raises(Exception, match="The prompt is too long for the model"):
        next(models.there.stream(AnswerRequest("word " * 3000, 8), 60))
