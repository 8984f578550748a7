"""The invented shop behind the sample corpora: kits of products that go together, their names in plain English, and brands."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
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


# What a title says besides brand and name, and how often.
_LENGTHS = ((), (), ("features",), ("features", "uses"), ("features", "other", "uses"), ("uses",))
_DETAILS = (("shared", "own"), ("shared", "own"), ("shared", "own", "line"), ("shared",), ("own", "line"), ("line",))
_ACCESSORY_TITLES = (
    "{brand} {accessory} for {name}",
    "{brand} {line} {accessory} for {name}, {feature}",
    "{accessory} Compatible with {brand} {name}, {shared}",
    "{brand} Replacement {accessory} - Fits Most {name} - {shared}",
    "{brand} {accessory}, {feature}",
)


@dataclass(frozen=True)
class Attribute:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ProductType:
    """`nouns` are its name and a synonym, `aliases` other names, many of which share no word with these; `attribute` is the one
    that only this type of the kit has, `accessories` go with it and are named after it."""

    nouns: tuple[str, str]
    attribute: Attribute
    aliases: tuple[str, ...]
    accessories: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.nouns, *self.aliases)


@dataclass(frozen=True)
class Kit:
    """Four product types that are used together and share an attribute, so that they can be had as a matching set.

    `features` are what titles praise, `uses` whom or what the products are for, `partners` kits that are bought along.
    """

    category: str
    kind: str
    name: str
    brands: tuple[str, ...]
    shared: Attribute
    types: tuple[ProductType, ...]
    parts: tuple[str, ...]
    topics: tuple[str, ...]
    features: tuple[str, ...]
    uses: tuple[str, ...]
    partners: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """Something that customers ask. Each state of affairs has what reviews say of it and what an answer says of it."""

    name: str
    asked: tuple[str, ...]
    states: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True)
class Product:
    """One product, or with an `accessory` what is sold for a product of the type."""

    kit: Kit
    type: ProductType
    brand: str
    line: str
    shared: str
    own: str
    accessory: str = ""

    @property
    def noun(self) -> str:
        return self.accessory or self.type.nouns[0]

    @cached_property
    def title(self) -> str:
        """Three to twenty words. The order is the brand's own; name, details and length are drawn from the product's values.

        A product may be named by any of its type's names, and may keep its attributes to itself, as real titles do.
        """
        seed = crc32(f"{self.brand}|{self.line}|{self.shared}|{self.own}|{self.noun}".encode()) * 0x9E3779B1 >> 7
        if self.accessory:
            return self._accessory_title(seed)
        seed, name = _pick(seed, _usual(self.type))
        seed, other = _pick(seed, self.type.names)
        seed, length = _pick(seed, _LENGTHS)
        seed, details = _pick(seed, _DETAILS)
        own = self.own if self.own[0].isdigit() else capitals(self.own)
        said = {"shared": capitals(self.shared), "own": own, "line": self.line}
        shown = {name: text if name in details else "" for name, text in said.items()}
        tail = [shown["own"]]
        for kind in length:
            seed, text = _pick(seed, getattr(self.kit, kind) if kind != "other" else (other,))
            if text:
                tail.append(f"for {capitals(text)}" if kind == "uses" else capitals(text))
        words: tuple[str, ...]
        match crc32(self.brand.encode()) % 4:
            case 0:
                words, joint = (self.brand, shown["line"], shown["shared"], capitals(name)), ", "
            case 1:
                words, joint = (self.brand, capitals(name), shown["shared"], shown["line"]), " - "
            case 2:
                words, joint = (capitals(name), shown["line"], "by", self.brand, shown["shared"]), ", "
            case _:
                words, joint = (self.brand, shown["line"], capitals(name), shown["shared"]), " | "
        return joint.join(filter(None, (" ".join(filter(None, words)), *tail)))

    def _accessory_title(self, seed: int) -> str:
        """Most name what they are made for, and so share words with queries for it."""
        seed, name = _pick(seed, _usual(self.type))
        seed, form = _pick(seed, _ACCESSORY_TITLES)
        seed, feature = _pick(seed, self.kit.features)
        words = {"brand": self.brand, "accessory": capitals(self.accessory), "name": capitals(name), "line": self.line}
        return str(form.format(feature=capitals(feature), shared=capitals(self.shared), **words))

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """Names and values."""
        return (self.kit.shared.name, self.shared), (self.type.attribute.name, self.own)

    @property
    def color(self) -> str | None:
        return self.shared if self.kit.shared.name == "color" else None


def _pick(seed: int, values: Sequence[Any]) -> tuple[int, Any]:
    """What is left of the seed, and one of the values; None of none."""
    if not values:
        return seed, None
    seed, place = divmod(seed, len(values))
    return seed, values[place]


def _usual(type_: ProductType) -> tuple[str, ...]:
    """A type's names as often as titles and queries use them."""
    noun, synonym = type_.nouns
    return (noun, noun, noun, synonym, synonym, *type_.aliases)


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
def kit_named(name: str) -> Kit:
    return next(kit for kit in kits() if kit.name == name)


@cache
def topics() -> Mapping[str, Topic]:
    return {name: _topic(name, topic) for name, topic in _catalog()["topics"].items()}


@cache
def _catalog() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@cache
def _vocabulary() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))


def _lists(kind: str, name: str, number: int) -> list[tuple[str, ...]]:
    """The lists that the vocabulary has for a type or a kit; empty ones in locales that it does not know."""
    known = _vocabulary()[kind].get(name, "")
    return [_words(text) for text in known.split("|")] if known else [()] * number


def _kit(category: str, kind: str, name: str, kit: dict[str, Any], colors: tuple[str, ...], number: int) -> Kit:
    start = crc32(name.encode()) % len(colors)
    palette = (colors[start:] + colors[:start])[:8]
    shared = Attribute("color", palette) if kit["axis"] == "color" else _attribute(kit["axis"])
    features, uses, partners = _lists("kits", name, 3)
    return Kit(
        category=category,
        kind=kind,
        name=name,
        brands=tuple(_brand(number * BRANDS_PER_CATEGORY + index) for index in range(BRANDS_PER_CATEGORY)),
        shared=shared,
        types=tuple(_product_type(text) for text in kit["types"]),
        parts=_words(kit.get("parts", "")),
        topics=_words(kit.get("topics", "")),
        features=features,
        uses=uses,
        partners=partners,
    )


def _product_type(text: str) -> ProductType:
    nouns, attribute = text.split("|")
    noun, synonym = _words(nouns)
    aliases, accessories = _lists("types", noun, 2)
    return ProductType((noun, synonym), _attribute(attribute), aliases, accessories)


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
