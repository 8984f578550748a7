"""Finds near-duplicates of earlier rows by exact Jaccard similarity, on the candidates that MinHash LSH finds.

A content is a row's field names, each with its texts. Two contents are nearly the same when they have the same field names and,
for every field, the sets of character 5-grams of its normalised texts have a Jaccard similarity of at least 0.8. It is asked of
every field, since in one set for all a long title would drown what tells "red shoes" from "blue shoes".

Fields' sets are disjoint once each shingle carries its field's name. So shared shingles and all shingles of two contents are
the sums of those of their fields, and if shared / all is at least 0.8 for every field, it is so for the sums (the mediant
inequality). Whatever is nearly the same by field is so as a whole, and LSH over the whole (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, 3.4) misses no more than its bands do: sets of similarity s share one with 1 - (1 - s^6)^20.

| s | 0.8 | 0.9 | 1.0 |
|---|---|---|---|
| found | 0.9977 | 0.9999997 | 1 |

A pair that is found is compared exactly, so that nothing is dropped which is not nearly the same. Before that, most of those
that are not are seen by their sketches: of each half of a content's fields the number of shingles, and a bitmap in which each
shingle sets one of 256 bits. Where bitmaps differ in n bits, sets differ in n shingles or more, and for a similarity of 0.8
they may differ in (a + b) / 9 (Sandes, Teodoro and Melo, Bitmap Filter, arXiv:1711.07295). So no pair is lost by it.
"""

import re
import unicodedata
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

Content = Mapping[str, tuple[str, ...]]

SHINGLE = 5
"""Characters in a shingle."""

BANDS, BAND_ROWS = 20, 6
"""b and r of LSH: what they find is in the table above."""

SKETCH = [("bits", "u8", (2, 4)), ("sizes", "u4", 2)]
"""A content's sketch as a type of numpy: of either half of its fields, in order of their names, a bitmap and the number of
shingles, those that repeat counted."""

AT_ONCE = 128
"""Contents whose shingles are hashed in one go: their arrays stay in the processor's cache."""

_SEPARATORS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Letters and digits, casefolded and in NFKC, with one space between words. A text that has none stays as it is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SEPARATORS.sub(" ", folded).strip() or folded.strip()


def first_of_alike(
    number: int, keys_of: Callable[[int], Any], sketches_of: Callable[[Any], Any], content_of: Callable[[int], Content]
) -> Any:
    """bool (number,): whether each content is kept, which is when no earlier kept one is nearly the same.

    It depends on nothing but the contents and their order. A content without any text is like no other. Rows of different
    tasks may hold the same text on purpose: call it once per task. `keys_of` a band are uint64 (number,), the contents' keys of
    it; `sketches_of` positions are SKETCH (positions,). A content is asked for only where another has a key of its own and a
    sketch like its own.

    Of every content and bucket that it shares with others there is an entry, 12 bytes in all: the kept ones of a bucket are a
    linked list, where `newest` has the last, and `links` the one before it in the place of the bucket's number, which is not
    needed again. Lists of Python would take kilobytes a content.
    """
    import numpy as np

    content_of = lru_cache(2048)(content_of)
    mask = np.ones(number, bool)
    rows, buckets, found = _entries(number, keys_of)
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    stops = array("q", np.append(firsts, len(rows))[1:].tobytes())
    positions, owners, links = array("i", rows[firsts].tobytes()), array("i", rows.tobytes()), array("i", buckets.tobytes())
    newest = array("i", [-1]) * found
    del rows, buckets, firsts
    start = 0
    for position, stop in zip(positions, stops, strict=True):
        own, start = range(start, stop), stop
        candidates: set[int] = set()
        for entry in own:
            other = newest[links[entry]]
            while other >= 0:
                candidates.add(owners[other])
                other = links[other]
        if candidates:
            others = np.fromiter(candidates, np.int64, len(candidates))
            own_sketch, sketches = sketches_of(position), sketches_of(others)
            if not own_sketch["sizes"].any():
                continue
            others = others[may_be_alike(own_sketch, sketches)].tolist()
            if others and any(_nearly_same(content_of(position), content_of(other)) for other in others):
                mask[position] = False
                continue
        for entry in own:
            bucket = links[entry]
            links[entry], newest[bucket] = newest[bucket], entry
    return mask


def may_be_alike(one: Any, others: Any) -> Any:
    """bool (others,): whether neither half of the fields differs by too many shingles, as far as the sketches tell."""
    import numpy as np

    differing = np.bitwise_count(one["bits"] ^ others["bits"]).sum(axis=-1)
    return (9 * differing <= one["sizes"] + others["sizes"]).all(axis=-1)


def _nearly_same(one: Content, other: Content) -> bool:
    """Short fields are compared first: they are the cheapest and the likeliest to differ."""
    if one.keys() != other.keys():
        return False
    for name in sorted(one, key=lambda name: sum(map(len, one[name]))):
        if one[name] == other[name]:
            continue
        a, b = _shingles(one[name]), _shingles(other[name])
        both = len(a & b)
        if 5 * both < 4 * (len(a) + len(b) - both):  # 0.8 in whole numbers
            return False
    return True


@lru_cache(maxsize=2048)
def _shingles(texts: tuple[str, ...]) -> frozenset[str]:
    """A shorter text is one shingle."""
    return frozenset(
        text[start : start + SHINGLE] for text in map(normalised, texts) for start in range(max(1, len(text) - SHINGLE + 1))
    )


