"""The page's API endpoints: one for each task, and one for raw prompts."""

import inspect
from collections.abc import Callable
from keyword import iskeyword
from typing import Any

import gradio as gr

from common.tasks import Task

from .backend import BackendError
from .comparison import ModelComparison
from .inputs import InputError, InputField, build_prompt, input_fields, wordings

ApiFunction = Callable[..., dict[str, Any]]


def raw_endpoint(comparison: ModelComparison) -> ApiFunction:
    """/answer: takes a raw prompt, such as a dataset row has."""
    parameters = [("task", str, inspect.Parameter.empty), ("prompt", str, inspect.Parameter.empty)]
    return _endpoint(comparison.answer, parameters, comparison.answer.__doc__ or "")


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
    listed = "; ".join(f"{name}: {', '.join(filter(None, (field.label, field.item_count)))}" for field, name in names.items())
    about = task.about or task.action or task.title
    doc = f"{about} Inputs: {listed}; {last}: which of the task's prompts is sent, from 1."
    return _endpoint(answer, [*parameters, (last, int, 1)], doc)


def _endpoint(function: ApiFunction, parameters: list[tuple[str, Any, Any]], doc: str) -> ApiFunction:
    """The function with errors as Gradio's, and with the signature and text that Gradio documents it by."""

    def answer(*given: Any) -> dict[str, Any]:
        try:
            return function(*given)
        except (InputError, BackendError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = [inspect.Parameter(name, kind, annotation=of, default=default) for name, of, default in parameters]
    answer.__annotations__ = {name: of for name, of, _ in parameters} | {"return": dict[str, Any]}
    answer.__signature__ = inspect.Signature(signature, return_annotation=dict[str, Any])  # type: ignore[attr-defined]
    answer.__doc__ = doc
    return answer
