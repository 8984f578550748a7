"""The tabs in which a visitor tries the model, one for each view, and the endpoint of each for programs."""

import inspect
from collections.abc import Callable, Iterator
from keyword import iskeyword
from typing import Any

import gradio as gr

from .backend import ModelError
from .comparison import Comparison, Sample
from .html import hint, prompt
from .inputs import BadInput, Field, prompt_of
from .views import View

LIST_LINES, MOST_LINES = 4, 16
QUICK = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
STALE = "earlier"
"""The class of a result that was for other input than what stands in the form now."""


def view_tab(view: View, comparison: Comparison, turn: dict[str, Any]) -> None:
    """A tab with the form, filled with the first example, and the answers below it. `turn` is how requests wait for another."""
    first = comparison.sample_after(view.name, "")
    with gr.Tab(view.title, id=view.name, elem_id=f"view-{view.name}", elem_classes="view"):
        if view.about:
            gr.HTML(hint(view.about), elem_classes="about")
        boxes = _boxes(view, first)
        with gr.Row(elem_classes="buttons"):
            go = gr.Button("Compare the answers", variant="primary")
            other = gr.Button("Another example" if first else "Take an example", variant="secondary")
        caption = gr.HTML(_caption(view, comparison, first), elem_classes="caption")
        notice = gr.HTML(elem_classes="notice")
        result = gr.HTML(elem_classes="result")
        answered = gr.Textbox(visible=False)  # the prompt of the result, so that it can be told from what stands in the form
        with gr.Accordion("The prompt that is sent", open=False, elem_classes="sent"):
            wordings = [(f"Wording {number}", number) for number in view.wordings]
            asked_in = first.filled.wording if first else 1
            wording = gr.Radio(wordings, value=asked_in, label="Wording", container=False, visible=len(wordings) > 1)
            sent = gr.HTML(prompt(first.example.prompt) if first else "")

    def values_of(typed: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip((field.name for field in view.fields), typed, strict=True))

    def prompt_now(wording: int, typed: tuple[Any, ...]) -> str:
        """What the form would send, or nothing where it cannot send any."""
        try:
            return prompt_of(view.task, values_of(typed), wording)
        except BadInput:
            return ""

    def compare(wording: int, *typed: Any) -> Iterator[tuple[str, Any, str]]:
        words = prompt_now(wording, typed)
        for told, answers in comparison.compare(view, values_of(typed), wording):
            yield told, gr.HTML(answers, elem_classes=["result"]), words

    def changed(answered: str, wording: int, *typed: Any) -> tuple[str, str, Any]:
        words, line, shown = about_prompt(view, comparison, values_of(typed), wording)
        stale = words != answered
        earlier = hint("The answers below are those to what stood here before.") if stale and answered else ""
        return line + earlier, shown, gr.HTML(elem_classes=["result"] + [STALE] * stale)

    def another(wording: int, *typed: Any) -> list[Any]:
        sample = comparison.sample_after(view.name, prompt_now(wording, typed))
        if sample is None:
            none = hint("There is no example of this task.")
            return [*typed, wording, none, "", "", ""]
        named = view.fields_of_wording(sample.filled.wording)
        filled = [gr.Textbox(_shown(field, sample), visible=field in named) for field in view.fields]
        line = comparison.caption(view.name, sample.example.prompt)
        return [*filled, sample.filled.wording, line, prompt(sample.example.prompt), "", ""]

    asked = [wording, *boxes]
    gr.on(
        [go.click, *(box.submit for box in boxes)],
        compare,
        asked,
        [notice, result, answered],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=notice,
        scroll_to_output=True,
        **turn,
    )

    def reworded(wording: int) -> list[Any]:
        named = view.fields_of_wording(wording)
        return [gr.Textbox(visible=field in named) for field in view.fields]

    wording.change(reworded, wording, boxes, **QUICK)
    edits = [wording.change, *(box.change for box in boxes)]  # Gradio's `input` misses what is pasted or filled in
    gr.on(edits, changed, [answered, *asked], [caption, sent, result], trigger_mode="always_last", **QUICK)
    other.click(another, asked, [*boxes, wording, caption, sent, notice, result], **QUICK)


