"""`notebook.ipynb` of the model's repository: loads base and adapter, asks up to three tasks, and sorts a list.

The Hub shows it with a button for Colab (https://huggingface.co/docs/hub/notebooks). Its code is that of the quick start.
"""

import json
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from common.prompts import render_prompt
from common.tasks import TASKS, Task
from model_card.inputs import CardInputs
from model_card.quick_start import EXAMPLES, GENERATE, LOAD, PROMPT, transformers_words

NOTEBOOK = "notebook.ipynb"
MOST_TASKS = 3
RANKING = "query_product_ranking"
COLAB = "https://colab.research.google.com/#fileId=https://huggingface.co/{repo_id}/blob/main/" + NOTEBOOK

SORT = """\
import re

products = {products}
order = [int(number) for number in re.findall(r"\\d+", answer)]
if sorted(order) == list(range(1, len(products) + 1)):
    for place, number in enumerate(order, start=1):
        print(place, products[number - 1])
else:
    print("the answer is no order of the products:", answer)"""


def has_notebook(inputs: CardInputs) -> bool:
    """Whether both models are on the Hub, where the notebook loads them from."""
    return bool(inputs.repo_id and inputs.base.hub_id)


def notebook(inputs: CardInputs) -> str:
    """The notebook as JSON (https://nbformat.readthedocs.io, version 4.5), without outputs."""
    tasks = shown_tasks([task for task in inputs.measured if task.name in EXAMPLES])
    words = transformers_words(inputs) | {"max_new_tokens": "max_new_tokens", "show": "return ", "end": ""}
    cells = [
        _text(
            f"# {inputs.title}\n\nThe adapter [{inputs.repo_id}](https://huggingface.co/{inputs.repo_id}) on its base model."
        ),
        _code("%pip install --quiet transformers peft accelerate torch"),
        _code(LOAD.format_map(words)),
        _text("Answers are decoded greedily, as in the scores on the model's card."),
        _code("def ask(prompt, max_new_tokens):\n" + indent(GENERATE.format_map(words), " " * 4)),
    ]
    for task in tasks:
        cells.append(_text(f"## {task.title}"))
        prompt = PROMPT.format(prompt=render_prompt(task.templates[0], EXAMPLES[task.name]))
        cells.append(_code(f"{prompt}\nanswer = ask(prompt, max_new_tokens={task.max_new_tokens})\nprint(answer)"))
        if task.name == RANKING:
            cells += [_text("The products in that order:"), _code(SORT.format(products=EXAMPLES[RANKING]["products"]))]
    numbered = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells, start=1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "accelerator": "GPU", "colab": {"provenance": []}}
    found = {"cells": numbered, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def shown_tasks(tasks: Sequence[Task]) -> list[Task]:
    """The ranking and others, MOST_TASKS at most, in the order of the table; a rating where none has an example."""
    first = sorted(tasks, key=lambda task: task.name != RANKING)[:MOST_TASKS]
    return [task for task in tasks if task in first] or [TASKS["review_rating"]]


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }
