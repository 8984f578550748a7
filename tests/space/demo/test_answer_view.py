"""How answers are turned into what a person reads."""

from dataclasses import replace

import pytest

from common.answers import gold, parse_completion, render_completion
from common.prompts import render_prompt
from common.tasks import FAMILIES, TASKS
from space.demo.answer_view import AnswerLine, answer_lines, gold_lines, grade, offered_labels, parse_partial, unparsable_reason
from space.demo.examples import read_examples

RANKING, RETRIEVAL = TASKS["query_product_ranking"], TASKS["also_buy"]
TITLES = ("red hose", "blue hose", "hose reel", "garden chair", "novel")
PROMPT = render_prompt(RANKING.templates[0], {"query": "hose", "products": TITLES})
GAINS = [1.0, 0.1, 0.01, 0.0, 0.0]


def test_a_ranking_is_read_as_the_products_in_their_new_order_and_how_far_each_went() -> None:
    read = answer_lines(RANKING, PROMPT, [5, 1, 2, 3, 4], GAINS)
    assert read[:2] == (
        AnswerLine("novel", "5", note="irrelevant", chosen=True, moved=4),
        AnswerLine("red hose", "1", note="exact", chosen=True, moved=-1),
    )
    assert [line.note for line in answer_lines(RANKING, PROMPT, [5, 1, 2, 3, 4])] == [""] * 5


def test_what_a_ranking_has_not_placed_yet_stands_behind_it_in_the_old_order() -> None:
    read = answer_lines(RANKING, PROMPT, [4])
    assert [(line.number, line.chosen, line.moved) for line in read] == [
        ("4", True, 3),
        ("1", False, None),
        ("2", False, None),
        ("3", False, None),
        ("5", False, None),
    ]
    assert [line.number for line in answer_lines(RANKING, PROMPT, None)] == list("12345")


def test_all_candidates_stay_and_tell_which_were_picked_and_which_should_have_been() -> None:
    read = answer_lines(RETRIEVAL, PROMPT, [2, 99, 4, 1], [1, 2, 3])
    assert read == (
        AnswerLine("red hose", "1", note="not counted", chosen=True),
        AnswerLine("blue hose", "2", chosen=True, right=True),
        AnswerLine("hose reel", "3", right=True),
        AnswerLine("garden chair", "4", chosen=True, right=False),
        AnswerLine("novel", "5"),
        AnswerLine("not in the list", "99", chosen=True, right=False),
    )
    assert [line.right for line in answer_lines(RETRIEVAL, PROMPT, [2])] == [None] * 5


def test_a_choice_is_read_as_the_statement_that_its_label_stands_for() -> None:
    task = TASKS["query_relation"]
    prompt = render_prompt(task.templates[0], {"query": "a", "other_query": "b", "options": ["w", "x", "y", "z"]})
    read = answer_lines(task, prompt, "2", "1", [0.1, 0.2, 0.3, 0.4])
    assert [line.text for line in read] == ["w", "x", "y", "z"]
    assert [(line.number, line.right) for line in read if line.chosen] == [("2", False)]
    assert [line.number for line in read if line.right] == ["1"]
    assert [line.probability for line in read] == [0.1, 0.2, 0.3, 0.4]


def test_only_labels_that_a_prompt_offers_can_be_chosen() -> None:
    task = TASKS["query_relation"]
    prompt = render_prompt(task.templates[0], {"query": "a", "other_query": "b", "options": ["w", "x", "y"]})
    assert offered_labels(task, prompt) == ("0", "1", "2")
    assert offered_labels(task, "no options here") == task.labels
    assert offered_labels(TASKS["review_rating"], "Review: 1. bad\n2. worse\nAnswer: ") == ("1", "2", "3", "4", "5")
    assert offered_labels(RANKING, PROMPT) == ()


