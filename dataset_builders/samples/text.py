"""What customers write: reviews that fit their rating, questions with review snippets and answers, and descriptions."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from dataset_builders.samples.catalog import Product, topics

STARS = ("One Star", "Two Stars", "Three Stars", "Four Stars", "Five Stars")
RATING_SHARES = (0.08, 0.06, 0.10, 0.16, 0.60)

# How probable each grade is in what a review with 1 to 5 stars says: many say what they mean, others are kinder, harsher, or
# praise one thing and blame another.
_GRADES = ((60, 24, 9, 4, 3), (22, 42, 22, 10, 4), (7, 21, 40, 23, 9), (2, 7, 17, 48, 26), (2, 3, 7, 24, 64))
_GENERAL_TOPICS = ("origin", "delivery", "gift box", "warranty")


@cache
def _phrases() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SampleQuestion:
    """The first answer agrees with the snippets, where they say anything; the others may be vague."""

    text: str
    snippets: tuple[str, ...]
    answers: tuple[str, ...]
    answerable: bool


def draw_rating(rng: Random) -> int:
    return rng.choices((1, 2, 3, 4, 5), RATING_SHARES)[0]


def review(rng: Random, product: Product, rating: int) -> tuple[str, str]:
    """Summary and text. One in eight summaries and one in thirty texts name the stars."""
    parts = rng.sample(product.kit.parts, len(product.kit.parts))
    words = {"noun": product.noun, "brand": product.brand, "shared": product.shared, "part": parts[0]}
    summary = STARS[rating - 1] if rng.random() < 0.12 else rng.choice(_phrases()["summary"][_grade(rng, rating)])
    grades = [_grade(rng, rating) for _ in range(rng.choice((1, 2, 2, 3)))]
    if rating == 3 and rng.random() < 0.35:
        grades = [rng.choice((3, 4)), rng.choice((0, 1))]
    clauses = [_clause(rng, product, grade, [part]) for grade, part in zip(grades, parts, strict=False)]
    clauses.append(rng.choice(_phrases()["verdict"][_grade(rng, rating)]).format_map(words))
    if rng.random() < 0.5:
        rng.shuffle(clauses)
    text = _joined(rng, clauses, grades)
    if rng.random() < 0.45:
        words |= {"person": rng.choice(_phrases()["persons"]), "span": rng.choice(_phrases()["spans"])}
        text = f"{rng.choice(_phrases()['opening']).format_map(words)} {text}"
    if rng.random() < 0.03:
        text = f"{text} {STARS[rating - 1]}."
    return summary.format_map(words), text


def question(rng: Random, product: Product, answerable: bool) -> SampleQuestion:
    """A question with three to eight snippets. Where it is answerable one or two of them say it, else none speaks of it."""
    noun = {"noun": product.noun}
    names = rng.sample(product.kit.topics, len(product.kit.topics))
    topic, others = topics()[names[0]], [*names[1:], *(name for name in _GENERAL_TOPICS if name not in names)]
    seen, say = rng.choice(topic.states)
    count = rng.choice((3, 4, 4, 5, 5, 6, 7, 8))
    telling = rng.sample(seen, rng.choice((1, 1, 2))) if answerable else []
    aside = rng.sample(others, min(len(others), max(1, (count - len(telling)) // 2)))
    snippets = telling + [rng.choice(rng.choice(topics()[name].states)[0]) for name in aside]
    parts = [part for part in product.kit.parts if part != topic.name]
    while len(snippets) < count:
        grade = draw_rating(rng) - 1
        snippets.append(f"{_clause(rng, product, grade, parts)}. {rng.choice(_phrases()['verdict'][grade])}.")
    rng.shuffle(snippets)
    vague = _phrases()["vague_answers"]
    answers = [rng.choice(say if answerable else (*vague, *say))]
    answers += [rng.choice((*say, rng.choice(vague))) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    return SampleQuestion(
        text=rng.choice(topic.asked).format_map(noun),
        snippets=tuple(text.format_map(noun) for text in snippets),
        answers=tuple(answers),
        answerable=answerable,
    )


def description(rng: Random, product: Product, locale: str = "us") -> str:
    template: str = rng.choice(_phrases()["description"][locale])
    return template.format(noun=product.noun, shared=product.shared, own=product.own, brand=product.brand, line=product.line)


def _grade(rng: Random, rating: int) -> int:
    return rng.choices(range(5), _GRADES[rating - 1])[0]


def _clause(rng: Random, product: Product, grade: int, parts: Sequence[str]) -> str:
    on_a_part, event = _phrases()["on_a_part"][grade], _phrases()["event"][product.kit.kind][grade]
    clause: str = rng.choice(on_a_part).format(part=rng.choice(parts)) if rng.random() < 0.6 else rng.choice(event)
    return clause


def _joined(rng: Random, clauses: Sequence[str], grades: Sequence[int]) -> str:
    """Sentences, some of them joined by a word; "but" only where some clauses praise and others blame."""
    link = ", but " if min(grades) < 2 < max(grades) else ", and "
    text = clauses[0]
    for clause in clauses[1:]:
        if rng.random() < 0.25:
            text += link + (clause if clause.startswith("I ") else clause[0].lower() + clause[1:])
        else:
            text += rng.choice((". ", ". ", "! ")) + clause
    return text + "."
