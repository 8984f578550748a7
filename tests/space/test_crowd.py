"""Two hundred at once: each gets its own answer or is told that the page is busy, and the page's memory stays as it is."""

import asyncio
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.tasks import TASKS
from space.demo.backend import AnswerRequest
from space.demo.local_backend import LocalBackend
from space.demo.page import QUEUE_SIZE
from tests.chat_faults import ErrorStatus
from tests.chat_server import ChatServer, chat_server
from tests.space.conftest import Served, process_of, serve

CROWD = 200
KEY = "key-never-shown"
TASK = TASKS["review_rating"]
LONG = "word " * 400
"""The answer of a slow server: minutes, a character after another."""


@dataclass(frozen=True)
class Told:
    """What a client was told: an answer, or why there is none."""

    answer: dict[str, Any] | None
    refusal: str = ""


def prompt(number: int) -> str:
    return f"Review: Bottle number {number} leaks.\nAnswer: "


async def ask(client: httpx.AsyncClient, number: int) -> Told:
    """As a program asks (https://www.gradio.app/guides/querying-gradio-apps-with-curl)."""
    joined = await client.post("gradio_api/call/answer", json={"data": [TASK.name, prompt(number)]})
    if joined.status_code != 200:
        return Told(None, joined.text)
    async with client.stream("GET", f"gradio_api/call/answer/{joined.json()['event_id']}") as events:
        name = ""
        async for line in events.aiter_lines():
            kind, _, value = line.partition(": ")
            name = value if kind == "event" else name
            if kind == "data" and name == "complete":
                return Told(json.loads(value)[0])
            if kind == "data" and name == "error":
                return Told(None, value)
    raise AssertionError("the stream ended without an answer")


