"""What an evaluation set holds is found in its prompts, and nothing else is taken away."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.contamination import contaminated, hash_rows, hash_set, search
from dataset_builders.evaluation_sets import EvaluationSet
from dataset_builders.near_duplicates import Content

SAME, GRAM = ("held out", "same text"), ("held out", "13-gram")

TITLE = "Brindlewick oak step stool with two treads and a folding handle for small kitchens"
QUERY = "step stool with handle"

WORDS = st.sampled_from(("lamp", "stool", "kettle", "oak", "red", "blue", "small", "large", "cotton", "linen", "wool", "steel"))
TEXTS = st.lists(WORDS, min_size=5, max_size=30).map(" ".join)


def hits(contents: list[Content], *items: tuple[str, ...]) -> list[tuple[str, str] | None]:
    return contaminated(contents, [EvaluationSet("held out", list(items))])


def numbered(count: int, start: int = 0) -> str:
    """So many words that stand nowhere else."""
    return " ".join(f"w{number}" for number in range(start, start + count))


@pytest.mark.parametrize(
    "item",
    [
        (f"Query: {QUERY}\nProduct: {TITLE}\nAnswer: ",),
        (QUERY, TITLE),
        (f"1. {TITLE}\n2. {QUERY}\nOutput:",),
        (f"- {TITLE}\n* {QUERY}",),
        (f"(a) {TITLE}\nB: {QUERY}",),
        (f"1) Title: {TITLE}\n2) “{QUERY}”",),
        (f"A customer searched for \"{QUERY}\" and was shown '{TITLE}'. Which fits?",),
        (f"QUERY: {QUERY.upper()}!\nProduct:   {TITLE.replace(' ', ', ')}...",),
        (f"クエリ：{QUERY}\n商品：{TITLE}",),
        (json.dumps({"query": QUERY, "product title": TITLE}) + '\noptions: ["A: yes", "B: no"]', "A: yes"),
        ("Look at these.\noptions: " + json.dumps([QUERY, TITLE]).replace("stool", "st\\u006fol"),),
        (f"['{QUERY}', '{TITLE}']",),
        (f"Query: <b>{QUERY}</b>\nProduct: {TITLE.replace(' ', '&nbsp;')}",),
    ],
    ids=[
        "labels", "bare", "numbers", "bullets", "letters", "number_and_label", "quotes", "case_and_punctuation",
        "full_width_colon", "json", "json_behind_a_label", "python_list", "markup",
    ],
)  # fmt: skip
def test_a_row_is_found_in_whatever_way_the_item_puts_it(item: tuple[str, ...]) -> None:
    assert hits([{"query": (QUERY,), "product": (TITLE,)}], item) == [SAME]


@pytest.mark.parametrize(
    "items",
    [
        [(f"Query: {QUERY}",), (f"Product: {TITLE[:40]}",)],
        [(f"Query: {QUERY} black\nProduct: {TITLE[:40]}",)],
        [(f"Query: {QUERY}\nProduct: another",)],
        [],
    ],
    ids=["in_two_items", "longer_line", "one_text_of_two", "nothing"],
)
def test_a_row_that_no_item_holds_whole_is_clean(items: list[tuple[str, ...]]) -> None:
    assert hits([{"query": (QUERY,), "product": (TITLE[:40],)}], *items) == [None]


def test_fewer_than_five_words_are_too_common_to_be_the_same() -> None:
    item = ("one two three", "four", "five")
    assert hits([{"a": ("one two three",), "b": ("four",)}], item) == [None]
    assert hits([{"a": ("one two three",), "b": ("four", "five")}], item) == [SAME]
    assert hits([{"a": ("赤い靴紐",)}], ("赤い靴紐",)) == [None]
    assert hits([{"a": ("赤い靴の紐",)}], ("赤い靴の紐",)) == [SAME]


@pytest.mark.parametrize(("shared", "expected"), [(12, None), (13, GRAM), (14, GRAM)])
def test_thirteen_words_in_a_row_are_a_hit_and_twelve_are_not(shared: int, expected: object) -> None:
    row = f"mine {numbered(shared)} mine too"
    assert hits([{"review": ("short", row)}], (f"Review: theirs\n{numbered(shared).upper()} theirs",)) == [expected]


@pytest.mark.parametrize(("shared", "expected"), [(12, None), (13, GRAM)])
def test_each_chinese_or_japanese_character_is_a_word(shared: int, expected: object) -> None:
    run = "赤い靴の紐は丈夫で長持ちします"[:shared]
    assert hits([{"review": ("私は" + run + "ね",)}], ("彼の" + run + "よ",)) == [expected]


def test_thirteen_words_must_be_of_one_text_and_in_order() -> None:
    item = (numbered(20),)
    assert hits([{"a": (numbered(7),), "b": (numbered(7, 7),)}], item) == [None]
    assert hits([{"a": (" ".join(reversed(numbered(20).split())),)}], item) == [None]


def test_a_run_of_words_is_found_across_the_lines_of_an_item() -> None:
    assert hits([{"review": (numbered(20) + " …",)}], ("\n".join(numbered(30).split()),)) == [GRAM]


def test_a_run_in_more_than_ten_rows_is_boilerplate() -> None:
    rows: list[Content] = [{"review": (f"{numbered(13)} x{number}",)} for number in range(11)]
    item = (numbered(13) + " theirs",)
    assert hits(rows[:10], item) == [GRAM] * 10
    assert hits(rows, item) == [None] * 11
    # A row counts once however often it says it, and its other runs still count.
    assert hits([*rows[:9], {"review": (f"{numbered(13)} and {numbered(13)}",)}], item) == [GRAM] * 10
    other = {"review": (f"{numbered(13)} {numbered(13, 50)}",)}
    assert hits([*rows, other], item, (numbered(13, 50),)) == [None] * 11 + [GRAM]


@pytest.mark.parametrize(("rows", "hit"), [(10, 1), (11, -1)])
def test_rows_in_parts_in_any_order_are_found_as_all_at_once(rows: int, hit: int) -> None:
    """Boilerplate is what more than ten rows of all parts share."""
    contents: list[Content] = [{"review": (f"{numbered(13)} x{number}",)} for number in range(rows)]
    parts = [(start, hash_rows(contents[start : start + 4])) for start in (8, 0, 4)]
    found = search(parts, rows, [hash_set(EvaluationSet("held out", [(numbered(13) + " theirs",)]))])
    assert found.tolist() == [hit] * rows


def test_boilerplate_that_is_a_whole_row_is_still_the_same_text() -> None:
    assert hits([{"review": (numbered(13),)}] * 11, (numbered(13),)) == [SAME] * 11


def test_the_first_set_is_named_and_within_it_the_whole_text_goes_first() -> None:
    run, whole = EvaluationSet("run", [(numbered(20),)]), EvaluationSet("whole", [(numbered(14), numbered(20))])
    row: Content = {"review": (numbered(14),)}
    assert contaminated([row], [run, whole]) == [("run", "13-gram")]
    assert contaminated([row], [whole, run]) == [("whole", "same text")]
    assert contaminated([row], [EvaluationSet("empty", []), whole]) == [("whole", "same text")]


def test_a_row_without_text_and_no_rows_are_clean() -> None:
    assert hits([{}, {"titles": ()}, {"review": ("",)}], ("", "👍")) == [None] * 3
    assert hits([], (TITLE,)) == []
    assert contaminated([{"product": (TITLE,)}], []) == [None]


def test_hits_count_by_set_and_rule() -> None:
    rows: list[Content] = [{"a": (TITLE,)}, {"a": (numbered(20),)}, {"a": ("something else that nobody asks",)}]
    assert Counter(filter(None, hits(rows, (TITLE, "x " + numbered(20))))) == {SAME: 1, GRAM: 1}


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(("{}", "Product: {}", "{n}. {}", '"{}"', "- Title: {}")))
def test_a_row_copied_into_an_item_is_always_found(texts: list[str], form: str) -> None:
    item = "Answer this.\n" + "\n".join(form.format(text.title() + "!", n=n) for n, text in enumerate(texts, 1)) + "\nOutput: "
    assert hits([{"texts": tuple(texts)}], (item,)) == [SAME]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, max_size=4))
def test_a_hit_means_equal_texts_or_a_shared_run(rows: list[str], items: list[str]) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[at : at + 13]) for at in range(len(words) - 12)}

    found = hits([{"review": (row,)} for row in rows], *((item,) for item in items))
    for row, hit in zip(rows, found, strict=True):
        shared = set.union(set(), *map(runs, items)) & runs(row)
        assert hit == (SAME if row in items else GRAM if shared else None)
