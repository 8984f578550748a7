"""Tiny raw corpora in the five real formats, of hand-made rows, and a canonical shop: what the builder's tests start from.

A corpus is a dict of path -> records; `write` brings it to disk by each path's ending, so a test may drop, shuffle, spoil or
rename what it likes before.
"""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

Corpora = dict[str, list[dict[str, Any]]]

REVIEWER = {"reviewerID": "A1SECRETREVIEWER", "reviewerName": "Jane Secretname"}
USER = "user-secret-77"
"""Who wrote and who clicked: none of these three texts may be found behind the sources."""

COLOURS = ("red", "blue", "green", "black", "white", "yellow")
THINGS = (
    ("steel kettle", "1.5 litre"),
    ("garden hose", "20 metre"),
    ("wool blanket", "double bed"),
    ("desk lamp", "dimmable LED"),
    ("bread knife", "serrated blade"),
    ("yoga mat", "non slip"),
)
ADJECTIVES = ("plain", "sturdy", "folding", "luxury", "travel", "junior")


def title(number: int) -> str:
    """Titles of neighbouring numbers share at most half of their words."""
    thing, detail = THINGS[number % len(THINGS)]
    other = number // len(THINGS)
    adjective, colour = ADJECTIVES[other % len(ADJECTIVES)].title(), COLOURS[(number + other) % len(COLOURS)]
    return f"{adjective} {thing}, {colour}, {detail}, N{number}"


def asin(number: int) -> str:
    return f"B{number:09d}"


def amazon_reviews(category: str, count: int = 40) -> Corpora:
    """`count` products, each with one review and three links to products that share no thing with it."""
    tones = {1: "broke at once", 2: "rather poor", 3: "does its job", 4: "quite good", 5: "simply wonderful"}
    reviews, products = [], []
    for number in range(count):
        rating = number % 5 + 1
        reviews.append(
            {
                "overall": float(rating),
                "verified": True,
                "reviewTime": "06 17, 2018",
                **REVIEWER,
                "asin": asin(number),
                "style": {"Color:": " Red"},
                "reviewText": f"My {title(number)} {tones[rating]}.",
                "summary": "Five Stars" if rating == 5 else tones[rating],
                "unixReviewTime": 1529193600,
            }
        )
        products.append(
            {
                "category": [category, "Home"],
                "description": [f"<p>A {title(number)}</p>", "For every home."],
                "title": title(number),
                "also_buy": [asin((number + step) % count) for step in (1, 2, 3)],
                "also_view": [asin((number + 7) % count)],
                "brand": "Acme",
                "similar_item": "",
                "asin": asin(number),
                "imageURL": [],
            }
        )
    return {
        f"amazon/{category}_5.json.gz": reviews,
        f"amazon/meta_{category}.json.gz": products,
    }