def test_statements_are_found_whatever_their_field_is_called() -> None:
    task = replace(TASKS["query_relation"], templates=("{choices:0}\nAnswer: ",))
    read = answer_lines(task, "0. w\n1. x\nAnswer: ", "1")
    assert [(line.number, line.text) for line in read] == [("0", "w"), ("1", "x")]


def test_numbered_lines_inside_a_review_are_not_taken_for_options() -> None:
    read = answer_lines(TASKS["review_rating"], "Review: 1. bad zip\n2. bad seams\nAnswer: ", "2", None)
    assert [(line.text, line.number, line.chosen) for line in read] == [(label, "", label == "2") for label in "12345"]


@pytest.mark.parametrize(
    ("task", "text", "value"),
    [
        ("query_product_ranking", "", []),
        ("query_product_ranking", "3,1", [3]),
        ("query_product_ranking", "3,1,7,3,", [3, 1]),
        ("also_buy", "1", []),
        ("also_buy", "12,1", [12]),
        ("also_buy", "none", []),
        ("answer_generation", "Yes, it", "Yes, it"),
        ("answer_generation", " ", None),
        ("review_rating", "5", None),
    ],
)
def test_while_a_model_writes_only_what_is_complete_counts(task: str, text: str, value: object) -> None:
    assert parse_partial(TASKS[task], text) == value


@pytest.mark.parametrize(
    ("task", "said", "answer", "verdict", "note"),
    [
        ("review_rating", "4", "4", "correct", ""),
        ("review_rating", "5", "4", "wrong", ""),
        ("review_rating", "four stars", "4", "wrong", "unreadable"),
        ("answerability", "Yes, they do.", "yes", "correct", ""),
        ("query_product_ranking", "1,2,3,4,5", GAINS, "correct", "NDCG 1.00"),
        ("query_product_ranking", "1,2,3,5,4", GAINS, "correct", "NDCG 1.00"),
        ("query_product_ranking", "2,1,3,4,5", GAINS, "partly", "NDCG 0.67"),
        ("query_product_ranking", "1,1,1,1,1", GAINS, "wrong", "unreadable"),
        ("also_buy", "3,1", [1, 3], "correct", "2 of 2"),
        ("also_buy", "1,2,3", [1, 3], "partly", "1 of 2"),
        ("also_buy", "7", [1, 3], "wrong", "0 of 2"),
        ("also_buy", "none of them", [1, 3], "wrong", "unreadable"),
        ("query_generation", "garden hose", "garden hoses", "correct", "ROUGE-L 1.00"),
        ("query_generation", "hose", "garden hose", "partly", "ROUGE-L 0.67"),
        ("query_generation", "lamp", "garden hose", "wrong", "ROUGE-L 0.00"),
        ("query_generation", "", "garden hose", "wrong", "unreadable"),
        ("next_title_merrec", "真鍮のランプ", "真鍮のランプ", "correct", "ROUGE-L 1.00"),
    ],
)
def test_marks(task: str, said: str, answer: object, verdict: str, note: str) -> None:
    given_mark = grade(TASKS[task], parse_completion(TASKS[task], said), answer)
    assert (given_mark.verdict, given_mark.note) == (verdict, note)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_why_an_answer_cannot_be_read(family: str) -> None:
    task = next(task for task in TASKS.values() if task.family == family)
    assert unparsable_reason(task).endswith(".")
    assert "{" not in unparsable_reason(task)


def test_the_right_answer_of_every_shipped_example_is_marked_correct() -> None:
    for name, rows in read_examples().items():
        task = TASKS[name]
        for row in rows:
            value = parse_completion(task, render_completion(task, gold(task, row.answer)))
            assert grade(task, value, row.answer).verdict == "correct"
            assert not any(line.text == "not in the list" for line in gold_lines(task, row.prompt, row.answer))


def test_of_options_only_the_right_one_is_the_right_answer() -> None:
    prompt = "Which?\n0. a\n1. b\n2. c\n3. d\nAnswer: "
    assert gold_lines(TASKS["query_relation"], prompt, "3") == (AnswerLine("d", "3", chosen=True, right=True),)
