"""Every rule of the ShopBench scorer as a case worked out by hand, and what holds for any text."""

import ast
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.scoring import ndcg
from eval_tasks.metrics.embeddings import SENTENCE_MODELS
from eval_tasks.metrics.shopbench import (
    PARSERS,
    TASK_TYPES,
    TEXT_METRICS,
    entity_counts,
    hit_rate_at_3,
    parse_entities,
    parse_ranking,
    parse_retrieval,
    says_nothing,
)

CASES = json.loads((Path(__file__).parents[1] / "cases" / "samples.json").read_text(encoding="utf-8"))
ANY_TEXT = st.text() | st.text(alphabet="0123456789,. ½²٣[]'\"()-\n", max_size=60)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_sample_is_read_and_scored_as_worked_out_by_hand(case: dict[str, Any]) -> None:
    parsed = PARSERS[case["task_type"]](case["text"])
    score = TEXT_METRICS[case["metric"]](parsed, case["truth"])

    assert parsed == case["parsed"]
    assert (list(score) if isinstance(score, tuple) else score) == pytest.approx(case["score"], abs=1e-12)


def test_cases_cover_every_metric_but_the_embedding_ones() -> None:
    assert {case["metric"] for case in CASES} == set(TEXT_METRICS) == set(TASK_TYPES) - set(SENTENCE_MODELS)


def test_ndcg_leaves_the_weights_in_their_order() -> None:
    weights = [0.0, 1.0, 0.1]

    ndcg([2, 3, 1], weights)

    assert weights == [0.0, 1.0, 0.1]


@given(text=ANY_TEXT, weights=st.lists(st.sampled_from([0, 0.01, 0.1, 1, 1.0]), min_size=1, max_size=7))
def test_ndcg_of_any_text_lies_between_0_and_1_unless_0_and_5_share_a_weight(text: str, weights: list[float]) -> None:
    order = parse_ranking(text)

    score = ndcg(order, weights)

    assert score >= 0
    assert score <= 1 + 1e-12 or (0 in order and len(weights) in order)


@given(text=ANY_TEXT, truth=st.lists(st.integers(1, 15), min_size=1, unique=True))
def test_hit_rate_of_any_text_lies_between_0_and_1(text: str, truth: list[int]) -> None:
    assert 0 <= hit_rate_at_3(parse_retrieval(text), truth) <= 1


@given(text=ANY_TEXT, truth=st.lists(st.text(max_size=5), unique_by=str.lower))
def test_entity_counts_add_up_to_what_was_predicted_and_what_was_true(text: str, truth: list[str]) -> None:
    entities = parse_entities(text)

    hits, false_positives, false_negatives = entity_counts(entities, truth)

    assert hits + false_positives == len(entities)
    assert hits + false_negatives == len(truth)
    assert min(hits, false_positives, false_negatives) >= 0


# --- Parsers ---


@pytest.mark.parametrize(
    ("task_type", "text", "parsed"),
    [
        ("multiple-choice", " " * 5000 + "1", -1),
        ("retrieval", "x" * 4998 + "1,2", [1]),
        ("ranking", "x" * 4999 + "12", [1]),
        ("named_entity_recognition", "a," + "b" * 5000, ["a", "b" * 4998]),
        ("generation", "a" * 6000, "a" * 5000),
        ("retrieval", "1" * 5000, []),
    ],
)
def test_only_the_first_5000_characters_count(task_type: str, text: str, parsed: Any) -> None:
    assert PARSERS[task_type](text) == parsed


@pytest.mark.parametrize(
    "text", ["[" * 5000, "(" * 5000, "-" * 4999 + "1", "1+" * 2500, "{[]: 1}", "\0", "lambda: 0", "[0] * 9", "9" * 4999]
)
def test_what_breaks_pythons_parser_is_split_at_commas(text: str) -> None:
    assert parse_entities(text) == [text.strip()]


@pytest.mark.parametrize("task_type", PARSERS)
@given(text=ANY_TEXT)
def test_no_text_makes_a_parser_raise(task_type: str, text: str) -> None:
    json.dumps(PARSERS[task_type](text))


@given(st.text(alphabet="ab,'\"[]()\\\n #", max_size=30))
def test_a_text_without_a_bracket_is_no_list(text: str) -> None:
    try:
        literal = ast.literal_eval(text)
    except Exception:
        literal = None

    if isinstance(literal, list) and all(isinstance(entity, str) for entity in literal):
        assert parse_entities(text) == literal
    else:
        assert parse_entities(text) == [part.strip() for part in text.split(",") if part.strip()]


@pytest.mark.parametrize("task_type", PARSERS)
@pytest.mark.parametrize(
    "text", ["", " ", "\0" * 9, "1," * 50_000, "[" * 100_000, "9" * 100_000, "\ud800", "\x1b[2J" * 9, "\u202e1"]
)
def test_hostile_texts_are_read_in_no_time(task_type: str, text: str) -> None:
    started = time.process_time()

    json.dumps(PARSERS[task_type](text))

    assert time.process_time() - started < 1


@pytest.mark.parametrize(("task_type", "text"), [("multiple-choice", "A"), ("ranking", "1,1"), ("retrieval", "none")])
def test_what_cannot_be_read_says_nothing(task_type: str, text: str) -> None:
    assert says_nothing(PARSERS[task_type](text))


@pytest.mark.parametrize("task_type", PARSERS)
def test_an_empty_answer_says_nothing(task_type: str) -> None:
    assert says_nothing(PARSERS[task_type](" \n"))
    assert not says_nothing(PARSERS[task_type]("0"))
