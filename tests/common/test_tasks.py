"""The declarations that all parts share."""

from string import Formatter

import pytest

from common.prompts import template_fields
from common.tasks import FAMILIES, GAINS, TASKS, Task
from dataset_builders.tables import LABELS, TABLES

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
TWELVE = (
    *("review_rating", "query_relation", "query_product_relation", "product_relation", "answerability"),
    *("query_product_ranking", "also_buy", "next_query"),
    *("query_generation", "next_title_merrec", "next_title_amazon", "answer_generation"),
)
"""The tasks of the system that is rebuilt; others may follow them."""


@every_task
def test_a_perfect_models_completion_can_be_generated_within_the_tasks_token_limit(task: Task) -> None:
    """With a token for each digit and comma, and one for two letters of a word, which is as many as a tokenizer needs."""
    longest = {"ranking": "1,2,3,4,5", "retrieval": "11,12,13,14,15" if task.name == "also_buy" else "8,9,10"}
    text = longest.get(task.family, max(task.labels, key=len, default=""))
    assert task.max_new_tokens > (len(text) // 2 if text.isalpha() else len(text))


def test_there_are_twelve_tasks_or_more_in_four_families_and_a_metric_for_each() -> None:
    assert list(TASKS)[:12] == list(TWELVE)
    assert {task.family for task in TASKS.values()} == set(FAMILIES)
    metrics = {"multiple_choice": "accuracy", "ranking": "ndcg", "retrieval": "hit_rate", "generation": "rougel"}
    assert all(task.metric == metrics[task.family] for task in TASKS.values())
    assert all(name == task.name for name, task in TASKS.items())
    assert not set(TASKS) & {*FAMILIES, "default"}, "a config of a task and one of a family would have the same name"


def test_full_sizes_add_up_to_those_of_the_system_that_is_rebuilt() -> None:
    assert sum(TASKS[name].train_size for name in TWELVE) == 105_865
    assert sum(TASKS[name].test_size for name in TWELVE) == 11_359


@every_task
def test_labels_are_there_for_multiple_choice_alone_and_none_begins_another(task: Task) -> None:
    assert bool(task.labels) == (task.family == "multiple_choice")
    assert not [a for a in task.labels for b in task.labels if a != b and b.startswith(a)]


@every_task
def test_a_task_needs_only_canonical_tables(task: Task) -> None:
    assert task.tables
    assert set(task.tables) <= set(TABLES)


def test_gains_are_given_for_every_label_of_a_judgment() -> None:
    assert set(GAINS) == set(LABELS)
    assert [GAINS[label] for label in LABELS] == [1.0, 0.1, 0.01, 0.0]


@every_task
def test_both_templates_ask_for_fields_that_tell_the_same(task: Task) -> None:
    assert len(task.templates) == 2
    first, second = map(template_fields, task.templates)
    assert first - {"category", "number"} == second - {"category", "number"}


@pytest.mark.parametrize("task", [TASKS[name] for name in TWELVE], ids=TWELVE)
def test_the_unseen_wording_is_filled_with_what_every_template_asks_for_and_lists_it_alike(task: Task) -> None:
    def fields(template: str) -> set[tuple[str, str]]:
        return {(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name}

    assert fields(task.unseen) == set.intersection(*map(fields, task.templates))
    if task.words:
        assert fields(task.words.unseen) == set.intersection(*map(fields, task.words.templates))
        assert [label for label in task.words.labels if label not in task.words.unseen] == []


def test_no_unseen_wording_is_one_that_is_trained_on() -> None:
    trained = {text for task in TASKS.values() for text in (*task.templates, *(task.words.templates if task.words else ()))}
    tested = [text for task in TASKS.values() for text in (task.unseen, task.words.unseen if task.words else "") if text]
    assert not trained.intersection(tested)
