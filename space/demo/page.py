"""The page: an online shop's tasks, each with what a shop has as its input, answered by a base model and a fine-tuned one.

It needs nothing but the files beside it. settings.json says what is loaded; environment variables override it, see README.md.
GRADIO_SERVER_PORT and GRADIO_SERVER_NAME work as everywhere.
"""

import json
import os
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from starlette.middleware import Middleware

from . import evaluation_tab
from .comparison import Comparison
from .data_tab import data_tab
from .dataset_pages import Dataset, ShippedRows
from .examples import read_examples
from .html import status
from .request_limits import SmallBodies
from .settings import BadSettings, Settings, connect
from .task_tab import QUICK, endpoint, raw_endpoint, view_tab
from .views import views

ROOT = Path(__file__).parents[1]
"""The Space's folder."""
QUEUE_SIZE = 32
"""Requests that wait for their turn; any further one is told that the page is busy."""

ARROW_KEYS = """() => document.addEventListener("keydown", (event) => {
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.target.role !== "tab" || !(event.key in steps)) return;
  const tabs = [...event.target.parentElement.querySelectorAll("[role=tab]")];
  const next = tabs[(tabs.indexOf(event.target) + steps[event.key] + tabs.length) % tabs.length];
  event.preventDefault();
  next.focus();
  next.click();
})"""
"""Gradio's tabs take the Tab key only; with the arrow keys one goes along them as elsewhere."""


def read_settings() -> Settings:
    """settings.json, each entry overridden by the environment variable of its name in capitals."""
    stored = json.loads((ROOT / "settings.json").read_text(encoding="utf-8"))
    return Settings(**{name: os.environ.get(name.upper()) or stored[name] for name in ("base_model", "adapter", "dataset")})


def page(comparison: Comparison, dataset: Dataset | None) -> gr.Blocks:
    turn = {"concurrency_limit": comparison.backend.at_once, "concurrency_id": "model"}
    with gr.Blocks(title="Shop tasks", analytics_enabled=False) as blocks:
        gr.HTML(
            "<h1>One model, an online shop's many tasks</h1>"
            "<p>Pick a task, keep the example or change it, and see what a language model answers before and after fine-tuning "
            "on shop data.</p>",
            elem_id="top",
        )
        status_line = gr.HTML(status_of(comparison), elem_id="status")
        ticking = gr.Timer(1)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Try it", id="try", elem_id="tab-try"), gr.Tabs(elem_id="views", overflow_behavior="wrap"):
                for view in views():
                    view_tab(view, comparison, turn)
            with gr.Tab("Evaluation", id="evaluation", elem_id="tab-evaluation") as evaluation:
                scores = gr.HTML(elem_id="evaluation")
            data_tab(dataset or ShippedRows(read_examples()))

        def tick() -> tuple[str, gr.Timer]:
            return status_of(comparison), gr.Timer(active=comparison.backend.state().kind == "loading")

        gr.on([blocks.load, ticking.tick], tick, outputs=[status_line, ticking], **QUICK)
        blocks.load(None, js=ARROW_KEYS, api_visibility="private")
        evaluation.select(lambda: evaluation_tab.page(), outputs=scores, **QUICK)
        for view in views():
            gr.api(endpoint(view, comparison), api_name=view.name, **turn)
        gr.api(raw_endpoint(comparison), api_name="answer", **turn)
    return blocks.queue(max_size=QUEUE_SIZE, api_open=False)  # nobody passes by the queue


def status_of(comparison: Comparison) -> str:
    state = comparison.backend.state()
    return status(state.message, state.kind)


def theme() -> gr.themes.Base:
    """Fonts of the visitor's own system: nothing is fetched from elsewhere."""
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
    settings = read_settings()
    try:
        backend = connect(settings)
    except BadSettings as error:
        raise SystemExit(f"error: {error}") from None
    dataset = Dataset(settings.dataset) if settings.dataset else None
    blocks = page(Comparison(backend, dataset), dataset)
    blocks.launch(
        theme=theme(),
        css_paths=ROOT / "style.css",
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        max_file_size=1,  # the page takes no files: one byte is the least that can be said
        state_session_capacity=100,  # Gradio keeps some 400 kB of each visitor
        ssr_mode=False,
        show_error=False,
        share=False,
        app_kwargs={"middleware": [Middleware(SmallBodies)]},
        prevent_thread_lock=True,
        _frontend=False,  # else the page asks itself for itself at the start, and ends where that takes three seconds
    )
    backend.start()
    blocks.block_thread()
