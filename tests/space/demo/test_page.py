"""The Space's endpoints, as a program meets them, and what it says before the page is there."""

import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio_client import Client

from common.answers import parse_completion
from common.tasks import TASKS
from space.demo.examples import read_examples
from space.demo.inputs import fill_form
from space.demo.page import tab_order
from tests.space.conftest import GAINS, NASTY_TITLES, REPO, Served, serve

PROMPTS = {
    "query_generation": "Product: red running shoes for women\nQuery: ",
    "review_rating": "Review: The bottle leaks.\nAnswer: ",
    "answer_generation": "Question: does the lamp come with a bulb?\nAnswer: ",
}
NAMED_USES = {
    "query_product_ranking",
    "next_query",
    "also_buy",
    "query_relation",
    "review_rating",
    "next_title_amazon",
    "answer_generation",
}
NEW_TASK = """
TASKS["size_advice"] = Task(
    name="size_advice", title="Which size fits?", family="multiple_choice", tables=(),
    templates=("A customer is {body_height} tall.\\n{size_chart:-}\\nWhich size? {class}\\nAnswer: ",),
    metric="accuracy", train_size=1, test_size=1, labels=("S", "M", "L"),
)
"""


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    return Client(served.url, verbose=False)


def answer(client: Client, task: str, prompt: str) -> dict[str, Any]:
    return client.predict(task=task, prompt=prompt, api_name="/answer")


def plain_greedy_answer(folder: Path, task: str, prompt: str) -> str:
    """What transformers alone says, without the Space's code."""
    from transformers import pipeline

    from space.demo.model_pair import fastest_dtype

    generate = pipeline("text-generation", model=str(folder), device="cpu", dtype=fastest_dtype())
    turns = [{"role": "user", "content": prompt}]
    said = generate(turns, max_new_tokens=TASKS[task].max_new_tokens, do_sample=False, return_full_text=False)
    return str(said[0]["generated_text"])


def test_every_task_has_a_tab_and_the_named_uses_come_first() -> None:
    names = [task.name for task in tab_order()]
    assert sorted(names) == sorted(TASKS)
    assert set(names[:7]) == NAMED_USES


def test_titles_of_tabs_are_short_and_all_different() -> None:
    titles = [task.action for task in tab_order()]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    assert max(map(len, titles)) < 30


def test_only_the_documented_endpoints_are_open(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/answer", "/rank", *(f"/{task}" for task in TASKS)}
    documented = set(re.findall(r"^\| `(/\w+)` \|", (REPO / "space" / "README.md").read_text(), re.MULTILINE))
    assert documented - set(endpoints) == set()
    assert {"/answer", "/rank"} <= documented


def test_a_list_of_any_length_is_ranked_by_both_models_with_scores(client: Client) -> None:
    products = [f"Garden hose of {metres} m" for metres in range(1, 13)]
    told = client.predict(query="hose", products=products, api_name="/rank")
    assert told["query"] == "hose"
    for who in ("base", "tuned"):
        assert sorted(one["product"] for one in told[who]) == sorted(products)
        scores = [one["score"] for one in told[who]]
        assert scores == sorted(scores, reverse=True)
        assert 0 < scores[-1] <= scores[0] < 1
        assert all(products[one["number"] - 1] == one["product"] for one in told[who])
    assert told["base"] != told["tuned"]


def test_the_endpoint_of_a_task_takes_what_a_shop_has(client: Client) -> None:
    parameters = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/query_product_ranking"][
        "parameters"
    ]
    assert [(one["parameter_name"], one["python_type"]["type"], one["parameter_has_default"]) for one in parameters] == [
        ("query", "str", False),
        ("products", "list[str]", False),
        ("wording", "int", True),
    ]


@pytest.mark.parametrize("name", read_examples())
def test_every_task_is_asked_by_its_fields_and_gives_what_its_own_prompt_gives(client: Client, name: str) -> None:
    filled = fill_form(TASKS[name], read_examples()[name][0].prompt)
    assert filled is not None
    told = client.predict(**filled.values, wording=filled.wording, api_name=f"/{name}")
    assert told["prompt"] == read_examples()[name][0].prompt
    assert {"base", "tuned", "right", "task"} < set(told)
    for who in ("base", "tuned"):
        assert set(told[who]) == {"text", "read_as", "chances", "seconds", "cut", "scored", "mark"}
        assert told[who]["read_as"] == parse_completion(TASKS[name], told[who]["text"])
    if TASKS[name].family == "multiple_choice" and told["tuned"]["chances"] is not None:
        assert sum(told["tuned"]["chances"].values()) == pytest.approx(1, abs=1e-3)


def test_the_endpoint_says_what_plain_transformers_says(client: Client, tiny_llama: Path) -> None:
    task, prompt = "query_generation", PROMPTS["query_generation"]
    told = answer(client, task, prompt)
    assert told["base"]["text"] != told["tuned"]["text"]
    assert told["base"]["text"] == plain_greedy_answer(tiny_llama, task, prompt)
    assert told["base"]["mark"] is None
    assert told["right"] is None


