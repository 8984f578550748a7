"""AmazonQA: `{train,val,test}-qar.jsonl`, questions with review snippets and answers.

Format: https://github.com/amazonqa/amazonqa
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataset_builders.raw_files import stem_and_ending
from dataset_builders.records import Placed, Rejected, json_lines
from dataset_builders.sources import TableRows, missing
from dataset_builders.spans import WHOLE, Span, line_spans

NAME = "amazonqa"
LICENCE = "none stated"


def claims(path: Path) -> bool:
    return "-qar" in path.name and stem_and_ending(path)[1] == ".jsonl"


spans = line_spans


def read(path: Path, span: Span = WHOLE) -> Iterator[Placed]:
    return json_lines(path, span)


def canonical(record: dict[str, Any], path: Path) -> TableRows | Rejected:
    rejected = missing(record, ("asin", "questionText"))
    if rejected:
        return rejected
    answers = record.get("answers")
    if answers is None and record.get("is_answerable") == 0:
        answers = []
    if not isinstance(answers, list):
        return Rejected("answers is not a list")
    snippets = record.get("review_snippets")
    if not isinstance(snippets, list):
        return Rejected("review_snippets is not a list")
    if record.get("is_answerable") not in (0, 1):
        return Rejected("is_answerable is not 0 or 1")
    # qid is not there in every file, and not unique across the three.
    content = f"{record['asin']}\0{record['questionText']}"
    question = {
        "question_id": hashlib.md5(content.encode(errors="replace")).hexdigest(),
        "product_id": record["asin"],
        "question": record["questionText"],
        "snippets": snippets,
        "answers": [answer.get("answerText") for answer in answers if isinstance(answer, dict) and answer.get("answerText")],
        "answerable": bool(record["is_answerable"]),
    }
    return [("questions", question)]
