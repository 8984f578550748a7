"""ShopBench's parsers of answers, one for each of its task types, and its metrics of parsed answers.

They restate parsers.py and metrics.py of the scorer in the KDD Cup 2024 starter kit
(https://gitlab.aicrowd.com/aicrowd/challenges/amazon-kdd-cup-2024/amazon-kdd-cup-2024-starter-kit). Where they look strange
they are meant to: an answer must be read as it is there, whatever its text is, and a score come out the same to the last digit.
"""

import ast
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.answers import MAX_CHARACTERS, parse_numbers
from common.scoring import bleu, jp_bleu, ndcg, rouge_l
from eval_tasks.metrics.embeddings import SENTENCE_MODELS, similarities

# --- Parsers; none raises ---


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
    literal = _literal(text) if "[" in text else None  # no list without a bracket, and most answers have none
    if isinstance(literal, list) and all(isinstance(entity, str) for entity in literal):
        return literal
    return [entity.strip() for entity in text.split(",") if entity.strip()]


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in an answer is nobody's business
            return ast.literal_eval(text)
    except Exception:  # as the official scorer: a model's text can make the parser raise nearly anything
        return None


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


def says_nothing(answer: Any) -> bool:
    """Whether this is what a parser makes of a text that it cannot read."""
    return answer in (-1, [], "")


# --- Metrics ---


def accuracy(choice: int, truth: int) -> float:
    return float(choice == truth)


def hit_rate_at_3(picks: Sequence[int], truth: Sequence[int]) -> float:
    """Distinct true items among the first three, over the number of true items (at least one)."""
    return len(set(truth) & set(picks[:3])) / len(truth)


def entity_counts(entities: Sequence[str], truth: Sequence[str]) -> tuple[int, int, int]:
    """True positives (distinct), false positives, false negatives; case is ignored, and white space around predictions."""
    predicted = [entity.lower().strip() for entity in entities]
    wanted = [entity.lower() for entity in truth]
    hits = len(set(predicted) & set(wanted))
    return hits, len(predicted) - hits, len(wanted) - hits


TEXT_METRICS: Mapping[str, Callable[[Any, Any], Any]] = {
    "accuracy": accuracy,
    "hit rate@3": hit_rate_at_3,
    "ndcg": ndcg,
    "micro f1": entity_counts,
    "rougel": rouge_l,
    "bleu": bleu,
    "jp-bleu": jp_bleu,
}
"""ShopBench's metric -> function of the parsed answer and the truth. The embedding metrics take many: see `score_answers`."""

TASK_TYPES: Mapping[str, str] = {
    "accuracy": "multiple-choice",
    "hit rate@3": "retrieval",
    "ndcg": "ranking",
    "micro f1": "named_entity_recognition",
    **dict.fromkeys(("rougel", "bleu", "jp-bleu", *SENTENCE_MODELS), "generation"),
}
"""Every ShopBench metric -> the task_type whose answers it can score."""


def is_truth(truth: Any, metric: str) -> bool:
    """Whether answers can be scored against this by a metric of ShopBench."""
    if metric == "accuracy":
        return _is_number(truth)
    if metric in ("hit rate@3", "ndcg"):
        return isinstance(truth, list) and bool(truth) and all(_is_number(item) and 0 <= item <= 1000 for item in truth)
    if metric == "micro f1":
        return isinstance(truth, list) and all(isinstance(item, str) for item in truth)
    if metric in SENTENCE_MODELS and isinstance(truth, list):
        return bool(truth) and all(isinstance(item, str) for item in truth)
    return isinstance(truth, str)


def wanted_truth(metric: str) -> str:
    """What `is_truth` asks for, in words."""
    wanted = {
        "accuracy": "a number",
        "hit rate@3": "a list of numbers, at least one",
        "ndcg": "a list of weights from 0, at least one",
        "micro f1": "a list of strings",
    }
    return wanted.get(metric, "a string")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score_answers(metric: str, answers: Sequence[Any], truths: Sequence[Any], sentence_model: str | None = None) -> list[Any]:
    """The value of each parsed answer by a metric of ShopBench: a number, or (tp, fp, fn) for micro F1.

    `sentence_model`: a folder or Hub id for sent-transformer. Raises MetricUnavailableError.
    """
    if metric in SENTENCE_MODELS:
        return similarities(answers, truths, metric, sentence_model if metric == "sent-transformer" else None)
    return [TEXT_METRICS[metric](answer, truth) for answer, truth in zip(answers, truths, strict=True)]
