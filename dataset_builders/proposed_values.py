"""Adds to proposed files what their values tell: scales, grades, names of events, sessions, and ids where a file has none."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dataset_builders.file_profiles import FileProfile
from dataset_builders.mapping import normal
from dataset_builders.plain_names import plain_name
from dataset_builders.proposed import ProposedFile
from dataset_builders.proposed_ids import PERSON
from dataset_builders.sources.mapped_tables import looked_up
from dataset_builders.value_guesses import ValueGuess, action_guess, is_position, label_guess, rating_guess, relation_guess
from dataset_builders.values import as_text

_NO_ANSWER = re.compile(
    r"(no|not|without) (an )?answers?( yet| found| available)?|not answered|unanswer(ed|able)|-+", re.IGNORECASE
)
_ANSWER_COUNT = re.compile(r"((total|number_of|num)_)?answers?_?count|(number_of|num|total)_answers")
_PATHS = {mark: rf"([^{mark}\s][^{mark}]*?)\s*(?:[;,][^{mark}]*)?$" for mark in (">", "|", "/")}
"""What stands between the categories of a path -> the last of them."""
_TEXT = re.compile(r"^(answer|text|body|content)$|_(text|body|content)$")
_ACTION = re.compile(r"(event|action)(_|$)")
_DATE = re.compile(r"date|time|created", re.IGNORECASE)


def refined(file: ProposedFile, categories: bool) -> ProposedFile:
    """The same file with what its values tell: scales, grades, names of events, sessions, and ids where it has none.

    `categories` says that the products have some.
    """
    columns = file.entry["columns"]
    if file.table in ("products", "reviews"):
        file = _categories(file)
    if file.table == "reviews":
        file = _guessed(file, "rating", rating_guess(_all(file, "rating")))
        if "review_id" not in columns:
            file = file.with_column("review_id", _hash(file, ("text", "title", "rating", "product_id")), "the file has no id")
        if "category" not in columns and not categories:
            file = file.with_column("category", {"constant": "Other"}, "no file names the category of the reviewed product")
    elif file.table == "judgments":
        if "values" not in (columns["label"] if isinstance(columns["label"], dict) else {}):
            file = _guessed(file, "label", label_guess(_all(file, "label")))
        if "query_id" not in columns:
            file = file.with_column("query_id", columns["query"])
    elif file.table == "events":
        file = _refined_events(file)
    elif file.table == "questions":
        file = _refined_questions(file)
    elif file.table == "co_purchases" and not file.preset:
        file = _guessed(file, "relation", relation_guess(_all(file, "relation")))
    return file


def _all(file: ProposedFile, column: str) -> list[Any]:
    return [value for name in file.column(column)[:1] for value in file.profile.values(name)]


def _guessed(file: ProposedFile, column: str, guess: ValueGuess) -> ProposedFile:
    if not guess.keys and not guess.unsure:
        return file
    made = file.entry["columns"][column]
    keys = dict(made) if isinstance(made, dict) else {"column": made}
    return file.with_column(column, {**keys, **guess.keys} if guess.keys else made, guess.unsure)


def _hash(file: ProposedFile, columns: Sequence[str]) -> dict[str, Any]:
    """An id of what tells a row apart, a date among it where there is one."""
    named = [name for column in columns for name in file.column(column)]
    dates = [name for name in file.profile.columns if _DATE.search(name)][:1]
    return {"hash": list(dict.fromkeys([*named, *dates]))}


def _refined_events(file: ProposedFile) -> ProposedFile:
    columns = file.entry["columns"]
    if isinstance(columns["action"], str) and not file.preset:
        products, queries = file.column("product_id"), file.column("query")
        guess = action_guess(file.profile, columns["action"], products, queries)
        taken = {name for column in columns for name in file.column(column)}
        for name in file.profile.paths if guess.unsure else ():
            other = action_guess(file.profile, name, products, queries) if _is_of_events(file, name, taken) else guess
            if _actions(other) > _actions(guess):  # what the first column calls by one name, this one calls by several
                file, guess = file.with_column("action", name), other
        file = _guessed(file, "action", guess)
    if not is_position([value for name in file.column("position") for value in file.profile.values(name)]):
        file = file.with_note("position", "its values are no whole numbers or times")
    return _with_sessions(file)


def _actions(guess: ValueGuess) -> int:
    return len(set(guess.keys.get("values", {}).values()))


def _is_of_events(file: ProposedFile, name: str, taken: set[str]) -> bool:
    return bool(_ACTION.search(plain_name(name))) and name not in taken and len(file.profile.texts(name)) > 1


def _with_sessions(file: ProposedFile) -> ProposedFile:
    """Session ids that hold several events. Where an id of a person beside it tells every event apart, it goes."""
    names = file.column("session_id")
    if len(names) == 1 and not file.preset:
        if PERSON.search(names[0]) and not re.search("session|visit_?id", names[0], re.IGNORECASE):
            told = "no column names sessions, so that all events of a user are one"
            return file.with_column("session_id", {"hash": list(names)}, told)
        all_filled = len(file.profile.records)
        persons = [name for name in file.profile.columns if PERSON.search(name) and re.search(r"id$", name)]
        persons = [name for name in persons if name not in names and len(file.profile.values(name)) == all_filled]
        names = (*persons[:1], *names)
    if len(names) < 2:
        return file
    whole, alone = (_events_each(file.profile, chosen) for chosen in (names, names[-1:]))
    if whole < 1.5 and alone >= 2 * whole:
        told = f"{names[0]} differs in nearly every event, so that sessions are told by {names[-1]} alone"
        return file.with_column("session_id", names[-1], told)
    return file.with_column("session_id", {"hash": list(names)}, "" if whole >= 1.5 else "most sessions have a single event")


def _events_each(profile: FileProfile, names: Sequence[str]) -> float:
    keys = [tuple(as_text(looked_up(record, name) or "") for name in names) for record in profile.records]
    return len(keys) / max(1, len(set(keys)))


def _refined_questions(file: ProposedFile) -> ProposedFile:
    columns = file.entry["columns"]
    answer = next(iter(file.column("answers")), None)
    if answer and (text := _text_within(file.profile.values(answer))):
        answer = f"{answer}.{text}"
        file = file.with_column("answers", {"list": [answer]})
    elif isinstance(columns.get("answers"), str) and not _are_lists(file.profile.values(columns["answers"])):
        file = file.with_column("answers", {"list": [columns["answers"]]})
    snippets = columns.get("snippets")
    if isinstance(snippets, str) and (texts := file.profile.texts(snippets)) and not _are_lists(file.profile.values(snippets)):
        split = next((mark for mark in ("||", "|", ";") if sum(mark in text for text in texts) > len(texts) / 2), None)
        cut = {"column": snippets, "split": split} if split else {"list": [snippets]}
        file = file.with_column("snippets", cut, f"whether {split} stands between snippets" if split else "")
    if answer and (none := sorted(text for text in file.profile.texts(answer) if _NO_ANSWER.fullmatch(text))):
        words = sorted({normal(text) for text in none})
        file = replace(file, entry={**file.entry, "null_words": words}).with_note("null_words", "read as no answer")
    if "answerable" not in columns and answer:
        made = {"column": answer, "values": {"present": "yes", "missing": "no"}}
        file = file.with_column("answerable", made, "whether a question without an answer is one that reviews do not answer")
    elif "answerable" not in columns and (count := answer_count(file.profile)):
        made = {"column": count, "values": {"0": "no", "missing": "no", "present": "yes"}}
        file = file.with_column("answerable", made, "whether a question without an answer is one that reviews do not answer")
    if "question_id" not in columns:
        file = file.with_column("question_id", _hash(file, ("question", "product_id")), "the file has no id")
    return file


def _text_within(values: Sequence[Any]) -> str | None:
    """The key of the text in lists of objects, such as answers with who gave them."""
    items = [item for value in values[:50] if isinstance(value, list) for item in value if isinstance(item, dict)]
    names = dict.fromkeys(key for item in items for key in item)
    return next((name for name in names if _TEXT.search(plain_name(name))), None)


def answer_count(profile: FileProfile) -> str | None:
    """The column that says how many answers a question has."""
    return next((name for name in profile.columns if _ANSWER_COUNT.fullmatch(plain_name(name)) and profile.values(name)), None)


def _categories(file: ProposedFile) -> ProposedFile:
    """The last part of paths such as Home > Kitchen > Kettles."""
    made = file.entry["columns"].get("category")
    if not isinstance(made, str) or file.preset:
        return file
    texts = file.profile.texts(made)
    if any(isinstance(value, list) for value in file.profile.values(made)):
        told = f"the last of lists such as {next(value for value in file.profile.values(made) if isinstance(value, list))}"
        return file.with_column("category", {"join": [made], "with": " > ", "pattern": _PATHS[">"]}, told)
    for mark, pattern in _PATHS.items():
        if texts and sum(mark in text for text in texts) > len(texts) / 2:
            told = f"the last part of paths such as {min(texts)}"
            return file.with_column("category", {"column": made, "pattern": pattern}, told)
    return file


def _are_lists(values: Sequence[Any]) -> bool:
    return any(isinstance(value, list) or str(value).lstrip().startswith(("[", "{")) for value in values[:50])
