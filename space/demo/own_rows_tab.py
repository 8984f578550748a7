"""The tab for rows of the visitor's own: a list to rank, with scores, and a table that is answered row by row.

A chosen file is read by the browser and its text sent like typed text; the answers are saved by the browser, too. So the page
takes and keeps no files.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from common.tasks import TASKS, Task

from . import csv_rows, list_ranking
from .answer_view import AnswerLine
from .backend import BackendError
from .comparison import ANSWER_SECONDS, LOADING_SECONDS, TITLES, ModelComparison
from .csv_rows import MOST_ROWS, RowAnswer, Table
from .html import AnswerPanel, ShownAnswer, alert, answer_table, hint, panels, spoken
from .inputs import InputError, input_fields
from .task_tab import EVENT_OPTIONS

LIST_LINES, MAX_LINES = 8, 20
SHOWN_ROWS = 20
SHOWN_CHARS = 120
FIRST_TASK = "review_rating"
STILL_LOADING = "The model is still loading; the answer follows by itself."

FILE_INPUT = (
    '<label class="file">or choose a CSV file <input type="file" id="csv-file" accept=".csv,.tsv,.txt,text/csv"></label>'
)
CHOSEN_FILE = """() => document.addEventListener("change", async (event) => {
  if (event.target.id !== "csv-file" || !event.target.files.length) return;
  const box = document.querySelector("#csv textarea");
  const file = event.target.files[0];
  box.value = file.size > 900000 ? "" : await file.text();
  event.target.value = "";
  box.dispatchEvent(new Event("input", { bubbles: true }));
})"""
"""Puts a chosen file's text into the box; one that no request could carry empties it, which is answered with a sentence."""
SAVE = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


def own_rows_tab(comparison: ModelComparison, queue: dict[str, Any]) -> None:
    """`queue` are Gradio's options of the queue."""
    with (
        gr.Tab("Your rows", id="own", elem_id="tab-own"),
        gr.Tabs(elem_id="own-views", elem_classes="views", overflow_behavior="wrap"),
    ):
        with gr.Tab("Rank your own list", id="rank", elem_id="view-rank", elem_classes="view"):
            _rank_view(comparison, queue)
        with gr.Tab("Answer a CSV table", id="table", elem_id="view-table", elem_classes="view"):
            _table_view(comparison, queue)


# --- A list to rank ---


def _rank_view(comparison: ModelComparison, queue: dict[str, Any]) -> None:
    first = comparison.example_after(list_ranking.TASK.name, "")
    values = first.form.values if first else {}
    about = f"Ranks up to {list_ranking.MOST_PRODUCTS} products for a search. Each is scored by itself, " + (
        list_ranking.BY_TEXT if comparison.by_text else list_ranking.IN_WORDS
    )
    missing = list_ranking.TEXT_IS_MISSING if comparison.text_is_missing else ""
    gr.HTML(hint(about) + hint(missing), elem_classes="about")
    query = gr.Textbox(
        str(values.get("query", "")), label=list_ranking.QUERY.heading, placeholder=list_ranking.QUERY.placeholder
    )
    products = gr.Textbox(
        "\n".join(values.get("products", ())),
        label=list_ranking.PRODUCTS.heading,
        placeholder=list_ranking.PRODUCTS.placeholder,
        lines=LIST_LINES,
        max_lines=MAX_LINES,
    )
    with gr.Row(elem_classes="buttons"):
        go = gr.Button("Rank the list", variant="primary")
    notice = gr.HTML(elem_classes="notice")
    result = gr.HTML(elem_classes="result")

    # Not called `rank`: Gradio would give that name to this event in place of the endpoint.
    def rank_own(query: str, products: str) -> Iterator[tuple[str, str]]:
        try:
            asked, listed = list_ranking.read_list(query, products)
            yield hint(waiting(comparison, f"Scoring {len(listed)} products.")), ""
            comparison.backend.wait(LOADING_SECONDS)
            for found in list_ranking.scores_so_far(comparison.backend, asked, listed, ANSWER_SECONDS, comparison.by_text):
                yield hint(f"Scored {len(next(iter(found.values())))} of {len(listed)} products."), ""
            yield spoken("The list is ranked."), ranking_panels(comparison, listed, found)
        except (InputError, BackendError) as error:
            yield alert(str(error)), ""

    gr.on(
        [go.click, query.submit],
        rank_own,
        [query, products],
        [notice, result],
        api_visibility="private",
        show_progress="hidden",
        scroll_to_output=True,
        **queue,
    )


def ranking_panels(comparison: ModelComparison, products: list[str], found: dict[str, Any]) -> str:
    columns = []
    for who, name in comparison.backend.names.items():
        lines: tuple[AnswerLine, ...] = list_ranking.lines(list_ranking.ranked(products, found.get(who, {})))
        columns.append(AnswerPanel(TITLES[who], name, list_ranking.TASK.family, lines))
    return panels(columns)


