"""Shopping Queries Data Set (ESCI): queries judged against products, in three locales.

Format: https://github.com/amazon-science/esci-data

An exact product has the query's type and all its attributes, a substitute the type but another attribute, a complement is an
accessory of the type or another type of the same kit, and an irrelevant one is of another kit. Words do not decide: query
and title may name a type differently, titles keep attributes to themselves, accessories and irrelevant products share words
with the query. A tenth of a type's products are its bestsellers, which are judged for many queries, so that two queries can be
compared by a product that both were judged for.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from dataset_builders.samples.catalog import LINES, LOCALES, Kit, Product, capitals, kits
from dataset_builders.samples.files import asin, write_parquet
from dataset_builders.samples.text import description

_FIRST_SPACE = 64
_QUERIES_PER_KIT = 40  # with fewer queries than that for each, some kits are left out
_BESTSELLERS = 0.1
_INDEXED = 400  # products of a kit that are found by their words
_FEWEST_EXACT = 6
_ACCESSORIES = 8  # of so many products of a type one is an accessory
_NEAR, _FOUND_BY_WORD = 0.35, 0.5
"""Shares of the irrelevant products that are of the query's category, and of those that share a word with the query, as what a
search engine finds does."""
_USES, _MISSPELT, _NAMELESS = 0.15, 0.05, 0.5
"""How often a query says what for, has a letter wrong, or is of brand and line alone where it names both."""

# The attributes that a query names, in the order of its words, and how often.
_NAMED = {
    ("shared",): 40,
    ("own",): 15,
    ("brand",): 10,
    ("shared", "own"): 10,
    ("brand", "shared"): 6,
    ("brand", "own"): 5,
    ("brand", "line"): 2,
    ("line", "shared"): 2,
    (): 10,
}


def write_examples(path: Path, seed: int, products: dict[str, int], queries: dict[str, int]) -> int:
    """Writes the judgments; `products` and `queries` are numbers by locale, and `products` is that of `write_products`."""
    import pyarrow as pa

    numbers = ("example_id", "query_id", "small_version", "large_version")
    names = (
        *("example_id", "query", "query_id", "product_id", "product_locale"),
        *("esci_label", "small_version", "large_version", "split"),
    )
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in names])
    return write_parquet(path, schema, _examples(seed, products, queries))


def write_products(path: Path, seed: int, products: dict[str, int], queries: dict[str, int]) -> int:
    """Writes the products that `write_examples` judges with the same arguments."""
    import pyarrow as pa

    names = ("title", "description", "bullet_point", "brand", "color", "locale")
    schema = pa.schema([("product_id", pa.string()), *((f"product_{name}", pa.string()) for name in names)])
    return write_parquet(path, schema, _products(seed, products, queries))


def _products(seed: int, products: dict[str, int], queries: dict[str, int]) -> Iterator[tuple[str | None, ...]]:
    for locale, size in products.items():
        rng = Random(f"{seed}|products|{locale}")
        used = _used_kits(locale, queries[locale])
        for number, kit in enumerate(used):
            for index, product in enumerate(_stock(seed, locale, kit, size // len(used))):
                text = description(rng, product, locale)
                bullets = "\n".join(f"{capitals(name)}: {value}" for name, value in product.attributes)
                yield (
                    _product_id(locale, number, index),
                    product.title,
                    text if rng.random() < 0.5 else None,
                    bullets if rng.random() < 0.8 else None,
                    product.brand if rng.random() < 0.95 else None,
                    capitals(product.color) if product.color else None,
                    locale,
                )


def _examples(seed: int, products: dict[str, int], queries: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    examples, query_ids = count(), count()
    for locale, size in products.items():
        rng = Random(f"{seed}|queries|{locale}")
        used = _used_kits(locale, queries[locale])
        found_by_word = _by_word([_stock(seed, locale, kit, size // len(used))[:_INDEXED] for kit in used])
        for number, kit in enumerate(used):
            shelf = _Shelf(_stock(seed, locale, kit, size // len(used)), len(kit.types))
            near = [other for other, far in enumerate(used) if far.category == kit.category and far != kit]
            strangers = _Strangers(
                [other for other, far in enumerate(used) if far.category != kit.category], near, found_by_word
            )
            asked: set[str] = set()
            for turn in range(queries[locale] // len(used)):
                query, found = _query(rng, shelf, turn % len(kit.types), asked)
                judged = {_product_id(locale, number, index): label for index, label in found}
                for _ in range(rng.choice((1, 1, 2, 2, 2, 3))):
                    judged[_product_id(locale, *strangers.draw(rng, query, shelf.bestsellers))] = "I"
                query_id, split = next(query_ids), "train" if rng.random() < 0.8 else "test"
                small = int(rng.random() < 0.4)
                for product_id, label in judged.items():
                    yield next(examples), query, query_id, product_id, locale, label, small, 1, split


def _used_kits(locale: str, queries: int) -> tuple[Kit, ...]:
    return kits(locale)[: max(4, round(queries / _QUERIES_PER_KIT))]


def _product_id(locale: str, kit: int, index: int) -> str:
    return asin(_FIRST_SPACE + 128 * LOCALES.index(locale) + kit, index)


def _stock(seed: int, locale: str, kit: Kit, size: int) -> list[Product]:
    """A kit's products; number i is of type i modulo the number of types. Some brands and attributes are common, some rare.

    Every eighth of a type is an accessory, where its type has any.
    """
    rng = Random(f"{seed}|stock|{locale}|{kit.category}|{kit.name}")
    brands, shared = _drawn(rng, kit.brands, size), _drawn(rng, kit.shared.values, size)
    own = [_drawn(rng, type_.attribute.values, size) for type_ in kit.types]
    lines = rng.choices(LINES, k=size)
    types = [number % len(kit.types) for number in range(size)]
    accessories = [type_.accessories for type_ in kit.types]
    return [
        Product(kit, kit.types[type_], brands[number], lines[number], shared[number], own[type_][number], accessory)
        for number, type_ in enumerate(types)
        for accessory in [_accessory(number // len(kit.types), accessories[type_])]
    ]


def _accessory(turn: int, accessories: tuple[str, ...]) -> str:
    """The accessory that a type's product number `turn` is, if it is one."""
    place, rest = divmod(turn, _ACCESSORIES)
    return accessories[place % len(accessories)] if accessories and rest == 1 else ""


