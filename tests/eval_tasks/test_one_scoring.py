"""The page marks an answer as the report scores it: lighteval's metric of each task beside the Space's mark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lighteval.metrics import apply_metric
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from common.answers import gold, parse_completion, render_completion
from common.tasks import TASKS, Task
from space.demo.answer_view import grade
from tests.eval_tasks.rows import dataset_row
from tests.eval_tasks.test_shop import load_tasks

Score = Callable[[Task, str, Any], float]
WORDS = st.lists(st.sampled_from(["brass", "lamps", "lamp", "真鍮", "ランプ", "é"]), min_size=1, max_size=5).map(" ".join)
TEXT = st.text() | WORDS | st.lists(st.integers(0, 16), max_size=6).map(lambda numbers: ",".join(map(str, numbers)))


@pytest.fixture(scope="module")
def score(shop_dataset: Path) -> Score:
    """What lighteval's own metric of the task, which the report shows, gives to a text."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        module = load_tasks(monkeypatch, shop_dataset)
    configs = {config.hf_subset: config for config in module.TASKS_TABLE}

    def of(task: Task, text: str, answer: Any) -> float:
        config = configs[task.name]
        doc: Doc = module.prompt(dataset_row(task, 0, answer), config.name)
        (values,) = apply_metric([ModelResponse(text=[text])], [doc], config.metrics)
        assert values["unparsable"] == (parse_completion(task, text) is None)
        return float(values[task.metric])

    return of


def answers(task: Task) -> st.SearchStrategy[Any]:
    return {
        "multiple_choice": st.sampled_from(task.labels or ("",)),
        "ranking": st.lists(st.sampled_from([0.0, 0.01, 0.1, 1.0]), min_size=5, max_size=5).filter(any),
        "retrieval": st.lists(st.integers(1, 15), min_size=1, max_size=5, unique=True),
        "generation": WORDS,
    }[task.family]


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_the_pages_mark_agrees_with_the_reports_score(task: Task, data: st.DataObject, score: Score) -> None:
    answer = data.draw(answers(task))
    right = render_completion(task, gold(task, answer))
    text = data.draw(TEXT | st.just(right) | st.just(right + ",1"))

    given_mark, scored = grade(task, parse_completion(task, text), answer), score(task, text, answer)

    assert given_mark.verdict == ("correct" if scored == pytest.approx(1) else "wrong" if scored == 0 else "partly")
    if task.family in ("ranking", "generation") and given_mark.note != "unreadable":
        assert given_mark.note.endswith(f" {scored:.2f}")
    if task.family == "retrieval" and given_mark.note != "unreadable":
        hits, _, count = given_mark.note.partition(" of ")
        assert int(hits) / int(count) == pytest.approx(scored)


def test_a_japanese_answer_that_is_the_right_one_is_right_on_the_page_and_in_the_report(score: Score) -> None:
    task, text = TASKS["next_title_merrec"], "真鍮のデスクランプ"

    given_mark = grade(task, parse_completion(task, text), text)

    assert score(task, text, text) == 1.0
    assert (given_mark.verdict, given_mark.note) == ("correct", "ROUGE-L 1.00")
