"""The page in the machine's own Chromium: every task with one good run and one bad input, Evaluation and Data, keyboard,
phone, dark mode. Pictures of each are kept for a person's eye."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from common.tasks import Task
from space.demo.examples import read_examples
from space.demo.inputs import input_fields
from space.demo.page import QUEUE_SIZE, tab_order
from tests.space.conftest import NASTY_TITLES, REVIEWS, Served, serve
from tests.space.demo.test_page import NEW_TASK, PROMPTS

GO = "Compare the answers"
FULL = "Queue is full! Please try again."
FINISHED = re.compile(r"\d s")
TABS = {task.name: task for task in tab_order()}


def opened(browser: Any, url: str, **options: Any) -> Any:
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.get_by_role("button", name=GO).wait_for()
    return page


@pytest.fixture
def page(served: Served, browser: Any) -> Iterator[Any]:
    page = opened(browser, served.url)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def lasting_page(served: Served, browser: Any) -> Iterator[Any]:
    """One page for all views, as a visitor goes from one to the next."""
    page = opened(browser, served.url)
    yield page
    page.context.close()


def go_to(page: Any, task: Task) -> Any:
    """The panel that the task's tab opens."""
    page.get_by_role("tab", name=task.action, exact=True).click()
    panel = page.locator(f"#view-{task.name}")
    panel.get_by_role("button", name=GO).wait_for()
    return panel


def compare(panel: Any) -> None:
    panel.get_by_role("button", name=GO).click()
    # Answers to an earlier input are finished too.
    panel.locator(".block.result:not(.earlier)").wait_for()
    panel.locator("section[aria-label=Tuned] .state", has_text=FINISHED).wait_for()
    panel.locator("section[aria-label=Base] .state", has_text=FINISHED).wait_for()
    # The last that comes of a click: until it is there, the button does nothing.
    panel.locator(".notice .spoken").wait_for(state="attached")


def seen(text: str) -> str:
    """What can be seen of a text: a random model writes control characters, and browsers treat each in their way."""
    return "".join(char for char in text if char.isprintable() and not char.isspace())


def box(panel: Any, task: Task, name: str) -> Any:
    return panel.get_by_label(next(field.heading for field in input_fields(task) if field.name == name), exact=True)


@pytest.mark.parametrize("name", read_examples())
def test_a_tab_opens_filled_runs_with_one_click_and_refuses_an_empty_box(
    lasting_page: Any, served: Served, screenshots: Path, name: str
) -> None:
    task = TABS[name]
    panel = go_to(lasting_page, task)
    sent = panel.get_by_role("button", name="The prompt that is sent")
    sent.click()
    prompt = panel.get_by_role("group", name="The prompt that is sent").inner_text()
    sent.click()
    compare(panel)
    told = Client(served.url, verbose=False).predict(task=name, prompt=prompt, api_name="/answer")
    assert told["right"] is not None
    for who in ("Base", "Tuned"):
        column = panel.get_by_role("region", name=who)
        assert column.locator(".mark").inner_text().split()[1] == told[who.lower()]["mark"]["verdict"]
        if task.family != "generation":
            assert seen(column.locator(".said").inner_text()) == seen(told[who.lower()]["text"])
            assert column.get_by_role("listitem").count() >= 2
    lasting_page.screenshot(path=screenshots / f"space_{name}.png", full_page=True)

    first = input_fields(task)[0]
    box(panel, task, first.name).fill("")
    panel.get_by_role("button", name=GO).click()
    panel.get_by_role("alert").filter(has_text=f"{first.label}: this is empty.").wait_for()
    assert panel.locator(".result section").count() == 0
    lasting_page.screenshot(path=screenshots / f"space_{name}_bad.png", full_page=True)


def test_a_tab_keeps_what_was_typed_while_others_are_looked_at(page: Any) -> None:
    writing, ranking = TABS["query_generation"], TABS["query_product_ranking"]
    box(go_to(page, writing), writing, "product").fill("my own lamp")
    go_to(page, ranking)
    assert box(go_to(page, writing), writing, "product").input_value() == "my own lamp"


