"""The invented shop behind the sample corpora: its kits of products that go together, its brands, and a product's title."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

COLORS = ("black", "white", "grey", "blue", "red", "green", "pink", "navy", "beige", "teal", "orange", "purple")
LINES = (
    *("Alder", "Breeze", "Comet", "Drift", "Ember", "Fjord", "Grove", "Harvest", "Islet", "Juniper", "Kestrel", "Lumen"),
    *("Meadow", "Nimbus", "Orchard", "Pebble", "Quarry", "Ridge", "Summit", "Tundra", "Umbra", "Vista", "Willow", "Zephyr"),
    *("Anchor", "Beacon", "Canyon", "Delta", "Echo", "Falcon", "Glacier", "Haven", "Isle", "Journey", "Lagoon", "Monsoon"),
)
BRANDS_PER_CATEGORY = 8
LOCALES = ("us", "es", "jp")

# Three syllables each: short names tend to be somebody's trademark.
_SYLLABLES = (
    ("Brel", "Quor", "Tess", "Vand", "Olm", "Zarn", "Fyr", "Kald", "Mirr", "Norv", "Pell", "Skov", "Thal", "Urm", "Wex", "Yst"),
    ("an", "ev", "id", "om", "ul", "ar", "en", "il", "ob", "uv", "as", "er", "in", "ot", "um", "ax"),
    ("aro", "ind", "umba", "ett", "olt", "ikka", "ansk", "ero", "uvia", "ond", "ista", "elle", "orn", "amu", "ift", "yra"),
)


@dataclass(frozen=True)
class Attribute:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ProductType:
    """`nouns` are its name and a synonym; `attribute` is the one that only this type of the kit has."""

    nouns: tuple[str, str]
    attribute: Attribute


@dataclass(frozen=True)
class Kit:
    """Four product types that are used together and share an attribute, so that they can be had as a matching set."""

    category: str
    kind: str
    name: str
    brands: tuple[str, ...]
    shared: Attribute
    types: tuple[ProductType, ...]
    parts: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """Something that customers ask. Each state of affairs has what reviews say of it and what an answer says of it."""

    name: str
    asked: tuple[str, ...]
    states: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True)
class Product:
    kit: Kit
    type: ProductType
    brand: str
    line: str
    shared: str
    own: str

    @property
    def noun(self) -> str:
        return self.type.nouns[0]

    @property
    def title(self) -> str:
        """Four to ten words. The order is the brand's own, so that the titles of a brand look alike."""
        shared, noun = capitals(self.shared), capitals(self.noun)
        own = self.own if self.own[0].isdigit() else capitals(self.own)
        match crc32(self.brand.encode()) % 4:
            case 0:
                return f"{self.brand} {self.line} {shared} {noun}, {own}"
            case 1:
                return f"{self.brand} {shared} {noun} {own}, {self.line}"
            case 2:
                return f"{noun} {self.brand} {self.line}, {shared}, {own}"
            case _:
                return f"{self.brand} {self.line} {noun} - {shared} - {own}"

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """Names and values."""
        return (self.kit.shared.name, self.shared), (self.type.attribute.name, self.own)

    @property
    def color(self) -> str | None:
        return self.shared if self.kit.shared.name == "color" else None


def capitals(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


@cache
def kits(locale: str = "us") -> tuple[Kit, ...]:
    """All kits; for us, the first kit of each category comes before the second ones."""
    catalog = _catalog()
    if locale != "us":
        shop = catalog["locales"][locale]
        return tuple(
            _kit(name, "goods", name, kit, tuple(shop["colors"]), number)
            for number, (name, kit) in enumerate(shop["kits"].items())
        )
    found = [
        (number, _kit(category, of["kind"], name, kit, COLORS, position))
        for position, (category, of) in enumerate(catalog["categories"].items())
        for number, (name, kit) in enumerate(of["kits"].items())
    ]
    return tuple(kit for _, kit in sorted(found, key=lambda pair: pair[0]))


@cache
def categories() -> tuple[str, ...]:
    return tuple(_catalog()["categories"])


@cache
def kits_of(category: str) -> tuple[Kit, ...]:
    return tuple(kit for kit in kits() if kit.category == category)


@cache
def topics() -> Mapping[str, Topic]:
    return {name: _topic(name, topic) for name, topic in _catalog()["topics"].items()}


@cache
def _catalog() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _kit(category: str, kind: str, name: str, kit: dict[str, Any], colors: tuple[str, ...], number: int) -> Kit:
    start = crc32(name.encode()) % len(colors)
    palette = (colors[start:] + colors[:start])[:8]
    shared = Attribute("color", palette) if kit["axis"] == "color" else _attribute(kit["axis"])
    return Kit(
        category=category,
        kind=kind,
        name=name,
        brands=tuple(_brand(number * BRANDS_PER_CATEGORY + index) for index in range(BRANDS_PER_CATEGORY)),
        shared=shared,
        types=tuple(_product_type(text) for text in kit["types"]),
        parts=_words(kit.get("parts", "")),
        topics=_words(kit.get("topics", "")),
    )


def _product_type(text: str) -> ProductType:
    nouns, attribute = text.split("|")
    noun, synonym = _words(nouns)
    return ProductType((noun, synonym), _attribute(attribute))


def _attribute(text: str) -> Attribute:
    name, values = text.split(":")
    return Attribute(name.strip(), _words(values))


def _topic(name: str, topic: dict[str, Any]) -> Topic:
    if "values" in topic:
        states = [(_filled(topic["seen"], value), _filled(topic["say"], value)) for value in topic["values"]]
    else:
        states = [(tuple(topic["yes"]), tuple(topic["say_yes"])), (tuple(topic["no"]), tuple(topic["say_no"]))]
    return Topic(name, tuple(topic["ask"]), tuple(states))


def _filled(templates: list[str], value: str) -> tuple[str, ...]:
    return tuple(template.replace("{value}", value) for template in templates)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _brand(number: int) -> str:
    """Every number below 4096 has its own name."""
    scattered = number * 1117 % 4096
    first, second, third = scattered % 16, scattered // 16 % 16, scattered // 256
    return _SYLLABLES[0][first] + _SYLLABLES[1][second] + _SYLLABLES[2][third]
