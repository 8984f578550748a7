"""A minimal chat completions server on the loopback interface, in its own process, so that the client is what is measured.

It reads no more of HTTP/1.1 than these clients send (requests with a Content-Length, on connections that stay), and answers
after a latency. A share of its replies fails, in turn in each of the ways of FAILURES. A GET is answered with the numbers of
requests so far and of those that failed.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CLOSE = b""


def response(status: str, body: object, *headers: str, content_type: str = "application/json") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def completion(text: str | None, ending: str = "stop") -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ending, "logprobs": None}
    usage = {"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 108}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def error(message: str, code: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


LABEL = '{"label": 1}'
HALF = response("200 OK", completion(LABEL))[:-40]
FAILURES = (
    response("429 Too Many Requests", error("slow down"), "Retry-After: 0"),
    response("500 Internal Server Error", error("broken")),
    response("503 Service Unavailable", error("down")),
    CLOSE,
    HALF,
    response("200 OK", b"<html>a proxy speaks</html>", content_type="text/html"),
    response("200 OK", {"choices": []}),
    response("200 OK", completion('{"label": 7}')),  # not of the schema
    response("400 Bad Request", error("filtered", "content_filter")),
    response("400 Bad Request", error("too many tokens", "context_length_exceeded")),
)


@dataclass
class Replies:
    """The answer to every request, and how many there were."""

    answer: bytes
    share: float = 0.0
    requests: int = 0
    failed: int = 0

    def next(self) -> bytes:
        self.requests += 1
        if int(self.requests * self.share) <= self.failed:
            return self.answer
        self.failed += 1
        return FAILURES[(self.failed - 1) % len(FAILURES)]

    def counts(self) -> bytes:
        return response("200 OK", {"requests": self.requests, "failed": self.failed})


class Connection(asyncio.Protocol):
    def __init__(self, latency: float, replies: Replies) -> None:
        self.latency = latency
        self.replies = replies
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            if self.received.startswith(b"GET"):
                self.received = self.received[end + 4 :]
                self.transport.write(self.replies.counts())
                continue
            head = self.received[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            whole = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if len(self.received) < whole:
                return
            self.received = self.received[whole:]
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.reply, self.replies.next())
            else:
                self.reply(self.replies.next())

    def reply(self, reply: bytes) -> None:
        self.transport.write(reply)
        if reply in (CLOSE, HALF):
            self.transport.close()


async def serve(latency: float, share: float, answer: str) -> None:
    replies = Replies(response("200 OK", completion(answer)), share)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(latency, replies), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def loopback_chat(latency: float, failures: float = 0.0, answer: str = LABEL) -> Iterator[str]:
    """The address of a server in a process of its own. `latency` in seconds; `failures` is the share of replies that fail."""
    options = ["--latency", str(latency), "--failures", str(failures), "--answer", answer]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loopback_chat", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2, metavar="S", help="seconds that a reply takes")
    parser.add_argument("--failures", type=float, default=0.0, metavar="SHARE", help="share of replies that fail")
    parser.add_argument(
        "--answer", default=LABEL, metavar="TEXT", help="of each reply that does not fail (default: %(default)s)"
    )
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.latency, arguments.failures, arguments.answer))


if __name__ == "__main__":
    main()
