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

A pair that is found is compared exactly, so that nothing is dropped which is not nearly the same.
"""

import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

Content = Mapping[str, tuple[str, ...]]

SHINGLE = 5
"""Characters in a shingle."""

BANDS, BAND_ROWS = 20, 6
"""b and r of LSH: what they find is in the table above."""

_SEPARATORS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Letters and digits, casefolded and in NFKC, with one space between words. A text that has none stays as it is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SEPARATORS.sub(" ", folded).strip() or folded.strip()


def keep_mask(contents: Sequence[Content]) -> list[bool]:
    """For each content whether it is kept, which is when no earlier kept one is nearly the same.

    It depends on nothing but the contents and their order. A content without any text is like no other. Rows of different
    tasks may hold the same text on purpose: call it once per task.
    """
    kept: defaultdict[int, list[int]] = defaultdict(list)
    result = []
    for position, row in enumerate(_buckets(contents)):
        buckets = row[row >= 0].tolist() if any(contents[position].values()) else []
        candidates = {other for bucket in buckets for other in kept[bucket]}
        first = not any(_nearly_same(contents[position], contents[other]) for other in candidates)
        result.append(first)
        if first:
            for bucket in buckets:
                kept[bucket].append(position)
    return result


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


def _buckets(contents: Sequence[Content]) -> Any:
    """int64 array (contents, bands): the number of the LSH bucket that a content is in, -1 where it is there alone.

    datasketch's own index holds a Python set per content and band, some 7 kB a content; sorting takes 8 bytes a band.
    """
    import numpy as np
    from datasketch import MinHash

    draw = np.random.RandomState(0)
    # Multilinear hashing, strongly universal in its upper half: Lemire and Kaser, arXiv:1202.4961.
    of_characters = draw.randint(0, 2**64, SHINGLE + 1, dtype=np.uint64)
    of_bands = draw.randint(0, 2**64, BAND_ROWS, dtype=np.uint64)
    minhash = MinHash(num_perm=BANDS * BAND_ROWS, seed=1, hashfunc=int, scheme="affine32")
    keys = np.empty((len(contents), BANDS), np.uint64)
    for position, content in enumerate(contents):
        minhash.clear()
        hashes = [_hashes(name, text, of_characters) for name, texts in content.items() for text in texts]
        minhash.update_batch(np.concatenate(hashes).tolist() if hashes else [])
        keys[position] = minhash.hashvalues.reshape(BANDS, BAND_ROWS).astype(np.uint64) @ of_bands

    buckets = np.empty(keys.shape, np.int64)
    for band in range(BANDS):
        _, numbers, sizes = np.unique(keys[:, band], return_inverse=True, return_counts=True)
        buckets[:, band] = np.where(sizes[numbers] > 1, band * len(contents) + numbers, -1)
    return buckets


def _hashes(name: str, text: str, multipliers: Any) -> Any:
    """uint32 array of the text's shingles, each hashed together with its field's name."""
    import numpy as np

    points = np.frombuffer(normalised(text).ljust(SHINGLE, "\0").encode("utf-32-le", "surrogatepass"), np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(points, SHINGLE).astype(np.uint64)
    field = np.uint64(zlib.crc32(name.encode())) * multipliers[SHINGLE : SHINGLE + 1]
    return ((windows @ multipliers[:SHINGLE] + field) >> np.uint64(32)).astype(np.uint32)
