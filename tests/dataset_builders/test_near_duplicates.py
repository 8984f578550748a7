"""What is nearly the same, against a brute force that compares every pair with Python's own sets."""

import unicodedata
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.near_duplicates import (
    BAND_ROWS,
    BANDS,
    Content,
    first_of_alike,
    keys_and_sketches,
    may_be_alike,
    normalised,
)

LONG = "Everlast leather trail running shoes for women with reflective laces, wide fit, breathable lining and cork sole"


def keep_mask(contents: Sequence[Content]) -> list[bool]:
    keys, sketches = keys_and_sketches(contents)
    kept = first_of_alike(len(contents), lambda band: keys[:, band], sketches.__getitem__, contents.__getitem__)
    mask: list[bool] = kept.tolist()
    return mask


def similarity(one: tuple[str, ...], other: tuple[str, ...]) -> Fraction:
    """Jaccard similarity of two fields, from its definition."""
    a, b = ({part for text in texts for part in grams(normalised(text))} for texts in (one, other))
    return Fraction(len(a & b), len(a | b)) if a | b else Fraction(1)


def grams(text: str) -> list[str]:
    return [text] if len(text) < 5 else [text[at : at + 5] for at in range(len(text) - 4)]


def nearly_same(one: Content, other: Content) -> bool:
    return set(one) == set(other) and all(similarity(one[name], other[name]) >= Fraction(4, 5) for name in one)


