"""Shopping Queries Data Set (ESCI): queries judged against products, in three locales.

Format: https://github.com/amazon-science/esci-data

An exact product has the query's type and all its attributes, a substitute the type but another attribute, a complement is of
another type of the same kit, and an irrelevant one is of another category. A tenth of a type's products are its bestsellers,
which are judged for many queries, so that two queries can be compared by a product that both were judged for.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_FEWEST_EXACT = 6

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
        for number, kit in enumerate(used):
            shelf = _Shelf(_stock(seed, locale, kit, size // len(used)), len(kit.types))
            strangers = [other for other, far in enumerate(used) if far.category != kit.category]
            asked: set[str] = set()
            for turn in range(queries[locale] // len(used)):
                query, found = _query(rng, shelf, turn % len(kit.types), asked)
                judged = {_product_id(locale, number, index): label for index, label in found}
                for _ in range(rng.choice((1, 1, 2, 2, 2, 3))):
                    judged[_product_id(locale, rng.choice(strangers), rng.choice(shelf.bestsellers))] = "I"
                query_id, split = next(query_ids), "train" if rng.random() < 0.8 else "test"
                small = int(rng.random() < 0.4)
                for product_id, label in judged.items():
                    yield next(examples), query, query_id, product_id, locale, label, small, 1, split


def _used_kits(locale: str, queries: int) -> tuple[Kit, ...]:
    return kits(locale)[: max(4, round(queries / _QUERIES_PER_KIT))]


def _product_id(locale: str, kit: int, index: int) -> str:
    return asin(_FIRST_SPACE + 128 * LOCALES.index(locale) + kit, index)


def _stock(seed: int, locale: str, kit: Kit, size: int) -> list[Product]:
    """A kit's products; number i is of type i modulo the number of types. Some brands and attributes are common, some rare."""
    rng = Random(f"{seed}|stock|{locale}|{kit.category}|{kit.name}")
    brands, shared = _drawn(rng, kit.brands, size), _drawn(rng, kit.shared.values, size)
    own = [_drawn(rng, type_.attribute.values, size) for type_ in kit.types]
    lines = rng.choices(LINES, k=size)
    types = [number % len(kit.types) for number in range(size)]
    return [
        Product(kit, kit.types[type_], brands[number], lines[number], shared[number], own[type_][number])
        for number, type_ in enumerate(types)
    ]


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
        return range(type_, len(self.products), self.types)

    def matching(self, type_: int, named: tuple[str, ...], values: tuple[str, ...]) -> list[int]:
        """Numbers of the type's products that have these values of the named attributes, bestsellers first."""
        if (type_, named) not in self._groups:
            groups = self._groups.setdefault((type_, named), defaultdict(list))
            for number in self.of_type(type_):
                groups[_values(self.products[number], named)].append(number)
        return self._groups[type_, named][values]


def _values(product: Product, named: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(getattr(product, name) for name in named)


def _query(rng: Random, shelf: _Shelf, type_: int, asked: set[str]) -> tuple[str, list[tuple[int, str]]]:
    """A query for a type that has not been asked yet, if there is one, and its exact, substitute and complement products."""
    for _ in range(50):
        named = rng.choices(list(_NAMED), list(_NAMED.values()))[0]
        wanted = shelf.products[rng.choice(shelf.of_type(type_))]
        values = _values(wanted, named)
        text = _words(rng, wanted, named)
        if text not in asked and len(shelf.matching(type_, named, values)) >= _FEWEST_EXACT:
            break
    asked.add(text)
    substitutes = rng.randint(1, 6) if named else 0
    complements = rng.choices((0, 1, 2), (50, 38, 12))[0]
    total = rng.randint(15, 19) - complements
    exact = _exact(rng, shelf, shelf.matching(type_, named, values), total - substitutes)
    judged = [(number, "E") for number in exact]
    if named:
        others = (rng.choice(_fame(rng, shelf, type_)) for _ in range(50))
        unlike = dict.fromkeys(number for number in others if _values(shelf.products[number], named) != values)
        judged += [(number, "S") for number in list(unlike)[: total - len(exact)]]
    companions = [number for number in rng.sample(shelf.bestsellers, 8) if number % shelf.types != type_]
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
    noun = rng.choice(product.type.nouns)
    before = [getattr(product, name) for name in named if name != "own"]
    after = [getattr(product, name) for name in named if name == "own"]
    words = [noun, *before, *after] if rng.random() < 0.15 else [*before, noun, *after]
    return " ".join(words).lower()
