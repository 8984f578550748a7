"""The Gradio page: a tab for each task, answered by base and fine-tuned model, and the tabs Evaluation and Data.

Settings come from settings.json and environment variables, see README.md. GRADIO_SERVER_PORT and GRADIO_SERVER_NAME work as
usual.
"""

import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from starlette.middleware import Middleware

from common.tasks import TASKS, Task

from . import ROOT, evaluation_tab
from .api_endpoints import rank_endpoint, raw_endpoint, task_endpoint
from .comparison import ModelComparison
from .data_tab import data_tab
from .dataset_pages import DatasetReader
from .examples import ExampleRows, read_examples
from .html import status_line
from .own_rows_tab import CHOSEN_FILE, own_rows_tab
from .request_limits import RequestSizeLimit
from .settings import SettingsError, make_backend, mcp_server, read_settings
from .task_tab import EVENT_OPTIONS, task_tab

FIRST_TABS = (
    "query_product_ranking",
    "next_query",
    "also_buy",
    "query_relation",
    "review_rating",
    "next_title_amazon",
    "answer_generation",
)
"""Tasks whose tabs come first; the others follow in the order of TASKS."""
QUEUE_SIZE = 32
"""Waiting requests; further ones are refused as busy."""

ARROW_KEYS = """() => document.addEventListener("keydown", (event) => {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.target.role !== "tab" || !(event.key in steps)) return;
  const tabs = [...event.target.parentElement.querySelectorAll("[role=tab]")];
  const next = tabs[(tabs.indexOf(event.target) + steps[event.key] + tabs.length) % tabs.length];
  event.preventDefault();
  next.focus();
  next.click();
})"""
"""Arrow keys move between tabs, as is usual; Gradio's tabs support the Tab key only."""


def tab_order() -> list[Task]:
    first = [TASKS[name] for name in FIRST_TABS if name in TASKS]
    return [*first, *(task for task in TASKS.values() if task not in first)]


def page(comparison: ModelComparison, dataset: DatasetReader | None) -> gr.Blocks:
    queue: dict[str, Any] = {"concurrency_limit": comparison.backend.max_concurrency, "concurrency_id": "model"}
    # Apart: the rows of a long list take their turns among other visitors' prompts.
    own_queue: dict[str, Any] = {"concurrency_limit": max(comparison.backend.max_concurrency // 4, 1), "concurrency_id": "rows"}
    blocks = gr.Blocks(title="Shop tasks", analytics_enabled=False)
    with blocks:
        gr.HTML(
            "<h1>One model, an online shop's many tasks</h1>"
            "<p>Pick a task, keep the example or change it, and see what a language model answers before and after fine-tuning "
            "on shop data.</p>",
            elem_id="top",
        )
        status = gr.HTML(status_of(comparison), elem_id="status")
        timer = gr.Timer(1)
        with gr.Tabs(elem_id="tabs"):
            with (
                gr.Tab("Try it", id="try", elem_id="tab-try"),
                gr.Tabs(elem_id="views", elem_classes="views", overflow_behavior="wrap"),
            ):
                for task in tab_order():
                    task_tab(task, comparison, queue)
            own_rows_tab(comparison, own_queue)
            with gr.Tab("Evaluation", id="evaluation", elem_id="tab-evaluation") as evaluation:
                scores = gr.HTML(elem_id="evaluation")
            data_tab(dataset or ExampleRows(read_examples()))

        def tick() -> tuple[str, gr.Timer]:
            return status_of(comparison), gr.Timer(active=comparison.backend.state().kind == "loading")

        gr.on([blocks.load, timer.tick], tick, outputs=[status, timer], **EVENT_OPTIONS)
        blocks.load(None, js=ARROW_KEYS, api_visibility="private")
        blocks.load(None, js=CHOSEN_FILE, api_visibility="private")
        evaluation.select(lambda: evaluation_tab.page(), outputs=scores, **EVENT_OPTIONS)
        for task in tab_order():
            gr.api(task_endpoint(task, comparison), api_name=task.name, **queue)
        gr.api(raw_endpoint(comparison), api_name="answer", **queue)
        gr.api(rank_endpoint(comparison), api_name="rank", **own_queue)
    blocks.queue(max_size=QUEUE_SIZE, api_open=False)  # closed routes: no request bypasses the queue
    return blocks


def status_of(comparison: ModelComparison) -> str:
    state = comparison.backend.state()
    return status_line(state.message, state.kind)


def theme() -> gr.themes.Base:
    """System fonts, so that the page loads nothing from other hosts."""
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_400",
    )


def main() -> None:
    try:
        settings = read_settings()
        backend, mcp = make_backend(settings), mcp_server()
    except SettingsError as error:
        raise SystemExit(f"error: {error}") from None
    dataset = DatasetReader(settings.dataset) if settings.dataset else None
    blocks = page(ModelComparison(backend, dataset, settings.lists), dataset)
    blocks.launch(
        theme=theme(),
        css_paths=ROOT / "style.css",
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        mcp_server=mcp,
        max_file_size=1,  # byte, the minimum: the page takes no files
        state_session_capacity=100,  # Gradio stores some 400 kB for each visitor
        ssr_mode=False,
        show_error=False,
        share=False,
        app_kwargs={"middleware": [Middleware(RequestSizeLimit)]},
        prevent_thread_lock=True,
        _frontend=False,  # else Gradio requests the page at the start and exits if that takes three seconds
    )
    backend.start()
    blocks.block_thread()
