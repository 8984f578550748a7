"""MerRec: sessions of a second-hand marketplace that go from a broad look to one product and then to what goes with it.

Format: https://huggingface.co/datasets/mercari-us/merrec
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from dataset_builders.samples.catalog import LINES, Kit, Product, capitals, categories, kit_named, kits
from dataset_builders.samples.files import write_parquet

_CONDITIONS = ("New", "Like new", "Good", "Fair")
_SHIPPERS = ("Buyer", "Seller")
_SIZES = ("size", "length", "width", "age", "volume")
_START = datetime(2023, 5, 1)  # the folder's name, and the corpus has no time zone
_CHANGES_MIND = 0.3  # share of the sessions that end with something of a partner kit
_SESSIONS_PER_USER = (1, 1, 2, 2, 3, 4)

_INT, _FLOAT, _STRING, _TIME = "int64", "float64", "string", "timestamp[us]"
_COLUMNS = {
    "user_id": _INT,
    "stime": _TIME,
    "session_id": _STRING,
    "sequence_id": _STRING,
    "sequence_length": _INT,
    "event_id": _STRING,
    "item_id": _INT,
    "product_id": _STRING,
    "name": _STRING,
    "price": _FLOAT,
    "c0_name": _STRING,
    "c0_id": _INT,
    "c1_name": _STRING,
    "c1_id": _FLOAT,
    "c2_name": _STRING,
    "c2_id": _FLOAT,
    "brand_name": _STRING,
    "brand_id": _INT,
    "item_condition_id": _INT,
    "item_condition_name": _STRING,
    "size_name": _STRING,
    "size_id": _FLOAT,
    "color": _STRING,
    "shipper_id": _INT,
    "shipper_name": _STRING,
}


def write_events(path: Path, seed: int, part: int, sessions: int) -> int:
    """Writes one part; its users are in no other. Events stand by user and time."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _COLUMNS.items()])
    return write_parquet(path, schema, _rows(seed, part, sessions))


def _rows(seed: int, part: int, sessions: int) -> Iterator[tuple[Any, ...]]:
    rng = Random(f"{seed}|sessions|{part}")
    user, left = part * 1_000_000, sessions
    while left:
        user += rng.randint(1, 90)
        starts = sorted(rng.sample(range(30 * 24), min(left, rng.choice(_SESSIONS_PER_USER))))
        left -= len(starts)
        visits = [list(_session(rng)) for _ in starts]
        length = sum(map(len, visits))
        for hour, visit in zip(starts, visits, strict=True):
            session_id = sha256(f"{seed}|{user}|{hour}".encode()).hexdigest()
            moment = _START + timedelta(hours=hour, seconds=rng.randrange(1200))
            for action, product in visit:
                moment += timedelta(seconds=rng.randint(1, 90))
                yield (user, moment, session_id, "20230501_0", length, action, *_item(product))


def _session(rng: Random) -> Iterator[tuple[str, Product]]:
    """Actions on products: first of one type, ever closer to what is wanted; then of next types, of the kit or a partner."""
    kit = rng.choice(kits())
    first = rng.randrange(len(kit.types))
    wanted = _any_of(rng, kit, first)
    events = rng.randint(7, 23) + (rng.random() < 0.25)
    narrow, match = int(events * rng.uniform(0.25, 0.45)), int(events * rng.uniform(0.6, 0.75))
    goal = _any_of(rng, kit_named(rng.choice(kit.partners)), first) if rng.random() < _CHANGES_MIND else wanted
    done = 0
    while done < events:
        if done < narrow:
            product = _loosened(rng, wanted, brand=0.6, shared=0.4, line=0.9)
        elif done < match:
            product = _loosened(rng, wanted, brand=0.1, shared=0.1, line=0.4)
        else:
            following = goal.kit.types[(first + 1 + (done - match) // 3) % len(goal.kit.types)]
            product = _loosened(rng, replace(goal, type=following), brand=0.1, shared=0.1, line=0.1)
        for action in _actions(rng, serious=done >= narrow)[: events - done]:
            yield action, product
            done += 1


def _any_of(rng: Random, kit: Kit, number: int) -> Product:
    type_ = kit.types[number]
    brand, line = rng.choice(kit.brands), rng.choice(LINES)
    return Product(kit, type_, brand, line, rng.choice(kit.shared.values), rng.choice(type_.attribute.values))


def _loosened(rng: Random, product: Product, brand: float, shared: float, line: float) -> Product:
    """The product with some of its properties drawn anew, each by its probability; the type's own always is."""
    return replace(
        product,
        brand=rng.choice(product.kit.brands) if rng.random() < brand else product.brand,
        shared=rng.choice(product.kit.shared.values) if rng.random() < shared else product.shared,
        line=rng.choice(LINES) if rng.random() < line else product.line,
        own=rng.choice(product.type.attribute.values),
    )


def _actions(rng: Random, serious: bool) -> list[str]:
    actions = ["item_view"]
    if rng.random() < (0.3 if serious else 0.1):
        actions.append("item_like")
    if serious and rng.random() < 0.15:
        actions.append(rng.choice(("item_add_to_cart_tap", "offer_make")))
        if rng.random() < 0.5:
            actions += ["buy_start", "buy_comp"]
    return actions


def _item(product: Product) -> tuple[Any, ...]:
    """The columns from item_id on, which depend on the product alone, as one product is one offer."""
    kit, type_ = product.kit, product.type
    kit_number, type_number = kits().index(kit), kit.types.index(type_)
    item = 0
    for value, values in (
        (type_, kit.types),
        (product.brand, kit.brands),
        (product.line, LINES),
        (product.shared, kit.shared.values),
        (product.own, type_.attribute.values),
    ):
        item = item * 50 + values.index(value)
    item_id = 10_000_000 + kit_number * 50**5 + item
    rng = Random(item_id)
    category_number = categories().index(kit.category)
    named = rng.random() < 0.92
    brand_id = 1 + category_number * len(kit.brands) + kit.brands.index(product.brand) if named else 0
    c2_id = None if rng.random() < 0.03 else float(2000 + kit_number * 10 + type_number)
    condition, shipper = rng.choices(range(4), (35, 28, 33, 4))[0], rng.choices(range(2), (80, 20))[0]
    size = product.own if type_.attribute.name in _SIZES else None
    return (
        item_id,
        f"{brand_id}_{int(c2_id or 0)}",
        product.title,
        float(rng.randint(4, 120)),
        kit.category.replace("_", " "),
        1 + category_number,
        kit.name,
        float(200 + kit_number),
        capitals(product.noun) if c2_id else None,
        c2_id,
        product.brand if named else None,
        brand_id,
        condition + 1,
        _CONDITIONS[condition],
        size,
        float(1 + type_.attribute.values.index(product.own)) if size else None,
        product.color,
        shipper + 1,
        _SHIPPERS[shipper],
    )