def _by_word(stocks: list[list[Product]]) -> dict[str, list[tuple[int, int]]]:
    """Word of a title -> (kit, product) of the first bestsellers that have it."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for kit, stock in enumerate(stocks):
        for number, product in enumerate(stock):
            for word in sorted(set(product.title.lower().split())):
                found[word].append((kit, number))
    return found


@dataclass(frozen=True)
class _Strangers:
    """Products of other kits: `far` are kits of other categories, `near` of the same one, `by_word` all products by word."""

    far: list[int]
    near: list[int]
    by_word: dict[str, list[tuple[int, int]]]

    def draw(self, rng: Random, query: str, bestsellers: range) -> tuple[int, int]:
        """Kit and product: one that shares a word with the query, if one is found, or any."""
        way = rng.random()
        if way < _NEAR and self.near:
            return rng.choice(self.near), rng.choice(bestsellers)
        if way < _NEAR + _FOUND_BY_WORD:
            for word in rng.sample(words := query.split(), len(words)):
                for _ in range(3):
                    kit, number = rng.choice(self.by_word.get(word) or [(-1, 0)])
                    if kit in self.far and number < len(bestsellers):
                        return kit, number
        return rng.choice(self.far), rng.choice(bestsellers)


def _drawn(rng: Random, values: tuple[str, ...], size: int) -> list[str]:
    """Values in a random order of popularity, the k-th one 1/k as common as the first."""
    return rng.choices(rng.sample(values, len(values)), [1 / rank for rank in range(1, len(values) + 1)], k=size)


@dataclass(frozen=True)
class _Shelf:
    """A kit's products by number. The lowest numbers are the bestsellers, of all types alike."""

    products: list[Product]
    types: int
    _groups: dict[tuple[int, tuple[str, ...]], dict[tuple[str, ...], list[int]]] = field(default_factory=dict)

    @property
    def bestsellers(self) -> range:
        return range(self.types * max(1, int(_BESTSELLERS * len(self.products) / self.types)))

    def of_type(self, type_: int) -> range:
        """The type's products, accessories among them."""
        return range(type_, len(self.products), self.types)

    def accessories(self, type_: int) -> range:
        """Bestsellers that are accessories of the type: see `_accessory`."""
        has_any = bool(self.products[type_].type.accessories)
        return range(type_ + self.types, len(self.bestsellers), self.types * _ACCESSORIES) if has_any else range(0)

    def matching(self, type_: int, named: tuple[str, ...], values: tuple[str, ...]) -> list[int]:
        """Numbers of the type's products that have these values of the named attributes, bestsellers first."""
        if (type_, named) not in self._groups:
            groups = self._groups.setdefault((type_, named), defaultdict(list))
            for number in self.of_type(type_):
                if not self.products[number].accessory:
                    groups[_values(self.products[number], named)].append(number)
        return self._groups[type_, named][values]