def client_of(page: Served) -> httpx.AsyncClient:
    """Each request has a connection of its own, as those of two hundred programs have."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=page.url, timeout=120, limits=limits)


def ask_together(page: Served, numbers: range) -> list[Told]:
    async def all_at_once() -> list[Told]:
        async with client_of(page) as client:
            return await asyncio.gather(*(ask(client, number) for number in numbers))

    return asyncio.run(all_at_once())


@pytest.fixture
def crowd(served: Served) -> Callable[[], list[Told]]:
    """What two hundred are told who ask at the same time."""
    ask_together(served, range(1))  # until the model is there
    return lambda: ask_together(served, range(CROWD))


def test_each_of_a_crowd_gets_its_own_answer_or_is_told_that_the_queue_is_full(
    crowd: Callable[[], list[Told]], served: Served, tiny_llama: Path, tiny_adapter: Path
) -> None:
    told = crowd()
    alone = LocalBackend(str(tiny_llama), str(tiny_adapter))
    alone.wait(60)
    answered = 0
    for number, one in enumerate(told):
        if one.answer is None:
            assert "Queue is full" in one.refusal
            continue
        answered += 1
        *_, said = alone.stream(AnswerRequest(prompt(number), TASK.max_new_tokens, TASK.labels), 60)
        assert one.answer["prompt"] == prompt(number)
        assert {who: one.answer[who]["text"] for who in said} == {who: one.text for who, one in said.items()}
    assert QUEUE_SIZE <= answered < CROWD
    assert "Traceback" not in served.log.read_text()


def test_one_crowd_after_another_takes_no_more_memory(crowd: Callable[[], list[Told]], served: Served) -> None:
    process = process_of(served)
    for _ in range(4):  # until Gradio holds as many visitors as it may
        crowd()
    before = process.memory_info().rss
    for _ in range(2):
        crowd()
    assert process.memory_info().rss - before < 8e6
    assert process.num_threads() < 100


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


@contextmanager
def at_endpoint(tree: Path, server: ChatServer, log: Path) -> Iterator[Served]:
    models = {"ENDPOINT_BASE_MODEL": "base", "ENDPOINT_TUNED_MODEL": "shop"}
    endpoint = {"BACKEND": "endpoint", "ENDPOINT_URL": server.url, "ENDPOINT_API_KEY": KEY}
    with serve(tree, log, **endpoint, **models) as running:
        yield running


@pytest.fixture
def page(tree: Path, server: ChatServer, tmp_path: Path) -> Iterator[Served]:
    """A page whose models are on an endpoint."""
    with at_endpoint(tree, server, tmp_path / "log") as running:
        yield running


def with_answer_seconds(tree: Path, folder: Path, seconds: float) -> Path:
    """A copy of the tree in which an answer may take so long."""
    copy = shutil.copytree(tree, folder)
    source = copy / "demo" / "comparison.py"
    text = source.read_text()
    assert "ANSWER_SECONDS = 60.0" in text
    source.write_text(text.replace("ANSWER_SECONDS = 60.0", f"ANSWER_SECONDS = {seconds}"))
    return copy


@pytest.fixture
def impatient_page(tree: Path, server: ChatServer, tmp_path: Path) -> Iterator[Served]:
    with at_endpoint(with_answer_seconds(tree, tmp_path / "tree", 3.0), server, tmp_path / "log") as running:
        yield running


@pytest.fixture
def patient_page(tree: Path, server: ChatServer, tmp_path: Path) -> Iterator[Served]:
    with at_endpoint(with_answer_seconds(tree, tmp_path / "tree", 3600.0), server, tmp_path / "log") as running:
        yield running


def test_nobody_passes_by_the_queue(served: Served) -> None:
    for path in ("api", "run"):
        answer = httpx.post(f"{served.url}gradio_api/{path}/answer", json={"data": [TASK.name, prompt(1)]}, timeout=60)
        assert answer.status_code >= 400


def test_an_answer_that_takes_too_long_is_cut_with_a_note(impatient_page: Served, server: ChatServer) -> None:
    server.seconds, server.answer = 0.1, lambda body: LONG
    (told,) = ask_together(impatient_page, range(1))
    assert told.answer is not None
    for who in ("base", "tuned"):
        assert told.answer[who]["cut"]
        assert LONG.startswith(told.answer[who]["text"])
        assert told.answer[who]["text"] != LONG


def test_a_visitor_who_leaves_frees_the_place(patient_page: Served, server: ChatServer) -> None:
    """All places are taken by visitors of the page whose answers take minutes and may; they close it."""
    server.seconds, server.answer = 0.05, lambda body: LONG

    async def come_and_go() -> None:
        async with client_of(patient_page) as client:
            leaving = [asyncio.create_task(visit(client)) for _ in range(16)]
            await until(lambda: server.at_once == 32)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            await until(lambda: server.at_once == 0)

    asyncio.run(come_and_go())


async def visit(client: httpx.AsyncClient) -> None:
    """What the browser does at a click on the first tab's button."""
    config = (await client.get("config")).json()
    values = {component["id"]: component["props"].get("value") for component in config["components"]}
    compare = next(each for each in config["dependencies"] if each["types"]["generator"])
    session = uuid.uuid4().hex
    click = {"data": [values[each] for each in compare["inputs"]], "fn_index": compare["id"], "session_hash": session}
    joined = await client.post("gradio_api/queue/join", json=click)
    assert joined.status_code == 200, joined.text
    async with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as events:
        async for _ in events.aiter_lines():
            pass


async def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_no_page_and_no_log_holds_the_key(page: Served, server: ChatServer) -> None:
    ask_together(page, range(1))
    server.always = ErrorStatus(500, f"your key {KEY} broke the server")
    (told,) = ask_together(page, range(1))
    assert "The endpoint does not answer this request (500)." in told.refusal
    seen = [httpx.get(page.url + path, timeout=60).text for path in ("", "config", "gradio_api/info")]
    assert server.requests[0].authorization == f"Bearer {KEY}"
    for text in (told.refusal, page.log.read_text(), *seen):
        assert KEY not in text
        assert server.url not in text
