"""A web server on the loopback interface whose files change, whose connections break and which is in trouble when asked to be.

server.files["esci/examples.parquet"] = b"..."
server.plan += [Cut(1000), Status(503, {"Retry-After": "0"})]    # what happens to the next two requests, then as usual
assert server.requests == [("esci/examples.parquet", "bytes=1000-", 206)]
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Cut:
    """The connection breaks after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Status:
    """The server answers so, with a web page."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Headers:
    """The answer has these headers in place of its own; an empty one is left out."""

    headers: dict[str, str]


class FileServer:
    """`files` by path, `plan` for the next requests, `ranges` False where it knows none, `headers` for every answer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.plan: list[Cut | Status | Headers] = []
        self.ranges = True
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str | None, int]] = []
        """(path, Range header, status) of every request so far"""
        self.gate: threading.Event | None = None
        """Where set, requests wait until it is."""
        self.arrived = threading.Event()
        self.url = ""

    def answer(self, path: str, range_header: str | None, if_range: str | None) -> tuple[int, dict[str, str], bytes]:
        if (content := self.files.get(path)) is None:
            return 404, {}, b"<html>404</html>"
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', **self.headers}
        known = {headers.get("ETag"), headers.get("Last-Modified")} - {None, ""}
        if self.ranges and range_header and (if_range is None or if_range in known):
            start = int(re.fullmatch(r"bytes=(\d+)-", range_header)[1])
            if start >= len(content):
                return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return 206, headers, content[start:]
        return 200, headers, content


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to print."""


@contextmanager
def serving() -> Iterator[FileServer]:
    """A running server; `url` has no slash at its end."""
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            server.arrived.set()
            if server.gate:
                server.gate.wait(30)
            path, asked = self.path.lstrip("/"), self.headers.get("Range")
            event = server.plan.pop(0) if server.plan else None
            if isinstance(event, Status):
                status, headers, body = event.status, event.headers, f"<html>{event.status}</html>".encode()
            else:
                status, headers, body = server.answer(path, asked, self.headers.get("If-Range"))
            server.requests.append((path, asked, status))
            headers = {"Content-Length": str(len(body)), **headers, **(event.headers if isinstance(event, Headers) else {})}
            self.send_response(status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            cut = event.after if isinstance(event, Cut) else None
            self.close_connection = cut is not None or not headers["Content-Length"]
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body[:cut])

        def log_message(self, format: str, *arguments: Any) -> None:
            """Says nothing."""

    running = _Server(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if server.gate:
            server.gate.set()
        running.shutdown()
        running.server_close()
        thread.join(timeout=10)
