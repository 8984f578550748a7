"""Random small tables in which every filter of a recipe finds something: copies, ties, gaps, two sources, two locales.

A source's ids are its own, as those of the real corpora are, but for the tables of links.
"""

import hashlib
import random
from typing import Any

from dataset_builders.tables import LABELS
from tests.dataset_builders.recipe_runs import Rows, Tables

SOURCES = ("bazaar", "shop")
LOCALES = ("jp", "us")

GIVEN_AWAY = {
    "Five Stars": "",
    "four-star": "",
    "1 Star!": "!",
    "I give it 4.5 out of 5 stars.": "I give it .",
    "5/5": "",
    "*****": "",
    "★★★☆☆": "",
    "⭐": "",
    "two stars, no more": ", no more",
}
"""Fragments that give a rating away, and what is left of them."""
FRAGMENTS = (
    *GIVEN_AWAY,
    *(
        "Lovely",
        "LOVELY",
        "Broke at once",
        "holds 5 cups",
        "24/7",
        "*",
        "!!!",
        "10",
        "すぐ壊れた",
        "とても良い",
        "Café au lait",
        "q",
    ),
)
BETWEEN = " ; "


def without_stars(text: str) -> str:
    """A text made of fragments, without what gives its rating away."""
    return " ".join(BETWEEN.join(GIVEN_AWAY.get(fragment, fragment) for fragment in text.split(BETWEEN)).split())


def in_other_letters(text: str) -> str:
    return BETWEEN.join(part if part in GIVEN_AWAY else part.upper() for part in text.split(BETWEEN))


def with_copies(rows: Rows, rng: random.Random) -> Rows:
    return rng.sample([*rows, *rng.choices(rows, k=len(rows) // 10)], len(rows) + len(rows) // 10)


def reviews(rng: random.Random) -> Tables:
    def text(most: int) -> str:
        return BETWEEN.join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, most)))

    rows: Rows = [
        {
            "review_id": f"r{number}",
            "product_id": f"p{rng.randrange(9)}",
            "category": rng.choice(("Home", "Garden", "家電")),
            "rating": rng.choice((1, 2, 3, 4, 5, 5, 5)),
            "title": rng.choice((None, text(1), text(1))),
            "text": text(3),
            "source": rng.choice(SOURCES),
        }
        for number in range(rng.choice((3, 60, 140)))
    ]
    rows += [{**row, "review_id": f"{row['review_id']}s", "title": in_other_letters(row["text"])} for row in rows[::9]]
    return {"reviews": with_copies(rows, rng)}


NOUNS = ("mug", "kettle", "blanket", "lamp", "靴", "Café crème", "mixer", "スーパー ミキサー")
KINDS = ("red", "wool", "steel", "赤い", "XL", "travel")
DETAILS = ("1.5 litre", "dimmable LED", "non slip", "for two", "防水", "junior")


def title(rng: random.Random, details: int = 2) -> str:
    return ", ".join([f"{rng.choice(KINDS)} {rng.choice(NOUNS)}", *rng.sample(DETAILS, details)])


def judgments(rng: random.Random) -> Tables:
    """No product is judged for one query in two locales; queries are the same in all sources."""
    products: Rows = []
    judged: Rows = []
    texts = [f"{kind} {noun}" for kind in rng.sample(KINDS, 2) for noun in rng.sample(NOUNS, 5)]
    for source in SOURCES:
        for locale in LOCALES:
            local = [f"{text} {locale}" for text in texts]
            asked = {f"{source[0]}{number}": local for number in range(7)}
            asked |= {f"{source[0]}{locale}{number}": [*local, *texts] for number in range(7)}
            titles = [title(rng, 0) for _ in range(10)]
            for product, queries in asked.items():
                if rng.random() < 0.9:
                    text = rng.choice([*titles, *(text.upper() for text in titles), title(rng)])
                    products.append({"product_id": product, "locale": locale, "title": text, "source": source})
                for query in rng.sample(queries, rng.choice((2, 5, 6, 7, 9))):
                    others = (query, query, query.upper(), f" {query}", f"{query}\t")
                    first = rng.choice(("exact", *LABELS))
                    for spelling in dict.fromkeys((query, rng.choice(others))):
                        label = first if rng.random() < 0.8 else rng.choice(LABELS)
                        row = {"query_id": query, "query": spelling, "product_id": product, "locale": locale, "label": label}
                        judged.append({**row, "source": source})
    judged = judged[: rng.choice((len(judged), len(judged), 40))]
    return {"judgments": with_copies(judged, rng), "products": with_copies(products, rng)}


