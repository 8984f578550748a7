"""The demo's page: pick one of an online shop's tasks, take a sample row or type one, and compare base and tuned model.

It needs nothing but the files beside it. BASE_MODEL, ADAPTER and DATASET (each a folder or a Hub id) override
settings.json; GRADIO_SERVER_PORT and GRADIO_SERVER_NAME work as everywhere.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

try:
    from demo import BadInput, Demo
    from model import ModelError
    from reading import task_order
    from tasks import TASKS
except ModuleNotFoundError as error:
    if error.name != "tasks":
        raise
    raise SystemExit(
        "error: tasks.py is missing beside app.py (a link that was copied without its target); in the repository run "
        "`python -m space.publish --out DIR --dry-run` and start app.py in that folder"
    ) from None

HERE = Path(__file__).parent
OPENING_TASK = "query_product_ranking"
QUEUE_SIZE = 32
ONE_RADIO_GROUP = """() => document.querySelectorAll("#task input").forEach((input) => { input.name = "task" })"""
"""Gradio gives each radio button a name of its own; only with a common one do the arrow keys go from task to task."""


@dataclass(frozen=True)
class Settings:
    base_model: str
    adapter: str | None
    dataset: str | None


def read_settings() -> Settings:
    """settings.json, each entry overridden by the environment variable of its name in capitals."""
    stored = json.loads((HERE / "settings.json").read_text(encoding="utf-8"))
    return Settings(**{name: os.environ.get(name.upper()) or stored[name] for name in ("base_model", "adapter", "dataset")})


def page(demo: Demo) -> gr.Blocks:
    names = task_order(OPENING_TASK, demo.trained)
    prompt_text, caption, *_ = demo.opening(names[0])

    def answer(task: str, prompt: str) -> dict[str, Any]:
        try:
            return demo.answer(task, prompt)
        except (BadInput, ModelError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    answer.__doc__ = demo.answer.__doc__
    one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "model"}
    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    with gr.Blocks(title="Shop tasks", analytics_enabled=False) as blocks:
        gr.HTML(
            "<h1>One small model, twelve jobs of an online shop</h1>"
            "<p>Pick a job, keep the example or write your own, and see what a language model answers before and after "
            "fine-tuning on shop data.</p>",
            elem_id="top",
        )
        status_line = gr.HTML(demo.status()[0], elem_id="status")
        ticking = gr.Timer(1)
        task = gr.Radio([(TASKS[name].title, name) for name in names], value=names[0], label="Task", elem_id="task")
        prompt = gr.Textbox(prompt_text, label="Prompt", lines=6, max_lines=14, elem_id="prompt")
        about = gr.HTML(caption, elem_id="about")
        with gr.Row(elem_id="buttons"):
            go = gr.Button("Compare the answers", variant="primary", elem_id="go")
            other = gr.Button("Another example", variant="secondary", elem_id="other")
        notice = gr.HTML(elem_id="notice")
        result = gr.HTML(elem_id="result")

        def tick() -> tuple[str, gr.Timer]:
            line, changing = demo.status()
            return line, gr.Timer(active=changing)

        ticking.tick(tick, outputs=[status_line, ticking], **quick)
        gr.on([blocks.load, task.change], None, js=ONE_RADIO_GROUP, queue=False, api_visibility="private")
        blocks.load(tick, outputs=[status_line, ticking], **quick)
        shown = [prompt, about, notice, result]
        task.change(demo.opening, task, shown, **quick)
        other.click(demo.another, [task, prompt], shown, **quick)
        gr.on(
            [go.click, prompt.submit],
            demo.compare,
            [task, prompt],
            [notice, result],
            api_visibility="private",
            show_progress="minimal",
            show_progress_on=notice,
            scroll_to_output=True,
            **one_at_a_time,
        )
        gr.api(answer, api_name="answer", **one_at_a_time)
    return blocks.queue(max_size=QUEUE_SIZE)


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
    page(Demo(settings.base_model, settings.adapter, settings.dataset)).launch(
        theme=theme(),
        css_paths=HERE / "style.css",
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        max_file_size=1,  # the page takes no files: one byte is the least that can be said
        state_session_capacity=1000,
        ssr_mode=False,
        show_error=False,
        share=False,
    )


if __name__ == "__main__":
    main()
