"""The Data tab: rows of the dataset, a page at a time."""

from functools import partial
from typing import Any

import gradio as gr

from common.prompts import read_fields
from common.tasks import TASKS

from .dataset_pages import DatasetError, DatasetReader, RowPage
from .examples import ExampleRows
from .html import alert, hint, row_card

PAGE_ROWS = 10
MAX_FILTER_CHARS = 200
EVENT_OPTIONS: dict[str, Any] = {"queue": False, "show_progress": "minimal", "api_visibility": "private"}


def data_tab(source: DatasetReader | ExampleRows) -> None:
    """The tab is filled when it is opened, so that the page does not wait for a dataset."""
    with gr.Tab("Data", id="data", elem_id="tab-data") as tab:
        with gr.Row(elem_classes="controls"):
            task = gr.Dropdown([], label="Task", filterable=False, scale=3, min_width=240)
            split = gr.Dropdown([], label="Split", filterable=False, scale=1, min_width=110)
            words = gr.Textbox(label="Rows that hold", placeholder="any text", lines=1, max_lines=1, scale=3)
        start = gr.Number(0, visible=False, precision=0)
        notice = gr.HTML(elem_classes="caption")
        cards = gr.HTML(elem_classes="rows")
        with gr.Row(elem_classes="buttons"):
            previous = gr.Button("Previous rows", variant="secondary", interactive=False)
            following = gr.Button("Next rows", variant="secondary", interactive=False)

    outputs = [notice, cards, start, previous, following]

    def read_page(task: str | None, split: str | None, words: str | None, start: float = 0) -> list[Any]:
        try:
            page = source.page(task or "", split or "", (words or "")[:MAX_FILTER_CHARS], max(int(start), 0), PAGE_ROWS)
        except DatasetError as error:
            return failed(error)
        return shown(source.name, task or "", page)

    def turn_page(step: int, task: str | None, split: str | None, words: str | None, start: float) -> list[Any]:
        return read_page(task, split, words, start + step)

    def open_tab(task: str | None, split: str | None, words: str | None, start: float) -> list[Any]:
        try:
            contents = source.contents()
        except DatasetError as error:
            return [gr.Dropdown(), gr.Dropdown(), *failed(error)]
        task = task if task in contents else next(iter(contents))
        split = split if split in contents[task] else contents[task][0]
        choices = gr.Dropdown([(title_of(name), name) for name in contents], value=task)
        return [choices, gr.Dropdown(list(contents[task]), value=split), *read_page(task, split, words, start)]

    def select_task(task: str, split: str | None, words: str | None) -> list[Any]:
        try:
            splits = source.contents().get(task, ())
        except DatasetError:
            splits = ()
        split = split if split in splits else next(iter(splits), "")
        return [gr.Dropdown(list(splits), value=split), *read_page(task, split, words)]

    query = [task, split, words]
    tab.select(open_tab, [*query, start], [task, split, *outputs], **EVENT_OPTIONS)
    task.input(select_task, query, [split, *outputs], **EVENT_OPTIONS)
    # One listener for both, so that of two quick changes the later one is answered last.
    changes = [split.input, words.change]
    gr.on(changes, read_page, query, outputs, trigger_mode="always_last", **EVENT_OPTIONS)
    for button, step in ((previous, -PAGE_ROWS), (following, PAGE_ROWS)):
        button.click(partial(turn_page, step), [*query, start], outputs, **EVENT_OPTIONS)


def failed(error: DatasetError) -> list[Any]:
    """The tab's outputs with an error in place of rows."""
    return [alert(str(error)), "", 0, gr.Button(interactive=False), gr.Button(interactive=False)]


def shown(name: str, task: str, page: RowPage) -> list[Any]:
    """The tab's outputs with a page of rows."""
    last = page.start + len(page.rows)
    caption = f"Rows {page.start + 1:,} to {last:,} of {page.total:,} in {name}." if page.rows else f"No such row in {name}."
    numbered = enumerate(page.rows, page.start + 1)
    cards = "".join(row_card(number, row_summary(task, row.prompt), row) for number, row in numbered)
    return [hint(caption), cards, page.start, gr.Button(interactive=page.start > 0), gr.Button(interactive=last < page.total)]


def row_summary(task: str, prompt: str) -> str:
    """A row's own field values, without the template that all rows of its task share."""
    fields = read_fields(TASKS[task], prompt) if task in TASKS else {}
    texts = (value if isinstance(value, str) else " / ".join(value) for name, value in fields.items() if name != "options")
    return " · ".join(texts) or prompt


def title_of(name: str) -> str:
    return TASKS[name].title if name in TASKS else name.replace("_", " ")
