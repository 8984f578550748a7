"""The form in words: what is asked of a row's fields, and what answer likelihoods make."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.answers import gold, parse_completion, row_pattern
from common.prompts import read_fields, render_prompt, template_fields
from common.scoring import score_completion
from common.tasks import GAINS, TASKS, Task
from common.words import (
    best_first,
    completion_by_text,
    expected_gain,
    in_words,
    is_scored,
    label_of_word,
    probabilities,
    row_task,
    scored_completion,
    text_questions,
    text_scores,
    word_candidates,
    word_of_label,
    word_prompts,
)

SCORED = [task for task in TASKS.values() if is_scored(task)]
LISTED = [task for task in SCORED if task.words and task.words.items]
STATED = [task for task in SCORED if task.words and task.words.statements]


def fields_of(task: Task) -> dict[str, object]:
    """What a row of the task is filled with, statements in another order than that of the labels."""
    fields: dict[str, object] = {
        name: f"a {name}" for template in task.templates for name in template_fields(template) if name != "number"
    }
    lists = {"options", "products", "candidates", "queries", "actions", "snippets"}
    fields |= {name: tuple(f"{name} {number}" for number in range(5)) for name in fields.keys() & lists}
    if task.words and task.words.statements:
        fields["options"] = tuple(reversed(task.words.statements))
    return fields | {"number": "2 products"}


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
def test_every_wording_in_words_asks_for_what_the_numbered_ones_show(task: Task) -> None:
    form = in_words(task)
    assert form.family == "multiple_choice"
    for template in task.templates:
        fields = read_fields(task, render_prompt(template, fields_of(task)))
        for wording in range(len(form.templates)):
            prompts = word_prompts(task, fields, wording)
            assert len(prompts) == (5 if task in LISTED else 1)
            assert len(set(prompts)) == len(prompts)
            assert all(read_fields(form, prompt) for prompt in prompts), "a row in words can be read again"


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.by_text], ids=lambda task: task.name)
def test_a_list_by_text_is_asked_as_rows_of_the_task_that_trains_it(task: Task) -> None:
    assert task.by_text
    taught = TASKS[task.by_text.task]
    fields = read_fields(task, render_prompt(task.templates[0], fields_of(task)))
    questions = text_questions(task, fields)
    assert task.words
    text, items = fields[task.by_text.text], fields[task.words.items]
    both_ways = [((item, text), (text, item))[: 2 if task.by_text.direct else 1] for item in items]
    directions = [direction for each in both_ways for direction in each]
    given = [read_fields(taught, prompt)[task.by_text.item] for prompt, _ in questions]
    assert [
        (one if isinstance(one, str) else one[0], asked) for one, (_, asked) in zip(given, questions, strict=True)
    ] == directions
    assert isinstance(text, str)
    assert taught.family == "generation"


def test_a_list_by_text_is_sorted_by_likelihood_and_of_equals_the_first_is_first() -> None:
    likelihoods = [-3.0, -1.0, -3.0, -0.5, -9.0]
    assert completion_by_text(TASKS["query_product_ranking"], likelihoods) == "4,2,1,3,5"


def test_of_items_behind_which_the_text_is_as_likely_the_one_that_is_likelier_itself_comes_first() -> None:
    form = TASKS["also_buy"].by_text
    assert form
    assert form.direct
    near, far, common = (-10.0, -30.0), (-20.0, -30.0), (-10.0, -12.0)
    likelihoods = [*near, *far, *common]
    assert text_scores(form, likelihoods) == [-10 - 30 * form.direct, -20 - 30 * form.direct, -10 - 12 * form.direct]
    assert completion_by_text(TASKS["also_buy"], likelihoods) == "3,1,2"


def test_a_task_without_a_list_is_not_asked_by_text() -> None:
    with pytest.raises(ValueError, match="review_rating is no list that can be scored by text"):
        text_questions(TASKS["review_rating"], {})
    with pytest.raises(ValueError, match="review_rating is no list that can be scored by text"):
        completion_by_text(TASKS["review_rating"], [])


@pytest.mark.parametrize("task", [task for task in SCORED if task.words], ids=lambda task: task.name)
def test_the_unseen_wording_in_words_asks_as_many_questions_and_none_that_is_trained_on(task: Task) -> None:
    fields = read_fields(task, render_prompt(task.unseen, fields_of(task)))
    asked = word_prompts(task, fields, unseen=True)
    trained = [prompt for wording in range(2) for prompt in word_prompts(task, fields, wording)]
    assert len(asked) == len(trained) / 2
    assert not set(asked) & set(trained)


@pytest.mark.parametrize("task", [task for task in SCORED if task.words], ids=lambda task: task.name)
def test_every_wording_names_its_labels_in_their_order(task: Task) -> None:
    form = in_words(task)
    for template in form.templates:
        asked = template.lower()
        places = [asked.rfind(label.lower()) if label in ("yes", "no") else asked.find(label.lower()) for label in form.labels]
        assert -1 not in places
        assert places == sorted(places)


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.name)
def test_a_row_in_words_is_parsed_patterned_and_scored_as_any_choice(task: Task) -> None:
    form = in_words(task)
    prompt = word_prompts(task, fields_of(task))[0]
    for label in form.labels:
        assert row_task(task, label).labels == form.labels
        assert gold(form, label) == parse_completion(form, label) == label
        assert score_completion(form, label, label) == 1.0
        assert row_pattern(form, prompt, label) == "|".join(form.labels)
    assert not [a for a in form.labels for b in form.labels if a != b and b.startswith(a)]


def test_rows_of_the_numbered_form_keep_their_task() -> None:
    assert row_task(TASKS["also_buy"], [1, 2]) is TASKS["also_buy"]
    assert row_task(TASKS["query_relation"], "2") is TASKS["query_relation"]
    assert row_task(TASKS["query_generation"], "yes") is TASKS["query_generation"]
    with pytest.raises(ValueError, match="query_generation has no form in words"):
        in_words(TASKS["query_generation"])


@pytest.mark.parametrize("task", STATED, ids=lambda task: task.name)
def test_the_likeliest_word_becomes_the_number_of_its_statement(task: Task) -> None:
    fields = fields_of(task)
    assert task.words
    for place, word in enumerate(task.words.labels):
        logs = [-1.0] * len(task.words.labels)
        logs[place] = -0.5
        number = scored_completion(task, fields, [logs])
        assert number == str(len(task.labels) - 1 - place) == label_of_word(task, fields, word)
        assert word_of_label(task, fields, number) == word


def test_only_statements_that_a_row_lists_may_answer_it() -> None:
    task = TASKS["query_product_relation"]
    assert task.words
    exact, _, complement, _ = task.words.statements
    assert word_candidates(task, {"options": (complement, exact)}) == ("exact", "complement")
    assert word_candidates(task, {"options": (complement, "another shop's statement")}) == ()


def test_products_are_ordered_by_the_gain_that_is_expected_of_each() -> None:
    form = TASKS["query_product_ranking"].words
    assert form
    sure, torn, irrelevant = [0.7, 0.1, 0.1, 0.1], [0.5, 0.0001, 0.0001, 0.4998], [0.01, 0.01, 0.01, 0.97]
    logs = [[math.log(chance) for chance in each] for each in (irrelevant, torn, sure)]
    assert best_first(form, logs) == [3, 2, 1]
    weights = [2**gain - 1 for gain in GAINS.values()]
    assert expected_gain(form, logs[2]) == pytest.approx(sum(a * b for a, b in zip(sure, weights, strict=True)))
    assert scored_completion(TASKS["query_product_ranking"], {"products": ("a", "b", "c")}, logs) == "3,2,1"


def test_equal_items_keep_their_order() -> None:
    form = TASKS["also_buy"].words
    assert form
    assert best_first(form, [[-1.0, -2.0], [-3.0, -1.0], [-1.0, -2.0]]) == [1, 3, 2]


@given(st.lists(st.floats(-2000, 0), min_size=1, max_size=6), st.floats(-50, 50))
def test_probabilities_sum_to_one_and_do_not_hang_on_a_common_factor(logs: list[float], factor: float) -> None:
    found = probabilities(logs)
    assert sum(found) == pytest.approx(1)
    assert found == pytest.approx(probabilities([value + factor for value in logs]), abs=1e-9)
