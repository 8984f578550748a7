from pathlib import Path

import pytest

from common.errors import UserError
from eval_tasks.backends.prompts import COMMON_OPTIONS, bool_option, int_option, parse_options, shown_name


def test_options_are_read_with_their_defaults() -> None:
    options = parse_options("model_name=org/base, adapter=org/a@v2,url=http://x/?a=b", {"dtype": "auto", "url": ""})
    named = {name: value for name, value in COMMON_OPTIONS.items() if not name.endswith(".")}
    assert options == named | {
        "model_name": "org/base",
        "adapter": "org/a@v2",
        "dtype": "auto",
        "url": "http://x/?a=b",
    }


def test_a_text_without_an_equals_sign_is_the_models_name() -> None:
    assert parse_options("org/base", {})["model_name"] == "org/base"


def test_a_known_prefix_takes_any_name_and_json_may_hold_commas() -> None:
    text = 'model_name=m,template.enable_thinking=true,engine.hf_overrides={"a": [1, 2], "b": 3},engine.x=[1,2],template.day=1'
    options = parse_options(text, {"engine.": ""})
    assert options["template.enable_thinking"] == "true"
    assert options["engine.hf_overrides"] == '{"a": [1, 2], "b": 3}'
    assert options["engine.x"] == "[1,2]"
    assert options["template.day"] == "1"
    assert "engine." not in options
    with pytest.raises(UserError, match=r"unknown model option 'engine\.'"):
        parse_options("model_name=m,engine.=3", {"engine.": ""})
    with pytest.raises(UserError, match=r"unknown model option 'engine\.x'"):
        parse_options("model_name=m,engine.x=3", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_name=a,batch=8", "unknown model option 'batch'; use one of model_name"),
        ("model_name=a,adapter=", "adapter has no value"),
        ("adapter=b", "no model is named"),
        ("", "no model is named"),
    ],
)
def test_options_that_cannot_be_meant_are_told(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_options(text, {})


def test_a_switch_is_true_or_false() -> None:
    assert bool_option({"constrained": "True"}, "constrained") is True
    assert bool_option({"constrained": "false"}, "constrained") is False
    with pytest.raises(UserError, match="must be true or false, not 'yes'"):
        bool_option({"constrained": "yes"}, "constrained")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", ""])
def test_a_number_is_whole_and_large_enough(value: str) -> None:
    with pytest.raises(UserError, match="whole number of at least 1"):
        int_option({"max_length": value}, "max_length")


def test_results_call_a_model_by_its_adapter_or_base_and_a_folder_by_its_last_part(tmp_path: Path) -> None:
    plain = {"model_name": "org/base", "adapter": "", "constrained": "false", "answers": "written"}
    assert shown_name(plain) == "org/base"
    assert shown_name({**plain, "answers": "scored", "constrained": "true"}) == "org/base_constrained_scored"
    assert shown_name(plain | {"adapter": "org/a@v2"}) == "org/a_at_v2"
    assert shown_name(plain | {"model_name": str(tmp_path), "constrained": "true"}) == f"{tmp_path.name}_constrained"
