"""A server of OpenAI's chat completions on the loopback interface that fails in every way when asked to.

server.faults["Rate it."] = [ErrorStatus(429), Stall(30), CutConnection(20)]    # then it answers this prompt

A request with `stream` is answered character by character, with the likeliest first tokens where it asks for them.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.chat_faults import Body, CutConnection, ErrorStatus, Fault, Stall

PROMPT_TOKENS, COMPLETION_TOKENS = 12, 2
"""Of every request, as this server counts."""


def completion(text: str | None, finish_reason: str = "stop", likeliest: dict[str, float] | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    tops = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in (likeliest or {}).items()]
    logprobs = {"content": [{"token": "", "logprob": 0.0, "bytes": None, "top_logprobs": tops}]} if tops else None
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": 14},
    }


def pieces(text: str, tops: dict[str, float] | None = None) -> Iterator[bytes]:
    """The events of a streamed completion, a character each, with `tops` as the likeliest tokens of the first one."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served"}

    def event(delta: dict[str, Any], finish_reason: str | None = None, logprobs: dict[str, Any] | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        return f"data: {json.dumps(head | {'choices': [choice]})}\n\n".encode()

    yield event({"role": "assistant", "content": ""})
    for place, character in enumerate(text):
        likeliest = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in (tops or {}).items()]
        first = {"token": character, "logprob": 0.0, "bytes": None, "top_logprobs": likeliest}
        yield event({"content": character}, logprobs={"content": [first]} if tops and place == 0 else None)
    yield event({}, "stop")
    yield b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Request:
    """What came in, and when (seconds of a clock that never goes back)."""

    prompt: str
    body: dict[str, Any]
    authorization: str
    time: float


class ChatServer:
    """`answer` gives the text to a request's body; `faults` by prompt are gone through first."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: Callable[[dict[str, Any]], str | dict[str, Any]] = lambda body: said(body["messages"][-1]["content"])
        self.faults: dict[str, list[Fault]] = {}
        self.always: Fault | None = None
        """What comes in place of every answer."""
        self.seconds = 0.0
        """Time that an answer takes, and each piece of a streamed one."""
        self.tops: dict[str, float] = {}
        """The likeliest first tokens with their logarithmic probabilities, for a streamed answer."""
        self.tokens: dict[str, list[int]] = {}
        """Ids of texts, for who asks /tokenize as vLLM has it; without any there is no such address."""
        self.tokens_status: int | None = None
        """The status that comes in place of ids."""
        self.unknown: set[str] = set()
        """Fields of a request that are answered with status 400."""
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.at_once = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()

    def prompts(self) -> list[str]:
        return [request.prompt for request in self.requests]

    @contextmanager
    def counted(self, request: Request) -> Iterator[Fault | None]:
        with self._lock:
            self.requests.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            planned = self.faults.get(request.prompt)
            fault = self.always or (planned.pop(0) if planned else None)
        try:
            yield fault
        finally:
            with self._lock:
                self.at_once -= 1


def said(prompt: str) -> str:
    """A calm server's answer: a digit that the prompt tells."""
    return str(1 + sum(prompt.encode()) % 5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_ChatHTTPServer"

    def do_GET(self) -> None:
        """The list of models, or the status that comes in place of every answer."""
        fault = self.server.chat.always
        with suppress(OSError):
            self._send(
                fault.status if isinstance(fault, ErrorStatus) else 200, json.dumps({"object": "list", "data": []}).encode()
            )

    def do_POST(self) -> None:
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            ids = chat.tokens.get(body["prompt"])
            self._send(chat.tokens_status or (404 if ids is None else 200), json.dumps({"tokens": ids}).encode())
            return
        request = Request(body["messages"][-1]["content"], body, self.headers["Authorization"], time.monotonic())
        with chat.counted(request) as fault, suppress(OSError):
            if isinstance(fault, Stall):
                self._stall(fault)
            elif isinstance(fault, CutConnection):
                self._cut(fault)
            elif isinstance(fault, ErrorStatus):
                error = {"message": fault.message, "type": "error", "param": None, "code": fault.code}
                self._send(fault.status, json.dumps({"error": error}).encode(), headers=fault.headers)
            elif isinstance(fault, Body):
                self._send(200, fault.content, fault.content_type)
            elif chat.unknown & set(body):
                self._send(400, json.dumps({"error": {"message": "unknown field", "code": 400}}).encode())
            elif body.get("stream"):
                self._stream(pieces(str(chat.answer(body)), chat.tops if body.get("logprobs") else None))
            else:
                chat.closing.wait(chat.seconds)
                answer = chat.answer(body)
                reply = completion(answer) if isinstance(answer, str) else answer
                self._send(200, json.dumps(reply).encode())

    def _send(
        self,
        status: int,
        content: bytes,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(length or len(content))}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(event)
            if self.server.chat.closing.wait(self.server.chat.seconds):
                break
        self.close_connection = True

    def _stall(self, fault: Stall) -> None:
        if fault.sent:
            self._send(200, b" ", length=10_000)
        for _ in range(int(fault.seconds * 10)):
            if self.server.chat.closing.wait(0.1):
                break
            self.wfile.write(b" " * (fault.sent // 10))
        self.close_connection = True

    def _cut(self, fault: CutConnection) -> None:
        content = json.dumps(completion("5")).encode()
        if fault.after is not None:
            self._send(200, content[: fault.after], length=len(content))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _ChatHTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, chat: ChatServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.chat = chat

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to print."""


@contextmanager
def chat_server(port: int = 0) -> Iterator[ChatServer]:
    """A running server, on a port of its own unless one is given."""
    chat = ChatServer()
    server = _ChatHTTPServer(chat, port)
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        chat.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
