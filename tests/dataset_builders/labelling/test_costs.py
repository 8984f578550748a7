"""Tokens and money."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.labelling import costs
from dataset_builders.labelling.costs import (
    CostEstimate,
    TokenPrices,
    estimate_cost,
    progress_bar,
    progress_line,
    rough_tokens,
    token_counter,
)
from dataset_builders.labelling.requests import LabelRequest, ReplyCounts

CHAT = (("system", "Be brief."), ("user", "Rate the following product review on a scale of 1 to 5: the bottle leaks."))


def test_tokens_are_a_quarter_of_the_characters_and_what_stands_around_messages() -> None:
    assert rough_tokens(LabelRequest((("user", "x" * 400),), 8)) == 104
    assert rough_tokens(LabelRequest((("user", "x" * 401), ("assistant", "")), 8, schema='{"a":"b"}')) == 103 + 8
    assert token_counter()(LabelRequest(CHAT, 8)) == rough_tokens(LabelRequest(CHAT, 8))


def test_with_a_tokenizer_they_are_those_of_the_whole_prompt(tiny_llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    chat = [{"role": role, "content": content} for role, content in CHAT]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert token_counter(str(tiny_llama))(LabelRequest(CHAT, 8)) == len(tokenizer(text).input_ids)


def test_a_tokenizer_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the tokenizer of .* cannot be loaded .*give --tokenizer a folder or a Hub id"):
        token_counter(str(tmp_path))


@given(st.lists(st.integers(1, 1000), max_size=20))
def test_an_estimate_adds_up(limits: list[int]) -> None:
    found = estimate_cost((LabelRequest(CHAT, limit) for limit in limits), lambda request: 7)
    assert found == CostEstimate(len(limits), 7 * len(limits), sum(limits))


def test_prices_are_for_a_million_tokens() -> None:
    assert TokenPrices(0.5, 2.0).cost(3_000_000, 250_000) == pytest.approx(2.0)
    assert TokenPrices().cost(3_000_000, 250_000) == 0


def test_the_bar_tells_speed_of_this_run_cost_and_time_left() -> None:
    counts = ReplyCounts(
        kept=500, answered=90, rejected=Counter({"too long": 10}), prompt_tokens=90_000, completion_tokens=10_000
    )
    speed = "5.0 requests/s, 5,000 tokens/s"
    assert (
        progress_line(counts, 1100, 20.0, TokenPrices(1.0, 10.0)) == f"600/1,100, 10 rejected, {speed}, cost 0.19, 0:01:40 left"
    )
    assert progress_line(counts, 72_600, 20.0, TokenPrices()) == f"600/72,600, 10 rejected, {speed}, 4:00:00 left"
    assert progress_line(ReplyCounts(kept=500), 1100, 0.0, TokenPrices()) == "500/1,100"


def test_the_bar_is_shown_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, TokenPrices(1, 1)) as progress:
        progress(ReplyCounts(kept=1, answered=2))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err


def test_a_log_has_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "BAR_SECONDS", 0.0)
    for every, lines in ((0.0, 2), (60.0, 0)):
        monkeypatch.setattr(costs, "LINE_SECONDS", every)
        with progress_bar(4, TokenPrices(1, 1)) as progress:
            for answered in (1, 2):
                progress(ReplyCounts(answered=answered))
        assert sum(line[0].isdigit() for line in capsys.readouterr().err.splitlines()) == lines, "beside the bar's last state"