def _values(product: Product, named: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(getattr(product, name) for name in named)


def _query(rng: Random, shelf: _Shelf, type_: int, asked: set[str]) -> tuple[str, list[tuple[int, str]]]:
    """A query for a type that has not been asked yet, if there is one, and its exact, substitute and complement products."""
    for _ in range(50):
        named = rng.choices(list(_NAMED), list(_NAMED.values()))[0]
        wanted = replace(shelf.products[rng.choice(shelf.of_type(type_))], accessory="")
        values = _values(wanted, named)
        text = _words(rng, wanted, named)
        if text not in asked and len(shelf.matching(type_, named, values)) >= _FEWEST_EXACT:
            break
    asked.add(text)
    substitutes = rng.randint(1, 6) if named else 0
    complements = rng.choices((0, 1, 2), (50, 38, 12))[0]
    total = rng.randint(15, 19) - complements
    exact = _exact(rng, shelf, shelf.matching(type_, named, values), total - substitutes)
    unlike: dict[int, None] = {}
    for _ in range(50 if named else 0):
        if len(unlike) == total - len(exact):
            break
        product = shelf.products[number := rng.choice(_fame(rng, shelf, type_))]
        if not product.accessory and _values(product, named) != values:
            unlike[number] = None
    judged = [(number, "E") for number in exact] + [(number, "S") for number in unlike]
    own = shelf.accessories(type_)
    others = [number for number in rng.sample(shelf.bestsellers, 8) if number % shelf.types != type_]
    companions = [*rng.sample(own, min(len(own), 1)), *others] if rng.random() < 0.75 else others
    return text, judged + [(number, "C") for number in companions[:complements]]


def _exact(rng: Random, shelf: _Shelf, matching: list[int], wanted: int) -> list[int]:
    """About as many of the matching products as wanted, nearly half of them bestsellers if there are so many."""
    first_rare = bisect(matching, shelf.bestsellers[-1])
    famous = rng.sample(matching[:first_rare], min(first_rare, round(0.45 * wanted)))
    return famous + rng.sample(matching[first_rare:], min(len(matching) - first_rare, wanted - len(famous)))


def _fame(rng: Random, shelf: _Shelf, type_: int) -> range:
    """The type's bestsellers or all its products, as the draw says."""
    return range(type_, len(shelf.bestsellers), shelf.types) if rng.random() < 0.7 else shelf.of_type(type_)


def _words(rng: Random, product: Product, named: tuple[str, ...]) -> str:
    """The query's text. A size or the like stands after the noun, now and then everything does."""
    noun = rng.choice((*product.type.nouns, *product.type.nouns, *product.type.aliases))
    if {"brand", "line"} <= set(named) and rng.random() < _NAMELESS:
        noun = ""
    before = [getattr(product, name) for name in named if name != "own"]
    after = [getattr(product, name) for name in named if name == "own"]
    if product.kit.uses and rng.random() < _USES:
        after.append(f"for {rng.choice(product.kit.uses)}")
    words = [noun, *before, *after] if rng.random() < 0.15 else [*before, noun, *after]
    text = " ".join(filter(None, words)).lower()
    return _misspelt(rng, text) if rng.random() < _MISSPELT else text


def _misspelt(rng: Random, text: str) -> str:
    """Two letters change places, or one is missing."""
    place = rng.randrange(1, len(text))
    if rng.random() < 0.5:
        return text[: place - 1] + text[place] + text[place - 1] + text[place + 1 :]
    return " ".join((text[:place] + text[place + 1 :]).split())
