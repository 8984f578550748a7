"""Scores of one answer: accuracy, NDCG, hit rate, ROUGE-L and BLEU. Report, metric, Space and card all score by these.

ROUGE-L and BLEU have the figures of rouge_score and sacrebleu to the last digit. What they need is cached: stems of
words, tokens of texts, BLEU's tokenizers, and scores of pairs of texts, which come again where several models give one answer.
NumPy and the packages of text metrics are imported when they are needed, so that the Space can take this file along.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import log2
from typing import Any

from common.answers import MAX_CHARACTERS, parse_completion
from common.tasks import Task


def score_completion(task: Task, text: str, answer: Any) -> float:
    """The score, from 0 to 1, of a model's text against a row's decoded `answer`. A text that cannot be parsed scores 0."""
    return score_answer(task, parse_completion(task, text), answer)


def score_answer(task: Task, parsed: Any, answer: Any) -> float:
    """The score, from 0 to 1, of what `parse_completion` made of a text, None included, against a row's decoded `answer`."""
    if parsed is None:
        return 0.0
    if task.family == "multiple_choice":
        return float(parsed == str(answer))
    if task.family == "ranking":
        return ndcg(parsed, answer)
    if task.family == "retrieval":
        return hit_rate(parsed, answer)
    truth = parse_completion(task, str(answer)) or ""
    # Equal texts without a Latin letter or digit would score 0 by ROUGE's tokenizer. It takes minutes of a text without end.
    return 1.0 if parsed == truth else rouge_l(str(parsed)[:MAX_CHARACTERS], str(truth))


def hit_rate(picks: Sequence[int], truth: Sequence[int]) -> float:
    """The share of the true items that are picked. No more picks count than there are true items."""
    return len(set(truth) & set(picks[: len(truth)])) / len(truth) if truth else 0.0


def ndcg(order: Sequence[int], weights: Sequence[float]) -> float:
    """Gain 2^weight - 1, discount log2(position + 1), over the ideal order; 0 where no weight is positive.

    `order` has numbers from 1 and is cut to the number of weights. A number beyond them gains nothing; the number 0 reads
    the last weight, since Python's index -1 does.
    """
    gains = [weights[number - 1] if number <= len(weights) else 0 for number in order[: len(weights)]]
    ideal = discounted_sum(sorted(weights, reverse=True))
    return discounted_sum(gains) / ideal if ideal else 0.0


def discounted_sum(gains: Iterable[float]) -> float:
    total = 0.0
    for position, gain in enumerate(gains, start=1):
        total += _gain(gain) / _discount(position)
    return float(total)


def expected_ndcg(weights: Sequence[float]) -> float:
    """The mean of `ndcg` over all orders: every position has the mean gain."""
    gains = [2**weight - 1 for weight in weights]
    ideal = discounted_sum(sorted(weights, reverse=True))
    discounts = sum(1 / log2(position + 1) for position in range(1, len(weights) + 1))
    return sum(gains) / len(gains) * discounts / ideal if ideal else 0.0


@lru_cache(2**10, typed=True)  # NumPy's powers of ints are ints, which overflow
def _gain(weight: float) -> Any:
    import numpy as np

    return np.power(2, weight) - 1


@lru_cache(2**10)
def _discount(position: int) -> Any:
    import numpy as np

    return np.log2(position + 1)  # math's log2 may end in another digit, as may its power


_KEPT = 2**14
"""Texts and pairs of texts that are remembered: 150 MB, if all were of 5,000 characters."""


class MetricUnavailableError(Exception):
    """A metric's model or package is missing here. The message says which."""


@lru_cache(_KEPT)
def rouge_l(text: str, truth: str) -> float:
    """ROUGE-L's F measure with stemming (https://aclanthology.org/W04-1013). Its tokenizer sees a-z and 0-9 only.

    As rouge_score's RougeScorer(["rougeL"], use_stemmer=True).score(truth, text).
    """
    said, wanted = _rouge_tokens(text), _rouge_tokens(truth)
    if not said or not wanted:
        return 0.0
    common = _common_subsequence()(said, wanted)
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall) if common else 0.0


@lru_cache(_KEPT)
def _rouge_tokens(text: str) -> tuple[str, ...]:
    """Runs of letters and digits in lower case, those of more than three characters stemmed."""
    stem = _stemmer()
    return tuple(stem(token) if len(token) > 3 else token for token in re.findall("[a-z0-9]+", text.lower()))


@lru_cache
def _stemmer() -> Callable[[str], str]:
    try:
        from nltk.stem.porter import PorterStemmer
    except ImportError as error:
        raise MetricUnavailableError(f"the package nltk is missing ({error})") from error
    return lru_cache(2**17)(PorterStemmer().stem)


@lru_cache
def _common_subsequence() -> Callable[[tuple[str, ...], tuple[str, ...]], int]:
    """The length of the longest common subsequence. rapidfuzz finds it 64 tokens at a time, where rouge_score fills a table."""
    try:
        from rapidfuzz.distance import LCSseq
    except ImportError as error:
        raise MetricUnavailableError(f"the package rapidfuzz is missing ({error})") from error
    return LCSseq.similarity


@lru_cache(_KEPT)
def bleu(text: str, truth: str, tokenizer: str = "13a") -> float:
    """Corpus BLEU, lower-cased, of the text's first line as the only segment, from 0 to 1."""
    line = text.strip("\n").split("\n")[0]
    return float(_bleu(tokenizer).corpus_score([line], [[truth]]).score) / 100


def jp_bleu(text: str, truth: str) -> float:
    """BLEU over MeCab's tokens."""
    return bleu(text, truth, tokenizer="ja-mecab")


@lru_cache
def _bleu(tokenizer: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(lowercase=True, tokenize=tokenizer)
    except (ImportError, RuntimeError) as error:  # sacrebleu raises RuntimeError where MeCab is missing
        raise MetricUnavailableError(f"sacrebleu with its Japanese part is missing ({error})") from error
