"""Prompts: what fills a template comes out as it is, and the module can go to the Space."""

import string
import subprocess
import sys
from itertools import product
from typing import Any

import pytest

from common.prompts import read_fields, render_prompt, template_fields
from common.tasks import TASKS, Task

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
NASTY = (
    "{x}",
    "{0}",
    "}{",
    "{query!r}",
    "{products:(1)}",
    "(2)",
    "lid (2)",
    "`code` ```",
    "%s %(x)s",
    "\\n",
    "$1",
    "{{",
    "<|im_end|>",
    "",
)


@every_task
def test_text_of_fields_comes_out_verbatim(task: Task) -> None:
    for template, nasty in product((*task.templates, task.unseen), NASTY):
        fields: dict[str, Any] = {name: f"{name}: {nasty} end" for name in template_fields(template)}
        listed = {name for _, name, spec, _ in string.Formatter().parse(template) if name and spec}
        fields |= {name: [f"{name} {place}: {nasty} end" for place in range(3)] for name in listed}
        prompt = render_prompt(template, fields)
        for value in fields.values():
            for text in value if isinstance(value, list) else [value]:
                assert text in prompt
        for literal, _, _, _ in string.Formatter().parse(template):
            assert literal in prompt


@every_task
def test_what_fills_any_wording_of_a_task_is_read_back(task: Task) -> None:
    for template in filter(None, (*task.templates, task.unseen)):
        listed = {name for _, name, spec, _ in string.Formatter().parse(template) if name and (spec or name == "actions")}
        fields = {
            name: (f"one {name}", "two (2)", "3. three") if name in listed else f"a {name}"
            for name in template_fields(template)
        }
        assert read_fields(task, render_prompt(template, fields)) == fields


def test_a_list_that_is_numbered_otherwise_is_not_read_as_if_its_numbers_were_text() -> None:
    task = TASKS["also_buy"]
    template = task.templates[0].replace("{candidates:(1)}", "{candidates:1}")
    prompt = render_prompt(template, {"product": "Tent", "candidates": ["Pegs", "Lamp"], "number": "1 product"})
    assert "1. Pegs" in prompt
    assert read_fields(task, prompt) == {}


def test_lists_are_numbered_from_one_or_zero_or_get_bullets_or_stay_plain_lines() -> None:
    items = ["a", "b {0}"]
    assert render_prompt("{x:1}", {"x": items}) == "1. a\n2. b {0}"
    assert render_prompt("{x:0}", {"x": items}) == "0. a\n1. b {0}"
    assert render_prompt("{x:(1)}", {"x": items}) == "a (1)\nb {0} (2)"
    assert render_prompt("{x:-}", {"x": items}) == "- a\n- b {0}"
    assert render_prompt("{x}", {"x": tuple(items)}) == "a\nb {0}"
    assert render_prompt("{x:1}", {"x": list(range(12))}).endswith("\n12. 11")


def test_a_missing_field_raises() -> None:
    with pytest.raises(KeyError):
        render_prompt("{query} {product}", {"query": "x"})


def test_the_module_imports_nothing_but_the_standard_library() -> None:
    """The Space takes it along, and the tasks that it imports."""
    code = (
        "import sys; sys.path.insert(0, '.'); import common.prompts;"
        "print([m for m in sys.modules if m.split('.')[0] not in {'common', *sys.stdlib_module_names} and '__' not in m])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
