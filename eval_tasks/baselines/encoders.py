"""Text similarity: TF-IDF and sentence embeddings as vectors, BM25 and cross-encoders as rankings of some texts for another.

A name is `tfidf`, `bm25`, `minilm`, or `embedder=MODEL` and `cross-encoder=MODEL` with a folder or Hub id of a model of
sentence-transformers.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from statistics import mean
from typing import Any

from common.scoring import MetricUnavailableError
from eval_tasks.metrics.embeddings import load_sentence_model, sentence_model

Encoder = Callable[[Sequence[str]], Any]
"""Texts -> a matrix with one row of length 1 for each: sparse of TF-IDF, dense of embeddings."""

Ranker = Callable[[str, Sequence[str]], Sequence[float]]
"""A text and some others (at least one) -> how well each of these fits it."""

BM25_K1, BM25_B = 1.2, 0.75
"""Lucene's, and so those of the search engines built on it."""


def encoder(name: str, texts: Sequence[str]) -> Encoder:
    """Of `tfidf`, weighed by these texts, or of a model. Raises MetricUnavailableError."""
    kind, _, model = name.partition("=")
    if kind == "embedder":
        return embedder(model)
    return minilm() if name == "minilm" else tfidf(texts)


def ranker(name: str, texts: Sequence[str]) -> Ranker:
    """Of `bm25` or `tfidf`, weighed by these texts, or of a model. Raises MetricUnavailableError."""
    kind, _, model = name.partition("=")
    if kind == "cross-encoder":
        return cross_encoder(model)
    return bm25(texts) if name == "bm25" else partial(similarity, encode=encoder(name, texts))


@lru_cache
def cross_encoder(name: str) -> Ranker:
    """A cross-encoder of sentence-transformers, which reads two texts together and gives one score. Raises
    MetricUnavailableError."""
    try:
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(name)
    except Exception as error:  # the loader's errors come from five libraries and share no class
        raise MetricUnavailableError(f"the cross-encoder {name} cannot be loaded ({_reason(error)})") from error
    if model.num_labels != 1:
        raise MetricUnavailableError(
            f"the cross-encoder {name} gives {model.num_labels} scores for two texts, and a ranking needs one that gives one"
        )

    def weigh(text: str, others: Sequence[str]) -> list[float]:
        return [float(score) for score in model.predict([(text, other) for other in others], show_progress_bar=False)]

    return weigh


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def bm25(texts: Sequence[str]) -> Ranker:
    """Okapi BM25 as Lucene has it, with the document frequencies and the mean length of these texts.

    Packages for BM25 index a collection and rank what is in it; here short lists are ranked by what the train rows tell of
    words. The formula is that of Robertson and Zaragoza 2009 (https://doi.org/10.1561/1500000019), with the 1 + in the
    logarithm of https://lucene.apache.org/core/10_0_0/core/org/apache/lucene/search/similarities/BM25Similarity.html
    """
    counts = [Counter(words_of(text)) for text in texts]
    known = Counter(word for count in counts for word in count)
    mean_length = max(mean(count.total() for count in counts), 1)

    def weigh(text: str, others: Sequence[str]) -> list[float]:
        rarity = {word: math.log(1 + (len(texts) - known[word] + 0.5) / (known[word] + 0.5)) for word in set(words_of(text))}
        scores = []
        for count in (Counter(words_of(other)) for other in others):
            damping = BM25_K1 * (1 - BM25_B + BM25_B * count.total() / mean_length)
            scores.append(sum(rare * count[word] / (count[word] + damping) for word, rare in rarity.items() if count[word]))
        return scores

    return weigh


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def tfidf(texts: Sequence[str]) -> Encoder:
    """Words and pairs of words, weighed by how few of these texts have them."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    return lambda texts: csr_array(vectorizer.transform(texts))


def minilm() -> Encoder:
    """all-MiniLM-L6-v2. Raises MetricUnavailableError."""
    return embedder(sentence_model("sent-transformer"))


@lru_cache
def embedder(name: str) -> Encoder:
    """A model of sentence embeddings, loaded once; each text is embedded once. Raises MetricUnavailableError."""
    import numpy as np

    model = load_sentence_model(name)
    known: dict[str, Any] = {}

    def encode(texts: Sequence[str]) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            vectors = model.encode(new, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
            known.update(zip(new, vectors, strict=True))
        return np.stack([known[text] for text in texts])

    return encode


def similarity(text: str, others: Sequence[str], encode: Encoder) -> list[float]:
    """Cosine of a text with each of the others (at least one)."""
    vectors = encode([text, *others])
    return [float(value) for value in dense(vectors[1:] @ vectors[[0]].T).ravel()]


def by_weight(weights: Sequence[float]) -> list[int]:
    """Numbers from 1, the heaviest first; of equals the first first."""
    return sorted(range(1, len(weights) + 1), key=lambda number: -weights[number - 1])


def dense(matrix: Any) -> Any:
    from scipy.sparse import issparse

    return matrix.toarray() if issparse(matrix) else matrix
