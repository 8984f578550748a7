"""Amazon Review Data (2018) and AmazonQA: products with their links, reviews and questions, all of the same shelves.

Formats: https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/ and https://github.com/amazonqa/amazonqa
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import md5
from pathlib import Path
from random import Random
from typing import Any

from dataset_builders.samples.catalog import LINES, Product, capitals, categories, kit_named, kits_of
from dataset_builders.samples.files import asin, write_json_lines
from dataset_builders.samples.text import description, draw_rating, question, review

_VARIANTS = 2
_MEMBERS = _VARIANTS + 1  # of a type in a family: the variants, and an accessory
_FAMILY = 4 * _MEMBERS
_BLOCKBUSTERS = (0, 4)  # places in a kit's first family that are bought with everything
_POPULAR = 12  # the higher, the fewer families most purchases go to
_NAMES = ("Customer", "Alex", "Sam R.", "Jo", "A reader", "Chris M.", "Pat", "Kim L.", "Robin", "Lee")
_SKIES = 40  # a space of product ids that are in no file
_JUNK_TITLE = '<span class="a-size-medium a-color-secondary"'


@lru_cache(maxsize=4096)
def _family(seed: int, category: str, number: int) -> tuple[Product, ...]:
    """A matching set: each type of a kit in the same brand, line and shared attribute, in variants, and an accessory for it."""
    rng = Random(f"{seed}|family|{category}|{number}")
    kits = kits_of(category)
    kit = kits[number % len(kits)]
    brand, line, shared = rng.choice(kit.brands), rng.choice(LINES), rng.choice(kit.shared.values)
    return tuple(
        Product(kit, type_, brand, line, shared, own, accessory)
        for type_ in kit.types
        for own, accessory in zip(
            rng.sample(type_.attribute.values, _VARIANTS + 1), ("",) * _VARIANTS + (rng.choice(type_.accessories),), strict=True
        )
    )


def _product(seed: int, category: str, index: int) -> Product:
    """The shelf of a category is its families in a row; every family has the same size."""
    family, place = divmod(index, _FAMILY)
    return _family(seed, category, family)[place]


def write_products(path: Path, seed: int, category: str, products: int) -> int:
    """Writes meta_<Category>.json.gz. In a hundred products one has markup for a title and two stand there twice."""
    return write_json_lines(path, _meta_records(seed, category, products))


def _meta_records(seed: int, category: str, products: int) -> Iterator[dict[str, Any]]:
    rng = Random(f"{seed}|meta|{category}")
    space = categories().index(category)
    for index in range(products):
        product = _product(seed, category, index)
        record = _meta_record(seed, rng, product, space, index, products)
        yield record
        if rng.random() < 0.02:
            yield record


def _meta_record(seed: int, rng: Random, product: Product, space: int, index: int, products: int) -> dict[str, Any]:
    department = product.kit.category.replace("_", " ")
    same, viewed, bought = _links(seed, product.kit.category, index, products, rng)
    junk, rank = rng.random() < 0.01, f"{rng.randrange(100, 900_000):,}"
    return {
        "category": [department, product.kit.name, capitals(product.noun)],
        "tech1": "",
        "description": [description(rng, product)] if rng.random() < 0.6 else [],
        "fit": "",
        "title": _JUNK_TITLE if junk else product.title,
        "also_buy": bought,
        "tech2": "",
        "brand": product.brand,
        "feature": [f"{capitals(name)}: {value}" for name, value in product.attributes],
        "rank": f"{rank} in {department} (" if rng.random() < 0.6 else [f">#{rank} in {department}"],
        "also_view": viewed,
        "details": {"Shipping Weight:": f"{rng.randrange(1, 90) / 10} pounds", "ASIN: ": asin(space, index)},
        "main_cat": department,
        "similar_item": _comparison_table(same) if rng.random() < 0.5 else "",
        "date": "",
        "price": f"${rng.randrange(3, 150)}.99" if rng.random() < 0.7 else "",
        "asin": asin(space, index),
        "imageURL": [],
        "imageURLHighRes": [],
    }


def _most_alike(seed: int, category: str, index: int, others: list[int]) -> list[int]:
    """A third of the products, those whose titles share most words with the product's."""

    def words(product: int) -> frozenset[str]:
        return _title_words(seed, category, product // _FAMILY)[product % _FAMILY]

    own = words(index)
    alike = sorted(set(others) - {index}, key=lambda other: (-len(own & words(other)), other))
    return alike[: len(others) // 3]


@lru_cache(maxsize=4096)
def _title_words(seed: int, category: str, family: int) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(product.title.lower().split()) for product in _family(seed, category, family))


@cache
def _spaces() -> dict[str, int]:
    """Category -> its space of product ids."""
    return {category: number for number, category in enumerate(categories())}


@cache
def _place_of(kit: str) -> tuple[str, int]:
    """A kit's category and its place among the kits of it."""
    found = kit_named(kit)
    return found.category, kits_of(found.category).index(found)


def _links(seed: int, category: str, index: int, products: int, rng: Random) -> tuple[list[str], list[str], list[str]]:
    """Ids of products that are the same but for a variant, those viewed as alternatives and those bought together.

    Viewed are products of the same type, of any brand. Bought together are accessories and other types, of the same family,
    of a popular one of the kit, or of a partner kit in another category, which share no word.
    """
    kits = kits_of(category)
    family, place = divmod(index, _FAMILY)
    type_, member = divmod(place, _MEMBERS)
    own, families = family % len(kits), max(1, products // _FAMILY)
    kit = kits[own]

    def popular(position: int, power: int = _POPULAR) -> int:
        return (position + len(kits) * int(families / len(kits) * rng.random() ** power)) * _FAMILY

    def companion() -> tuple[str, int]:
        way = rng.random()
        if way < 0.2:
            of, position = _place_of(rng.choice(kit.partners))
            return of, popular(position) + rng.randrange(_FAMILY)
        if way < 0.66:
            return category, own * _FAMILY + rng.choice(_BLOCKBUSTERS)
        other = (type_ + rng.randint(1, 3)) % 4 * _MEMBERS + rng.randrange(_MEMBERS)
        other = type_ * _MEMBERS + _VARIANTS if rng.random() < 0.25 else other
        return category, (popular(own) if way < 0.69 else family * _FAMILY) + other

    bought = [companion() for _ in range(rng.randint(2, 6))] if rng.random() < 0.75 else []
    bought = [link for link in bought if link != (category, index)]
    alternatives = _most_alike(seed, category, index, [popular(own, 1) + place for _ in range(12)])
    alternatives.append((family + len(kits)) * _FAMILY + place)
    viewed = rng.sample(alternatives, rng.randint(min(2, len(alternatives)), len(alternatives))) if rng.random() < 0.7 else []
    variants = [family * _FAMILY + type_ * _MEMBERS + variant for variant in range(_VARIANTS)] if member < _VARIANTS else []
    spaces = _spaces()
    same, seen, together = (
        [
            asin(spaces[of], other)
            for of, other in dict.fromkeys(found)
            if 0 <= other < products and (of, other) != (category, index)
        ]
        for found in ([(category, other) for other in variants], [(category, other) for other in viewed], bought)
    )
    if together and rng.random() < 0.3:
        together.insert(rng.randrange(len(together) + 1), asin(_SKIES, rng.randrange(2**31)))
    if seen and rng.random() < 0.3:
        seen.append(asin(_SKIES, rng.randrange(2**31)))
    return same, seen, together


def _comparison_table(asins: list[str]) -> str:
    """The rest of a page's table of similar products, which is what the corpus has in this field."""
    if not asins:
        return ""
    cells = "\n".join(f'<th><a class="a-link-normal" href="/dp/{other}/ref=psdc_{other}">See</a></th>' for other in asins)
    return f' class="a-bordered a-horizontal-stripes comparison_table">\n<tr>\n{cells}\n</tr>\n</table>'


def write_reviews(path: Path, seed: int, category: str, products: int, reviews: int) -> int:
    """Writes <Category>_5.json.gz: of a hundred reviews two repeat an earlier text, and a few lack text or summary."""
    return write_json_lines(path, _review_records(seed, category, products, reviews))


def _review_records(seed: int, category: str, products: int, reviews: int) -> Iterator[dict[str, Any]]:
    rng = Random(f"{seed}|reviews|{category}")
    space = categories().index(category)
    reviewed = max(1, min(products, reviews // 6))  # in a 5-core every product has five reviews
    summary = text = ""
    rating = 0
    for number in range(reviews):
        index = int(reviewed * rng.random() ** 1.5)
        product = _product(seed, category, index)
        if rating == 0 or rng.random() >= 0.02:
            rating = draw_rating(rng)
            summary, text = review(rng, product, rating)
        moment = datetime.fromtimestamp(rng.randrange(1_262_304_000, 1_538_352_000) // 86_400 * 86_400, UTC)
        record: dict[str, Any] = {"overall": float(rating)}
        if rng.random() < 0.12:
            record["vote"] = f"{int(2 + 1500 * rng.random() ** 9):,}"
        record |= {
            "verified": rng.random() < 0.9,
            "reviewTime": f"{moment:%m} {moment.day}, {moment.year}",
            "reviewerID": "A" + md5(f"{seed}|{category}|{number // 3}".encode()).hexdigest()[:13].upper(),
            "asin": asin(space, index),
        }
        if rng.random() < 0.7:
            record["style"] = {f"{capitals(name)}:": f" {capitals(value)}" for name, value in product.attributes}
        record["reviewerName"] = rng.choice(_NAMES)
        if rng.random() >= 0.004:
            record["reviewText"] = text
        if rng.random() >= 0.002:
            record["summary"] = summary
        yield record | {"unixReviewTime": int(moment.timestamp())}


def write_questions(path: Path, seed: int, split: str, products: int, questions: int) -> int:
    """Writes <split>-qar.jsonl; six questions in ten can be answered from their snippets."""
    return write_json_lines(path, _question_records(seed, split, products, questions))


def _question_records(seed: int, split: str, products: int, questions: int) -> Iterator[dict[str, Any]]:
    rng = Random(f"{seed}|questions|{split}")
    for _ in range(questions):
        space = rng.randrange(len(categories()))
        category, index = categories()[space], rng.randrange(products)
        asked = question(rng, _product(seed, category, index), answerable=rng.random() < 0.6)
        yes_or_no = asked.answers[0].startswith(("Yes", "No,"))
        yield {
            "asin": asin(space, index),
            "category": category,
            "questionText": asked.text,
            "questionType": "yesno" if yes_or_no else "descriptive",
            "review_snippets": asked.snippets,
            "answers": [_answer(rng, text, yes_or_no) for text in asked.answers],
            "is_answerable": int(asked.answerable),
            "qid": str(rng.randrange(10**9)),
        }


def _answer(rng: Random, text: str, yes_or_no: bool) -> dict[str, Any]:
    votes = int(4 * rng.random() ** 3)
    kind = {"Y": "Y", "N": "N"}.get(text[0], "?") if yes_or_no else "NA"
    return {"answerText": text, "answerType": kind, "helpful": [rng.randint(0, votes), votes]}