WORDS = ("red", "blue", "shoe", "shoes", "running shoes for women", "leather handbag with long strap", "Größe 42", "靴")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
CONTENTS = st.dictionaries(
    st.sampled_from(("query", "product")), st.lists(TEXTS, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2
)


@given(st.lists(CONTENTS, max_size=12))
def test_whatever_is_dropped_is_nearly_the_same_as_an_earlier_kept_one(contents: list[Content]) -> None:
    kept = keep_mask(contents)
    for position, content in enumerate(contents):
        like = [earlier for earlier in range(position) if kept[earlier] and nearly_same(content, contents[earlier])]
        assert kept[position] or like


@given(st.lists(CONTENTS, max_size=12))
def test_what_is_kept_holds_no_two_that_are_the_same(contents: list[Content]) -> None:
    kept = [content for content, first in zip(contents, keep_mask(contents), strict=True) if first]
    assert all(one != other for at, one in enumerate(kept) for other in kept[:at])
    assert not contents or keep_mask(contents)[0]


@given(st.lists(CONTENTS, min_size=1, max_size=12))
def test_the_sketches_of_what_is_nearly_the_same_never_differ_by_too_much(contents: list[Content]) -> None:
    sketches = keys_and_sketches(contents)[1]
    for one, sketch in zip(contents, sketches, strict=True):
        alike = [nearly_same(one, other) for other in contents]
        assert not (alike & ~may_be_alike(sketch, sketches)).any()


def test_no_content_is_read_that_a_sketch_tells_apart() -> None:
    products = ("Cork yoga mat, extra thick", "Three steel mixing bowls with lids", "A lamp for reading in bed, dimmable")
    contents: list[Content] = [{"product": (LONG,), "other_product": (other,)} for other in (*products, products[1])]
    keys, sketches = keys_and_sketches(contents)
    keys[:] = 0  # one bucket
    read: list[int] = []

    def content_of(position: int) -> Content:
        read.append(position)
        return contents[position]

    mask = first_of_alike(len(contents), lambda band: keys[:, band], sketches.__getitem__, content_of)
    assert mask.tolist() == [True, True, True, False]
    assert read == [3, 1]


@given(st.lists(CONTENTS, max_size=8))
def test_a_second_pass_drops_nothing(contents: list[Content]) -> None:
    kept = [content for content, first in zip(contents, keep_mask(contents), strict=True) if first]
    assert all(keep_mask(kept))


@given(st.lists(CONTENTS, max_size=8), st.data())
def test_a_repetition_at_the_end_changes_nothing_before_it(contents: list[Content], data: st.DataObject) -> None:
    if contents:
        again = data.draw(st.sampled_from(contents))
        assert keep_mask([*contents, again]) == [*keep_mask(contents), False]


def test_few_pairs_above_the_threshold_are_missed() -> None:
    """Texts that share 9 of 10 characters' shingles: the bands' formula leaves one in a thousand at 0.8, fewer above."""
    contents: list[Content] = []
    for number in range(200):
        stem = "".join(chr(0x4E00 + (number * 211 + at * 17) % 20000) for at in range(100))
        contents += [{"review": (stem,)}, {"review": (stem + f" end {number}",)}]
    pairs = list(zip(contents[::2], contents[1::2], strict=True))
    assert all(Fraction(4, 5) <= similarity(one["review"], other["review"]) < 1 for one, other in pairs)
    assert sum(keep_mask(contents)) <= 202


@pytest.mark.parametrize("s", [0.8, 0.9])
def test_the_documented_recall_is_that_of_the_bands(s: float) -> None:
    from dataset_builders import near_duplicates

    recall = 1 - (1 - s**BAND_ROWS) ** BANDS
    assert f"{recall:.{4 if s == 0.8 else 7}f}" in str(near_duplicates.__doc__)


@pytest.mark.parametrize(
    "other",
    [
        {"query": ("RED  Shoes!",), "product": (LONG.upper(),)},
        {"product": (LONG,), "query": ("red shoes",)},
        {"query": ("red shoes",), "product": (LONG + ".",)},
        {"query": ("red shoes",), "product": (LONG.replace("cork sole", "cork soles"),)},
        {"query": ("ｒｅｄ shoes",), "product": (LONG,)},  # full width
    ],
    ids=["case", "order_of_fields", "punctuation", "one_letter_of_many", "compatibility_forms"],
)
def test_small_changes_make_a_near_duplicate(other: Content) -> None:
    assert keep_mask([{"query": ("red shoes",), "product": (LONG,)}, other]) == [True, False]


@pytest.mark.parametrize(
    "other",
    [
        {"query": ("blue shoes",), "product": (LONG,)},
        {"query": ("red shoes",), "product": ("Another thing altogether",)},
        {"question": ("red shoes",), "product": (LONG,)},
        {"query": ("red shoes",), "product": (LONG,), "locale": ("us",)},
        {"product": ("red shoes",), "query": (LONG,)},
    ],
    ids=["one_short_field", "one_long_field", "another_name", "one_field_more", "fields_swapped"],
)
def test_one_field_that_differs_keeps_both(other: Content) -> None:
    assert keep_mask([{"query": ("red shoes",), "product": (LONG,)}, other]) == [True, True]


def test_items_of_a_list_may_come_in_any_order() -> None:
    one, other = ("fits well and is warm", "broke after a week"), ("broke after a week", "fits well and is warm")
    assert keep_mask([{"snippets": one}, {"snippets": other}, {"snippets": one[:1]}]) == [True, False, True]


def test_texts_without_letters_differ_by_what_they_are() -> None:
    assert keep_mask([{"review": ("👍",)}, {"review": ("👎",)}, {"review": (" 👍",)}]) == [True, True, False]


def test_contents_without_text_are_all_kept() -> None:
    assert keep_mask([{}, {}, {"titles": ()}, {"titles": ()}]) == [True] * 4
    assert keep_mask([]) == []


def test_the_first_of_each_kind_stays_and_what_is_like_a_dropped_one_only_may_stay() -> None:
    """Greedy: the third is like the second, which is dropped, but not like the first."""
    texts = [LONG + " " + tail for tail in ("", "with spare laces", "with spare laces and a cotton bag")]
    contents: list[Content] = [{"product": (text,)} for text in texts]
    assert nearly_same(contents[0], contents[1])
    assert nearly_same(contents[1], contents[2])
    assert not nearly_same(contents[0], contents[2])
    assert keep_mask(contents) == [True, False, True]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Red-SHOES_(42)! ", "red shoes 42"),
        ("STRASSE straße", "strasse strasse"),
        ("ﬁt ½ Ⅳ", "fit 1 2 iv"),
        (unicodedata.normalize("NFD", "Café"), "café"),
        ("👍", "👍"),
        ("", ""),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected
