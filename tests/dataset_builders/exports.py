"""Invented exports of shops in the columns of the real ones, as they are when nobody has touched them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

THINGS = ("Hand Drill", "Rucksack", "Desk Lamp", "Bread Knife", "Rain Jacket", "Yoga Mat", "Teapot", "Chess Set")
BRANDS = ("Orrery", "Nordlicht", "Tamsin", "Kestrel", "Quillon", "Habanera")
COLOURS = ("Amber", "Black", "Blue", "Green", "Grey", "Olive", "Red", "White")
STUFFS = ("Bamboo", "Copper", "Cork", "Glass", "Leather", "Linen", "Oak", "Wool")
WORDS = (
    "slow",
    "seam",
    "again",
    "price",
    "liked",
    "noisy",
    "after",
    "lovely",
    "colour",
    "steep",
    "faded",
    "summer",
    "quick",
    "broke",
    "children",
    "kitchen",
    "arrived",
    "gift",
    "zip",
    "worth",
    "box",
    "dull",
    "warm",
    "weight",
    "friend",
    "cold",
    "lid",
    "sturdy",
    "firm",
    "light",
    "edge",
    "sharp",
    "weeks",
    "handle",
    "returned",
    "winter",
    "soft",
    "silent",
)

PRODUCTS = 56


def title(number: int) -> str:
    return f"{BRANDS[number % 6]} {STUFFS[number * 3 % 8]} {THINGS[number % 8]} {COLOURS[number * 5 % 8]} No. {number}"


def handle(number: int) -> str:
    return f"{THINGS[number % 8].lower().replace(' ', '-')}-{number}"


def sku(number: int, size: str = "S") -> str:
    return f"{number:05}-{size}"


def words(random: Random, count: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(count))


def write_csv(path: Path, header: str, rows: Sequence[Sequence[Any]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    """The header names columns with `,` between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = next(csv.reader([header]))
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(names)
        for row in rows:
            assert len(row) == len(names)
            writer.writerow(row)


def by_name(header: str, **values: Any) -> list[Any]:
    """A row of a wide export: values by column, in which `_` stands for any sign, the others empty."""
    plain = {"".join(char if char.isalnum() else "_" for char in name): name for name in next(csv.reader([header]))}
    unknown = values.keys() - plain.keys()
    assert not unknown, unknown
    return [values.get(short, "") for short in plain]


SHOPIFY_PRODUCTS = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Grams,"
    "Variant Inventory Qty,Variant Price,Image Src,Image Position,SEO Title,SEO Description,Google Shopping / Color,Status"
)
SHOPIFY_ORDERS = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,Subtotal,Shipping,Taxes,"
    "Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,Lineitem price,"
    "Lineitem compare at price,Lineitem sku,Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,"
    "Billing Name,Cancelled at,Refunded Amount,Vendor,Id"
)
JUDGEME = (
    "title,body,rating,review_date,source,curated,reviewer_name,reviewer_email,product_id,product_handle,reply,reply_date,"
    "picture_urls,ip_address,location"
)
YOTPO = (
    "Review Title,Review Content,Review Score,Date,Product ID,Product Title,Product URL,Display Name,Email,Verified Purchase"
)
QUEPID = "query,docid,rating"
GA4_FLAT = (
    "event_date,event_timestamp,event_name,user_pseudo_id,ga_session_id,item_id,item_name,item_brand,item_category,search_term"
)
WOOCOMMERCE = (
    "ID,Type,SKU,Name,Published,Is featured?,Visibility in catalog,Short description,Description,Date sale price starts,"
    "Date sale price ends,Tax status,Tax class,In stock?,Stock,Low stock amount,Backorders allowed?,Sold individually?,"
    "Weight (kg),Length (cm),Width (cm),Height (cm),Allow customer reviews?,Purchase note,Sale price,Regular price,Categories,"
    "Tags,Shipping class,Images,Download limit,Download expiry days,Parent,Grouped products,Upsells,Cross-sells,External URL,"
    "Button text,Position,Attribute 1 name,Attribute 1 value(s),Attribute 1 visible,Attribute 1 global"
)
MAGENTO = (
    "sku,store_view_code,attribute_set_code,product_type,categories,product_websites,name,description,short_description,weight,"
    "product_online,tax_class_name,visibility,price,url_key,created_at,updated_at,additional_attributes,qty,related_skus,"
    "crosssell_skus,upsell_skus,configurable_variations"
)
MAGENTO_ITEMS = "item_id,order_id,parent_item_id,quote_item_id,store_id,product_id,product_type,sku,name,qty_ordered,price"


def shopify_products(path: Path) -> None:
    rows = []
    for n in range(PRODUCTS):
        thing = THINGS[n % 8]
        first = {
            "Title": title(n),
            "Body__HTML_": f"<p>Our <strong>{thing}</strong> &amp; more.</p>\n<ul><li>sturdy</li></ul>",
            "Vendor": BRANDS[n % 6],
            "Product_Category": f"Home & Garden > {thing}s",
            "Type": f"{thing}s" if n % 4 else "",
            "Published": "true",
            "Option1_Name": "Size",
            "Status": "draft" if n == PRODUCTS - 1 else "active",
        }
        for size in "SML"[: 1 + n % 3]:
            row = {"Handle": handle(n), "Option1_Value": size, "Variant_SKU": sku(n, size), **(first if size == "S" else {})}
            rows.append(by_name(SHOPIFY_PRODUCTS, **row))
        rows.append(by_name(SHOPIFY_PRODUCTS, Handle=handle(n), Image_Src="https://cdn.example.com/2.jpg", Image_Position="2"))
    write_csv(path, SHOPIFY_PRODUCTS, rows, encoding="utf-8-sig")


def shopify_orders(path: Path, orders: int = 120) -> None:
    random = Random(1)
    rows = []
    for order in range(orders):
        first = random.randrange(PRODUCTS)
        status = "refunded" if order % 10 == 0 else "paid"
        for line, n in enumerate((first, (first + 1) % PRODUCTS, (first + 9) % PRODUCTS)):
            whole = {"Financial_Status": status, "Total": "10.00", "Billing_Name": "Jane Doe"} if line == 0 else {}
            cancelled = {"Cancelled_at": "2024-05-02 10:00:00 +0200"} if order % 10 == 1 and line == 0 else {}
            row = {"Name": f"#{1000 + order}", "Email": "jane@example.com", "Lineitem_sku": sku(n), "Lineitem_name": title(n)}
            rows.append(by_name(SHOPIFY_ORDERS, **row, **whole, **cancelled))
    write_csv(path, SHOPIFY_ORDERS, rows)


def judgeme_reviews(path: Path, count: int = 260) -> None:
    random = Random(2)
    rows = []
    for n in range(count):
        number = random.randrange(PRODUCTS)
        row = {
            "title": words(random, 2),
            "body": words(random, random.randrange(6, 30)),
            "rating": random.choice("1234555"),
            "review_date": f"2024-03-{1 + n % 28:02} 10:00:00 UTC",
            "curated": "spam" if n % 50 == 49 else "ok",
            "reviewer_name": f"Jane {n}",
            "reviewer_email": f"jane{n}@example.com",
            "product_id": f"77000000{number:05}",
            "product_handle": handle(number),
        }
        rows.append(by_name(JUDGEME, **row))
    write_csv(path, JUDGEME, rows)


def quepid_judgments(path: Path, queries: int = 36) -> None:
    random = Random(3)
    rows = []
    for n in range(queries):
        query = f"{COLOURS[n % 8]} {THINGS[n * 3 % 8]} {STUFFS[n // 5 % 8]}".lower()
        for place in range(10):
            rows.append((query, handle((n * 10 + place) % PRODUCTS), random.choice(("0", "0.0", "1", "2", "3", "3.0", ""))))
    write_csv(path, QUEPID, rows)


