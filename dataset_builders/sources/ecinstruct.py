"""ECInstruct: instruction rows of ten tasks as a JSON list; those that hold a canonical table's facts are taken back to it.

Format: https://huggingface.co/datasets/NingLab/ECInstruct (`instruction, input, output, options, few_shot_example, task,
split, setting`), and files of one task each, named after it, with the options folded into the input.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dataset_builders.raw_files import stem_and_ending
from dataset_builders.records import Placed, Rejected, json_records
from dataset_builders.sources import TableRows, missing
from dataset_builders.spans import WHOLE, Span, json_spans

NAME = "ecinstruct"
LICENCE = "CC-BY-4.0"

SETTINGS = ("IND_Diverse_Instruction", "OOD_Diverse_Instruction")
"""The settings that make up the dataset proper; the file's other rows repeat them with other wordings and examples."""

_NAME = re.compile(r"[A-Za-z_]{1,60}")

# What an option's text must hold to mean the label; options come in any order.
_RELEVANCE = {
    "satisfies all": "exact",
    "functional substitute": "substitute",
    "in combination": "complement",
    "irrelevant": "irrelevant",
}
_RELATIONS = {"may also buy": "also_buy", "may also view": "also_view", "similar": "similar"}
_SENTIMENTS = {"very positive": 5, "very negative": 1, "positive": 4, "negative": 2, "neutral": 3}


def claims(path: Path) -> bool:
    stem, ending = stem_and_ending(path)
    return ending == ".json" and ("ecinstruct" in (path.parent.name, stem.lower()) or stem in _TASKS)


spans = json_spans


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    return json_records(path, span)


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    rejected = missing(record, ("input", "output"))
    if rejected:
        return rejected
    if str(record.get("split") or "train").strip().lower() != "train":
        return Rejected("split is for evaluation")
    if record.get("setting") not in (None, *SETTINGS):
        return Rejected("setting repeats another one's rows")
    task = str(record.get("task") or stem_and_ending(path)[0])
    if task not in _TASKS:
        return Rejected(f"task {task} has no canonical table" if _NAME.fullmatch(task) else "task is not a task's name")
    try:
        fields, folded = _input_fields(record["input"])
        options = record.get("options") or folded
        return _TASKS[task](fields, _chosen_option(record["output"], options))
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration):
        return Rejected(f"input is not of the form of {task}")


def _input_fields(text: str) -> tuple[Any, list[str]]:
    """The input's JSON, or its text where it is none, and the options folded in behind it."""
    body, _, folded = text.partition("\noptions:")
    return _json_or_text(body), _json_or_text(folded) if folded else []


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _chosen_option(output: str, options: Any) -> str:
    """`A` or `A: text` -> the option's text in lower case; another output as it is."""
    options = _json_or_text(options) if isinstance(options, str) else options
    letter = output.split(":", 1)[0].strip()
    for option in options:
        if str(option).split(":", 1)[0].strip() == letter:
            return str(option).lower()
    return output


def _meaning(meanings: dict[str, Any], option: str) -> Any:
    return next((meaning for words, meaning in meanings.items() if words in option), None)


def _digest(*parts: str) -> str:
    return hashlib.md5("\0".join(parts).encode(errors="replace")).hexdigest()


def _product(title: str) -> tuple[str, dict[str, Any]]:
    """The corpus names products by title alone, so the title's hash is the id."""
    empty = dict.fromkeys(("description", "brand", "category", "color"))
    return "products", {"product_id": _digest(title), "locale": "us", "title": title, **empty}


def _judgment(query: str, title: str, label: str | None) -> TableRows | Rejected:
    if label is None:
        return Rejected("output does not say which label it is")
    row = {"query_id": _digest(query), "query": query, "product_id": _digest(title), "locale": "us", "label": label}
    return [("judgments", row), _product(title)]


def _classification(fields: Any, option: str) -> TableRows | Rejected:
    return _judgment(fields["query"], fields["product title"], _meaning(_RELEVANCE, option))


def _substitute(fields: Any, option: str) -> TableRows | Rejected:
    if option.strip().lower() != "yes":
        return Rejected("product is no substitute, but may be exact, complement or irrelevant")
    return _judgment(fields["query"], fields["product"], "substitute")


def _relation(fields: Any, option: str) -> TableRows | Rejected:
    relation = _meaning(_RELATIONS, option)
    if relation is None:
        return Rejected("output does not say which relation it is")
    titles = [value for key, value in fields.items() if key.startswith("Product")]
    first, second = _product(titles[0]), _product(titles[1])
    link = {"product_id": first[1]["product_id"], "other_product_id": second[1]["product_id"], "relation": relation}
    return [("co_purchases", link), first, second]


def _sentiment(fields: Any, option: str) -> TableRows | Rejected:
    rating = _meaning(_SENTIMENTS, option)
    if rating is None:
        return Rejected("output does not say which sentiment it is")
    text = next(iter(fields.values())) if isinstance(fields, dict) else fields
    review = {
        "review_id": _digest(str(rating), text),
        "product_id": _digest(text),
        "category": "Unknown",
        "rating": rating,
        "title": None,
        "text": text,
    }
    return [("reviews", review)]


def _question(fields: Any, answers: list[str], answerable: bool) -> TableRows | Rejected:
    documents = fields["document"]
    question = {
        "question_id": _digest(fields["question"], str(documents)),
        "product_id": _digest(str(documents)),
        "question": fields["question"],
        "snippets": documents if isinstance(documents, list) else [documents],
        "answers": answers,
        "answerable": answerable,
    }
    return [("questions", question)]


def _answerability(fields: Any, option: str) -> TableRows | Rejected:
    answerable = {"yes": True, "no": False}.get(option.strip().lower())
    if answerable is None:
        return Rejected("output is not yes or no")
    return _question(fields, [], answerable)


def _answer(fields: Any, option: str) -> TableRows | Rejected:
    return _question(fields, [option], True)


_TASKS: dict[str, Callable[[Any, str], TableRows | Rejected]] = {
    "Multiclass_Product_Classification": _classification,
    "Product_Substitute_Identification": _substitute,
    "Product_Relation_Prediction": _relation,
    "Sentiment_Analysis": _sentiment,
    "Answerability_Prediction": _answerability,
    "Answer_Generation": _answer,
}
