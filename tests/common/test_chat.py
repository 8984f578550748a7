"""Addresses and keys of a chat server; whole requests are made in test_endpoint.py."""

import asyncio

import pytest

from common.chat import Endpoint, api_key, base_url, complete, new_client
from common.errors import UserError
from tests.chat_server import chat_server


def test_an_address_is_a_url_and_a_key_is_one_that_a_header_can_hold() -> None:
    assert base_url("http://h/v1/") == "http://h/v1"
    for wrong in ("localhost:8000", "http:///v1", "http://host:port/v1", "http://[::1/v1", "ftp://host/v1", ""):
        with pytest.raises(UserError, match="is not a server's URL, such as"):
            base_url(wrong)
    assert api_key({}) == ""
    assert api_key({"OPENAI_API_KEY": " sk-1\n"}) == "sk-1"
    with pytest.raises(UserError, match="characters that no key has"):
        api_key({"OPENAI_API_KEY": "sk-ä"})


def test_a_key_shows_nowhere() -> None:
    key = "-".join(("sk", "0123456789"))
    endpoint = Endpoint("http://h/v1", "m", key=key)
    assert "0123456789" not in repr(endpoint)
    assert endpoint.hide(f"the key {key} is wrong") == "the key … is wrong"


def test_a_proxy_of_the_environment_is_asked_in_the_servers_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "localhost")
        assert asyncio.run(asked("http://shop.example/v1")) == str(1 + sum(b"Rate it.") % 5)
        assert proxy.prompts() == ["Rate it."]


async def asked(url: str) -> str:
    endpoint = Endpoint(url, "m", timeout=5)
    async with new_client(endpoint) as client:
        found = await complete(client, endpoint, {"model": "m", "messages": [{"role": "user", "content": "Rate it."}]})
    return found.text