def _boxes(view: View, sample: Sample | None) -> list[gr.Textbox]:
    """An input for each field; those that the wording does not name are hidden."""
    named = view.fields_of_wording(sample.filled.wording if sample else 1)
    return [
        gr.Textbox(
            _shown(field, sample),
            label=field.heading,
            placeholder=field.hint,
            lines=LIST_LINES if field.listed else 1,
            max_lines=MOST_LINES,
            visible=field in named,
        )
        for field in view.fields
    ]


def _shown(field: Field, sample: Sample | None) -> str:
    """What stands in a box: a list has one item a line."""
    value = sample.filled.values.get(field.name, "") if sample else ""
    return "\n".join(value) if isinstance(value, list) else value


def _caption(view: View, comparison: Comparison, sample: Sample | None) -> str:
    return comparison.caption(view.name, sample.example.prompt) if sample else hint("Fill in the boxes.")


def about_prompt(view: View, comparison: Comparison, values: dict[str, Any], wording: int) -> tuple[str, str, str]:
    """The prompt that a form would send, the line under the form, and the prompt as it is shown.

    Where the form cannot send any, the first is empty and the others say why.
    """
    try:
        words = prompt_of(view.task, values, wording)
    except BadInput as error:
        return "", hint(str(error)), hint(str(error))
    return words, comparison.caption(view.name, words), prompt(words)


# --- For programs ---


def answering(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The function with its refusals as sentences for the caller."""

    def answer(*given: Any) -> dict[str, Any]:
        try:
            return function(*given)
        except (BadInput, ModelError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    return answer


def raw_endpoint(comparison: Comparison) -> Callable[..., dict[str, Any]]:
    """/answer: a prompt as it stands, for whoever has the dataset's rows."""
    parameters = [("task", str, inspect.Parameter.empty), ("prompt", str, inspect.Parameter.empty)]
    return _typed(answering(comparison.answer), parameters, comparison.answer.__doc__ or "")


def endpoint(view: View, comparison: Comparison) -> Callable[..., dict[str, Any]]:
    """The endpoint of a view: its fields are the parameters, and last comes the wording of the prompt.

    A field that only some wordings name, and statements to choose from, may be left out: those of the first example stand in.
    """
    first = comparison.sample_after(view.name, "")
    everywhere = set.intersection(*({field.name for field in view.fields_of_wording(number)} for number in view.wordings))
    given = {field.name: first.filled.values.get(field.name) if first else None for field in view.fields}
    left_out = [field for field in view.fields if field.name not in everywhere or field.name == "options"]
    fields = [*(field for field in view.fields if field not in left_out), *left_out]  # what has a default comes last

    def ask(*values: Any) -> dict[str, Any]:
        *texts, wording = values
        asked = dict(zip((field.name for field in fields), texts, strict=True))
        return comparison.answer(view.name, prompt_of(view.task, asked, wording))

    named = {field: field.name + "_" * iskeyword(field.name) for field in fields}
    last = "wording" + "_" * ("wording" in named.values())
    parameters = [
        (name, list[str] if field.listed else str, given[field.name] if field in left_out else inspect.Parameter.empty)
        for field, name in named.items()
    ]
    told = "; ".join(f"{name}: {', '.join(filter(None, (field.label, field.count)))}" for field, name in named.items())
    words = f"{view.about or view.title} Inputs: {told}; {last}: which of the task's prompts is sent, from 1."
    return _typed(answering(ask), [*parameters, (last, int, 1)], words)


def _typed(function: Callable[..., Any], parameters: list[tuple[str, Any, Any]], words: str) -> Callable[..., Any]:
    """The function with the signature that the documentation of the endpoint is made from."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    made = [inspect.Parameter(name, kind, annotation=annotation, default=default) for name, annotation, default in parameters]
    function.__annotations__ = {name: annotation for name, annotation, _ in parameters} | {"return": dict[str, Any]}
    function.__signature__ = inspect.Signature(made, return_annotation=dict[str, Any])  # type: ignore[attr-defined]
    function.__doc__ = words
    return function
