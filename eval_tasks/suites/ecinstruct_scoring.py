"""Parsers and scores of ECInstruct's answers by the rules of eCeLLM's evaluate.py.

Source: https://github.com/ninglab/eCeLLM/blob/main/evaluate.py; which metric is a task's own: table 3 of
https://arxiv.org/abs/2402.08831. Its rules look strange in places and are kept, so that scores can be set beside the paper's:

- What cannot be read ("#invalid", "#failed") is left out of F1, macro F1, HR@1 and accuracy, and so does not lower them.
- yes or no must be the whole answer, in any case; of an option the first character counts, if it is one of A to E; the letter
  of a recommendation, A to T, must be the whole answer.
- An order is split at commas, and the first character of each piece counts: "A, B" reads as A alone. The ideal of NDCG is made
  of what was read, so that an order that leaves products out can still be ideal.
- An extracted attribute is right if attribute, value and source are; out of domain it is enough that one of two values, and one
  of two sources, holds the other.

`strict` takes the same answers for wrong that the rules above leave out: whatever cannot be read, and products that an order
leaves out or names twice; there, spaces before a letter do not matter.

Where this differs: evaluate.py adds 1e-6 to denominators, which makes a perfect score 0.999999 and is left out here. It counts
a right attribute as often as it is repeated, so that F1 can exceed 1; here each counts once. On an empty answer to an option
task, on extracted items that are no objects and on sources that are no texts it breaks off; here those are wrong or unread.
JSON that is no list is "valid" there, and cannot be read here; it scores the same. Of a ranking, "#invalid" counts pieces; here
an answer cannot be read where none of its pieces can.

F_BERT, the paper's metric of answer generation, needs a language model and is not computed: the score is ROUGE-L, which
the paper does not report. The gains of a ranking are not in its rows but in label.json
(https://github.com/ninglab/eCeLLM/blob/main/data_label/label.json); without that file they are taken by the place in the true
order, and the metric is called "ndcg by place", which is not the paper's.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import Any, Literal

from common.answers import MAX_CHARACTERS
from common.scoring import ndcg, rouge_l

Form = Literal["attributes", "yes_no", "option", "letter", "order", "text"]


@dataclass(frozen=True)
class EcinstructTask:
    """`column` is the task's name in ECInstruct's `task` column."""

    column: str
    form: Form
    metric: str
    generation_size: int = 8


TASKS: dict[str, EcinstructTask] = {
    task.column.lower(): task
    for task in (
        # Their inference.py generates 100 tokens for all tasks; of short answers the rest is never read.
        EcinstructTask("Attribute_Value_Extraction", "attributes", "f1*", 100),
        EcinstructTask("Product_Relation_Prediction", "option", "macro f1"),
        EcinstructTask("Product_Matching", "yes_no", "f1"),
        EcinstructTask("Sentiment_Analysis", "option", "macro f1"),
        EcinstructTask("Sequential_Recommendation", "letter", "hr@1"),
        EcinstructTask("Multiclass_Product_Classification", "option", "accuracy of readable answers"),
        EcinstructTask("Product_Substitute_Identification", "yes_no", "f1"),
        EcinstructTask("Query_Product_Rank", "order", "ndcg", 16),
        EcinstructTask("Answerability_Prediction", "yes_no", "f1"),
        EcinstructTask("Answer_Generation", "text", "rougel", 100),
    )
}
"""Name -> task, in the order of the paper."""

LETTERS: dict[str, str] = {"option": "ABCDE", "letter": "ABCDEFGHIJKLMNOPQRST"}
"""Form -> the letters that evaluate.py reads."""

GAINS = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
"""ESCI label -> gain, in the order in which the true order has them."""

BY_PLACE = "ndcg by place"
"""What the metric of rankings without labels is called."""


@dataclass(frozen=True)
class EcinstructRow:
    """One row of ECInstruct. `output` is the right answer's text, `letters` are those on offer.

    Of a ranking, `gains` belong to the letters: those of the products' labels (`labelled`), or by place in the true order.
    """

    task: str
    prompt: str
    output: str
    out_of_domain: bool = False
    letters: str = ""
    gains: tuple[float, ...] = ()
    labelled: bool = False


@lru_cache(2**14)
def row_of(text: str) -> EcinstructRow:
    """The row whose fields the text holds as JSON."""
    fields = json.loads(text)
    return EcinstructRow(**fields | {"gains": tuple(fields["gains"])})


@lru_cache(2**14)
def parse_answer(row: EcinstructRow, text: str) -> Any | None:
    """What an answer says: a text, a list of letters or of extracted items; None where it cannot be read. Never raises."""
    return _PARSERS[TASKS[row.task].form](text.strip(), row.letters)


def _items(text: str, letters: str) -> list[Any] | None:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return items if isinstance(items, list) else None


def _yes_no(text: str, letters: str) -> str | None:
    return text.lower() if text.lower() in ("yes", "no") else None


def _option(text: str, letters: str) -> str | None:
    return text[0] if text and text[0] in LETTERS["option"] else None


def _letter(text: str, letters: str) -> str | None:
    return text if len(text) == 1 and text in LETTERS["letter"] else None


def _order(text: str, letters: str) -> list[str] | None:
    return [piece[0] for piece in text.split(",") if piece and piece[0] in letters] or None


_PARSERS: dict[Form, Callable[[str, str], Any]] = {
    "attributes": _items,
    "yes_no": _yes_no,
    "option": _option,
    "letter": _letter,
    "order": _order,
    "text": lambda text, letters: text or None,
}


def value(row: EcinstructRow, text: str, strict: bool) -> float | list[float]:
    """An answer's value, of which `task_score` with the task's metric makes the score."""
    metric, answer, truth = TASKS[row.task].metric, parse_answer(row, text), parse_answer(row, row.output)
    if answer is None and not strict and metric in _LEFT_OUT:
        return _LEFT_OUT[metric]
    if metric in ("ndcg", "rougel"):
        return _text_score(row, text, answer, truth, strict) if answer else 0.0
    if metric == "f1*":
        return _attribute_counts(answer or [], truth or [], row.out_of_domain)
    if metric == "f1":
        said, meant = answer == "yes", truth == "yes"
        return [float(said and meant), float(said and not meant), float(meant and not said)]
    if metric == "macro f1":
        return [float(LETTERS["option"].find(letter or "none")) for letter in (truth, answer)]
    return [float(answer == truth), 1.0]


_LEFT_OUT: dict[str, list[float]] = {
    "f1": [0.0, 0.0, 0.0],
    "macro f1": [-1.0, -1.0],
    "hr@1": [0.0, 0.0],
    "accuracy of readable answers": [0.0, 0.0],
}
"""Metric -> the value of an answer that it leaves out."""


def _text_score(row: EcinstructRow, text: str, answer: Any, truth: Any, strict: bool) -> float:
    """NDCG of an order, ROUGE-L of a text."""
    if TASKS[row.task].form == "text":
        # Equal texts without a Latin letter or digit would score 0 by ROUGE's tokenizer.
        return 1.0 if answer == truth else rouge_l(answer[:MAX_CHARACTERS], truth)
    if strict:
        pieces = dict.fromkeys(piece.strip()[:1] for piece in text.split(","))
        return ndcg([row.letters.index(letter) + 1 for letter in pieces if letter and letter in row.letters], row.gains)
    gains = [row.gains[row.letters.index(letter)] for letter in answer]
    return ndcg(range(1, len(gains) + 1), gains)


def _attribute_counts(items: list[Any], truth: list[Any], out_of_domain: bool) -> list[float]:
    """True positives, false positives, false negatives. Items that name no attribute are not counted."""
    named = [item for item in items if isinstance(item, dict) and "attribute" in item]
    fits = [[_fits(item, label, out_of_domain) for label in truth] for item in named]
    hits = min(sum(map(any, fits)), sum(map(any, zip(*fits, strict=True))))
    return [float(hits), float(len(named) - hits), float(len(truth) - hits)]


def _fits(item: dict[str, Any], label: dict[str, Any], out_of_domain: bool) -> bool:
    value, source = item.get("value"), item.get("source")
    if item["attribute"] != label["attribute"]:
        return False
    if value == label["value"] and source == label["source"]:
        return True
    if not out_of_domain or not isinstance(value, str | int | float) or not isinstance(source, str):
        return False
    return _holds(str(value), str(label["value"])) and _holds(source, str(label["source"]))


def _holds(one: str, other: str) -> bool:
    return one in other or other in one


_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"'
_ITEM = rf'\{{"attribute": {_STRING}, "value": {_STRING}, "source": {_STRING}\}}'


def pattern(row: EcinstructRow) -> str:
    """A regular expression for the answers that can be read, the right one among them; "" where any text will do."""
    form = TASKS[row.task].form
    if form == "order":
        found = "|".join(map(",".join, permutations(row.letters)))  # of four products at most
    else:
        found = {
            "attributes": rf"\[{_ITEM}(?:, {_ITEM})*\]",
            "yes_no": "yes|no",
            "option": rf"[{row.letters}](?:: [^\n]+)?",
            "letter": f"[{row.letters}]",
            "text": "",
        }[form]
    return found if re.fullmatch(found, row.output) else ""
