"""The declarations that all parts share: what is rendered is read back, what is not an answer is None, text stays text."""

import string
import subprocess
import sys
from itertools import product
from typing import Any

import pytest

from common.tasks import FAMILIES, GAINS, TASKS, Task, render_prompt, template_fields
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


NASTY = ("{x}", "{0}", "}{", "{query!r}", "{products:1}", "`code` ```", "%s %(x)s", "\\n", "$1", "{{", "<|im_end|>", "")


@every_task
def test_text_of_fields_comes_out_verbatim(task: Task) -> None:
    for template, nasty in product(task.templates, NASTY):
        fields: dict[str, Any] = {name: f"{name}: {nasty} end" for name in template_fields(template)}
        listed = {name for _, name, spec, _ in string.Formatter().parse(template) if name and spec}
        fields |= {name: [f"{name} {place}: {nasty} end" for place in range(3)] for name in listed}
        prompt = render_prompt(template, fields)
        for value in fields.values():
            for text in value if isinstance(value, list) else [value]:
                assert text in prompt
        for literal, _, _, _ in string.Formatter().parse(template):
            assert literal in prompt


def test_lists_are_numbered_from_one_or_zero_or_get_bullets_or_stay_plain_lines() -> None:
    items = ["a", "b {0}"]
    assert render_prompt("{x:1}", {"x": items}) == "1. a\n2. b {0}"
    assert render_prompt("{x:0}", {"x": items}) == "0. a\n1. b {0}"
    assert render_prompt("{x:-}", {"x": items}) == "- a\n- b {0}"
    assert render_prompt("{x}", {"x": tuple(items)}) == "a\nb {0}"
    assert render_prompt("{x:1}", {"x": list(range(12))}).endswith("\n12. 11")


def test_a_missing_field_raises() -> None:
    with pytest.raises(KeyError):
        render_prompt("{query} {product}", {"query": "x"})


def test_the_module_imports_nothing_but_the_standard_library() -> None:
    """The Space takes this one file along."""
    code = (
        "import sys, runpy; runpy.run_path('common/tasks.py');"
        "print([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names and '__' not in m])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