def test_an_example_of_the_page_comes_with_its_right_answer_and_a_mark(client: Client) -> None:
    told = client.predict(query="<b>hose</b>", products=list(NASTY_TITLES), api_name="/query_product_ranking")
    assert told["right"] == GAINS
    assert told["base"]["mark"]["verdict"] in {"correct", "partly", "wrong"}
    changed = client.predict(query="hose", products=list(NASTY_TITLES), api_name="/query_product_ranking")
    assert changed["right"] is None
    assert changed["base"]["mark"] is None


def test_statements_to_choose_from_may_be_left_out(client: Client) -> None:
    told = client.predict(query="lamp", other_query="desk lamp", api_name="/query_relation")
    assert re.search(r"\n0\. .+\n1\. .+\n2\. .+\n3\. .+\n", told["prompt"])


@pytest.mark.parametrize(
    ("endpoint", "given", "sentence"),
    [
        ("/answer", {"task": "query_generation", "prompt": "  \n"}, "The prompt is empty"),
        ("/answer", {"task": "query_generation", "prompt": "a" * 6001}, "The prompt is too long: 6,001 characters"),
        ("/answer", {"task": "query_generation", "prompt": "\U0001f6d2" * 2000}, "The prompt is too long: "),
        ("/answer", {"task": "no_such_task", "prompt": "hello"}, "There is no task of that name"),
        ("/query_generation", {"product": ""}, "Product: this is empty"),
        ("/query_product_ranking", {"query": "a", "products": ["b"]}, "there have to be exactly 5, one a line, and there is 1"),
        ("/query_product_ranking", {"query": {"a": 1}, "products": ["b"]}, "Search query: this has to be one text"),
        ("/query_generation", {"product": "a", "wording": 9}, "There is no wording '9'"),
        ("/rank", {"query": "a", "products": ["b"]}, "there have to be 2 to 50, one a line, and there is 1"),
    ],
)
def test_a_bad_request_gets_a_sentence(client: Client, endpoint: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Exception, match=re.escape(sentence)):
        client.predict(**given, api_name=endpoint)


def test_no_file_is_given_out_and_none_is_taken(served: Served, tree: Path) -> None:
    for path in ("/etc/passwd", "app.py", "evaluation.json", str(tree / "settings.json"), "../tree/app.py"):
        assert status_of(f"{served.url}gradio_api/file={path}") in {403, 404}
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nsome text\r\n--x--\r\n'
    assert status_of(f"{served.url}gradio_api/upload", form, "multipart/form-data; boundary=x") in {403, 413}


@pytest.mark.parametrize("length", ["Content-Length: 2000000", "Content-Length: 9" + "9" * 5000, "Transfer-Encoding: chunked"])
def test_a_huge_request_is_refused_before_it_is_read(served: Served, length: str) -> None:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(f"POST /gradio_api/call/answer HTTP/1.1\r\nHost: {address.netloc}\r\n{length}\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.1 4(13|00) ", connection.recv(1000))


def status_of(url: str, data: bytes | None = None, kind: str = "") -> int:
    """Of a GET, or of a POST with `data`."""
    request = urllib.request.Request(url, data, {"Content-Type": kind} if kind else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_many_at_once_each_get_their_own_answer(client: Client) -> None:
    alone = {task: answer(client, task, prompt) for task, prompt in PROMPTS.items()}
    asked = list(PROMPTS) * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda task: answer(client, task, PROMPTS[task]), asked))
    for task, told in zip(asked, together, strict=True):
        for who in ("base", "tuned"):
            assert told[who]["text"] == alone[task][who]["text"]


def test_the_log_has_no_word_of_what_visitors_ask(client: Client, served: Served) -> None:
    answer(client, "query_generation", "A secret wish: a red bicycle")
    with pytest.raises(Exception, match="no task"):
        answer(client, "a secret task", "red bicycle")
    assert "secret" not in served.log.read_text()


@contextmanager
def app_in(tree: Path, folder: Path, **settings: str) -> Iterator[Client]:
    with serve(tree, folder / "log", **settings) as running:
        yield Client(running.url, verbose=False)


def test_a_task_that_is_added_to_the_tasks_alone_has_an_endpoint(tree: Path, tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    with (tmp_path / "tree" / "common" / "tasks.py").open("a") as file:
        file.write(NEW_TASK)
    given = {"body_height": "1.80 m", "size_chart": ["M to 1.75 m", "L to 1.85 m"], "class_": "slim"}
    with app_in(tmp_path / "tree", tmp_path, BASE_MODEL=str(tiny_llama)) as client:
        told = client.predict(**given, api_name="/size_advice")
    assert told["prompt"] == "A customer is 1.80 m tall.\n- M to 1.75 m\n- L to 1.85 m\nWhich size? slim\nAnswer: "
    assert told["tuned"] is None


def test_settings_that_name_no_backend_are_told_in_a_sentence(tree: Path) -> None:
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tree,
        env={"BACKEND": "none", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "error: BACKEND is 'none'" in done.stderr
    assert "Traceback" not in done.stderr