def ga4_events(path: Path, sessions: int = 60) -> None:
    """Flattened, with a user id that differs in every event, as an export through a spreadsheet has it."""
    random = Random(4)
    names = (
        "view_item",
        "view_item",
        "add_to_cart",
        "add_to_wishlist",
        "purchase",
        "view_search_results",
        "page_view",
        "session_start",
    )
    rows = []
    for session in range(sessions):
        for step in range(10):
            name, n = random.choice(names), random.randrange(PRODUCTS)
            item = (
                (sku(n), title(n), BRANDS[n % 6], f"{THINGS[n % 8]}s")
                if "_to_" in name or name in ("view_item", "purchase")
                else ("",) * 4
            )
            search = f"{random.choice(THINGS)}s".lower() if name == "view_search_results" else ""
            time = 1714550400000000 + session * 600_000_000 + step * 9_000_000 + random.randrange(10**6)
            person = f"{random.randrange(10**8, 10**9)}.{step}"
            rows.append(("20240501", time, name, person, 1714550400 + session, *item, search))
    write_csv(path, GA4_FLAT, rows)


def product_questions(path: Path, count: int = 70) -> None:
    random = Random(5)
    rows = []
    for n in range(count):
        number = random.randrange(PRODUCTS)
        question = f"Is the {THINGS[number % 8].lower()} {random.choice(WORDS)} and {random.choice(WORDS)} (no. {n})?"
        answer = f"Yes, {random.choice(WORDS)} and {random.choice(WORDS)}" if n % 3 else ""
        rows.append((n + 1, sku(number), question, "Ann", "approved", answer, 2024))
    write_csv(path, "question_id,sku,question_text,author,status,answer_text,answered_at", rows, delimiter=";")


def untouched_shop(folder: Path) -> Path:
    """Five exports of one shop that name its products in three ways."""
    shopify_products(folder / "products_export_1.csv")
    judgeme_reviews(folder / "judgeme_reviews.csv")
    quepid_judgments(folder / "quepid_judgements.csv")
    ga4_events(folder / "ga4_events.csv")
    product_questions(folder / "product_questions.csv")
    return folder


def ga4_nested(session: int, step: int, name: str, items: Sequence[int], search: str = "") -> dict[str, Any]:
    """An event as BigQuery writes it in JSON: 64-bit integers are texts there."""
    params = [
        {"key": "page_title", "value": {"string_value": "Shop", "int_value": None}},
        {"key": "ga_session_id", "value": {"string_value": None, "int_value": str(1714550400 + session)}},
    ]
    if search:
        params.append({"key": "search_term", "value": {"string_value": search, "int_value": None}})
    order = f"T{session}-{step}" if name == "purchase" else None
    return {
        "event_date": "20240501",
        "event_timestamp": str(1714550400000000 + session * 600_000_000 + step * 9_000_000),
        "event_name": name,
        "event_params": params,
        "user_id": None,
        "user_pseudo_id": f"{session // 2}.1714550400",
        "ecommerce": {"transaction_id": order, "total_item_quantity": None},
        "items": [
            {"item_id": sku(n), "item_name": title(n), "item_brand": BRANDS[n % 6], "item_category": f"{THINGS[n % 8]}s"}
            for n in items
        ],
    }


def ga4_export(sessions: int = 40) -> list[dict[str, Any]]:
    random = Random(6)
    rows = []
    for session in range(sessions):
        rows.append(ga4_nested(session, 0, "session_start", []))
        first = random.randrange(PRODUCTS)
        for step in range(1, 7):
            rows.append(ga4_nested(session, step, "view_item", [random.randrange(PRODUCTS)]))
        rows.append(ga4_nested(session, 7, "view_search_results", [], f"{THINGS[first % 8]}s".lower()))
        rows.append(ga4_nested(session, 8, "purchase", [first, (first + 1) % PRODUCTS]))
    return rows


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def woocommerce_products(path: Path) -> None:
    rows = []
    for n in range(PRODUCTS):
        whole = {
            "ID": 100 + n,
            "Type": "variable" if n % 2 else "simple",
            "SKU": f"WOO-{n}",
            "Name": title(n),
            "Published": 1 if n < PRODUCTS - 1 else 0,
            "Description": f"<p>{title(n)}</p>",
            "Categories": f"Home > {THINGS[n % 8]}s, Sale",
            "Upsells": f"WOO-{(n + 8) % PRODUCTS}, WOO-{(n + 16) % PRODUCTS}" if n % 3 == 0 else "",
        }
        rows.append(by_name(WOOCOMMERCE, **whole))
        if n % 2:
            variation = {
                "ID": 1000 + n,
                "Type": "variation",
                "SKU": f"WOO-{n}-RED",
                "Name": f"{title(n)} - Red",
                "Published": 1,
            }
            rows.append(by_name(WOOCOMMERCE, **variation, Parent=f"WOO-{n}" if n % 4 == 1 else f"id:{100 + n}"))
    write_csv(path, WOOCOMMERCE, rows, encoding="utf-8-sig")


