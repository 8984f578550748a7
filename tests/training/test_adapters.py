"""training/adapters.py: where an adapter is, what it is, and the numbers given for it."""

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from tests.training.conftest import TrainingRun
from training.adapters import parse_weights, public_name, read_adapter


def test_two_revisions_are_one_too_many() -> None:
    with pytest.raises(UserError, match="give one of them"):
        read_adapter("org/name@v1", "v2")


def test_a_folder_without_weights_is_told(run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text((run.folder / "adapter_config.json").read_text())
    with pytest.raises(UserError, match=r"holds no adapter_model\.safetensors; give --adapter"):
        read_adapter(str(tmp_path))


def test_a_configuration_that_is_a_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match="is not JSON"):
        read_adapter(str(tmp_path))


def test_an_adapter_out_of_reach_is_not_told_to_be_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot fetch the adapter org/far-away.*; check the network"):
        read_adapter("org/far-away")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_weights_are_read_as_they_were_written(weights: list[float]) -> None:
    assert parse_weights(",".join(map(repr, weights)), "--weights") == tuple(weights)


@given(st.text())
def test_weights_are_finite_numbers_or_a_mistake(text: str) -> None:
    with suppress(UserError):  # and nothing else
        assert all(map(math.isfinite, parse_weights(text, "--weights")))


def test_a_folder_goes_by_its_last_name(tmp_path: Path) -> None:
    assert public_name(str(tmp_path)) == tmp_path.name
    assert public_name("org/name") == "org/name"
