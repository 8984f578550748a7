"""training/template_check.py: a prompt as it is asked begins its trained row, or the run stops and says what to do."""

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.tiny_llama import CHATML, build_tokenizer
from tests.training.conftest import make_row
from tests.training.runs import Runs
from training.template_check import hint_at_end_of_turn, template_options, with_template_options
from training.tokenizer import use_template

THINKS = CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif")
HYBRID = CHATML.replace(
    "{{ '<|im_start|>assistant\\n' }}",
    "{{ '<|im_start|>assistant\\n' }}{% if enable_thinking is not defined or enable_thinking %}{{ '<think>\\n' }}{% endif %}",
)
NO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('Only user and assistant roles are "
    "supported!') }}{% endif %}{% endfor %}" + CHATML
)


def tokenizer(template: str) -> Any:
    made = build_tokenizer()
    made.chat_template = template
    return made


def rows(*completions: str, system: bool = False) -> Any:
    from datasets import Dataset

    before = [{"role": "system", "content": "Be brief."}] if system else []
    return Dataset.from_list(
        [
            {
                "prompt": [*before, {"role": "user", "content": f"How many {number}?"}],
                "completion": [{"role": "assistant", "content": text}],
            }
            for number, text in enumerate(completions)
        ]
    )


def test_a_template_that_writes_both_alike_needs_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    train = rows("2", "3")
    assert with_template_options(tokenizer(CHATML), train, None, seed=0) == (train, None)
    assert capsys.readouterr().err == ""


def test_a_prompt_that_does_not_begin_the_trained_row_stops_the_run() -> None:
    with pytest.raises(UserError) as refused:
        template_options(tokenizer(THINKS), rows("2", "3"), seed=0)
    said = str(refused.value)
    assert said.startswith("the chat template's prompt ends in '<think>\\n' where the trained row has '")
    assert said.endswith("give --chat_template_path with a template that writes both alike, or take another model")


def test_a_hybrid_model_is_trained_without_thinking_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    train, validation = with_template_options(tokenizer(HYBRID), rows("2", "3"), rows("4"), seed=0)
    assert validation is not None
    assert train["chat_template_kwargs"][:] == [{"enable_thinking": False}] * 2
    assert validation["chat_template_kwargs"][:] == [{"enable_thinking": False}]
    assert "rows are trained with enable_thinking=false" in capsys.readouterr().err


def test_rows_whose_completion_joins_the_prompt_s_last_token_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    class Joining:
        """A token for each letter, but one for a space and what follows it."""

        chat_template = "a prompt ends in a space"

        def apply_chat_template(self, turns: list[dict[str, str]], *, tokenize: bool, **_: Any) -> Any:
            text = "".join(turn["content"] + " " for turn in turns)
            return {"input_ids": [ord(letter) for letter in text.replace("  ", "_")]} if tokenize else text

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    assert template_options(Joining(), rows("2", " 3", "4"), seed=0) == {}
    said = capsys.readouterr().err
    assert "of 3 rows, 1 do not begin with their prompt, whose end ' ' became one token with what follows, '_3 '" in said


def test_a_template_that_drops_the_assistant_s_text_stops_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    drops = CHATML.replace("message['content']", "(message['content'] if message['role'] == 'user' else '')")
    with pytest.raises(UserError, match="leaves the completions out, so that nothing would be learnt; give"):
        template_options(tokenizer(drops), rows("2", "3"), seed=0)
    trims = CHATML.replace("message['content']", "(message['content'] | trim)")
    assert template_options(tokenizer(trims), rows("2 ", "3"), seed=0) == {}
    assert capsys.readouterr().err == ""
    some = CHATML.replace("message['content']", "(message['content'] if 'x' not in message['content'] else '')")
    template_options(tokenizer(some), rows("2", "x"), seed=0)
    assert "of 2 rows, the chat template writes the completion of 1 otherwise or not at all" in capsys.readouterr().err


def test_a_template_without_system_messages_says_so_in_one_sentence(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the chat template refuses a row: Only user and assistant roles are supported!"):
        template_options(tokenizer(NO_SYSTEM), rows("2", system=True), seed=0)
    template = tmp_path / "template.jinja"
    template.write_text(NO_SYSTEM)
    rows("2", "3", system=True).to_json(tmp_path / "rows" / "train.jsonl")
    ended = runs(tmp_path / "out", "--chat_template_path", template, "--dataset_name", tmp_path / "rows", "--max_steps", 1)
    assert ended.code == 2
    assert "(a system message can go into the user's turn)" in ended.error


def test_a_turn_that_does_not_end_with_the_eos_token_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    from datasets import Dataset

    made = build_tokenizer()
    ids = made("2<|im_end|>\n")["input_ids"]
    trained = Dataset.from_dict({"input_ids": [ids], "labels": [ids]})
    hint_at_end_of_turn(made, trained)
    assert capsys.readouterr().err == ""
    made.eos_token = "<|endoftext|>"
    hint_at_end_of_turn(made, trained)
    assert "if '<|im_end|>' ends a turn, give --eos_token '<|im_end|>'" in capsys.readouterr().err


@pytest.mark.parametrize("from_folder", [False, True])
def test_a_base_without_a_template_trains_with_one_from_a_file_or_a_folder(
    runs: Runs, tiny_llama: Path, from_folder: bool, tmp_path: Path
) -> None:
    import shutil

    base = shutil.copytree(tiny_llama, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    template = tiny_llama if from_folder else tmp_path / "template.jinja"
    if not from_folder:
        template.write_text(CHATML)
    options = ["--model_name_or_path", base, "--chat_template_path", template, "--rows_per_step", 8, "--max_steps", 1]
    ended = runs.done(tmp_path / "out", *options)
    assert ended.summary["steps"] == 1
    assert make_row("also_buy", 0)["prompt"]


def test_a_template_of_another_tokenizer_brings_its_eos_token_along(tmp_path: Path) -> None:
    tokenizer, source = build_tokenizer(), build_tokenizer()
    source.eos_token = "<|endoftext|>"
    source.chat_template = "{{ messages[0]['content'] + eos_token }}"
    source.save_pretrained(tmp_path / "source")
    use_template(tokenizer, "base", str(tmp_path / "source"))
    assert (tokenizer.chat_template, tokenizer.eos_token) == (source.chat_template, "<|endoftext|>")


@pytest.mark.parametrize("new", ["turn", "eos"])
def test_a_template_of_tokens_that_the_base_lacks_is_refused(new: str, tmp_path: Path) -> None:
    tokenizer, source = build_tokenizer(), build_tokenizer()
    source.add_tokens(["<|turn|>"], special_tokens=True)
    source.chat_template = CHATML.replace("<|im_start|>", "<|turn|>") if new == "turn" else CHATML
    source.eos_token = "<|turn|>" if new == "eos" else source.eos_token
    source.save_pretrained(tmp_path / "source")
    with pytest.raises(UserError, match=r"source writes <\|turn\|>, a token that base does not have, and a LoRA"):
        use_template(tokenizer, "base", str(tmp_path / "source"))


def test_a_template_that_is_not_there_is_one_sentence(runs: Runs, tmp_path: Path) -> None:
    ended = runs(tmp_path / "out", "--chat_template_path", tmp_path / "none.jinja")
    assert ended.code == 2
    assert "give --chat_template_path a .jinja file" in ended.error
