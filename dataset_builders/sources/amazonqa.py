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
from dataset_builders.tables import LONGEST_EXAMPLE
from dataset_builders.values import as_boolean, as_list, is_missing

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
    try:
        answerable = as_boolean(record.get("is_answerable"))
    except ValueError:
        return Rejected("is_answerable is not 0 or 1", str(record.get("is_answerable"))[:LONGEST_EXAMPLE])
    answers = record.get("answers")
    if answers is None and not answerable:
        answers = []
    if not isinstance(answers, list):
        return Rejected("answers is not a list")
    try:
        snippets = as_list(record.get("review_snippets"))
    except ValueError:
        return Rejected("review_snippets is not a list of texts")
    texts = [answer.get("answerText") if isinstance(answer, dict) else answer for answer in answers]
    # qid is not there in every file, and not unique across the three.
    content = f"{record['asin']}\0{record['questionText']}"
    question = {
        "question_id": hashlib.md5(content.encode(errors="replace")).hexdigest(),
        "product_id": record["asin"],
        "question": record["questionText"],
        "snippets": snippets,
        "answers": [text for text in texts if not is_missing(text)],
        "answerable": answerable,
    }
    return [("questions", question)]
