"""What an evaluation set holds is found in its prompts, files of every known shape are read, and nothing else is taken away."""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.contamination import EvaluationSet, contaminated, read_evaluation_sets, segments
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


@given(st.text(alphabet="[]{}\"':,&<>ab1.-\n “”", max_size=80))
def test_any_text_has_segments_and_they_are_parts_of_it(text: str) -> None:
    letters = [char for char in text if char.isalnum()]
    for segment in segments(text):
        assert all(char in letters for char in segment if char.isalnum())


def test_segments_of_a_prompt() -> None:
    found = list(dict.fromkeys(segments('Which fits?\n\n1. Query: "oak stool"\nAnswer: ')))
    assert found == [
        'Which fits? 1. Query: "oak stool" Answer:',
        "Which fits?",
        '1. Query: "oak stool"',
        'Query: "oak stool"',
        '"oak stool"',
        "oak stool",
        "Answer:",
    ]


@pytest.mark.parametrize("text", ["[" * 100_000, "[a: " * 50_000, '{"a": ' * 50_000, '"a ' * 50_000, "1. " * 50_000])
def test_hostile_text_is_read_in_reasonable_time(text: str) -> None:
    assert list(segments(text))


# Reading


def write_lines(path: Path, records: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def found_in(folder: Path, content: Content) -> list[tuple[str, str] | None]:
    return contaminated([content], read_evaluation_sets(folder))


def test_shopbench(tmp_path: Path) -> None:
    prompt = f"Rank the products for the query.\nQuery: {QUERY}\nProduct List:\n1. A lamp\n2. {TITLE}\nOutput: "
    record = {"input_field": prompt, "output_field": [2, 1], "task_name": "task1", "metric": "ndcg"}
    write_lines(tmp_path / "shopbench" / "development.json", [record])
    assert found_in(tmp_path, {"query": (QUERY,)}) == [None]
    assert found_in(tmp_path, {"query": (QUERY,), "product": (TITLE,)}) == [("shopbench", "same text")]


def test_ecinstruct_with_its_column_split(tmp_path: Path) -> None:
    def record(split: str, query: str) -> dict[str, Any]:
        return {
            "instruction": "Relevant?",
            "input": json.dumps({"query": query, "product": TITLE}),
            "output": "A",
            "split": split,
        }

    (tmp_path / "ecinstruct.json").write_text(json.dumps([record("train", "an oak ladder"), record("test", QUERY)]))
    assert found_in(tmp_path, {"query": (QUERY,), "product": (TITLE[:20],)}) == [None]
    assert found_in(tmp_path, {"query": (QUERY,), "product": (TITLE,)}) == [("ecinstruct", "same text")]
    assert [len(evaluation.items) for evaluation in read_evaluation_sets(tmp_path)] == [1]
    write_lines(tmp_path / "ecinstruct.json", [record("dev", QUERY), record("val", QUERY)])
    assert [len(evaluation.items) for evaluation in read_evaluation_sets(tmp_path)] == [2]


def test_ecinstruct_with_values_that_are_not_a_number(tmp_path: Path) -> None:
    pair = f'{{"product 1": {{"title": "{TITLE}", "description": NaN}}, "product 2": {{"title": "{QUERY}"}}}}'
    (tmp_path / "matching.json").write_text(json.dumps([{"instruction": "Same?", "input": pair, "price": float("nan")}]))
    assert found_in(tmp_path, {"titles": (TITLE, QUERY)}) == [("matching", "same text")]


def test_shopping_mmlu(tmp_path: Path) -> None:
    data = tmp_path / "shopping_mmlu" / "data"
    write_lines(data / "ranking" / "a_dataset.json", [{"input_field": f"Query: {QUERY}\n1. {TITLE}", "target_field": [1]}])
    question = "Which of these stools has two treads and a handle"
    write_csv(data / "multiple_choice" / "b_dataset.csv", [["question", "choices", "answer"], [question, f"['{TITLE}']", "0"]])
    assert found_in(tmp_path, {"query": (QUERY,), "product": (TITLE,)}) == [("shopping_mmlu", "same text")]
    assert found_in(tmp_path, {"question": (question,), "product": (TITLE,)}) == [("shopping_mmlu", "same text")]


def test_a_dataset_of_this_project_counts_by_its_test_split_alone(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = tmp_path / "ours" / "data" / "review_rating"
    data.mkdir(parents=True)
    for split, text in (("train", numbered(20)), ("test", TITLE)):
        turns = [{"role": "user", "content": f"How many stars?\n{text}\nAnswer: "}]
        pq.write_table(pa.table({"prompt": [turns], "number": [1]}), data / f"{split}-00000-of-00001.parquet")
    (tmp_path / "ours" / "manifest.json").write_text('{\n "seed": 0\n}\n')
    assert found_in(tmp_path, {"review": (TITLE,)}) == [("ours", "same text")]
    assert found_in(tmp_path, {"review": (numbered(20),)}) == [None]
    assert [(len(evaluation.items), evaluation.skipped) for evaluation in read_evaluation_sets(tmp_path)] == [(1, 0)]


def test_sets_are_named_by_file_or_folder_and_come_in_order(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl.gz", [{"text": "b"}])
    write_lines(tmp_path / "c.v2.jsonl", [{"text": "c"}])
    write_csv(tmp_path / "a" / "deep" / "x.csv", [["text"], ["a"]])
    write_lines(tmp_path / "a" / "y.json", [{"text": "a2"}, {"text": ["a3", {"more": "a4"}]}])
    for ignored in (".hidden.json", "__MACOSX/x.json", "notes.txt", "train.json", "d/train-00000.json"):
        write_lines(tmp_path / ignored, [{"text": "no"}])
    assert [(evaluation.name, evaluation.items) for evaluation in read_evaluation_sets(tmp_path)] == [
        ("a", [("a",), ("a2",), ("a3", "a4")]),
        ("b", [("b",)]),
        ("c.v2", [("c",)]),
    ]


def test_records_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text('{"text": "good"}\nnot json\n{"number": 1}\n{"text": "good"}\n')
    (tmp_path / "list.json").write_text('\ufeff [{"text": "good"}, 7, "good", null]', encoding="utf-8")
    read = [(evaluation.name, len(evaluation.items), evaluation.skipped) for evaluation in read_evaluation_sets(tmp_path)]
    assert read == [("lines", 2, 2), ("list", 2, 2)]


def test_a_record_nested_beyond_measure_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"text": "good"}\n{"text": ' + "[" * 900 + '"deep"' + "]" * 900 + "}\n")
    assert read_evaluation_sets(tmp_path)[0].items == [("good",), ("deep",)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "holds no evaluation set"),
        ("notes.txt", b"hello", "holds no evaluation set"),
        ("train.json", b'{"text": "a"}', "holds no evaluation set"),
        ("broken.json", b"[{", "No record of the evaluation set broken"),
        ("empty.jsonl", b"", "No record of the evaluation set empty"),
        ("broken.parquet", b"PAR1", "No record of the evaluation set broken"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, name: str | None, content: bytes, message: str) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_evaluation_sets(tmp_path)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        read_evaluation_sets(tmp_path / "missing")
