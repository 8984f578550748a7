"""Asking through a server that fails in every way: in this process, and in one that is killed."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from common import retry
from common.errors import UserError
from dataset_builders.labelling.endpoint import IN_A_ROW, Endpoint, ask_all
from dataset_builders.labelling.reply_store import FILE, Replies
from dataset_builders.labelling.requests import Ask, Counts, Reply
from tests.chat_server import (
    COMPLETION_TOKENS,
    PASSING,
    PROMPT_TOKENS,
    Body,
    ChatServer,
    Cut,
    Fault,
    Stall,
    Status,
    chat_server,
    completion,
    said,
)

REPOSITORY = Path(__file__).parents[3]
KEY = "-".join(("sk", "that-nobody-may-see-0123456789"))
SCHEMA = '{"additionalProperties":false,"properties":{"label":{"enum":[0,1]}},"required":["label"],"type":"object"}'


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds before a retry."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)


def asks(count: int, **fields: Any) -> list[Ask]:
    return [Ask((("user", f"Rate product {number}."),), 8, **fields) for number in range(count)]


def prompt(ask: Ask) -> str:
    return ask.messages[-1][1]


def ask(server: ChatServer, asked: list[Ask], out: Path, **options: Any) -> tuple[Counts, list[Reply | None]]:
    """The counts, which must be those of the replies on disk, and these."""
    seen: list[int] = []
    where = Endpoint(**({"url": server.url, "model": "served", "timeout": 30, "retries": 2, "key": KEY} | options))
    with Replies(out) as store:
        counts = ask_all(where, iter(asked), store, lambda counts: seen.append(counts.done))
        assert seen == sorted(seen)
        assert seen[-1] == counts.done == len(asked)
        return counts, [store.get(one.key("served")) for one in asked]


def answer(ask: Ask) -> Reply:
    return Reply(said(prompt(ask)), "", PROMPT_TOKENS, COMPLETION_TOKENS)


def test_every_ask_is_sent_once_with_the_key_and_its_reply_kept(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(20)
    counts, replies = ask(server, [*asked, *asked], tmp_path)
    assert replies == [*map(answer, asked), *map(answer, asked)]
    assert counts == Counts(20, 20, Counter(), 0, 20 * PROMPT_TOKENS, 20 * COMPLETION_TOKENS)
    assert sorted(server.asked()) == sorted(map(prompt, asked))
    assert {request.authorization for request in server.requests} == {f"Bearer {KEY}"}
    assert [request.body for request in server.requests if request.prompt == prompt(asked[0])] == [asked[0].body("served")]


def test_a_second_run_asks_only_what_is_new_or_has_changed(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(6)
    ask(server, asked, tmp_path)
    server.requests.clear()
    changed = [*asked[:4], Ask((("user", "Rate product 4 now."),), 8), Ask(asked[5].messages, 9)]
    counts, replies = ask(server, changed, tmp_path)
    assert replies == list(map(answer, changed))
    assert (counts.kept, counts.answered) == (4, 2)
    assert len(server.requests) == 2


def test_replies_after_a_storm_are_those_of_a_calm_server(server: ChatServer, tmp_path: Path) -> None:
    # Every reply of this server has the same id, and some replies come late or by half.
    asked = asks(2 * len(PASSING))
    _, calm = ask(server, asked, tmp_path / "calm")
    server.requests.clear()
    for number, one in enumerate(asked):
        server.faults[prompt(one)] = [PASSING[number % len(PASSING)], PASSING[(number * 7 + 3) % len(PASSING)]]

    counts, stormy = ask(server, asked, tmp_path / "stormy", concurrency=16, timeout=4)
    assert stormy == calm == list(map(answer, asked))
    assert counts.retries == 2 * len(asked)
    assert len(server.requests) == 3 * len(asked)


def test_asks_are_taken_when_a_request_can_start(server: ChatServer, tmp_path: Path) -> None:
    ahead = []

    def counted() -> Iterator[Ask]:
        for taken, one in enumerate(asks(60), 1):
            ahead.append(taken - len(server.requests))
            yield one

    with Replies(tmp_path) as store:
        ask_all(Endpoint(server.url, "served", concurrency=4), counted(), store, lambda counts: None)
    assert max(ahead) <= 4
    assert server.most_at_once <= 4


class SlowDisk(Replies):
    kept = 0

    def put(self, replies: Mapping[str, Reply]) -> None:
        time.sleep(0.05)
        super().put(replies)
        self.kept += len(replies)


def test_no_worker_goes_on_before_its_reply_is_on_disk(server: ChatServer, tmp_path: Path) -> None:
    with SlowDisk(tmp_path) as store:
        not_kept = []

        def answer(body: dict[str, Any]) -> str:
            not_kept.append(len(server.requests) - store.kept)
            return "3"

        server.answer = answer
        ask_all(Endpoint(server.url, "served", concurrency=4), asks(24), store, lambda counts: None)
    assert max(not_kept) <= 4


@pytest.mark.parametrize("dated", [False, True])
def test_a_busy_server_is_left_alone_by_all_for_as_long_as_it_says(server: ChatServer, tmp_path: Path, dated: bool) -> None:
    asked = asks(150)
    # In whole seconds, and by the time that it is told, the run has got under way.
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=4.5), usegmt=True)
    server.faults[prompt(asked[5])] = [Status(429, headers={"Retry-After": moment if dated else "1"})]
    server.seconds = 0.02

    counts, replies = ask(server, asked, tmp_path, concurrency=4)
    assert replies == list(map(answer, asked))
    busy, again = (request.time for request in server.requests if request.prompt == prompt(asked[5]))
    assert again - busy > 0.95
    meanwhile = [request for request in server.requests if busy < request.time < busy + 0.9]
    assert len(meanwhile) <= 8, "what was under way, and not the 180 that there is time for"
    assert counts.retries == 1


def test_busy_is_no_failure_while_others_are_answered(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.1)
    asked = asks(200)
    server.faults[prompt(asked[0])] = [Status(429)] * 4
    server.seconds = 0.01
    _, replies = ask(server, asked, tmp_path, concurrency=2, retries=2)
    assert replies == list(map(answer, asked))


def test_requests_are_as_far_apart_as_the_limits_say(server: ChatServer, tmp_path: Path) -> None:
    # What the server saw; a slow machine makes the time longer, and the first request may have come late.
    asked = asks(9)
    for name, options in {"requests": {"requests_per_minute": 600}, "tokens": {"tokens_per_minute": 60 * 17 * 10}}.items():
        server.requests.clear()
        ask(server, asked, tmp_path / name, concurrency=9, **options)
        times = sorted(request.time for request in server.requests)
        assert times[-1] - times[0] > 0.5, "8 times a tenth of a second"


def test_retries_count_for_the_limits_too(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(1)
    server.faults[prompt(asked[0])] = [Status(500)] * 6
    ask(server, asked, tmp_path, requests_per_minute=600, retries=6)
    times = [request.time for request in server.requests]
    assert times[-1] - times[0] > 0.4


REJECTED: dict[str, Fault] = {
    "content filter": Status(400, "The response was filtered", "content_filter"),
    "content filter ": Body(json.dumps(completion("so", "content_filter")).encode()),
    "too long": Status(400, "This model's maximum context length is 2048 tokens. However, you asked for 4000.", 400),
    "too long ": Status(413, "Payload Too Large"),
    "refused: I cannot rate this": Body(
        json.dumps({"choices": [{"message": {"content": None, "refusal": "I cannot rate this."}}]}).encode()
    ),
    "refused: 400: Invalid 'messages[0].content'": Status(400, "Invalid 'messages[0].content'."),
}


def test_what_is_wrong_with_one_prompt_rejects_it_with_the_reason_once(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(30)
    for one, fault in zip(asked, REJECTED.values(), strict=False):
        server.faults[prompt(one)] = [fault]
    for run in range(2):
        counts, replies = ask(server, asked, tmp_path)
        assert [reply.reason for reply in replies if reply and reply.reason] == [reason.strip() for reason in REJECTED]
        assert replies[len(REJECTED) :] == list(map(answer, asked[len(REJECTED) :]))
        assert counts.rejected == ({"content filter": 2, "too long": 2, "refused": 2} if run == 0 else {})
    assert len(server.requests) == 30


def test_a_prompt_that_the_server_fails_at_again_and_again_is_rejected_and_asked_anew_by_the_next_run(
    server: ChatServer, tmp_path: Path
) -> None:
    asked = asks(20)
    server.faults[prompt(asked[3])] = [Status(500, "out of memory")] * 3
    counts, replies = ask(server, asked, tmp_path)
    assert replies[3] == Reply("", "no answer in 3 tries: 500: out of memory")
    assert (counts.answered, counts.rejected, counts.retries) == (19, {"no answer in 3 tries": 1}, 2)

    counts, replies = ask(server, asked, tmp_path)
    assert replies == list(map(answer, asked))
    assert (counts.kept, counts.answered) == (19, 1)


LASTING: dict[str, Fault] = {
    r"does not let you in \(401\); set SHOP_KEY to a key for served": Status(401, f"Incorrect API key provided: {KEY}"),
    r"does not let you in \(403\)": Status(403, "not yours"),
    "knows no model 'served' .404: The model `served` does not exist": Status(404, "The model `served` does not exist."),
    "the quota of this key is used up": Status(429, "You exceeded your current quota", "insufficient_quota"),
    "the quota of this key is used up ": Status(402, "Insufficient Balance"),
    "asks for a break of 3600 seconds": Status(429, headers={"Retry-After": "3600"}),
    r"refuses the requests \(400: Unknown parameter: 'response_format'\); ask for what it knows": Status(
        400, "Unknown parameter: 'response_format'."
    ),
    "gave no answer in 3 tries: 500: key … broke it. Run the same command when the server is well": Status(
        500, f"key {KEY} broke it"
    ),
    "gave no answer in 3 tries: no reply within 1 seconds": Stall(30),
    "gave no answer in 3 tries: it cannot be reached": Cut(),
    "gave no answer in 3 tries: its reply is no JSON": Body(b"<html>a proxy speaks</html>", "text/html"),
    "gave no answer in 3 tries: its reply is no chat completion": Body(b'{"choices": []}'),
}


@pytest.mark.parametrize("sentence", LASTING)
def test_what_will_not_pass_ends_the_run_in_one_sentence_without_the_key_and_keeps_nothing_wrong(
    sentence: str, server: ChatServer, tmp_path: Path
) -> None:
    server.always = LASTING[sentence]
    seconds = 1 if isinstance(server.always, Stall) else 30
    with pytest.raises(UserError, match=sentence.strip()) as raised:
        ask(server, asks(3 * IN_A_ROW), tmp_path, timeout=seconds, key_name="SHOP_KEY")
    assert re.search(r"\. 0 new replies are kept in .*test_what_will_not_pass", str(raised.value))
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)
    with Replies(tmp_path) as store:
        assert len(list(store.missing(asks(3 * IN_A_ROW), "served"))) == 3 * IN_A_ROW


def test_a_server_that_is_not_there_is_told(server: ChatServer, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=r"gave no answer in 3 tries: it cannot be reached .*Connect call failed"):
        ask(server, asks(1), tmp_path, url=url)


def test_a_single_request_that_is_refused_is_told_as_no_answer_shows_that_others_are_right(
    server: ChatServer, tmp_path: Path
) -> None:
    server.always = Status(422, "max_tokens is too large")
    with pytest.raises(UserError, match=r"refuses the requests \(422: max_tokens is too large\)"):
        ask(server, asks(1), tmp_path)


def test_what_was_under_way_when_the_run_ended_is_kept(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(12)
    server.seconds = 0.1
    server.faults[prompt(asked[6])] = [Status(401)]
    with pytest.raises(UserError, match=r"does not let you in .* (\d+) new replies are kept") as raised:
        ask(server, asked, tmp_path, concurrency=4)
    kept = int(re.findall(r"(\d+) new replies", str(raised.value))[0])
    assert kept == len(server.requests) - 1
    counts, replies = ask(server, asked, tmp_path)
    assert replies == list(map(answer, asked))
    assert counts.kept == kept


def structured(server: ChatServer, *answers: str | dict[str, Any]) -> None:
    """The server's answers to the first, second, ... request for a prompt."""
    seen: Counter[str] = Counter()

    def said(body: dict[str, Any]) -> str | dict[str, Any]:
        first = body["messages"][0]["content"]
        seen[first] += 1
        return answers[seen[first] - 1]

    server.answer = said