def amazon_reviews_2023(category: str, products: int = 40, customers: int = 60) -> Corpora:
    """Every customer reviews four products: three that follow each other on a ring, and the one across it.

    Products that follow each other have several customers in common, others one or none. A colour is reviewed now and then, of
    which only `parent_asin` says what product it is.
    """
    reviews = [
        {
            "rating": float((customer + place) % 5 + 1),
            "title": None if customer % 3 else "As told",
            "text": f"Customer {customer} says: the {title(number)} is number {place}.",
            "images": [],
            "asin": asin(number) if place else f"V{number:09d}",
            "parent_asin": asin(number),
            "user_id": f"{USER}-{customer}",
            "timestamp": 1_588_687_728_923 + customer,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for customer in range(customers)
        for place, number in enumerate((customer + step) % products for step in (0, 1, 2, products // 2))
    ]
    metadata = [
        {
            "main_category": "Home",
            "title": title(number),
            "average_rating": 4.5,
            "rating_number": 10,
            "features": ["Dishwasher safe"],
            "description": [f"<p>A {title(number)}</p>"] if number % 2 else [],
            "price": 9.99 if number % 2 else None,
            "images": [{"thumb": "https://example.org/1.jpg", "large": "https://example.org/2.jpg", "variant": "MAIN"}],
            "videos": [],
            "store": "Acme",
            "categories": ["Home", category],
            "details": {"Brand": "Bolt", "Color": "Red"} if number % 3 else {},
            "parent_asin": asin(number),
            "bought_together": None,
        }
        for number in range(products)
    ]
    return {f"{category}.jsonl": reviews, f"meta_{category}.jsonl": metadata}


def esci_judgments(queries: int, per_query: int = 6, first: int = 0) -> list[dict[str, Any]]:
    """Each query has products of all four labels, some of them twice."""
    return [
        {
            "example_id": query * per_query + place,
            "query": f"{COLOURS[query % 6]} {THINGS[query // 6 % 6][0]} {query}",
            "query_id": query,
            "product_id": asin(5000 + query * per_query + place),
            "product_locale": "us",
            "esci_label": "ESCI"[place % 4],
            "small_version": 1,
            "large_version": 1,
            "split": "train",
        }
        for query in range(first, first + queries)
        for place in range(per_query)
    ]


def esci_product(product_id: str, number: int) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "product_title": title(number),
        "product_description": "<b>Good</b> for you",
        "product_bullet_point": "one\ntwo",
        "product_brand": "Acme",
        "product_color": COLOURS[number % 6],
        "product_locale": "us",
    }


def shared_products() -> list[dict[str, Any]]:
    """Twelve products, each judged for seven queries, so that queries can be set against each other; joined."""
    examples = [
        {**row, "query": f"idea {(product + place) % 14} for home", "query_id": 900 + place, "product_id": asin(8000 + product)}
        for product in range(12)
        for place, row in enumerate([*esci_judgments(1, 4), *esci_judgments(1, 3)])
    ]
    return [{**row, **esci_product(row["product_id"], 400 + int(row["product_id"][1:]) - 8000)} for row in examples]


def esci() -> Corpora:
    """Examples and products apart as Parquet, more of them joined as CSV, and a judgment list over known products."""
    examples, joined = esci_judgments(12), esci_judgments(8, first=12)
    listed = esci_judgments(6, first=20)
    products = [esci_product(row["product_id"], number) for number, row in enumerate([*examples, *listed])]
    gains = {"E": "100.000", "S": "10.000", "C": "1.000", "I": "0.000"}
    return {
        "esci/shopping_queries_dataset_examples.parquet": examples,
        "esci/shopping_queries_dataset_products.parquet": products,
        "esci/joined.csv": [{**row, **esci_product(row["product_id"], 200 + i)} for i, row in enumerate(joined)],
        "esci/shared.csv": shared_products(),
        "esci/judgments.json": [
            {
                "query": query,
                "ratings": [
                    {"docId": row["product_id"], "rating": gains[row["esci_label"]]} for row in listed if row["query"] == query
                ],
            }
            for query in dict.fromkeys(row["query"] for row in listed)
        ],
    }


def merrec_event(session: int, step: int) -> dict[str, Any]:
    """All 25 columns; ids of categories are floats, as pandas makes them of columns with holes."""
    number = session * 3 + step
    return {
        "user_id": USER,
        "stime": f"2023-05-{session % 28 + 1:02d} 10:{step:02d}:00",
        "session_id": f"session{session}",
        "sequence_id": "20230501_0",
        "sequence_length": 6,
        "event_id": ("item_view", "item_like", "item_view", "item_add_to_cart_tap", "offer_make", "buy_comp")[step % 6],
        "item_id": 238357102 + number,
        "product_id": "10548_1332",
        "name": title(number),
        "price": 55.0,
        "c0_name": "Home",
        "c0_id": 298,
        "c1_name": THINGS[number % 6][0],
        "c1_id": 256.0,
        "c2_name": None,
        "c2_id": None,
        "brand_name": ("Acme", "Bolt", "Coil", None)[number // 6 % 4],
        "brand_id": 10548.0,
        "item_condition_id": 1,
        "item_condition_name": "New",
        "size_name": None,
        "size_id": None,
        "color": COLOURS[number % 6],
        "shipper_id": 1,
        "shipper_name": "Buyer",
    }


def merrec() -> Corpora:
    return {
        "merrec/20230501/part-0.parquet": [merrec_event(session, step) for session in range(20) for step in range(6)],
        "merrec/20230501/part-1.csv": [merrec_event(session, step) for session in range(20, 30) for step in range(6)],
    }


def amazonqa(count: int = 40) -> Corpora:
    return {
        "amazonqa/train-qar.jsonl": [
            {
                "asin": asin(number),
                "category": "Electronics",
                "questionText": f"Does the {title(number)} fit a shelf of {number} cm?",
                "questionType": "descriptive",
                "review_snippets": [f"Snippet {place} about shelf {number}: it fits well." for place in range(number % 8 + 1)],
                "answers": [
                    {"answerText": f"Yes, with {number} cm to spare.", "answerType": "NA", "helpful": [0, 0]},
                    {"answerText": "No idea.", "answerType": "NA", "helpful": [0, 0]},
                ],
                "is_answerable": int(number % 4 != 0),
                "qid": str(number % 10),
            }
            for number in range(count)
        ]
    }


ECINSTRUCT_OPTIONS = {
    "Multiclass_Product_Classification": [
        "A: The product is relevant to the query, and satisfies all the query specifications.",
        "B: The product is somewhat relevant. It fails to fulfill some aspects of the query but the product can be used as a "
        "functional substitute.",
        "C: The product does not fulfill the query, but could be used in combination with a product exactly matching the "
        "query.",
        "D: The product is irrelevant to the query.",
    ],
    "Product_Relation_Prediction": [
        "A: Users who buy product 1 may also buy product 2.",
        "B: Users who view product 1 may also view product 2.",
        "C: The product 1 is similar with the product 2.",
    ],
    "Sentiment_Analysis": ["A: very positive", "B: positive", "C: neutral", "D: negative", "E: very negative"],
}


def ecinstruct_row(task: str, content: Any, output: str, **changes: Any) -> dict[str, Any]:
    """A row as the Hub's file holds it."""
    options = ECINSTRUCT_OPTIONS.get(task)
    return {
        "instruction": "Answer from the options.",
        "input": content if isinstance(content, str) else json.dumps(content),
        "output": output,
        "options": json.dumps(options) if options else "",
        "few_shot_example": None,
        "task": task,
        "split": "train",
        "setting": "IND_Diverse_Instruction",
        **changes,
    }


def folded(row: dict[str, Any]) -> dict[str, Any]:
    """The same row as a file of one task holds it: the options behind the input, no other columns."""
    behind = f"\noptions: {row['options']}" if row["options"] else ""
    return {"instruction": row["instruction"], "input": row["input"] + behind, "output": row["output"]}


def ecinstruct() -> Corpora:
    def judged(number: int) -> dict[str, str]:
        return {"query": f"shop query {number // 6}", "product title": title(300 + number)}

    hub = [
        *(ecinstruct_row("Multiclass_Product_Classification", judged(number), "ABCD"[number % 4]) for number in range(24)),
        ecinstruct_row("Product_Substitute_Identification", {"query": "shop query 9", "product": title(340)}, "yes"),
        ecinstruct_row("Sentiment_Analysis", "It shines, I adore it.", "A"),
        ecinstruct_row("Answerability_Prediction", {"question": "Is it loud?", "document": ["It hums."]}, "yes"),
        ecinstruct_row("Answer_Generation", {"question": "Is it heavy?", "document": ["It weighs a ton."]}, "Very heavy."),
    ]
    relations = [
        ecinstruct_row(
            "Product_Relation_Prediction",
            {"Product 1:": title(300 + number), "Product 2:": title(301 + number)},
            "ABC"[number % 3],
        )
        for number in range(12)
    ]
    return {
        "ecinstruct/ECInstruct.json": hub,
        "ecinstruct/Product_Relation_Prediction.json": [folded(row) for row in relations],
    }


def corpora() -> Corpora:
    """All five, some 750 records."""
    return {**amazon_reviews("Kitchen_Gadgets"), **esci(), **merrec(), **amazonqa(), **ecinstruct()}


def write(folder: Path, files: Corpora) -> Path:
    """Writes every file below `folder` in the form that its path's ending says."""
    for name, records in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            write_parquet(path, records)
        elif name.endswith(".csv"):
            write_csv(path, records)
        elif name.endswith((".json.gz", ".jsonl", ".jsonl.gz", "_5.json")) or path.name.startswith("meta_"):
            text = "".join(json.dumps(record) + "\n" for record in records).encode()
            path.write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
        else:
            document = {"name": "Judgments", "judgmentRatings": records} if "judgments" in name else records
            path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), path)


def write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def own_shop() -> dict[str, list[dict[str, Any]]]:
    """A shop's own canonical tables by name; `snippets` and `answers` are lists, which CSV must hold as JSON."""
    products = [
        {"product_id": f"sku-{number}", "locale": "us", "title": title(number), "brand": "Acme", "price": 9.99}
        for number in range(40)
    ]
    return {
        "products": products,
        "reviews": [
            {
                "review_id": f"r{number}",
                "product_id": f"sku-{number}",
                "category": "Home",
                "rating": number % 5 + 1,
                "title": "A word",
                "text": f"About my {title(number)}: grade {number}.",
            }
            for number in range(40)
        ],
        "co_purchases": [
            {"product_id": f"sku-{number}", "other_product_id": f"sku-{(number + step) % 40}", "relation": relation}
            for number in range(40)
            for step, relation in ((1, "also_buy"), (2, "also_buy"), (3, "also_view"))
        ],
        "judgments": [
            {
                "query_id": f"q{query}",
                "query": f"thing {query}",
                "product_id": f"sku-{(query * 5 + place) % 40}",
                "locale": "us",
                "label": ("exact", "substitute", "complement", "irrelevant", "exact")[place],
            }
            for query in range(20)
            for place in range(5)
        ],
        "questions": [
            {
                "question_id": f"n{number}",
                "product_id": f"sku-{number}",
                "question": f"How tall is number {number}?",
                "snippets": [f"It is {number} cm tall.", "I like it."],
                "answers": [f"{number} cm."],
                "answerable": True,
            }
            for number in range(40)
        ],
    }


def write_tables(folder: Path, tables: dict[str, list[dict[str, Any]]], ending: str) -> Path:
    """One file per table; lists become JSON text in CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if ending == "parquet":
            write_parquet(folder / f"{name}.parquet", rows)
        else:
            as_text = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
            write_csv(folder / f"{name}.csv", as_text)
    return folder
