"""ROUGE-L and BLEU are those of rouge_score and sacrebleu to the last digit, for any texts and in no time."""

import sys
import time
from collections.abc import Iterator

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from common import scoring
from common.answers import parse_text
from common.scoring import MetricUnavailableError, bleu, jp_bleu, rouge_l

WORDS = [
    *["brass", "lamp", "lamps", "running", "runs", "ran", "relational", "ponies", "caresses", "hopping", "5w", "e27", "usb-c"],
    *["真鍮", "ランプ", "naïve", "İstanbul", "ß", "½", "_", "a"],
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40)
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