def test_the_right_answer_goes_as_soon_as_a_field_is_changed(page: Any) -> None:
    task = TABS["query_product_ranking"]
    panel = go_to(page, task)
    compare(panel)
    assert panel.get_by_role("region", name="Right answer").is_visible()
    box(panel, task, "query").press_sequentially(" x")
    panel.locator(".caption .hint", has_text="Your own input, so that no right answer is known.").wait_for()
    panel.get_by_role("region", name="Right answer").wait_for(state="hidden")
    assert not [piece for kind in (".mark", ".note") for piece in panel.locator(kind).all() if piece.is_visible()]
    panel.get_by_text("The answers below are those to what stood here before.").wait_for()
    compare(panel)
    assert panel.locator(".block.result:not(.earlier)").count() == 1
    assert panel.get_by_role("region", name="Right answer").count() == 0
    assert panel.locator(".mark").count() == 0


def test_a_changed_field_and_another_wording_change_the_prompt_that_is_sent(page: Any) -> None:
    task = TABS["query_product_ranking"]
    panel = go_to(page, task)
    panel.get_by_role("button", name="The prompt that is sent").click()
    box(panel, task, "query").fill("tulip bulbs")
    sent = panel.get_by_role("group", name="The prompt that is sent")
    sent.filter(has_text="keyword 'tulip bulbs'").wait_for()
    panel.get_by_role("radio", name="Wording 2").check()
    sent.filter(has_text="the query 'tulip bulbs', best first").wait_for()


def test_another_example_fills_every_box_and_the_last_leads_to_the_first(page: Any) -> None:
    task = TABS["also_buy"]
    panel = go_to(page, task)
    number = box(panel, task, "number")
    filled = []
    for place in (2, 1):
        panel.get_by_role("button", name="Another example").click()
        panel.locator(".caption .hint", has_text=f"Example {place} of 2").wait_for()
        filled.append((box(panel, task, "product").input_value(), number.is_visible()))
    assert len(set(filled)) == 2
    assert [visible for _, visible in filled] == [False, True]  # only the first one's wording says how many to pick


def test_product_text_with_markup_or_template_code_is_shown_as_text(page: Any) -> None:
    panel = go_to(page, TABS["query_product_ranking"])
    assert box(panel, TABS["query_product_ranking"], "products").input_value() == "\n".join(NASTY_TITLES)
    panel.get_by_role("button", name="The prompt that is sent").click()
    compare(panel)
    shown = panel.get_by_role("region", name="Right answer").locator(".title").all_inner_texts()
    assert shown == list(NASTY_TITLES)
    assert panel.locator(".result :is(img, script, a, b), pre :is(img, script, a, b)").count() == 0
    assert page.title() == "Shop tasks"


def test_the_evaluation_is_the_reports(page: Any, screenshots: Path) -> None:
    page.get_by_role("tab", name="Evaluation").click()
    row = page.get_by_role("row").filter(has_text="Rating of a review")
    row.filter(has_text="+0.667").wait_for()
    assert page.get_by_role("columnheader", name="<b>tuned</b>").is_visible()
    picture = page.get_by_role("img", name="Scores of base")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    page.screenshot(path=screenshots / "space_evaluation.png", full_page=True)