def woocommerce_orders(path: Path, orders: int = 120) -> None:
    random = Random(7)
    found = []
    for order in range(orders):
        first = random.randrange(PRODUCTS)
        lines = [
            {"id": order * 10 + place, "product_id": 100 + n % PRODUCTS, "quantity": 1}
            for place, n in enumerate((first, first + 1))
        ]
        status = "cancelled" if order % 10 == 0 else "completed"
        found.append({"id": order, "status": status, "billing": {"first_name": "Jane"}, "line_items": lines})
    path.write_text(json.dumps(found), encoding="utf-8")


def woocommerce_reviews(path: Path, count: int = 60) -> None:
    random = Random(8)
    found = [
        {
            "id": n,
            "date_created": "2024-05-01T10:00:00",
            "product_id": 100 + n % PRODUCTS,
            "status": "hold" if n % 20 == 0 else "approved",
            "reviewer": "Jane",
            "reviewer_email": "jane@example.com",
            "review": f"<p>{words(random, 12)}</p>",
            "rating": random.randrange(1, 6),
            "verified": True,
        }
        for n in range(count)
    ]
    path.write_text(json.dumps(found), encoding="utf-8")


def magento_products(path: Path) -> None:
    rows = []
    for n in range(PRODUCTS):
        whole = {
            "sku": f"MG{n:03}",
            "attribute_set_code": "Default",
            "categories": f"Default Category/Home/{THINGS[n % 8]}s,Default Category/Sale",
            "name": title(n),
            "description": f"<p>{title(n)}</p>",
            "product_online": 2 if n == PRODUCTS - 1 else 1,
            "additional_attributes": f"manufacturer={BRANDS[n % 6]},color={COLOURS[n * 5 % 8]}",
            "upsell_skus": f"MG{(n + 8) % PRODUCTS:03},MG{(n + 24) % PRODUCTS:03}" if n % 3 == 0 else "",
        }
        rows.append(by_name(MAGENTO, **whole))
        rows.append(by_name(MAGENTO, sku=f"MG{n:03}", store_view_code="de", name=f"Das {title(n)}"))
    write_csv(path, MAGENTO, rows)


def magento_items(path: Path, orders: int = 120) -> None:
    random = Random(9)
    rows = []
    for order in range(orders):
        first = random.randrange(PRODUCTS)
        for place, n in enumerate((first, (first + 1) % PRODUCTS)):
            item = {"order_id": order, "sku": f"MG{n:03}", "name": title(n), "qty_ordered": "1.0000"}
            rows.append(by_name(MAGENTO_ITEMS, item_id=order * 10 + place, **item))
            rows.append(by_name(MAGENTO_ITEMS, item_id=order * 10 + 5 + place, parent_item_id=order * 10 + place, **item))
    write_csv(path, MAGENTO_ITEMS, rows)


def yotpo_reviews(path: Path, count: int = 60) -> None:
    random = Random(10)
    rows = [
        (
            words(random, 2),
            words(random, 12),
            random.randrange(1, 6),
            f"{1 + n % 28}/03/2025",
            f"MG{n % PRODUCTS:03}",
            title(n % PRODUCTS),
            "https://shop.example.com/products/x",
            "Jane",
            "jane@example.com",
            "Yes",
        )
        for n in range(count)
    ]
    write_csv(path, YOTPO, rows, delimiter=";")
