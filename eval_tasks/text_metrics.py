"""ROUGE-L and BLEU of one text against another, with the figures of rouge_score and sacrebleu to the last digit.

What they need is made once and kept: stems of words, tokens of texts, BLEU's tokenizers. Pairs of texts that come again, such
as several models' same answer to a row, are not scored again.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_KEPT = 2**14
"""Texts and pairs of texts that are remembered: 150 MB, if all were of 5,000 characters."""


class MetricUnavailableError(Exception):
    """A metric's model or package cannot be had here. The message says why."""


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
