"""The Space's page and endpoint, as a visitor and as a program meet them."""

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from tasks import TASKS, parse_completion

from tests.space.conftest import NASTY_TITLES, Served, serve

PROMPTS = {
    "query_generation": "Product: red running shoes for women\nQuery: ",
    "review_rating": "Review: The bottle leaks.\nAnswer: ",
    "answer_generation": "Question: does the lamp come with a bulb?\nAnswer: ",
}


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    return Client(served.url, verbose=False)


@pytest.fixture
def page(served: Served, browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(served.url)
    page.get_by_role("button", name="Compare the answers").wait_for()
    yield page
    context.close()


def compare(page: Any) -> None:
    page.get_by_role("button", name="Compare the answers").click()
    page.locator("section[aria-label=Tuned] .state", has_text=re.compile(r"\d s$")).wait_for()


def answer(client: Client, task: str, prompt: str) -> dict[str, Any]:
    return client.predict(task=task, prompt=prompt, api_name="/answer")


def plain_greedy_answer(folder: Path, task: str, prompt: str) -> str:
    """What transformers alone says, without the Space's code."""
    from model import fastest_dtype
    from transformers import pipeline

    generate = pipeline("text-generation", model=str(folder), device="cpu", dtype=fastest_dtype())
    turns = [{"role": "user", "content": prompt}]
    said = generate(turns, max_new_tokens=TASKS[task].max_new_tokens, do_sample=False, return_full_text=False)
    return str(said[0]["generated_text"])


def test_only_the_documented_endpoint_is_open(client: Client) -> None:
    assert list(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == ["/answer"]


def test_the_endpoint_tells_what_each_model_says_and_how_it_is_read(client: Client, tiny_llama: Path) -> None:
    task, prompt = "query_generation", PROMPTS["query_generation"]
    told = answer(client, task, prompt)
    assert told["base"]["text"] != told["tuned"]["text"]
    assert told["base"]["text"] == plain_greedy_answer(tiny_llama, task, prompt)
    assert told["base"]["read_as"] == parse_completion(TASKS[task], told["base"]["text"])
    assert told["base"]["mark"] is None
    assert told["right"] is None


@pytest.mark.browser
def test_an_example_of_the_page_comes_with_its_right_answer_and_a_mark(client: Client, page: Any) -> None:
    told = answer(client, "query_product_ranking", page.get_by_label("Prompt").input_value())
    assert told["right"] == [1.0, 0.1, 0.01, 0.0, 0.0]
    assert told["base"]["mark"]["verdict"] in {"correct", "partly", "wrong"}


@pytest.mark.parametrize(
    ("task", "prompt", "sentence"),
    [
        ("query_generation", "  \n", "The prompt is empty"),
        ("query_generation", "a" * 6001, "The prompt is too long: 6001 characters"),
        ("query_generation", "\U0001f6d2" * 2000, "The prompt is too long: "),
        ("no_such_task", "hello", "There is no task of that name"),
    ],
)
def test_a_bad_request_gets_a_sentence(client: Client, task: str, prompt: str, sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        answer(client, task, prompt)


def test_many_at_once_each_get_their_own_answer(served: Served, client: Client) -> None:
    alone = {task: answer(client, task, prompt) for task, prompt in PROMPTS.items()}
    asked = list(PROMPTS) * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda task: answer(client, task, PROMPTS[task]), asked))
    for task, told in zip(asked, together, strict=True):
        for who in ("base", "tuned"):
            assert told[who]["text"] == alone[task][who]["text"]


@pytest.mark.browser
def test_a_visitor_picks_a_task_and_sees_both_answers_and_how_they_are_read(
    page: Any, client: Client, screenshots: Path
) -> None:
    page.get_by_role("radio", name="A query for a product").check()
    prompt = page.get_by_label("Prompt")
    prompt.get_by_text("Write a search query").or_(prompt).wait_for()
    page.wait_for_function("document.querySelector('#prompt textarea').value.startsWith('Write a search query')")
    compare(page)
    told = answer(client, "query_generation", prompt.input_value())
    for who in ("Base", "Tuned"):
        panel = page.get_by_role("region", name=who)
        assert panel.locator(".said").inner_text().strip() == told[who.lower()]["text"].strip()
        assert panel.get_by_role("heading", name="Read as").is_visible()
        assert panel.locator(".mark").inner_text().startswith(("✓", "≈", "✗"))
    assert page.get_by_role("region", name="Right answer").locator("blockquote").inner_text() == told["right"]
    page.screenshot(path=screenshots / "space.png", full_page=True)


@pytest.mark.browser
def test_another_example_and_a_prompt_of_ones_own(page: Any) -> None:
    page.get_by_role("radio", name="Rating of a review").check()
    page.wait_for_function("document.querySelector('#prompt textarea').value.startsWith('Rate the')")
    page.get_by_role("button", name="Another example").click()
    page.locator("#about", has_text="Example 2 of").wait_for()
    page.get_by_label("Prompt").fill("Review: Very good.\nAnswer: ")
    compare(page)
    assert page.get_by_role("region", name="Right answer").count() == 0
    assert page.locator(".mark").count() == 0


@pytest.mark.browser
def test_product_text_with_markup_or_template_code_is_shown_as_text(page: Any) -> None:
    asked = page.get_by_label("Prompt").input_value()
    assert all(title in asked for title in NASTY_TITLES)
    compare(page)
    shown = page.get_by_role("region", name="Right answer").locator(".title").all_inner_texts()
    assert shown == list(NASTY_TITLES)
    assert page.locator("#result img, #result script, #result a, #result b").count() == 0
    assert page.title() == "Shop tasks"


@pytest.mark.browser
@pytest.mark.parametrize(("typed", "sentence"), [("", "The prompt is empty"), ("word " * 1300, "The prompt is too long")])
def test_a_bad_prompt_gets_a_sentence_on_the_page(page: Any, typed: str, sentence: str) -> None:
    page.get_by_label("Prompt").fill(typed)
    page.get_by_role("button", name="Compare the answers").click()
    page.get_by_role("alert").filter(has_text=sentence).wait_for()
    assert page.locator("#result section").count() == 0


@pytest.mark.browser
def test_the_page_asks_no_other_host_and_fits_a_phone_in_the_dark(served: Served, browser: Any, screenshots: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    page.get_by_role("button", name="Compare the answers").wait_for()
    compare(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]
    page.screenshot(path=screenshots / "space_phone_dark.png", full_page=True)
    context.close()


@pytest.mark.browser
def test_the_page_is_usable_by_keyboard_alone(page: Any) -> None:
    page.get_by_role("radio", checked=True).focus()
    for begins in ("Rate the following", "Which of the following"):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"document.querySelector('#prompt textarea').value.startsWith('{begins}')")
    page.get_by_label("Prompt").focus()
    page.keyboard.press("Shift+Enter")
    page.get_by_role("region", name="Tuned").locator(".state", has_text=re.compile(r"\d s$")).wait_for()


@pytest.mark.browser
def test_a_model_that_cannot_be_loaded_is_told_in_one_sentence(tree: Path, browser: Any, tmp_path: Path) -> None:
    sentence = "The model no_such_model could not be loaded. BASE_MODEL has to be a model folder or a Hub id."
    with serve(tree, tmp_path / "log", BASE_MODEL=str(tmp_path / "no_such_model")) as broken:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(broken.url)
        page.locator("#status", has_text=sentence).wait_for()
        page.get_by_role("button", name="Compare the answers").click()
        page.get_by_role("alert").filter(has_text=sentence).wait_for()
        assert "Traceback" not in page.content() + broken.log.read_text()
        assert str(tmp_path) not in page.content()
        page.close()


def test_a_folder_copied_without_the_task_file_says_what_to_do(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "copy", ignore=shutil.ignore_patterns("tasks.py"))
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path / "copy", capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "python -m space.publish" in done.stderr
    assert "Traceback" not in done.stderr
