"""Decontamination: finds train rows that an evaluation set holds, by all of their texts or by 13 words in a row.

"same text": all texts of the row are segments of one and the same evaluation item, and together they have at least 5 words. It
finds short rows, such as a query and a title, that no run of 13 words can find.

"13-gram": 13 consecutive words of one of the row's texts are consecutive in a segment. 13-grams that stand in more than 10 of
the rows to train on are boilerplate and do not count. Both numbers are those of Brown et al. 2020, appendix C
(arXiv:2005.14165).
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

from dataset_builders.evaluation_sets import EvaluationSet, segments
from dataset_builders.near_duplicates import Content, normalised
from dataset_builders.workers import Run

GRAM = 13
"""Words in a row that make a hit."""

MOST_ROWS = 10
"""A 13-gram in more rows to train on than this is boilerplate."""

LEAST_WORDS = 5
"""A row of fewer words is too common to be called the same as another."""

RULES = ("same text", f"{GRAM}-gram")

Hit = tuple[str, str]
"""Name of an evaluation set, and a rule."""

ITEMS = 1000
"""Evaluation items that a process hashes at a time."""

_CJK = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han characters and kana: no spaces are written between them, so each is a word."""

_WORDS = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


@dataclass(frozen=True)
class HashedRows:
    """What a search asks of rows: uint64 hashes of each one's normalised texts and of their 13-grams, one row's behind
    another's; how many of both it has, and how many words, int64 (rows,) each."""

    texts: Any
    text_counts: Any
    grams: Any
    gram_counts: Any
    words: Any


@dataclass(frozen=True)
class HashedItems:
    """What a search asks of evaluation items: uint64 hashes of their segments; the item of each, from 0, int64 (segments,); how
    many items there are; and uint64 hashes of their 13-grams, each once."""

    texts: Any
    items: Any
    number: int
    grams: Any


@dataclass(frozen=True)
class HashedSet:
    """An evaluation set by its hashes, in parts, which may be an iterator: a search uses it up."""

    name: str
    parts: Iterable[HashedItems]


def contaminated(contents: Sequence[Content], sets: Sequence[EvaluationSet]) -> list[Hit | None]:
    """For each row to train on, the name of the first set that holds it and the rule that says so; None for a clean row.

    Hashes of texts, words and 13-grams have 64 bits and are the same on every machine.
    """
    found = search([(0, hash_rows(contents))], len(contents), [hash_set(one) for one in sets])
    return [hit_of(code, sets) if code >= 0 else None for code in found.tolist()]