def test_a_structured_answer_of_the_schema_is_kept_as_it_is(server: ChatServer, tmp_path: Path) -> None:
    structured(server, '{"label": 1}')
    _, replies = ask(server, asks(1, schema=SCHEMA), tmp_path)
    assert replies == [Reply('{"label": 1}', "", PROMPT_TOKENS, COMPLETION_TOKENS)]
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)


def test_a_structured_answer_that_is_wrong_is_asked_for_once_more_with_what_is_wrong(
    server: ChatServer, tmp_path: Path
) -> None:
    structured(server, '{"label": 2}', '{"label": 0}')
    _, replies = ask(server, asks(1, schema=SCHEMA), tmp_path)
    assert replies == [Reply('{"label": 0}', "", 2 * PROMPT_TOKENS, 2 * COMPLETION_TOKENS)]
    _, second = server.requests
    assert second.body["messages"][1] == {"role": "assistant", "content": '{"label": 2}'}
    assert "at $.label: 2 is not one of [0, 1]" in second.prompt


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["one", "two"], "no JSON of the schema: it is no JSON: Expecting value: line 1 column 1 (char 0)"),
        (['{"label": 2}', '{"label": 3}'], "no JSON of the schema: at $.label: 3 is not one of [0, 1]"),
        ([completion('{"label": ', "length")], "cut off"),
        (["one", completion('{"label": ', "length")], "cut off"),
        (["one", completion(None, "content_filter")], "content filter"),
    ],
)
def test_a_structured_answer_that_stays_wrong_is_rejected_with_its_reason(
    answers: list[str | dict[str, Any]], reason: str, server: ChatServer, tmp_path: Path
) -> None:
    structured(server, *answers)
    for _ in range(2):
        _, (reply,) = ask(server, asks(1, schema=SCHEMA), tmp_path)
        assert reply == Reply("", reason, len(answers) * PROMPT_TOKENS, len(answers) * COMPLETION_TOKENS)
    assert len(server.requests) == len(answers)


