"""ECInstruct: rows of its ten tasks with instruction, input, options and output.

Format: https://huggingface.co/datasets/NingLab/ECInstruct
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from dataset_builders.samples.catalog import LINES, Product, kits
from dataset_builders.samples.files import write_json_list
from dataset_builders.samples.text import draw_rating, question, review

_SENTIMENTS = ("very negative", "negative", "neutral", "positive", "very positive")
_RELATIONS = (
    "Users who buy product 1 may also buy product 2.",
    "Users who view product 1 may also view product 2.",
    "The product 1 is similar with the product 2.",
)
_RELEVANCE = (
    "The product is relevant to the query, and satisfies all the query specifications.",
    "The product is somewhat relevant. It fails to fulfill some aspects of the query but the product can be used as a "
    "functional substitute.",
    "The product does not fulfill the query, but could be used in combination with a product exactly matching the query.",
    "The product is irrelevant to the query.",
)
_SETTINGS = ("IND_Diverse_Instruction", "IND_Diverse_Instruction", "IND_Diverse_Instruction", "OOD_Diverse_Instruction")

Answered = tuple[dict[str, Any], list[str] | None, str]
"""Input, options and output of a row."""


def write_rows(path: Path, seed: int, rows: int) -> int:
    """Writes a JSON list of rows, the ten tasks in turn."""
    return write_json_list(path, _rows(seed, rows))


def _rows(seed: int, rows: int) -> Iterator[dict[str, Any]]:
    rng = Random(f"{seed}|ecinstruct")
    tasks = list(_TASKS.items())
    for number in range(rows):
        task, (instructions, answered) = tasks[number % len(tasks)]
        given, options, output = answered(rng)
        yield {
            "instruction": rng.choice(instructions),
            "input": json.dumps(given, ensure_ascii=False),
            "output": output,
            "options": json.dumps(options) if options else None,
            "few_shot_example": None,
            "task": task,
            "split": rng.choices(("train", "validation", "test"), (79, 8, 13))[0],
            "setting": rng.choice(_SETTINGS),
        }


def _any_product(rng: Random) -> Product:
    kit = rng.choice(kits())
    type_ = rng.choice(kit.types)
    return Product(
        kit, type_, rng.choice(kit.brands), rng.choice(LINES), rng.choice(kit.shared.values), rng.choice(type_.attribute.values)
    )


def _related(rng: Random, product: Product, relation: int) -> Product:
    """A companion or an accessory (0), an alternative of another brand (1), a variant (2) or something else altogether (3)."""
    kit = product.kit
    if relation == 0 and rng.random() < 0.4:
        brand = product.brand if rng.random() < 0.5 else rng.choice(kit.brands)
        return replace(product, brand=brand, accessory=rng.choice(product.type.accessories))
    if relation == 0:
        product = product if rng.random() < 0.3 else replace(product, brand=rng.choice(kit.brands), line=rng.choice(LINES))
        type_ = rng.choice([type_ for type_ in kit.types if type_ != product.type])
        return replace(product, type=type_, own=rng.choice(type_.attribute.values))
    if relation == 1:
        brand = rng.choice([brand for brand in kit.brands if brand != product.brand])
        shared = rng.choice([shared for shared in kit.shared.values if shared != product.shared])
        return replace(product, brand=brand, line=rng.choice(LINES), shared=shared)
    if relation == 2:
        return replace(product, own=rng.choice([own for own in product.type.attribute.values if own != product.own]))
    while (other := _any_product(rng)).kit == kit:
        pass
    return other


def _lettered(options: tuple[str, ...]) -> list[str]:
    return [f"{letter}: {option}" for letter, option in zip("ABCDE", options, strict=False)]


def _attributes(rng: Random) -> Answered:
    product = _any_product(rng)
    own, shared = product.type.attribute.name, product.kit.shared.name
    found = [{"attribute": shared, "value": product.shared}, {"attribute": own, "value": product.own}]
    return {"product title": product.title, "attributes": [shared, own]}, None, json.dumps(found)


def _relation(rng: Random) -> Answered:
    product, relation = _any_product(rng), rng.randrange(3)
    titles = {"Product 1:": product.title, "Product 2:": _related(rng, product, relation).title}
    return titles, _lettered(_RELATIONS), "ABC"[relation]


def _matching(rng: Random) -> Answered:
    product, same = _any_product(rng), rng.random() < 0.5
    noun = product.type.nouns[1]
    again = f"{product.brand} {product.line} {noun} {product.shared} {product.own}"
    second = again.lower() if same else _related(rng, product, rng.choice((1, 2))).title.lower()
    products = {f"product {number}": {"title": title} for number, title in enumerate((product.title, second), 1)}
    return products, None, "yes" if same else "no"


def _sentiment(rng: Random) -> Answered:
    rating = draw_rating(rng)
    summary, text = review(rng, _any_product(rng), rating)
    options = _lettered(_SENTIMENTS)
    return {"review": f"{summary}. {text}"}, options, options[rating - 1]


def _next_product(rng: Random) -> Answered:
    product = _any_product(rng)
    history = [_related(rng, product, 1).title for _ in range(2)] + [product.title]
    options = [_related(rng, product, 0), *(_related(rng, product, 3) for _ in range(4))]
    order = rng.sample(range(5), 5)
    return {"history": history}, _lettered(tuple(options[place].title for place in order)), "ABCDE"[order.index(0)]


def _asked(rng: Random, product: Product) -> str:
    """A query that a substitute, which has another shared attribute, does not answer."""
    words = [product.shared, rng.choice(product.type.names)]
    if rng.random() < 0.15:
        words.append(f"for {rng.choice(product.kit.uses)}")
    return " ".join(words).lower()


def _relevance(rng: Random) -> Answered:
    product, label = _any_product(rng), rng.randrange(4)
    shown = _related(rng, product, {0: 2, 1: 1, 2: 0, 3: 3}[label])
    options = _lettered(_RELEVANCE)
    return {"query": _asked(rng, product), "product title": shown.title}, options, options[label]


def _substitute(rng: Random) -> Answered:
    product, fits = _any_product(rng), rng.random() < 0.5
    shown = _related(rng, product, 1 if fits else rng.choice((0, 2, 3)))
    return {"query": _asked(rng, product), "product": shown.title}, None, "yes" if fits else "no"


def _ranking(rng: Random) -> Answered:
    product = _any_product(rng)
    best_first = [_related(rng, product, relation).title for relation in (2, 1, 0, 3)]
    order = rng.sample(range(4), 4)
    options = {letter: best_first[place] for letter, place in zip("ABCD", order, strict=True)}
    ranked = sorted("ABCD", key=lambda letter: best_first.index(options[letter]))
    given = {"query": _asked(rng, product), **{f"product {letter}": title for letter, title in options.items()}}
    return given, None, ",".join(ranked)


def _answerability(rng: Random) -> Answered:
    asked = question(rng, _any_product(rng), answerable=rng.random() < 0.5)
    return {"question": asked.text, "document": list(asked.snippets)}, None, "yes" if asked.answerable else "no"


def _answer(rng: Random) -> Answered:
    asked = question(rng, _any_product(rng), answerable=True)
    return {"question": asked.text, "document": list(asked.snippets)}, None, asked.answers[0]


_TASKS = {
    "Attribute_Value_Extraction": (("Find the attributes in the title.", "Extract the attributes."), _attributes),
    "Product_Relation_Prediction": (("How do the two products relate?", "Pick the relation."), _relation),
    "Product_Matching": (("Are these two the same product? Only output yes or no.", "Same product, yes or no?"), _matching),
    "Sentiment_Analysis": (("What is the sentiment of the review?", "Choose how the writer feels."), _sentiment),
    "Sequential_Recommendation": (("Which product will the user want next?", "Predict the next product."), _next_product),
    "Multiclass_Product_Classification": (("How relevant is the product to the query?", "Choose the relevance."), _relevance),
    "Product_Substitute_Identification": (("Is the product a substitute for what is searched? Only yes or no.",), _substitute),
    "Query_Product_Rank": (("Rank the products by relevance to the query. Only output the order, such as B,A,D,C.",), _ranking),
    "Answerability_Prediction": (("Can the document answer the question? Only output yes or no.",), _answerability),
    "Answer_Generation": (("Answer the question from the document.", "Give a short answer to the question."), _answer),
}
