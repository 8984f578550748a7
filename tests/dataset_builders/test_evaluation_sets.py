"""Files of every known shape are read as evaluation sets, and prompts fall into the texts that a row may equal."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.contamination import contaminated
from dataset_builders.evaluation_sets import read_evaluation_sets, segments
from dataset_builders.near_duplicates import Content

TITLE = "Brindlewick oak step stool with two treads and a folding handle for small kitchens"
QUERY = "step stool with handle"


def numbered(count: int, start: int = 0) -> str:
    """So many words that stand nowhere else."""
    return " ".join(f"w{number}" for number in range(start, start + count))


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


@pytest.mark.parametrize("name", ["a.tsv", "a.csv.gz", "a.ndjson", "A.JSONL", "a.jsonl.zst", "a.txt", "a.TXT.gz"])
def test_no_format_is_passed_over_without_a_word(tmp_path: Path, name: str) -> None:
    import pyarrow as pa

    content = (
        f"query\ttitle\n{QUERY}\t{TITLE}\n" if "tsv" in name or "txt" in name.lower() else f"query,title\n{QUERY},{TITLE}\n"
    )
    if "json" in name.lower():
        content = json.dumps({"query": QUERY, "title": TITLE})
    packed = {"gz": gzip.compress, "zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}.get(
        name.rsplit(".", maxsplit=1)[-1], bytes
    )
    (tmp_path / name).write_bytes(packed(content.encode()))
    write_lines(tmp_path / "other.json", [{"text": numbered(20)}])
    assert found_in(tmp_path, {"query": (QUERY,), "product": (TITLE,)}) == [(name.split(".", maxsplit=1)[0], "same text")]


def test_tables_beside_parquet_files_are_read_and_metadata_is_not(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_lines(tmp_path / "set" / "more.jsonl", [{"text": TITLE}])
    write_lines(tmp_path / "set" / "dataset_infos.json", [{"text": numbered(20)}])
    pq.write_table(pa.table({"text": [numbered(20, 100)]}), tmp_path / "set" / "test.parquet")
    assert [sorted(evaluation.items) for evaluation in read_evaluation_sets(tmp_path)] == [[(TITLE,), (numbered(20, 100),)]]


@pytest.mark.parametrize("name", ["set.xlsx", "set/test.xlsx"])
def test_a_workbook_among_evaluation_sets_is_refused(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "other.json", [{"text": TITLE}])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(
        UserError, match=f"The evaluation set {name} is a zip archive or an Excel workbook; .* save the sheet as CSV"
    ):
        read_evaluation_sets(tmp_path)


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
