"""Rows in, scores out: the rules for a task and for the whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from eval_tasks.metrics.embeddings import PACKAGED_SENTENCE_MODEL, sentence_model
from eval_tasks.suites.shopbench_rows import ShopBenchRow, parse_rows, read_rows
from eval_tasks.suites.shopbench_scoring import score
from tests.eval_tasks.rows import shopbench_records, write_lines


def rows_of(records: list[dict[str, Any]]) -> list[ShopBenchRow]:
    return parse_rows([(f"line {number}", record) for number, record in enumerate(records, start=1)], "rows")


def record(truth: Any, task: str = "task1", task_type: str = "generation", metric: str = "rougel") -> dict[str, Any]:
    return {"input_field": "?", "output_field": truth, "task_name": task, "task_type": task_type, "metric": metric}


def test_a_task_of_two_metrics_is_averaged_over_its_rows() -> None:
    result = score(
        rows_of([record("a b c d", metric="bleu"), record("x y z", metric="rougel"), record("x y z", metric="rougel")]),
        ["a b c d", "x y z", "nothing"],
    )

    assert result["tasks"] == {"task1": {"metric": "bleu", "num_samples": 3, "score": pytest.approx(2 / 3), "unparsable": 0}}


def test_micro_f1_sums_counts_over_the_task_and_the_overall_score_is_the_mean_over_tasks() -> None:
    entity = ("task4", "named_entity_recognition", "micro f1")
    result = score(
        rows_of([record(["a", "b"], *entity), record(["c"], *entity), record(1, "task2", "multiple-choice", "accuracy")]),
        ["a, b", "x", "1"],
    )

    assert [sample["score"] for sample in result["samples"]] == [[2, 0, 0], [0, 1, 1], 1.0]
    assert result["tasks"]["task4"]["score"] == pytest.approx(2 / 3)
    assert result["overall"] == pytest.approx((2 / 3 + 1) / 2)


def test_an_answer_column_of_json_text_is_read_as_what_it_holds() -> None:
    plain = shopbench_records()
    encoded = [row | {"output_field": json.dumps(row["output_field"])} for row in plain]

    assert rows_of(encoded) == rows_of(plain)


def test_json_text_is_not_looked_for_in_generation_rows_beside_plain_ones() -> None:
    assert [row.truth for row in rows_of([record('"quoted"'), record("5"), record("plain")])] == ['"quoted"', "5", "plain"]


@pytest.mark.parametrize("text", ["[{}]", "[\n{}\n,{}]"])
def test_a_json_array_is_read_like_json_lines(tmp_path: Path, text: str) -> None:
    one = json.dumps(record("a"))
    path = tmp_path / "rows.json"
    path.write_text(text.format(one, one))

    assert set(read_rows(path)) == {ShopBenchRow("?", "a", "task1", "generation", "rougel")}


def test_a_byte_order_mark_and_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.json", [record("a")])
    path.write_text("\n" + path.read_text() + "\n\n", encoding="utf-8-sig")

    assert len(read_rows(path)) == 1


def test_rows_of_f1_and_of_another_metric_cannot_be_one_task() -> None:
    with pytest.raises(UserError, match="task1 has rows of micro f1 and rougel"):
        rows_of([record("a"), record(["a"], "task1", "named_entity_recognition", "micro f1")])


@pytest.fixture
def embedded() -> None:
    pytest.importorskip(PACKAGED_SENTENCE_MODEL, reason="the packaged sentence-embedding model is not installed")


@pytest.mark.usefixtures("embedded")
def test_sentence_similarity_runs_on_the_packaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTENCE_MODEL", raising=False)
    rows = rows_of([record(truth, metric="sent-transformer") for truth in ("a brass lamp", ["a brass lamp", "tax law"])])

    same, listed = (sample["score"] for sample in score(rows, ["a brass lamp", "a brass lamp"])["samples"])
    other = score(rows, ["tax law", "tax law"])["samples"][0]["score"]

    assert same == pytest.approx(1, abs=1e-6)
    assert listed == pytest.approx((same + other) / 2, abs=1e-6)
    assert 0 <= other < 0.3


@pytest.mark.usefixtures("embedded")
def test_an_embedding_does_not_depend_on_the_rows_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENTENCE_MODEL", raising=False)
    texts = ["lamp", "a very long title of a brass lamp " * 8, "teapot", "a clamp for a lamp"]
    rows = rows_of([record("a brass desk lamp", metric="sent-transformer")] * len(texts))

    together = score(rows, texts)["samples"]
    alone = [score(rows[:1], [text])["samples"][0] for text in texts]

    assert together == alone


def test_a_task_whose_model_is_missing_has_no_score_and_does_not_count(tmp_path: Path) -> None:
    rows = rows_of([record("a b c d", "task1", metric="sent-transformer"), record("a b c d", "task6", metric="rougel")])

    result = score(rows, ["a b c d", "a b c d"], sentence_model=str(tmp_path / "nowhere"))

    assert result["tasks"]["task1"]["score"] is None
    assert "nowhere" in result["tasks"]["task1"]["reason"]
    assert result["samples"][0] == {"parsed": "a b c d", "score": None}
    assert result["overall"] == 1.0


def test_the_environment_names_another_sentence_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTENCE_MODEL", "org/other")

    assert sentence_model("sent-transformer") == "org/other"
    assert sentence_model("multilingual-sent-transformer") == "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"


def test_means_are_numpys() -> None:
    truths, texts = ["a b c d e f g"] * 9, ["a", "b c", "d e f", "a b", "g", "c d e f", "a b c d e", "x", "f g"]
    result = score(rows_of([record(truth) for truth in truths]), texts)

    assert result["tasks"]["task1"]["score"] == np.mean([sample["score"] for sample in result["samples"]])
