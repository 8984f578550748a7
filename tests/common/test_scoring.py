"""Scores of the twelve tasks, and ROUGE-L and BLEU, which are those of rouge_score and sacrebleu to the last digit."""

import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from common import scoring
from common.answers import gold, parse_completion, render_completion
from common.scoring import MetricUnavailableError, bleu, jp_bleu, ndcg, rouge_l, score_answer, score_completion
from common.tasks import TASKS, Task
from eval_tasks.metrics.shopbench import parse_text

WORDS = [
    *["brass", "lamp", "lamps", "running", "runs", "ran", "relational", "ponies", "caresses", "hopping", "5w", "e27", "usb-c"],
    *["真鍮", "ランプ", "naïve", "İstanbul", "ß", "½", "_", "a"],
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40)
ANY_TEXT = st.text() | st.text(alphabet="0123456789,. ½²٣[]'\"()-\n", max_size=60)
OFFICIAL = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


@given(TEXTS, TEXTS)
def test_rouge_l_is_that_of_rouge_score(text: str, truth: str) -> None:
    assert rouge_l(text, truth) == OFFICIAL.score(text, truth)["rougeL"].fmeasure


@given(st.text(alphabet="abdeginorstuy", min_size=4, max_size=12))
def test_words_are_stemmed_as_rouge_score_does(word: str) -> None:
    assert list(scoring._rouge_tokens(word)) == OFFICIAL._tokenizer.tokenize(word)


@given(TEXTS, TEXTS)
def test_bleu_is_that_of_sacrebleu(text: str, truth: str) -> None:
    line = text.strip("\n").split("\n")[0]

    for found, tokenizer in ((bleu, "13a"), (jp_bleu, "ja-mecab")):
        official = sacrebleu.corpus_bleu([line], [[truth]], lowercase=True, tokenize=tokenizer).score / 100
        assert found(text, truth) == official


@pytest.mark.parametrize("metric", [rouge_l, bleu, jp_bleu])
@pytest.mark.parametrize("text", ["", " ", "\0a\0", "\x1b[2J", "a " * 50_000, "a" * 100_000, "、" * 100_000, "\u202e" * 100])
def test_hostile_texts_are_scored_in_bounded_time(metric: object, text: str) -> None:
    text = parse_text(text)  # MeCab is no good beyond its 5,000 characters
    started = time.process_time()

    assert 0 <= metric(text, "a brass lamp") <= 1  # type: ignore[operator]
    assert 0 <= metric("a brass lamp", text) <= 1  # type: ignore[operator]

    assert time.process_time() - started < 5


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Nothing that an earlier call has loaded, and nothing left behind."""
    loaded = (
        scoring.rouge_l,
        scoring._rouge_tokens,
        scoring._stemmer,
        scoring._common_subsequence,
        scoring.bleu,
        scoring._bleu,
    )
    for function in loaded:
        function.cache_clear()
    yield
    for function in loaded:
        function.cache_clear()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("metric", "module", "package"),
    [
        (rouge_l, "nltk.stem.porter", "nltk"),
        (rouge_l, "rapidfuzz.distance", "rapidfuzz"),
        (bleu, "sacrebleu.metrics.bleu", "sacrebleu"),
    ],
)
def test_a_missing_package_is_named_and_scores_nothing(
    metric: object, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MetricUnavailableError, match=package):
        metric("a lamp", "a lamp")  # type: ignore[operator]


@pytest.mark.usefixtures("forgotten")
def test_missing_mecab_leaves_ordinary_bleu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.tokenizers import tokenizer_ja_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)

    with pytest.raises(MetricUnavailableError, match="Japanese"):
        jp_bleu("a", "a")
    assert bleu("a b c d", "a b c d") == pytest.approx(1)


LINES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


def answers(task: Task) -> st.SearchStrategy[Any]:
    if task.family == "multiple_choice":
        return st.sampled_from(task.labels)
    if task.family == "ranking":
        return st.lists(st.sampled_from([0.0, 0.01, 0.1, 1.0]), min_size=5, max_size=5).filter(any)
    if task.family == "retrieval":
        return st.lists(st.integers(1, 15), min_size=1, max_size=5, unique=True)
    return LINES | st.lists(LINES, min_size=1).map(" ".join)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@given(data=st.data())
def test_the_gold_completion_scores_1(task: Task, data: st.DataObject) -> None:
    answer = data.draw(answers(task))

    assert score_completion(task, render_completion(task, gold(task, answer)), answer) == 1


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@given(data=st.data(), text=ANY_TEXT)
def test_the_score_of_any_text_lies_between_0_and_1(task: Task, data: st.DataObject, text: str) -> None:
    assert 0 <= score_completion(task, text, data.draw(answers(task))) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("name", "text", "answer", "score"),
    [
        ("review_rating", "4 stars", "4", 1.0),
        ("review_rating", "I would say 4", "4", 0.0),
        ("answerability", "Yes, they do.", "yes", 1.0),
        ("query_product_ranking", "1,2,3,4", [1.0, 0.1, 0.1, 0.01, 0.0], 0.0),
        ("query_product_ranking", "2,1,3,4,5", [1.0, 0.0, 0.0, 0.0, 0.0], 1 / math.log2(3)),
        ("also_buy", "3, 3, 7, 9", [7, 9], 0.5),
        ("also_buy", "7", [7, 9], 0.5),
        ("also_buy", "none of them", [7, 9], 0.0),
        ("query_generation", "red shoes\nand more", "red running shoe", 0.8),
        ("query_generation", "\n \n", "red running shoe", 0.0),
        ("next_title_merrec", "真鍮のランプ", "真鍮のランプ", 1.0),
    ],
)
def test_a_completion_is_scored_by_its_tasks_metric(name: str, text: str, answer: Any, score: float) -> None:
    assert score_completion(TASKS[name], text, answer) == pytest.approx(score)
    assert score_answer(TASKS[name], parse_completion(TASKS[name], text), answer) == pytest.approx(score)


def test_a_ranking_without_any_gain_scores_nothing_instead_of_dividing_by_it() -> None:
    assert ndcg([1, 2, 3, 4, 5], [0.0] * 5) == 0.0
