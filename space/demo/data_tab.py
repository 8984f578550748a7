"""The Data tab: rows of the published dataset, a page at a time."""

from typing import Any

import gradio as gr

from common.tasks import TASKS, read_fields

from .dataset_pages import Contents, DataError, Page, Rows
from .html import alert, hint, row_card

PAGE_ROWS = 10
MOST_WORDS = 200
"""Characters of the text that rows are filtered by."""
QUICK = {"queue": False, "show_progress": "minimal", "api_visibility": "private"}


def data_tab(rows: Rows) -> None:
    """A tab that is filled when somebody opens it: the page need not wait for a dataset."""
    with gr.Tab("Data", id="data", elem_id="tab-data") as tab:
        with gr.Row(elem_classes="controls"):
            task = gr.Dropdown([], label="Task", filterable=False, scale=3, min_width=240)
            split = gr.Dropdown([], label="Split", filterable=False, scale=1, min_width=110)
            words = gr.Textbox(label="Rows that hold", placeholder="any text", lines=1, max_lines=1, scale=3)
        start = gr.Number(0, visible=False, precision=0)
        notice = gr.HTML(elem_classes="caption")
        shown = gr.HTML(elem_classes="rows")
        with gr.Row(elem_classes="buttons"):
            back = gr.Button("Previous rows", variant="secondary", interactive=False)
            further = gr.Button("Next rows", variant="secondary", interactive=False)

    listing = [notice, shown, start, back, further]

    def look(task: str | None, split: str | None, words: str | None, start: float) -> list[Any]:
        try:
            page = rows.page(task or "", split or "", (words or "")[:MOST_WORDS], max(int(start), 0), PAGE_ROWS)
        except DataError as error:
            return [alert(str(error)), "", 0, gr.Button(interactive=False), gr.Button(interactive=False)]
        return listed(rows.name, task or "", page)

    def opened(task: str | None, split: str | None, words: str | None, start: float) -> list[Any]:
        try:
            there = rows.contents()
        except DataError as error:
            return [gr.Dropdown(), gr.Dropdown(), alert(str(error)), "", 0, *2 * [gr.Button(interactive=False)]]
        task = task if task in there else next(iter(there))
        split = split if split in there[task] else there[task][0]
        named = gr.Dropdown([(title_of(name), name) for name in there], value=task)
        return [named, gr.Dropdown(list(there[task]), value=split), *look(task, split, words, start)]

    def picked(task: str, split: str | None, words: str | None) -> list[Any]:
        splits = contents(rows).get(task, ())
        split = split if split in splits else next(iter(splits), "")
        return [gr.Dropdown(list(splits), value=split), *look(task, split, words, 0)]

    asked = [task, split, words]
    tab.select(opened, [*asked, start], [task, split, *listing], **QUICK)
    task.input(picked, asked, [split, *listing], **QUICK)
    # One listener, so that of two quick changes the later one is answered last.
    changes = [split.input, words.change]
    gr.on(changes, lambda *asked: look(*asked, 0), asked, listing, trigger_mode="always_last", **QUICK)
    back.click(lambda *asked: look(*asked[:-1], asked[-1] - PAGE_ROWS), [*asked, start], listing, **QUICK)
    further.click(lambda *asked: look(*asked[:-1], asked[-1] + PAGE_ROWS), [*asked, start], listing, **QUICK)


def contents(rows: Rows) -> Contents:
    try:
        return rows.contents()
    except DataError:
        return {}


def listed(name: str, task: str, page: Page) -> list[Any]:
    """A page as the tab's outputs."""
    last = page.start + len(page.rows)
    told = f"Rows {page.start + 1:,} to {last:,} of {page.total:,} in {name}." if page.rows else f"No such row in {name}."
    numbered = enumerate(page.rows, page.start + 1)
    cards = "".join(row_card(number, gist(task, row.prompt), row) for number, row in numbered)
    more = gr.Button(interactive=page.start > 0), gr.Button(interactive=last < page.total)
    return [hint(told), cards, page.start, *more]


def gist(task: str, prompt: str) -> str:
    """What a row is about, without the words that it shares with all rows of its task."""
    fields = read_fields(TASKS[task], prompt) if task in TASKS else {}
    texts = (value if isinstance(value, str) else " / ".join(value) for name, value in fields.items() if name != "options")
    return " · ".join(texts) or prompt


def title_of(name: str) -> str:
    return TASKS[name].title if name in TASKS else name.replace("_", " ")