def _entries(number: int, keys_of: Callable[[int], Any]) -> tuple[Any, Any, int]:
    """int32 (entries,) each: contents, in order, and the LSH buckets that they are in with others. And how many buckets there
    are."""
    import numpy as np

    rows, buckets, found = [np.empty(0, np.int32)], [np.empty(0, np.int32)], 0
    for band in range(BANDS):
        keys = keys_of(band)
        order = np.argsort(keys)
        keys = keys[order]
        like_last = np.zeros(number, bool)
        like_last[1:] = keys[1:] == keys[:-1]
        several = like_last.copy()
        several[:-1] |= like_last[1:]
        names = np.cumsum(~like_last[several]) - 1  # a bucket begins where the key is another than before
        rows.append(order[several].astype(np.int32))
        buckets.append((names + found).astype(np.int32))
        found += int(names[-1]) + 1 if len(names) else 0
    members, of_all = np.concatenate(rows), np.concatenate(buckets)
    del rows, buckets
    order = np.argsort(members, kind="stable")
    return members[order], of_all[order], found


def keys_and_sketches(contents: Sequence[Content]) -> tuple[Any, Any]:
    """uint64 (contents, bands): a hash of the MinHash values of each band. And the contents' sketches, SKETCH (contents,)."""
    import numpy as np

    keys, sketches = np.empty((len(contents), BANDS), np.uint64), np.zeros(len(contents), SKETCH)
    for start in range(0, len(contents), AT_ONCE):
        part = contents[start : start + AT_ONCE]
        values, sketches[start : start + AT_ONCE] = _minhashes_and_sketches(part)
        keys[start : start + AT_ONCE] = values.reshape(len(part), BANDS, BAND_ROWS).astype(np.uint64) @ _multipliers()[1]
    return keys, sketches


def _minhashes_and_sketches(contents: Sequence[Content]) -> tuple[Any, Any]:
    """uint32 array (contents, permutations) of the shingles of all texts, each hashed together with its field's name; and the
    sketches.

    All contents' shingles are hashed in one go, permutation by permutation: of each alone numpy's calls would cost most.
    """
    import numpy as np

    of_characters, _ = _multipliers()
    texts = [
        (2 * position + 2 * place // len(content), name, normalised(text).ljust(SHINGLE, "\0"))
        for position, content in enumerate(contents)
        for place, name in enumerate(sorted(content))
        for text in content[name]
    ]
    found, sketches = np.full((len(contents), BANDS * BAND_ROWS), 2**32 - 1, np.uint32), np.zeros(len(contents), SKETCH)
    if not texts:
        return found, sketches
    lengths = np.array([len(text) for _, _, text in texts])
    points = np.frombuffer("".join(text for *_, text in texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    inside = np.ones(len(points), bool)
    for back in range(1, SHINGLE):
        inside[np.cumsum(lengths) - back] = False  # a shingle that begins here would reach into the next text
    wide, last = points.astype(np.uint64), len(points) - SHINGLE + 1
    hashes = sum((wide[place : last + place] * of_characters[place] for place in range(SHINGLE)), np.zeros(last, np.uint64))
    shingles = lengths - SHINGLE + 1
    fields = np.array([zlib.crc32(name.encode()) for _, name, _ in texts], np.uint64) * of_characters[SHINGLE]
    mixed = _mix(((hashes[inside[:last]] + np.repeat(fields, shingles)) >> np.uint64(32)).astype(np.uint32))
    halves = np.bincount([half for half, *_ in texts], shingles, 2 * len(contents)).astype(np.int64)
    sketches["sizes"] = halves.reshape(-1, 2)
    filled, starts = _runs(halves)
    bits, bitmaps = np.left_shift(np.uint64(1), mixed & np.uint32(63), dtype=np.uint64), np.zeros((len(halves), 4), np.uint64)
    for word in range(4):
        of_word = np.where(mixed >> np.uint32(6) & np.uint32(3) == word, bits, np.uint64(0))
        bitmaps[filled, word] = np.bitwise_or.reduceat(of_word, starts)
    sketches["bits"] = bitmaps.reshape(-1, 2, 4)
    filled, starts = _runs(halves.reshape(-1, 2).sum(axis=1))
    for place, (a, b) in enumerate(_permutations().T):
        found[filled, place] = np.minimum.reduceat(mixed * a + b, starts)
    return found, sketches


def _runs(sizes: Any) -> tuple[Any, Any]:
    """Of things that lie behind one another, those that are not empty, and where each of these begins."""
    import numpy as np

    filled = np.flatnonzero(sizes)
    return filled, np.cumsum(sizes)[filled] - sizes[filled]


def _mix(hashes: Any) -> Any:
    """The 32-bit finalizer of MurmurHash3, which datasketch's scheme "affine32" applies before it permutes."""
    import numpy as np

    for shift, multiplier in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(multiplier)
    return hashes ^ (hashes >> np.uint32(16))


@lru_cache(maxsize=1)
def _permutations() -> Any:
    """uint32 array (2, permutations): factor and summand of each, as datasketch draws them."""
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * BAND_ROWS, seed=1, scheme="affine32").permutations


@lru_cache(maxsize=1)
def _multipliers() -> tuple[Any, Any]:
    """uint64 arrays (shingle + 1,) and (band rows,), for a shingle's characters and field, and for a band's values.

    Multilinear hashing, strongly universal in its upper half: Lemire and Kaser, arXiv:1202.4961.
    """
    import numpy as np

    draw = np.random.RandomState(0)
    return draw.randint(0, 2**64, SHINGLE + 1, dtype=np.uint64), draw.randint(0, 2**64, BAND_ROWS, dtype=np.uint64)
