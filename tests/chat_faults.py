"""What can go wrong between a client and a server of chat completions: see chat_server.py, which does it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ErrorStatus:
    """An answer with this status and error, in OpenAI's form."""

    status: int
    message: str = "the server is in trouble"
    code: str | int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Body:
    """An answer with status 200 and this body."""

    content: bytes
    content_type: str = "application/json"


@dataclass(frozen=True)
class Stall:
    """No answer for so many seconds, after `sent` bytes of it a second."""

    seconds: float
    sent: int = 0


@dataclass(frozen=True)
class CutConnection:
    """The connection is closed after so many bytes of the body, or before any answer."""

    after: int | None = None


Fault = ErrorStatus | Body | Stall | CutConnection

TRANSIENT_FAULTS: list[Fault] = [
    ErrorStatus(429, headers={"Retry-After": "0"}),
    ErrorStatus(429),
    ErrorStatus(500),
    ErrorStatus(502, headers={"Retry-After": "0.05"}),
    ErrorStatus(503),
    Stall(30),
    Stall(30, sent=20),
    CutConnection(),
    CutConnection(0),
    CutConnection(25),
    Body(b"{"),
    Body(b"\xff\xfe", "application/json"),
    Body(b"<html>a proxy speaks</html>", "text/html"),
    Body(b"[]"),
    Body(b'{"choices": []}'),
    Body(b'{"choices": [{"message": null, "finish_reason": "stop"}]}'),
    Body(b'{"error": {"message": "upstream is down", "code": 502}}'),
]


def transient_faults(number: int) -> list[Fault]:
    """Two faults that a retry overcomes; numbers up to twice as many as there are kinds mix all of them."""
    return [TRANSIENT_FAULTS[number % len(TRANSIENT_FAULTS)], TRANSIENT_FAULTS[(number * 7 + 3) % len(TRANSIENT_FAULTS)]]