# --- A table ---


def _table_view(comparison: ModelComparison, queue: dict[str, Any]) -> None:
    choices = [(task.action or task.title, task.name) for task in TASKS.values()]
    first = FIRST_TASK if FIRST_TASK in TASKS else next(iter(TASKS))
    model = "the tuned model" if "tuned" in comparison.backend.names else "the model"
    about = (
        f"Up to {MOST_ROWS} rows, of which {model} answers as many as it can within {ANSWER_SECONDS:.0f} seconds. Each row "
        "comes back with an answer, and its probability where one is known, or with the reason why it has none."
    )
    gr.HTML(hint(about), elem_classes="about")
    task = gr.Dropdown(choices, value=first, label="Task", filterable=False)
    columns = gr.HTML(columns_hint(TASKS[first]), elem_classes="caption")
    text = gr.Textbox(
        example_of(comparison, first), label="CSV with a header", lines=LIST_LINES, max_lines=MAX_LINES, elem_id="csv"
    )
    gr.HTML(FILE_INPUT, elem_classes="caption")
    with gr.Row(elem_classes="buttons"):
        go = gr.Button("Answer the rows", variant="primary")
        save = gr.Button("Save the answers as CSV", variant="secondary", interactive=False)
    notice = gr.HTML(elem_classes="notice")
    result = gr.HTML(elem_classes="result")
    written = gr.Textbox(visible=False)

    def answer_rows(name: str, text: str) -> Iterator[list[Any]]:
        off = gr.Button(interactive=False)
        try:
            table = csv_rows.read_table(text)
            options = default_options(comparison, name)
            yield [hint(waiting(comparison, f"Answering {len(table.rows)} rows.")), "", "", off]
            comparison.backend.wait(LOADING_SECONDS)
            asked = (comparison.backend, TASKS[name], table, options, ANSWER_SECONDS, comparison.by_text)
            for found in csv_rows.answers_so_far(*asked):
                yield [hint(f"{len(found)} of {len(table.rows)} rows are done."), "", "", off]
            yield [
                hint(outcome(table, found)),
                shown(table, found),
                csv_rows.written(table, found),
                gr.Button(interactive=True),
            ]
        except (InputError, BackendError) as error:
            yield [alert(str(error)), "", "", off]

    def choose(name: str, text: str) -> list[Any]:
        """Another example, unless the box holds rows of the visitor's own."""
        theirs = text.strip() and text not in {example_of(comparison, one) for one in TASKS}
        return [columns_hint(TASKS[name]), text if theirs else example_of(comparison, name)]

    outputs = [notice, result, written, save]
    go.click(answer_rows, [task, text], outputs, api_visibility="private", show_progress="hidden", **queue)
    task.change(choose, [task, text], [columns, text], **EVENT_OPTIONS)
    save.click(None, written, js=SAVE, api_visibility="private")


def columns_hint(task: Task) -> str:
    lists = (
        " A list is a JSON list, or has one item a line."
        if any(field.is_list for field in input_fields(task, 1) if field.name != "options")
        else ""
    )
    return hint(f"Columns: {', '.join(csv_rows.column_names(task))}; others are kept.{lists}")


def example_of(comparison: ModelComparison, name: str) -> str:
    return csv_rows.example_table(TASKS[name], [one.form for one in comparison.examples.get(name, ())])


def default_options(comparison: ModelComparison, name: str) -> Any:
    """The statements of the first example, for a table that brings none."""
    first = comparison.example_after(name, "")
    return first.form.values.get("options") if first else None


def outcome(table: Table, found: dict[int, RowAnswer]) -> str:
    done = sum(not one.error for one in found.values())
    return f"{done} of {len(table.rows)} rows have an answer. Save them as CSV to see all columns."


def shown(table: Table, found: dict[int, RowAnswer]) -> str:
    """The first rows with their answers."""
    rows = []
    for place, row in enumerate(table.rows[:SHOWN_ROWS]):
        one = found.get(place, RowAnswer(error=csv_rows.NO_TIME))
        sure = "" if one.confidence is None else f"{one.confidence:.2f}"
        cells = (" · ".join(filter(None, row.values())), one.answer or one.error, sure)
        cut = (cell if len(cell) <= SHOWN_CHARS else f"{cell[:SHOWN_CHARS]}…" for cell in cells)
        rows.append(ShownAnswer((str(place + 1), *cut), failed=bool(one.error)))
    more = hint(f"The first {SHOWN_ROWS} rows of {len(table.rows)}.") if len(table.rows) > SHOWN_ROWS else ""
    return answer_table(("", "row", "answer", "probability"), rows, "Answers") + more


def waiting(comparison: ModelComparison, otherwise: str) -> str:
    return STILL_LOADING if comparison.backend.state().kind == "loading" else otherwise