def links(rng: random.Random, ids_of_one_source: bool = False) -> Tables:
    """Ids stand for different products in each source, but where asked for ids of their own."""
    products: Rows = []
    linked: Rows = []
    for source in SOURCES:
        size = rng.choice((9, 17, 30, 40))
        prefix = source[0] if ids_of_one_source else "p"
        titles = [title(rng) for _ in range(size)]
        for number in range(size):
            text = rng.choice((titles[number], titles[number], titles[number], f"{titles[number - 1]} size {number}"))
            for locale in rng.choice((LOCALES, LOCALES[:1], LOCALES[1:], LOCALES[1:])):
                products.append(
                    {"product_id": f"{prefix}{number}", "locale": locale, "title": f"{text} {locale}", "source": source}
                )
        products += [{**row, "product_id": f"{row['product_id']}b", "title": row["title"].upper()} for row in products[::5]]
        for number in range(size):
            others = [f"{prefix}{other}" for other in rng.sample(range(size + 2), rng.choice((0, 1, 2, 5, 8)))]
            others += [f"{other}b" for other in others if rng.random() < 0.25]
            for other in others:
                ids = (f"{prefix}{number}", other)
                for relation in rng.sample(("also_buy", "also_buy", "also_view", "similar"), rng.choice((1, 1, 1, 2))):
                    for first, second in (ids, ids[::-1])[: rng.choice((1, 1, 2))]:
                        row = {"product_id": first, "other_product_id": second, "relation": relation, "source": source}
                        linked.append(row)
    return {"co_purchases": with_copies(linked, rng), "products": with_copies(products, rng)}


BRANDS = (*[None] * 6, "Acme", "Nordic Home", "東芝", "Ünder", *(f"Brand {number}" for number in range(12)))
CATEGORIES = (
    *(*[None] * 4, *["Mugs"] * 6, "Lamps", "Blankets", "Shoes", "Kettles", "ミキサー", "Sofas"),
    *("Tea & Coffee", "靴", "Toys", "Tents"),
)


def events(rng: random.Random) -> Tables:
    """Sessions of a catalogue in which a title says which product it is; some searches say what a rule would make, too."""
    catalogue: Rows = [
        {
            "product_id": f"p{number}",
            "title": rng.choice((*[f"{title(rng)} N{number}"] * 4, f"{rng.choice(NOUNS)} {number}", "?" * (number + 1), None)),
            "brand": rng.choice(BRANDS),
            "category": rng.choice(CATEGORIES),
            "color": rng.choice((None, "Red", "Dark Blue", "steel", "赤い色")),
            "size": rng.choice((None, "M", "XXL", "Double Bed")),
        }
        for number in range(rng.choice((25, 120, 120)))
    ]
    # The same title in other letters is another product to the tables, but no new title.
    named = [item for item in catalogue if item["title"] and item["title"].upper() != item["title"]]
    catalogue += [{**item, "title": item["title"].upper(), "product_id": f"{item['product_id']}b"} for item in named[:5]]
    searches: Rows = [{"query": text} for text in ("red mug", "Acme Mugs", " lamps ", "毛布", "Nordic home lamps")]
    rows: Rows = []
    for session in range(rng.choice((4, 30, 30, 30))):
        liked = rng.sample(catalogue, 8)
        for _ in range(rng.choice((1, 2, 4, 9, 14, 25))):
            item = rng.choice((*liked, rng.choice(catalogue), rng.choice(searches)))
            action = "query" if "query" in item else rng.choice(("view", "view", "like", "cart", "offer", "buy"))
            row = {"session_id": f"s{session}", "position": rng.randrange(20), "action": action, **item}
            rows.append({**row, "source": SOURCES[session % 2]})
            if rng.random() < 0.2:
                rows.append({**rows[-1], "position": rows[-1]["position"] + 1})
    return {"events": with_copies(rows, rng)}


def written(rng: random.Random, rows: Rows) -> Rows:
    """What a language model wrote for some of the events: for some all queries, for some the one of the product alone.

    Texts are few, so that some say the same, or what a rule would make.
    """

    def text() -> str:
        return f"{rng.choice(KINDS)} {rng.choice(NOUNS)} {rng.randrange(60)}".lower() if rng.random() < 0.95 else "acme mugs"

    told = {about(row): row for row in rows if row["action"] == "query" or row["title"]}
    found: Rows = []
    for subject, row in sorted(told.items()):
        kinds = {"query": 0 if row["action"] == "query" else 1}
        if rng.random() < 0.7:
            kinds |= {"narrowing": 2, "substitute": 1, "complement": 2}
        for kind, count in kinds.items() if rng.random() < 0.9 else ():
            key = hashlib.md5(subject.encode()).hexdigest()
            found += [{"key": key, "kind": kind, "place": place, "text": text()} for place in range(count)]
    return found


def about(event: dict[str, Any]) -> str:
    """What a language model is told of an event."""
    if event["action"] == "query":
        return f"Search: {event['query']}"
    fields = {"Title": "title", "Brand": "brand", "Category": "category", "Colour": "color", "Size": "size"}
    return "\n".join(f"{name}: {event[column]}" for name, column in fields.items() if event[column] is not None)


def questions(rng: random.Random) -> Tables:
    def text(most: int) -> str:
        return " ".join(
            rng.choice(("yes", "it", "fits", "はい、", "no", "Ünder")) for _ in range(rng.choice((1, most - 1, most, most + 1)))
        )

    rows = [
        {
            "question_id": f"q{number}",
            "product_id": f"p{rng.randrange(12)}",
            "question": f"How tall is it, {number}?",
            "snippets": [f"Snippet {place} | of, {number}" for place in range(rng.choice((0, 1, 4, 5, 6, 8)))],
            "answers": [rng.choice(("", " ", "\n")) + text(60) for _ in range(rng.randrange(3))],
            "answerable": rng.random() < 0.7,
            "source": rng.choice(SOURCES),
        }
        for number in range(rng.choice((4, 30, 60)))
    ]
    return {"questions": with_copies(rows, rng)}