@pytest.mark.parametrize(("text", "kept"), [("", ""), (None, ""), ("Red sho", "Red sho"), ("\ud800!", "?!")])
def test_a_plain_answer_is_kept_whatever_it_is(text: str | None, kept: str, server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion(text, "length")
    _, (reply,) = ask(server, asks(1), tmp_path)
    assert reply == Reply(kept, "", PROMPT_TOKENS, COMPLETION_TOKENS)


def test_an_error_while_asks_are_read_ends_the_run_and_keeps_what_was_answered(server: ChatServer, tmp_path: Path) -> None:
    def broken() -> Iterator[Ask]:
        yield from asks(5)
        raise UserError("the rows end in the middle")

    with Replies(tmp_path) as store:
        with pytest.raises(UserError, match=r"the rows end in the middle\. 5 new replies are kept"):
            ask_all(Endpoint(server.url, "served", concurrency=1), broken(), store, lambda counts: None)
        assert [store.get(one.key("served")) for one in asks(5)] == list(map(answer, asks(5)))


SCRIPT = """
import sys
from pathlib import Path
from dataset_builders.labelling import endpoint
from dataset_builders.labelling.requests import Ask
from dataset_builders.labelling.reply_store import Replies
from common.errors import plain_errors
url, out, count, concurrency, endpoint.GRACE = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
asks = (Ask((("user", f"Rate product {number}."),), 8) for number in range(count))
with plain_errors(), Replies(out) as store:
    where = endpoint.Endpoint(url, "served", concurrency)
    counts = endpoint.ask_all(where, asks, store, lambda counts: None)
    print(counts.kept, counts.answered)
"""


def running(
    server: ChatServer, out: Path, count: int, concurrency: int, grace: int = 30, before: str = ""
) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, server.url, str(out), *map(str, (count, concurrency, grace))]
    command = ["bash", "-c", f'{before} exec "$@"', "-", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(server: ChatServer, requests: int, process: subprocess.Popen[str]) -> None:
    while len(server.requests) < requests and process.poll() is None:
        time.sleep(0.005)


def on_disk(out: Path) -> int:
    """Replies on the disk while a process has the folder."""
    with closing(sqlite3.connect(out / FILE, timeout=60)) as connection:
        return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])