def test_rows_of_the_dataset_are_browsed_by_task_split_page_and_text(page: Any, screenshots: Path) -> None:
    page.get_by_role("tab", name="Data").click()
    told = page.locator("#tab-data .caption .hint")
    told.filter(has_text=f"Rows 1 to 10 of {REVIEWS} in the dataset.").wait_for()
    page.screenshot(path=screenshots / "space_data.png", full_page=True)
    page.get_by_role("button", name="Next rows").click()
    told.filter(has_text="Rows 11 to 20").wait_for()
    page.get_by_role("button", name="Next rows").click()
    told.filter(has_text=f"Rows 21 to {REVIEWS}").wait_for()
    assert page.get_by_role("button", name="Next rows").is_disabled()
    page.get_by_role("button", name="Previous rows").click()
    told.filter(has_text="Rows 11 to 20").wait_for()
    page.get_by_label("Rows that hold").fill("LEAKS")
    told.filter(has_text=f"Rows 1 to 10 of {REVIEWS // 2}").wait_for()
    page.locator("details.row").first.click()
    assert page.get_by_role("group", name="Prompt of row 1").inner_text().startswith("Rate the following")
    assert page.locator("details[open] dd", has_text="a <b>source</b>").is_visible()
    page.get_by_label("Rows that hold").fill("no such words")
    told.filter(has_text="No such row in the dataset.").wait_for()
    page.screenshot(path=screenshots / "space_data_bad.png", full_page=True)
    page.get_by_label("Rows that hold").fill("")
    told.filter(has_text=f"Rows 1 to 10 of {REVIEWS}").wait_for()
    page.get_by_label("Split").click()
    page.get_by_role("option", name="test").click()
    told.filter(has_text="Rows 1 to 3 of 3").wait_for()
    page.get_by_label("Task").click()
    page.get_by_role("option", name="Ranking products for a query").click()
    told.filter(has_text="Rows 1 to 1 of 1").wait_for()
    assert page.locator("#tab-data details :is(img, script, b)").count() == 0


def test_the_page_asks_no_other_host_and_fits_a_phone_in_the_dark(served: Served, browser: Any, screenshots: Path) -> None:
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    for name in ("query_product_ranking", "also_buy", "query_relation"):
        compare(go_to(page, TABS[name]))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.screenshot(path=screenshots / f"space_phone_dark_{name}.png", full_page=True)
    assert page.locator(".status .dot").evaluate("dot => getComputedStyle(dot).animationName") == "none"
    for tab, shown in (("Evaluation", "table.scores"), ("Data", "details.row")):
        page.get_by_role("tab", name=tab).click()
        page.locator(shown).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.screenshot(path=screenshots / f"space_phone_dark_{tab.lower()}.png", full_page=True)
    assert not [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]
    context.close()


def test_the_page_is_usable_by_keyboard_alone(page: Any) -> None:
    page.locator("#status .ready").wait_for()  # which comes after the script that listens to the arrow keys
    page.get_by_role("tab", name="Rank products").focus()
    page.keyboard.press("ArrowRight")
    panel = page.locator(f"#view-{list(TABS)[1]}")
    panel.get_by_role("button", name=GO).wait_for()
    assert page.evaluate("document.activeElement.innerText") == list(TABS.values())[1].action
    page.keyboard.press("ArrowLeft")
    panel = page.locator("#view-query_product_ranking")
    panel.get_by_label("Search query").focus()
    page.keyboard.press("Enter")
    panel.locator("section[aria-label=Tuned] .state", has_text=FINISHED).wait_for()
    for name in (GO, "Another example", "The prompt that is sent"):
        panel.get_by_role("button", name=name).focus()
        assert panel.get_by_role("button", name=name).evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    panel.get_by_role("group", name="The prompt that is sent").wait_for()


