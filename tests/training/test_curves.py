"""Curves leave the machine only where the user says so, and then privately; the adapter's card links to them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState
from transformers.integrations import TrackioCallback
from trl import SFTConfig

from model_card.inputs import TrainedAdapter
from training.curves import keep_private, space_of, tags

ASKED = {"trackio_space_id": "org/curves"}


class Recorder:
    """Stands where the package trackio does in transformers' callback, and keeps what it is asked; the Hub would obey."""

    __version__ = "0.43.0"

    def __init__(self, space: str | None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.config: dict[str, Any] = {}
        known = SimpleNamespace(get=lambda: space)
        self.context_vars = SimpleNamespace(current_space_id=known, current_project=SimpleNamespace(get=lambda: "project"))

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **given: self.calls.append((name, given))


def asked_of_trackio(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Call of trackio -> its arguments, of a run from its first step to a push, by transformers' own callback."""
    args = SFTConfig(output_dir=str(folder), report_to="trackio", use_cpu=True, bf16=False, **options)
    keep_private(args)
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    callback = TrackioCallback()
    callback._trackio = recorder = Recorder(options.get("trackio_space_id"))
    model = SimpleNamespace(config=None, peft_config=None, num_parameters=lambda: 1, model_tags=[])
    callback.on_train_begin(args, state, control, model=model)
    callback.on_train_end(args, state, control, model=model)
    callback.on_push_begin(args, state, control, model=model)
    return dict(recorder.calls)


def test_unasked_nothing_is_made_on_the_hub(tmp_path: Path) -> None:
    calls = asked_of_trackio(tmp_path)
    assert list(calls) == ["init", "finish"]
    assert calls["init"]["space_id"] is None


def test_a_space_that_is_asked_for_is_private_and_stays_as_it_is(tmp_path: Path) -> None:
    calls = asked_of_trackio(tmp_path, **ASKED)
    assert list(calls) == ["init", "finish"]
    assert (calls["init"]["space_id"], calls["init"]["private"]) == ("org/curves", True)


@pytest.mark.parametrize("more", [{"hub_private_repo": False}, {"trackio_static_space_id": "org/curves-static"}])
def test_public_curves_have_to_be_asked_for(tmp_path: Path, more: dict[str, Any]) -> None:
    calls = asked_of_trackio(tmp_path, **ASKED, **more)
    assert not calls["init"]["private"]
    assert ("freeze" in calls) == ("trackio_static_space_id" in more)


def test_a_bucket_is_handed_on(tmp_path: Path) -> None:
    assert asked_of_trackio(tmp_path, **ASKED, trackio_bucket_id="org/kept")["init"]["bucket_id"] == "org/kept"


def test_without_trackio_there_is_no_space(tmp_path: Path) -> None:
    assert space_of(SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, bf16=False)) is None
    assert tags(None) == []


@pytest.mark.parametrize(("recorded", "found"), [("org/curves", "org/curves"), (None, None), ("../curves", None), (7, None)])
def test_the_card_links_to_a_space_by_the_hubs_tag(recorded: Any, found: str | None) -> None:
    adapter = TrainedAdapter({}, {"trackio_space_id": recorded})
    assert adapter.curves == found
    linked = ["trackio", f"trackio:https://huggingface.co/spaces/{found}"]
    assert tags(adapter.curves) == (linked if found else [])