def test_kills_at_any_moment_lose_no_more_than_the_requests_under_way(server: ChatServer, tmp_path: Path) -> None:
    count, concurrency, kills = 120, 5, (1, 30, 31)
    server.seconds = 0.01
    for after in kills:
        with running(server, tmp_path, count, concurrency) as process:
            wait_for(server, len(server.requests) + after, process)
            process.send_signal(signal.SIGKILL)
        time.sleep(0.1)  # requests that the kernel still delivers
        with Replies(tmp_path) as store:
            kept = count - len(list(store.missing(asks(count), "served")))
        assert len(server.requests) - kept <= concurrency * (kills.index(after) + 1)
        before = len(server.requests)
    with running(server, tmp_path, count, concurrency) as process:
        told, _ = process.communicate()
    assert told == f"{kept} {count - kept}\n"
    assert len(server.requests) - before == count - kept, "the last run asks only for what is missing"
    with Replies(tmp_path) as store:
        assert [store.get(one.key("served")) for one in asks(count)] == list(map(answer, asks(count)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_first_signal_waits_for_what_is_under_way_and_tells_how_to_go_on(
    number: signal.Signals, code: int, server: ChatServer, tmp_path: Path
) -> None:
    server.seconds = 0.5
    with running(server, tmp_path, 100, 4) as process:
        wait_for(server, 6, process)
        process.send_signal(number)
        _, told = process.communicate()
    assert process.returncode == code
    asked = len(server.requests)
    assert told.splitlines() == [
        "stopping: what is under way has 30 seconds to end; once more stops at once",
        f"stopped: {asked} new replies are kept in {tmp_path}; run the same command to go on",
    ]
    assert asked <= 8


def test_a_second_signal_or_the_end_of_the_grace_time_ends_at_once(server: ChatServer, tmp_path: Path) -> None:
    asked = asks(10)
    for one in asked[2:]:
        server.faults[prompt(one)] = [Stall(60)] * 2
    for grace in (60, 0):
        with running(server, tmp_path, 10, 10, grace) as process:
            wait_for(server, len(server.requests) + (10 if grace else 8), process)
            while grace and on_disk(tmp_path) < 2 and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            told = ""
            if grace:
                assert process.stderr
                told = process.stderr.readline()  # of two signals that are pending at once either may be seen first
                process.send_signal(signal.SIGTERM)
            told += process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert told.splitlines() == [
            f"stopping: what is under way has {grace} seconds to end; once more stops at once",
            f"stopped: {2 if grace else 0} new replies are kept in {tmp_path}; run the same command to go on",
        ]
    with Replies(tmp_path) as store:
        assert list(store.missing(asked, "served")) == asked[2:]


def test_a_full_disk_ends_the_run_in_one_sentence_and_what_was_kept_stays(server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda body: "long " * 500
    with running(server, tmp_path, 400, 4, before="ulimit -f 200;") as process:
        _, told = process.communicate()
    assert process.returncode == 2
    assert re.fullmatch(
        r"error: the replies in .* cannot be read or written \(.*\); make room .* new replies are kept.*\n", told
    )
    kept = int(re.findall(r"(\d+) new replies", told)[0])
    with Replies(tmp_path) as store:
        assert 0 < kept == 400 - len(list(store.missing(asks(400), "served")))


def test_an_error_in_progress_is_raised_and_nothing_hangs(server: ChatServer, tmp_path: Path) -> None:
    def broken(counts: Counts) -> None:
        raise ZeroDivisionError("the bar broke")

    with Replies(tmp_path) as store, pytest.raises(ZeroDivisionError, match="the bar broke"):
        ask_all(Endpoint(server.url, "served"), asks(20), store, broken)


def test_signals_are_python_s_own_again_after_a_run(server: ChatServer, tmp_path: Path) -> None:
    ask(server, asks(1), tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