def hit_of(code: int, sets: Sequence[EvaluationSet | HashedSet]) -> Hit:
    """What a number stands for that `search` gave."""
    return sets[code // 2].name, RULES[code % 2]


def hash_set(found: EvaluationSet, run: Run = map) -> HashedSet:
    parts = (found.items[start : start + ITEMS] for start in range(0, len(found.items), ITEMS))
    return HashedSet(found.name, run(hash_items, parts))


def hash_items(items: Iterable[tuple[str, ...]]) -> HashedItems:
    import numpy as np

    hashes, owners = array("Q"), array("q")
    grams, number = [np.empty(0, np.uint64)], 0
    for number, item in enumerate(items, 1):
        texts = {normalised(segment) for text in item for segment in set(segments(text))}
        hashes.extend(map(text_hash, texts))
        owners.extend([number - 1] * len(texts))
        grams.append(_grams(texts))
    return HashedItems(np.array(hashes, np.uint64), np.array(owners, np.int64), number, np.unique(np.concatenate(grams)))


def hash_rows(contents: Sequence[Content]) -> HashedRows:
    import numpy as np

    rows = [{normalised(text) for texts in content.values() for text in texts} for content in contents]
    texts = [[text_hash(text) for text in row] for row in rows]
    grams = [np.unique(_grams(row)) for row in rows]
    words = [sum(len(_WORDS.findall(text)) for text in row) for row in rows]
    return HashedRows(
        np.array([number for row in texts for number in row], np.uint64),
        np.array([len(row) for row in texts], np.int64),
        np.concatenate([np.empty(0, np.uint64), *grams]),
        np.array([len(row) for row in grams], np.int64),
        np.array(words, np.int64),
    )


def search(parts: Iterable[tuple[int, HashedRows]], number: int, sets: Sequence[HashedSet]) -> Any:
    """int32 (number,): for each row the number of its hit, -1 for a clean one. Rows come in parts, each with the place of its
    first row, in any order; one part is held in memory at a time."""
    import numpy as np

    index = _Index.of(sets)
    same, rows, places = np.empty(number, np.int32), [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    rows_with = np.zeros(len(index.grams), np.int32)
    for start, part in parts:
        same[start : start + len(part.words)] = index.sets_with_all(part)
        row, place = index.shared_grams(part)
        np.add.at(rows_with, place, 1)
        rare = rows_with[place] <= MOST_ROWS  # of boilerplate, which many rows share, no more is kept
        rows.append((row[rare] + start).astype(np.int32))
        places.append(place[rare].astype(np.int32))
    shared = index.sets_with_a_gram(number, np.concatenate(rows), np.concatenate(places), rows_with)
    first = np.minimum(same, shared)
    return np.where(first < len(sets), 2 * first + (shared < same), -1).astype(np.int32)


@dataclass(frozen=True)
class _Index:
    """`texts`: uint64 (n,), sorted hashes of segments; `items`: int64 (n,), the item that has each. `set_of`: int64 (items,),
    every item's set. `grams`: uint64 (m,), sorted hashes of the segments' 13-grams; `owners`: int64 (m,), the first set with
    each. `sets`: how many sets there are, a number that stands for none of them."""

    texts: Any
    items: Any
    set_of: Any
    grams: Any
    owners: Any
    sets: int

    @classmethod
    def of(cls, sets: Sequence[HashedSet]) -> "_Index":
        import numpy as np

        texts, items, grams = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        in_set, number = [], 0
        for hashed in sets:
            first, of_set = number, [np.empty(0, np.uint64)]
            for part in hashed.parts:
                texts.append(part.texts)
                items.append(part.items + number)
                of_set.append(part.grams)
                number += part.number
            in_set.append(number - first)
            grams.append(np.unique(np.concatenate(of_set)))
        owners = np.repeat(np.arange(-1, len(sets)), [len(found) for found in grams])
        distinct, first_owner = np.unique(np.concatenate(grams), return_index=True)
        found = np.concatenate(texts)
        order = np.argsort(found, kind="stable")
        set_of = np.repeat(np.arange(len(sets)), in_set)
        return cls(found[order], np.concatenate(items)[order], set_of, distinct, owners[first_owner], len(sets))

    def sets_with_all(self, rows: HashedRows) -> Any:
        """int64 (rows,): the first set with an item that has all of a row's texts as segments."""
        import numpy as np

        first = np.searchsorted(self.texts, rows.texts, "left")
        behind = np.searchsorted(self.texts, rows.texts, "right")
        starts = np.cumsum(rows.text_counts) - rows.text_counts
        known = np.bincount(np.repeat(np.arange(len(starts)), rows.text_counts), behind > first, len(starts))
        asked = (known == rows.text_counts) & (rows.text_counts > 0) & (rows.words >= LEAST_WORDS)
        found = np.full(len(starts), self.sets, np.int64)
        for row in np.flatnonzero(asked).tolist():
            texts = range(starts[row], starts[row] + rows.text_counts[row])
            items = [self.items[first[text] : behind[text]] for text in texts]
            shared = reduce(np.intersect1d, sorted(items, key=len))
            if len(shared):
                found[row] = self.set_of[shared.min()]
        return found

    def shared_grams(self, rows: HashedRows) -> tuple[Any, Any]:
        """int64 (n,) each: rows, and the places in `grams` of their 13-grams that are there."""
        import numpy as np

        places = np.searchsorted(self.grams, rows.grams)
        known = places < len(self.grams)
        known[known] = self.grams[places[known]] == rows.grams[known]
        return np.repeat(np.arange(len(rows.gram_counts)), rows.gram_counts)[known], places[known]

    def sets_with_a_gram(self, number: int, rows: Any, places: Any, rows_with: Any) -> Any:
        """int32 (number,): per row the first set that shares a 13-gram with it which is no boilerplate. `rows_with` are the
        numbers of rows that have each of `grams`, int64 (m,)."""
        import numpy as np

        rare = rows_with[places] <= MOST_ROWS
        found = np.full(number, self.sets, np.int32)
        np.minimum.at(found, rows[rare], self.owners[places[rare]].astype(np.int32))
        return found


def text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _grams(texts: Iterable[str]) -> Any:
    """uint64 (n,): the hashes of all 13-grams of normalised texts."""
    import numpy as np

    hashes = [np.empty(0, np.uint64)]
    for text in texts:
        words = _WORDS.findall(text) if len(text) >= GRAM else []
        if len(words) >= GRAM:
            numbers = np.array([_word_hash(word) for word in words], np.uint64)
            hashes.append(np.lib.stride_tricks.sliding_window_view(numbers, GRAM) @ _multipliers())
    return np.concatenate(hashes)


@lru_cache(maxsize=1)
def _multipliers() -> Any:
    """uint64 (13,): one for each place. A 13-gram's hash is the sum of its words' hashes, each times its place's number."""
    import numpy as np

    return np.random.RandomState(0).randint(0, 2**64, GRAM, dtype=np.uint64)


_word_hash = lru_cache(maxsize=2**18)(text_hash)
