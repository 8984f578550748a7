"""A web server on the loopback interface whose files change, whose connections break and which is in trouble when asked to be.

server.files["esci/examples.parquet"] = b"..."
server.plan += [Cut(1000), Status(503)]    # what happens to the next two requests, then as usual
assert server.requests == [("esci/examples.parquet", 200), ("esci/examples.parquet", 503)]
"""

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


class FileServer:
    """`files` by path, `plan` for the next requests, `headers` for every answer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.plan: list[Cut | Status] = []
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, int]] = []
        """(path, status) of every request so far"""
        self.url = ""


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
            path = self.path.lstrip("/")
            event = server.plan.pop(0) if server.plan else None
            if event is None and path not in server.files:
                event = Status(404)
            if isinstance(event, Status):
                status, headers, body = event.status, event.headers, f"<html>{event.status}</html>".encode()
            else:
                status, headers, body = 200, server.headers, server.files[path]
            server.requests.append((path, status))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            cut = event.after if isinstance(event, Cut) else None
            self.close_connection = cut is not None
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
        running.shutdown()
        running.server_close()
        thread.join(timeout=10)
