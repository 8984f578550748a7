"""Which tasks lighteval's command line can name."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from eval_tasks.suites.lighteval_tasks import runnable
from eval_tasks.suites.suite import SHOP, SUITES

ONE: list[Any] = [SimpleNamespace(name="shop:also_buy")]


@pytest.mark.parametrize("words", [["model_name=m", "shop|0"], ["model_name=m", "shop"], ["--save-details", "shop|0,other|0"]])
def test_a_suites_name_for_its_only_task_is_refused_with_what_to_write(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lighteval", *words])
    with pytest.raises(UserError, match=r'write "shop:also_buy\|0" instead of "shop\|0"'):
        runnable(SUITES[SHOP], ONE, "data")


@pytest.mark.parametrize("words", [["--suite", "shop"], ["--model", "shop", "--names", "shop,base"], ["shop:also_buy|0"]])
def test_the_value_of_an_option_names_no_task(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    assert runnable(SUITES[SHOP], ONE, "data") == ONE
