"""A gated base on the Hub: every stage that needs its weights says where to accept its terms; a card needs none of them.

Of training itself tests/training/test_sft.py says so.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from common.errors import UserError
from eval_tasks import transformers_model
from eval_tasks.backends.prompts import parse_options
from model_card.inputs import read_adapter as read_card_adapter
from model_card.inputs import read_base
from space.demo import model_pair
from space.demo.backend import BackendError
from tests.hub import BOB, Hub
from tests.training.random_adapters import random_adapter
from training import sampling
from training.adapters import read_adapter
from training.merge import merge

BASE = "org/gated-base"
STAGES: dict[str, Callable[[Path, Path], object]] = {
    "merge": lambda adapter, out: merge(str(adapter), out),
    "gated adapter": lambda adapter, out: read_adapter(BASE),
    "rejection": lambda adapter, out: sampling.load(BASE, None),
    "evaluation": lambda adapter, out: transformers_model.load(
        parse_options(BASE, transformers_model.TransformersBackend.OPTIONS)
    ),
}


@pytest.fixture(scope="module")
def adapter(hub_client: Hub, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter whose base is gated."""
    api = HfApi(hub_client.endpoint)
    api.create_repo(BASE)
    api.upload_folder(repo_id=BASE, folder_path=tiny_llama)
    hub_client.repo(BASE).gated = "manual"
    folder = random_adapter(tiny_llama, tmp_path_factory.mktemp("gated") / "adapter", seed=1)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace(str(tiny_llama), BASE))
    return folder


@pytest.fixture(autouse=True)
def _as_bob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", BOB)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_where_the_terms_are_accepted(stage: str, adapter: Path, hub_client: Hub, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        STAGES[stage](adapter, tmp_path / "out")
    advice = f" is gated; accept its terms at {hub_client.endpoint}/{BASE}, then run hf auth login or set HF_TOKEN"
    assert str(error.value).endswith(BASE + advice)


def test_the_space_says_what_it_needs(adapter: Path) -> None:
    with pytest.raises(BackendError, match=r"is gated on the Hub\. Its terms have to be accepted on its page, and HF_TOKEN"):
        model_pair.load(BASE, None, lambda stage: None)


def test_a_card_is_written_all_the_same(adapter: Path) -> None:
    assert read_base(read_card_adapter(adapter)).hub_id == BASE