def test_when_too_many_wait_the_page_and_the_endpoint_say_that_they_are_busy(page: Any, served: Served) -> None:
    client = Client(served.url, verbose=False, max_workers=2 * QUEUE_SIZE, httpx_kwargs={"timeout": 120})
    outcomes: list[str] = []
    told = threading.Event()

    def press(name: str) -> None:
        """One visitor after another: the queue stays full however slowly this machine clicks."""
        while not told.is_set():
            outcomes.append(str(client.submit(task=name, prompt=PROMPTS[name], api_name="/answer").exception(timeout=300)))
            told.wait(0.1)

    busy = page.get_by_text("This application is currently busy. Please try again.").first
    with ThreadPoolExecutor(2 * QUEUE_SIZE) as pool:
        pressing = [pool.submit(press, name) for name in (*PROMPTS,) * (2 * QUEUE_SIZE // len(PROMPTS))]
        try:
            deadline = time.monotonic() + 120
            while FULL not in outcomes:
                assert time.monotonic() < deadline, outcomes
                page.wait_for_timeout(100)
            # A click may get the place that has just become free; once it is answered, the next one is told.
            while not busy.is_visible():
                assert time.monotonic() < deadline + 120
                page.get_by_role("button", name=GO).click()
                page.wait_for_timeout(100)
        finally:
            told.set()
    for visitor in pressing:
        visitor.result()
    assert set(outcomes) <= {"None", FULL}
    assert "None" in outcomes


def test_the_page_is_there_and_says_what_it_waits_for_while_model_and_dataset_are_slow(
    tree: Path, browser: Any, hub: Any, tmp_path: Path, screenshots: Path
) -> None:
    env = {name: value for name, value in hub.env().items() if name.startswith("HF_")}
    ids = {"BASE_MODEL": "org/slow_model", "DATASET": "org/slow_dataset"}
    patient = {"HF_HUB_OFFLINE": "0", "HF_HUB_ETAG_TIMEOUT": "600", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}
    with hub.hold("slow_"), serve(tree, tmp_path / "log", **env | ids | patient) as running:
        page = opened(browser, running.url)
        page.locator("#status .loading").wait_for()
        panel = page.locator("#view-query_product_ranking")
        assert panel.get_by_label("Search query").input_value() == "<b>hose</b>"
        panel.get_by_role("button", name=GO).click()
        panel.get_by_text("The model is still loading; the answer follows by itself.").wait_for()
        page.screenshot(path=screenshots / "space_loading.png", full_page=True)
        page.context.close()


def test_a_model_that_cannot_be_loaded_is_told_in_one_sentence(tree: Path, browser: Any, tmp_path: Path) -> None:
    with serve(tree, tmp_path / "log", BASE_MODEL=str(tmp_path / "no_such_model"), DATASET="org/no_such_dataset") as broken:
        page = opened(browser, broken.url)
        status = page.locator("#status .failed")
        status.wait_for()
        sentence = status.inner_text().strip()
        assert "no_such_model" in sentence
        page.get_by_role("button", name=GO).click()
        page.get_by_role("alert").filter(has_text=sentence).wait_for()
        page.get_by_role("tab", name="Data").click()
        page.get_by_role("alert").filter(has_text="org/no_such_dataset is neither a folder here nor a dataset").wait_for()
        assert "Traceback" not in page.content() + broken.log.read_text()
        assert str(tmp_path) not in page.content()
        page.context.close()


def test_a_task_that_is_added_to_the_tasks_alone_is_a_tab_with_empty_boxes(
    tree: Path, tiny_llama: Path, browser: Any, tmp_path: Path, screenshots: Path
) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    with (tmp_path / "tree" / "common" / "tasks.py").open("a") as file:
        file.write(NEW_TASK)
    (tmp_path / "tree" / "evaluation.json").unlink()
    with serve(tmp_path / "tree", tmp_path / "log", BASE_MODEL=str(tiny_llama)) as running:
        page = opened(browser, running.url)
        page.get_by_role("tab", name="Which size fits?").click()
        panel = page.locator("#view-size_advice")
        for label, typed in (("Body height", "1.80 m"), ("Size chart, one a line", "M to 1.75\nL to 1.85"), ("Class", "slim")):
            panel.get_by_label(label).fill(typed)
        panel.get_by_role("button", name=GO).click()
        panel.locator("section[aria-label=Base] .state", has_text=FINISHED).wait_for()
        assert [line.split()[0] for line in panel.get_by_role("listitem").all_inner_texts()] == ["S", "M", "L"]
        assert panel.get_by_role("region", name="Tuned").count() == 0
        page.screenshot(path=screenshots / "space_new_task.png", full_page=True)
        page.get_by_role("tab", name="Evaluation").click()
        page.get_by_text("No evaluation came with this page.").wait_for()
        page.get_by_role("tab", name="Data").click()
        page.get_by_text("in the examples of this page.").wait_for()
        page.context.close()


def test_what_the_page_is_made_of_names_no_path_and_no_secret(
    served: Served, browser: Any, tree: Path, tiny_llama: Path
) -> None:
    page = opened(browser, served.url)
    config = json.dumps(page.evaluate("window.gradio_config"))
    assert str(tree) not in config + page.content()
    assert str(tiny_llama) not in config + page.content()
    page.context.close()
