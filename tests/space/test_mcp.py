"""The running Space as an MCP server, asked by the protocol's own client (https://modelcontextprotocol.io)."""

import ast
import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client

from common.tasks import TASKS
from space.demo.inputs import input_fields
from space.demo.request_limits import MAX_BODY_BYTES
from tests.space.conftest import Served, serve

pytest.importorskip("mcp", reason="the package mcp is not installed: pip install -r tests/requirements.txt")

CROWD = 80
"""Calls at the same time: more than the queue takes, and than Gradio has threads."""

ASKED = {
    "query": "garden hose",
    "products": ["Teapot", "Garden hose, 20 m", "Hose reel", "Desk lamp", "Spray gun"],
}


@pytest.fixture(scope="module")
def mcp_page(tree: Path, tiny_llama: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The Space as on the Hub, which sets these two; nothing else asks for MCP."""
    log = tmp_path_factory.mktemp("mcp") / "log"
    with serve(
        tree, log, BASE_MODEL=str(tiny_llama), ADAPTER=str(tiny_adapter), SPACE_ID="org/shop-demo", SYSTEM="spaces"
    ) as running:
        yield running


def with_session(page: Served, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def run() -> Any:
        async with (
            streamablehttp_client(f"{page.url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await ask(session)

    return asyncio.run(run())


def test_every_task_is_a_tool_whose_inputs_are_typed_and_described(mcp_page: Served) -> None:
    tools = {tool.name: tool for tool in with_session(mcp_page, lambda session: session.list_tools()).tools}
    assert set(tools) == {f"shop_demo_{name}" for name in (*TASKS, "answer", "rank")}
    assert {"query", "products"} <= set(tools["shop_demo_rank"].inputSchema["properties"])
    for task in TASKS.values():
        tool = tools[f"shop_demo_{task.name}"]
        assert tool.description.startswith(task.about)
        properties = tool.inputSchema["properties"]
        assert {field.name for field in input_fields(task)} | {"wording"} == set(properties)
        assert all(schema["description"] for schema in properties.values())
        for field in input_fields(task):
            assert properties[field.name]["type"] == ("array" if field.is_list else "string")
        assert "wording" not in tool.inputSchema["required"]


def test_a_tool_answers_as_the_endpoint_does(mcp_page: Served) -> None:
    told = with_session(mcp_page, lambda session: session.call_tool("shop_demo_query_product_ranking", ASKED))
    assert not told.isError
    answer = ast.literal_eval(told.content[0].text)  # as Gradio writes a dict
    expected = Client(mcp_page.url, verbose=False).predict(**ASKED, api_name="/query_product_ranking")
    for who in ("base", "tuned"):
        assert answer[who]["text"] == expected[who]["text"]
    assert answer["prompt"] == expected["prompt"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"query": "hose", "products": ["one"]}, "Products: there have to be exactly 5"),
        ({"query": "x" * 3000, "products": ASKED["products"]}, "2,000"),
    ],
)
def test_an_input_beyond_the_limits_is_an_error_of_one_sentence(
    mcp_page: Served, arguments: dict[str, Any], sentence: str
) -> None:
    told = with_session(mcp_page, lambda session: session.call_tool("shop_demo_query_product_ranking", arguments))
    assert told.isError
    assert sentence in told.content[0].text
    assert "Traceback" not in told.content[0].text


def test_many_agents_at_once_get_their_own_answers_or_are_told_that_the_queue_is_full(mcp_page: Served) -> None:
    """The tools' threads are Gradio's own: those that wait must leave some for those that answer."""

    async def all_at_once(session: Any) -> list[Any]:
        asked = [{"category": "Garden", "review": f"Hose number {number} leaks"} for number in range(CROWD)]
        return await asyncio.gather(*(session.call_tool("shop_demo_review_rating", one) for one in asked))

    answered = 0
    for number, told in enumerate(with_session(mcp_page, all_at_once)):
        if told.isError:
            assert re.search("Queue is full|timed out", told.content[0].text)  # the second where the machine is slow
            continue
        answered += 1
        assert f"Hose number {number} leaks" in ast.literal_eval(told.content[0].text)["prompt"]
    assert answered
    assert httpx.get(mcp_page.url, timeout=60).status_code == 200


def test_a_request_above_the_limit_is_refused_before_it_is_read(mcp_page: Served) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    assert httpx.post(f"{mcp_page.url}gradio_api/mcp/", content=body, timeout=60).status_code == 413


def test_a_space_elsewhere_is_no_mcp_server_unasked(served: Served) -> None:
    assert httpx.post(f"{served.url}gradio_api/mcp/", json={}, timeout=60).status_code in (404, 405)
