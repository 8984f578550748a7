"""What the server takes of a request before anything reads it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_BYTES = 1_000_000
"""Of a request's body: a whole form in JSON is well below 100 kB."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SmallBodies:
    """ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html) that refuses a large body without reading it.

    The server cuts a body at the length that it announces; one that announces none is refused too.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _small(dict(scope["headers"])):
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": b"This is more than the page takes. Shorten it."})
            return
        await self._app(scope, receive, send)


def _small(headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" not in headers and length.isdigit() and int(length[:20]) <= MOST_BYTES
