"""Decontamination: finds train rows that an evaluation set holds, by all of their texts or by 13 words in a row.

"same text": all texts of the row are segments of one and the same evaluation item, and together they have at least 5 words. It
finds short rows, such as a query and a title, that no run of 13 words can find.

"13-gram": 13 consecutive words of one of the row's texts are consecutive in a segment. 13-grams that stand in more than 10 of
the rows to train on are boilerplate and do not count. Both numbers are those of Brown et al. 2020, appendix C
(arXiv:2005.14165).
"""

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import compress
from pathlib import Path
from typing import Any

from common.errors import UserError
from dataset_builders.near_duplicates import Content, normalised
from dataset_builders.raw_files import format_of
from dataset_builders.records import Rejected, csv_rows, json_values, parquet_rows
from dataset_builders.text import clean

GRAM = 13
"""Words in a row that make a hit."""

MOST_ROWS = 10
"""A 13-gram in more rows to train on than this is boilerplate."""

LEAST_WORDS = 5
"""A row of fewer words is too common to be called the same as another."""

ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz", ".csv", ".parquet")

_CJK = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han characters and kana: no spaces are written between them, so each is a word."""

_WORDS = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_LINE_START = re.compile(r"(?:[-*•]|\(?\w{1,2}[.):])\s+")
_LABEL = re.compile(r"[^:：]{1,40}(?::\s+|：\s*)")
_QUOTED = re.compile(r"""(?<!\w)(["'])(.{1,400}?)\1(?!\w)|“(.{1,400}?)”""")
_TRAIN = re.compile(r"(?<![a-z])train(?:ing)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class EvaluationSet:
    """What must not be trained on. An item holds the texts of one question; `skipped` records could not be read. Items may be
    an iterator, which the first search uses up."""

    name: str
    items: Iterable[tuple[str, ...]]
    skipped: int = 0


@dataclass(frozen=True)
class HashedRows:
    """What a search asks of rows: uint64 hashes of each one's normalised texts and of their 13-grams, one row's behind
    another's; how many of both it has, and how many words, int64 (rows,) each."""

    texts: Any
    text_counts: Any
    grams: Any
    gram_counts: Any
    words: Any


def contaminated(contents: Sequence[Content], sets: Sequence[EvaluationSet]) -> list[tuple[str, str] | None]:
    """For each row to train on, the name of the first set that holds it and the rule that says so; None for a clean row.

    Hashes of texts, words and 13-grams have 64 bits and are the same on every machine.
    """
    return search([(0, hash_rows(contents))], len(contents), sets)


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


def search(parts: Iterable[tuple[int, HashedRows]], number: int, sets: Sequence[EvaluationSet]) -> list[tuple[str, str] | None]:
    """The same for rows in parts, each with the place of its first row, in any order. One part is held in memory at a time."""
    import numpy as np

    index = _Index.of(sets)
    same, rows, places = np.empty(number, np.int64), [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start, part in parts:
        same[start : start + len(part.words)] = index.sets_with_all(part)
        row, place = index.shared_grams(part)
        rows.append(row + start)
        places.append(place)
    shared = index.sets_with_a_gram(number, np.concatenate(rows), np.concatenate(places))
    result: list[tuple[str, str] | None] = []
    for by_text, by_gram in zip(same.tolist(), shared.tolist(), strict=True):
        found = min(by_text, by_gram)
        rule = "same text" if by_text <= by_gram else f"{GRAM}-gram"
        result.append((sets[found].name, rule) if found < len(sets) else None)
    return result


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
    def of(cls, sets: Sequence[EvaluationSet]) -> "_Index":
        import numpy as np

        hashes, items, set_of = array("Q"), array("q"), array("q")
        per_set = [np.empty(0, np.uint64)]
        for number, evaluation in enumerate(sets):
            grams = [np.empty(0, np.uint64)]
            for item in evaluation.items:
                texts = {normalised(segment) for text in item for segment in set(segments(text))}
                hashes.extend(map(text_hash, texts))
                items.extend([len(set_of)] * len(texts))
                set_of.append(number)
                grams.append(_grams(texts))
            per_set.append(np.unique(np.concatenate(grams)))
        owners = np.repeat(np.arange(-1, len(sets)), [len(grams) for grams in per_set])
        distinct, first = np.unique(np.concatenate(per_set), return_index=True)
        found = np.array(hashes, np.uint64)
        order = np.argsort(found, kind="stable")
        of_texts, of_sets = np.array(items, np.int64)[order], np.array(set_of, np.int64)
        return cls(found[order], of_texts, of_sets, distinct, owners[first], len(sets))

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

    def sets_with_a_gram(self, number: int, rows: Any, places: Any) -> Any:
        """int64 (number,): per row the first set that shares a 13-gram with it which is no boilerplate."""
        import numpy as np

        rare = np.bincount(places, minlength=len(self.grams))[places] <= MOST_ROWS
        found = np.full(number, self.sets, np.int64)
        np.minimum.at(found, rows[rare], self.owners[places[rare]])
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


def segments(text: str) -> Iterator[str]:
    """The parts of a prompt that a row's text may equal; one may come more than once.

    They are the whole, every line, a line without its list mark, field label and quotes, and what is quoted in it. Of JSON,
    which ECInstruct puts into its prompts, they are those of the strings in it.
    """
    for part in _without_json(text):
        lines = [line for line in (clean(line, len(line) + 1) for line in part.splitlines()) if line]
        yield " ".join(lines)
        for line in lines:
            item = line[mark.end() :] if (mark := _LINE_START.match(line)) else line
            value = item[label.end() :] if (label := _LABEL.match(item)) else item
            yield from (line, item, value)
            yield from _without_json(value)
            yield from (quoted[2] or quoted[3] for quoted in _QUOTED.finditer(line))


def _without_json(text: str) -> list[str]:
    """The strings of the JSON value that the text begins with, then the rest; the text itself where it begins with none."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return [text]
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return [text]
    return [*_strings(value), text[end:].strip()]


def _strings(value: Any) -> list[str]:
    """Every string in a record in order, at any depth, without the names of its fields."""
    found, left = [], [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict | list | tuple):
            left.extend(reversed(list(part.values() if isinstance(part, dict) else part)))
    return found


def read_evaluation_sets(folder: Path) -> list[EvaluationSet]:
    """A set for every file or folder straight below `folder`, in order of their names.

    JSON lists, JSON lines, CSV and Parquet are read; an item is a record, and its texts are all strings in it. That is enough
    for ShopBench, ECInstruct, Shopping MMLU and this project's datasets. Where records say `split: test`, only those of the
    file count; where a name says "train", none. In a folder with Parquet files all others are taken for metadata.
    Raises UserError where there is nothing to read, or a set of which nothing can be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give one that holds evaluation sets, each in a file or folder of its own.")
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
        sets = [_read_set(entry, files) for entry in entries if (files := _files(entry))]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}. Make it readable, or remove it.") from None
    if not sets:
        raise UserError(
            f"{folder} holds no evaluation set. Put each into a file or folder of its own there: {', '.join(ENDINGS)}; "
            'files with "train" in their names are not read.'
        )
    for evaluation in sets:
        if not evaluation.items:
            raise UserError(
                f"No record of the evaluation set {evaluation.name} in {folder} can be read. "
                "Mend it, or take it out of the folder."
            )
    return sets


def _files(entry: Path) -> list[Path]:
    paths = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
    files = [
        path
        for path in paths
        if path.name.endswith(ENDINGS)
        and path.is_file()
        and not any(part.startswith((".", "_")) or _TRAIN.search(part) for part in path.relative_to(entry.parent).parts)
    ]
    return [path for path in files if path.suffix == ".parquet"] or files


def _read_set(entry: Path, files: list[Path]) -> EvaluationSet:
    ending = next((ending for ending in ENDINGS if entry.is_file() and entry.name.endswith(ending)), "")
    items: list[tuple[str, ...]] = []
    skipped = 0
    for path in files:
        texts, is_test = [], []
        for record in _records(path):
            found = () if isinstance(record, Rejected) else tuple(_strings(record))
            if found:
                texts.append(found)
                is_test.append(isinstance(record, dict) and record.get("split") == "test")
            else:
                skipped += 1
        items += compress(texts, is_test) if any(is_test) else texts
    return EvaluationSet(entry.name.removesuffix(ending), items, skipped)


def _records(path: Path) -> Iterator[Any]:
    readers: dict[str | None, Callable[[Path], Iterator[tuple[int, Any]]]] = {"parquet": parquet_rows, "csv": csv_rows}
    return (record for _, record in readers.get(format_of(path), json_values)(path))
