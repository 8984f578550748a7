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
from training.adapters import check_tokens, parse_weights, public_name, read_adapter

TOKENS = {f"token {number}": number for number in range(500)}


def test_two_revisions_are_one_too_many() -> None:
    with pytest.raises(UserError, match=r"and v2 is given too; give one"):
        read_adapter("org/name@v1", "v2")


def test_a_folder_without_weights_is_told(run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text((run.folder / "adapter_config.json").read_text())
    with pytest.raises(UserError, match=r"holds no adapter_model\.safetensors; give the folder that the training"):
        read_adapter(str(tmp_path))


def test_a_configuration_that_is_a_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match="holds no JSON object; train or fetch the adapter again"):
        read_adapter(str(tmp_path))


def test_an_adapter_out_of_reach_is_not_told_to_be_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"^--adapter org/far-away is no folder here, and cannot be had from the Hub"):
        read_adapter("org/far-away")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_weights_are_read_as_they_were_written(weights: list[float]) -> None:
    assert parse_weights(",".join(map(repr, weights)), "--weights") == tuple(weights)


@given(st.text())
def test_weights_are_finite_numbers_or_a_mistake(text: str) -> None:
    with suppress(UserError):  # and nothing else
        assert all(map(math.isfinite, parse_weights(text, "--weights")))


def test_an_adapter_of_a_model_with_other_tokens_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    moved = {token: (number + 1) % len(TOKENS) for token, number in TOKENS.items()}
    with pytest.raises(UserError, match=r"^the adapter A was trained with other tokens than BASE has, such as .token 0. "):
        check_tokens(TOKENS, moved, "A", "BASE")
    check_tokens(TOKENS, TOKENS, "A", "BASE")
    assert not capsys.readouterr().err


def test_a_reserved_token_that_was_renamed_is_the_same_token(capsys: pytest.CaptureFixture[str]) -> None:
    renamed = {token.replace("token 499", "<|im_end|>"): number for token, number in TOKENS.items()}
    check_tokens(renamed, TOKENS, "A", "BASE")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("own", "tokens"), [(TOKENS, TOKENS | {"<pad>": 500}), (TOKENS | {"<pad>": 500}, TOKENS)])
def test_a_base_that_was_resized_is_taken_and_said(
    own: dict[str, int], tokens: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    check_tokens(own, tokens, "A", "BASE")
    assert f"A was trained with {len(own)} tokens and BASE has {len(tokens)}, those that both" in capsys.readouterr().err


def test_a_folder_goes_by_its_last_name(tmp_path: Path) -> None:
    assert public_name(str(tmp_path)) == tmp_path.name
    assert public_name("org/name") == "org/name"
