"""A task's tab: a form for its input and the answers of base and tuned model."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from common.tasks import Task

from .comparison import FormExample, ModelComparison
from .html import hint, prompt_block
from .inputs import InputError, InputField, build_prompt, input_fields, wordings
from .list_ranking import TEXT_IS_MISSING
from .list_scoring import shown_prompt

LIST_LINES, MAX_LINES = 4, 16
EVENT_OPTIONS: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
STALE = "earlier"
"""CSS class of answers to other input than the form has now."""


def task_tab(task: Task, comparison: ModelComparison, queue: dict[str, Any]) -> None:
    """A tab with the form, filled with the first example, and the answers below. `queue` are Gradio's options of the queue."""
    fields = input_fields(task)
    first = comparison.example_after(task.name, "")

    with gr.Tab(task.action or task.title, id=task.name, elem_id=f"view-{task.name}", elem_classes="view"):
        if task.about:
            missing = task.by_text is not None and comparison.text_is_missing
            gr.HTML(hint(task.about) + hint(TEXT_IS_MISSING * missing), elem_classes="about")
        boxes = _boxes(task, first)
        with gr.Row(elem_classes="buttons"):
            go = gr.Button("Compare the answers", variant="primary")
            other = gr.Button("Another example" if first else "Take an example", variant="secondary")
        caption = gr.HTML(_caption(task, comparison, first), elem_classes="caption")
        notice = gr.HTML(elem_classes="notice")
        result = gr.HTML(elem_classes="result")
        answered = gr.Textbox(visible=False)  # the prompt of the answers, to compare with the form's
        with gr.Accordion("The prompt that is sent", open=False, elem_classes="sent"):
            choices = [(f"Wording {number}", number) for number in wordings(task)]
            first_wording = first.form.wording if first else 1
            wording = gr.Radio(choices, value=first_wording, label="Wording", container=False, visible=len(choices) > 1)
            sent = gr.HTML(_sent(task, comparison, first.example.prompt) if first else "")

    def values_of(typed: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip((field.name for field in fields), typed, strict=True))

    def built_prompt(wording: int, typed: tuple[Any, ...]) -> str:
        """The form's prompt; empty where its input is invalid."""
        try:
            return build_prompt(task, values_of(typed), wording)
        except InputError:
            return ""

    def compare(wording: int, *typed: Any) -> Iterator[tuple[str, Any, str]]:
        prompt = built_prompt(wording, typed)
        for notice, answers in comparison.compare(task, values_of(typed), wording):
            yield notice, gr.HTML(answers, elem_classes=["result"]), prompt

    def changed(answered: str, wording: int, *typed: Any) -> tuple[str, str, Any]:
        try:
            prompt = build_prompt(task, values_of(typed), wording)
            line, block = comparison.caption(task.name, prompt), _sent(task, comparison, prompt)
        except InputError as error:
            prompt, line, block = "", hint(str(error)), hint(str(error))
        stale = prompt != answered
        earlier = hint("The answers below are those to what stood here before.") if stale and answered else ""
        return line + earlier, block, gr.HTML(elem_classes=["result"] + [STALE] * stale)

    def another(wording: int, *typed: Any) -> list[Any]:
        example = comparison.example_after(task.name, built_prompt(wording, typed))
        if example is None:
            return [*typed, wording, hint("There is no example of this task."), "", "", ""]
        named = input_fields(task, example.form.wording)
        filled = [gr.Textbox(_box_text(field, example), visible=field in named) for field in fields]
        prompt = example.example.prompt
        return [*filled, example.form.wording, comparison.caption(task.name, prompt), _sent(task, comparison, prompt), "", ""]

    inputs = [wording, *boxes]
    gr.on(
        [go.click, *(box.submit for box in boxes)],
        compare,
        inputs,
        [notice, result, answered],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=notice,
        scroll_to_output=True,
        **queue,
    )

    def reworded(wording: int) -> list[Any]:
        named = input_fields(task, wording)
        return [gr.Textbox(visible=field in named) for field in fields]

    wording.change(reworded, wording, boxes, **EVENT_OPTIONS)
    edits = [wording.change, *(box.change for box in boxes)]  # Gradio's `input` event misses pasted and filled-in text
    gr.on(edits, changed, [answered, *inputs], [caption, sent, result], trigger_mode="always_last", **EVENT_OPTIONS)
    other.click(another, inputs, [*boxes, wording, caption, sent, notice, result], **EVENT_OPTIONS)


def _boxes(task: Task, example: FormExample | None) -> list[gr.Textbox]:
    """An input for each field; those that the wording does not name are hidden."""
    named = input_fields(task, example.form.wording if example else 1)
    return [
        gr.Textbox(
            _box_text(field, example),
            label=field.heading,
            placeholder=field.placeholder,
            lines=LIST_LINES if field.is_list else 1,
            max_lines=MAX_LINES,
            visible=field in named,
        )
        for field in input_fields(task)
    ]


def _box_text(field: InputField, example: FormExample | None) -> str:
    """The field's value as text; a list has one item a line."""
    value = example.form.values.get(field.name, "") if example else ""
    return "\n".join(value) if isinstance(value, list) else value


def _sent(task: Task, comparison: ModelComparison, prompt: str) -> str:
    return prompt_block(shown_prompt(task, prompt, comparison.by_text))


def _caption(task: Task, comparison: ModelComparison, example: FormExample | None) -> str:
    return comparison.caption(task.name, example.example.prompt) if example else hint("Fill in the boxes.")
