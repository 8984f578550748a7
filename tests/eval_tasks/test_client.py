"""The typed client against the loopback server, also behind an address of a web application."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from common import retry
from common.errors import UserError
from eval_tasks.client import ShopClient
from tests.chat_faults import Body, ErrorStatus
from tests.chat_server import ChatServer, chat_server, completion
from tests.eval_tasks.conftest import REPOSITORY


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    with chat_server() as running:
        yield running


@pytest.fixture
def shop(server: ChatServer) -> ShopClient:
    return ShopClient(server.url, "served", retries=1)


def test_a_review_is_rated_after_failures_that_pass(server: ChatServer, shop: ShopClient) -> None:
    server.answer = lambda body: "4"
    assert shop.rate("Fine cup.", "Kitchen").answer == "4"
    [request] = server.requests
    assert request.body["structured_outputs"] == {"regex": "1|2|3|4|5"}
    server.faults[request.prompt] = [ErrorStatus(503)]
    assert shop.rate("Fine cup.", "Kitchen").answer == "4"
    server.faults[request.prompt] = [ErrorStatus(503), ErrorStatus(503)]
    failed = shop.rate("Fine cup.", "Kitchen")
    assert failed.answer is None
    assert "503" in failed.error


def test_products_are_ranked_by_the_likelihoods_of_the_labels(server: ChatServer, shop: ShopClient) -> None:
    fits = {"hose": -0.1, "cup": -3.0, "bottle": -0.01}

    def answer(body: dict[str, object]) -> dict[str, object]:
        [exact] = [
            value
            for product, value in fits.items()
            if f"Product: {product}\n" in json.loads(json.dumps(body))["messages"][-1]["content"]
        ]
        return completion("exact", likeliest={"exact": exact, "irrelevant": -2.0, "sub": -9.0, "comp": -9.0})

    server.answer = answer
    ranked = shop.rank("garden hose", list(fits))
    assert [(each.product, each.place) for each in ranked] == [("bottle", 2), ("hose", 0), ("cup", 1)]
    assert sorted((each.score for each in ranked), reverse=True) == [each.score for each in ranked]
    assert [each.product for each in shop.rank("garden hose", list(fits), top=1)] == ["bottle"]
    assert shop.rank("garden hose", []) == []
    found = shop.match("garden hose", "cup", scored=True)
    assert found.answer == "irrelevant"
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_many_are_asked_at_once_and_each_row_has_an_answer_or_a_reason(server: ChatServer, shop: ShopClient) -> None:
    server.answer = lambda body: "It is in the box."
    assert asyncio.run(shop.aanswer("A bulb?", ["It has one."])).answer == "It is in the box."
    found = shop.ask("answer_generation", [{"question": "A bulb?", "snippets": []}, {"question": "A?", "snippets": ["b"]}])
    assert [(each.answer, each.error) for each in found] == [
        (None, "snippets is missing or empty"),
        ("It is in the box.", ""),
    ]
    server.always = Body(json.dumps(completion(None, "content_filter")).encode())
    assert "content filter" in shop.answer("A bulb?", ["It has one."]).error


def test_a_mistake_in_a_call_is_one_sentence(server: ChatServer, shop: ShopClient) -> None:
    with pytest.raises(UserError, match="there is no task 'rate'"):
        shop.ask("rate", [{}])
    with pytest.raises(UserError, match="has no column review"):
        shop.ask("review_rating", [{"category": "a"}])
    with pytest.raises(UserError, match="missing or empty"):
        shop.rank("", ["cup"])


def test_the_readmes_routes_of_fastapi_answer(server: ChatServer) -> None:
    from fastapi.testclient import TestClient

    section = (REPOSITORY / "eval_tasks" / "README.md").read_text(encoding="utf-8").partition("### Behind an address")[2]
    program = next(block for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if "FastAPI" in block)
    names: dict[str, Any] = {}
    exec(program.replace("http://127.0.0.1:8000/v1", server.url), names)
    client = TestClient(names["app"])

    server.answer = lambda body: "5"
    reply = client.get("/rating", params={"review": "Fine.", "category": "Kitchen"})
    assert reply.json() == {"stars": "5", "error": ""}

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        exact = -0.1 if "Product: hose\n" in body["messages"][-1]["content"] else -3.0
        return completion("exact", likeliest={"exact": exact, "irrelevant": -2.0, "sub": -9.0, "comp": -9.0})

    server.answer = answer
    reply = client.post("/ranking", params={"query": "garden hose"}, json=["cup", "hose"])
    assert reply.json() == ["hose", "cup"]
