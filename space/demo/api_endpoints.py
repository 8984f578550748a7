"""The page's API endpoints: one for each task, and one for raw prompts. An MCP client sees each of them as a tool.

Gradio takes a tool's name and descriptions from the function's name and docstring
(https://www.gradio.app/guides/building-mcp-server-with-gradio).
"""

import inspect
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any

import gradio as gr

from common.tasks import TASKS, Task

from . import list_ranking
from .backend import BackendError
from .comparison import ANSWER_SECONDS, LOADING_SECONDS, TITLES, ModelComparison
from .inputs import InputError, InputField, build_prompt, input_fields, wordings

ApiFunction = Callable[..., dict[str, Any]]

RESULT = (
    "the prompt that was sent, and for base and tuned model the text, read_as (the parsed answer: a label, the numbers of "
    "list items from 1, or a text; null where it cannot be parsed) and the chances of each label"
)


def raw_endpoint(comparison: ModelComparison) -> ApiFunction:
    """/answer: takes a raw prompt, such as a dataset row has."""
    parameters = [("task", str, inspect.Parameter.empty), ("prompt", str, inspect.Parameter.empty)]
    described = {"task": f"one of {', '.join(TASKS)}", "prompt": "the whole prompt, as a row of the dataset has it"}
    return _endpoint(comparison.answer, "answer", parameters, "Answers a raw prompt of a task.", described)


def rank_endpoint(comparison: ModelComparison) -> ApiFunction:
    """/rank: a list of the visitor's own, scored product by product."""

    def rank(query: Any, products: Any) -> dict[str, Any]:
        query, products = list_ranking.read_list(query, products)
        comparison.backend.wait(LOADING_SECONDS)
        by_text = comparison.by_text
        *_, found = list_ranking.scores_so_far(comparison.backend, query, products, ANSWER_SECONDS, by_text)
        named = {who: list_ranking.as_json(list_ranking.ranked(products, scores)) for who, scores in found.items()}
        return {"query": query, "lists": "text" if by_text else "words", **{who: named.get(who) for who in TITLES}}

    parameters = [("query", str, inspect.Parameter.empty), ("products", list[str], inspect.Parameter.empty)]
    described = {"query": "Search query", "products": f"2 to {list_ranking.MOST_PRODUCTS} products"}
    result = (
        "for base and tuned model the products, the best first, each with its number in the list from 1, its score "
        + ("(the log-likelihood of the query)" if comparison.by_text else "from 0 to 1 and its likeliest label")
        + " (null where the time did not suffice)"
    )
    return _endpoint(rank, "rank", parameters, "Ranks products for a search, each scored by itself.", described, result)


def task_endpoint(task: Task, comparison: ModelComparison) -> ApiFunction:
    """The endpoint of a task: its parameters are the input fields and the wording.

    Optional are the options, which default to those of the first example, and fields that only some wordings name.
    """
    first = comparison.example_after(task.name, "")
    everywhere = set.intersection(*(set(input_fields(task, number)) for number in wordings(task)))
    required = [field for field in input_fields(task) if field in everywhere and field.name != "options"]
    optional = [field for field in input_fields(task) if field not in required]
    fields = [*required, *optional]  # parameters with a default come last

    def answer(*values: Any) -> dict[str, Any]:
        *texts, wording = values
        given = dict(zip((field.name for field in fields), texts, strict=True))
        return comparison.answer(task.name, build_prompt(task, given, wording))

    def default(field: InputField) -> Any:
        if field in required:
            return inspect.Parameter.empty
        return first.form.values.get(field.name) if first else None

    names = {field: field.name + "_" * iskeyword(field.name) for field in fields}
    last = "wording" + "_" * ("wording" in names.values())
    parameters = [(name, list[str] if field.is_list else str, default(field)) for field, name in names.items()]
    described = {name: ", ".join(filter(None, (field.label, field.item_count))) for field, name in names.items()}
    described[last] = "which of the task's prompts is sent, from 1"
    return _endpoint(answer, task.name, [*parameters, (last, int, 1)], task.about or task.action or task.title, described)


def _endpoint(
    function: ApiFunction,
    name: str,
    parameters: list[tuple[str, Any, Any]],
    about: str,
    described: Mapping[str, str],
    result: str = RESULT,
) -> ApiFunction:
    """The function with errors as Gradio's, and with the name, signature and docstring that Gradio documents it by.

    `described`: parameter -> what it is.
    """

    def answer(*given: Any) -> dict[str, Any]:
        try:
            return function(*given)
        except (InputError, BackendError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = [inspect.Parameter(name, kind, annotation=of, default=default) for name, of, default in parameters]
    answer.__annotations__ = {name: of for name, of, _ in parameters} | {"return": dict[str, Any]}
    answer.__signature__ = inspect.Signature(signature, return_annotation=dict[str, Any])  # type: ignore[attr-defined]
    answer.__name__ = name
    lines = "\n".join(f"    {parameter}: {text}" for parameter, text in described.items())
    answer.__doc__ = f"{about}\n\nArgs:\n{lines}\n\nReturns:\n    {result}"
    return answer
