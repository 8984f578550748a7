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
from unittest.mock import Mock

import pytest

from common import retry
from common.errors import UserError
from dataset_builders.labelling import endpoint
from dataset_builders.labelling.endpoint import MAX_FAILURES_IN_A_ROW, Endpoint, request_all
from dataset_builders.labelling.rate_limit import RateLimiter
from dataset_builders.labelling.reply_store import FILE, ReplyStore
from dataset_builders.labelling.requests import LabelReply, LabelRequest, ReplyCounts
from tests.chat_faults import TRANSIENT_FAULTS, Body, CutConnection, ErrorStatus, Fault, Stall, transient_faults
from tests.chat_server import COMPLETION_TOKENS, PROMPT_TOKENS, ChatServer, chat_server, completion, said

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


def label_requests(count: int, **fields: Any) -> list[LabelRequest]:
    return [LabelRequest((("user", f"Rate product {number}."),), 8, **fields) for number in range(count)]


def prompt(request: LabelRequest) -> str:
    return request.messages[-1][1]


def replies_of(
    server: ChatServer, requests: list[LabelRequest], out: Path, **options: Any
) -> tuple[ReplyCounts, list[LabelReply | None]]:
    """The counts, which must be those of the replies on disk, and these."""
    seen: list[int] = []
    where = Endpoint(**({"url": server.url, "model": "served", "timeout": 30, "retries": 2, "key": KEY} | options))
    with ReplyStore(out) as store:
        counts = request_all(where, iter(requests), store, lambda counts: seen.append(counts.done))
        assert seen == sorted(seen)
        assert seen[-1] == counts.done == len(requests)
        return counts, [store.get(one.key("served")) for one in requests]


def answer(request: LabelRequest) -> LabelReply:
    return LabelReply(said(prompt(request)), "", PROMPT_TOKENS, COMPLETION_TOKENS)


def test_every_ask_is_sent_once_with_the_key_and_its_reply_kept(server: ChatServer, tmp_path: Path) -> None:
    requests = label_requests(20)
    counts, replies = replies_of(server, [*requests, *requests], tmp_path)
    assert replies == [*map(answer, requests), *map(answer, requests)]
    assert counts == ReplyCounts(20, 20, Counter(), 0, 20 * PROMPT_TOKENS, 20 * COMPLETION_TOKENS)
    assert sorted(server.prompts()) == sorted(map(prompt, requests))
    assert {request.authorization for request in server.requests} == {f"Bearer {KEY}"}
    assert [request.body for request in server.requests if request.prompt == prompt(requests[0])] == [
        requests[0].body("served")
    ]


def test_a_second_run_asks_only_what_is_new_or_has_changed(server: ChatServer, tmp_path: Path) -> None:
    requests = label_requests(6)
    replies_of(server, requests, tmp_path)
    server.requests.clear()
    changed = [*requests[:4], LabelRequest((("user", "Rate product 4 now."),), 8), LabelRequest(requests[5].messages, 9)]
    counts, replies = replies_of(server, changed, tmp_path)
    assert replies == list(map(answer, changed))
    assert (counts.kept, counts.answered) == (4, 2)
    assert len(server.requests) == 2


def test_replies_after_a_storm_are_those_of_a_calm_server(server: ChatServer, tmp_path: Path) -> None:
    # Every reply of this server has the same id, and some replies come late or by half.
    requests = label_requests(2 * len(TRANSIENT_FAULTS))
    _, calm = replies_of(server, requests, tmp_path / "calm")
    server.requests.clear()
    for number, one in enumerate(requests):
        server.faults[prompt(one)] = transient_faults(number)

    counts, stormy = replies_of(server, requests, tmp_path / "stormy", concurrency=16, timeout=4)
    assert stormy == calm == list(map(answer, requests))
    assert counts.retries == 2 * len(requests)
    assert len(server.requests) == 3 * len(requests)


def test_asks_are_taken_when_a_request_can_start(server: ChatServer, tmp_path: Path) -> None:
    ahead = []

    def counted() -> Iterator[LabelRequest]:
        for taken, one in enumerate(label_requests(60), 1):
            ahead.append(taken - len(server.requests))
            yield one

    with ReplyStore(tmp_path) as store:
        request_all(Endpoint(server.url, "served", concurrency=4), counted(), store, lambda counts: None)
    assert max(ahead) <= 4
    assert server.most_at_once <= 4


class SlowDisk(ReplyStore):
    kept = 0

    def put(self, replies: Mapping[str, LabelReply]) -> None:
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
        request_all(Endpoint(server.url, "served", concurrency=4), label_requests(24), store, lambda counts: None)
    assert max(not_kept) <= 4


@pytest.mark.parametrize("dated", [False, True])
def test_a_busy_server_is_left_alone_by_all_for_as_long_as_it_says(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dated: bool
) -> None:
    pause, backoff = Mock(), Mock(return_value=0.0)
    monkeypatch.setattr(RateLimiter, "pause", pause)
    monkeypatch.setattr(endpoint, "backoff", backoff)
    requests = label_requests(50)
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
    server.faults[prompt(requests[5])] = [ErrorStatus(429, headers={"Retry-After": moment if dated else "500"})]

    counts, replies = replies_of(server, requests, tmp_path, concurrency=4)
    assert replies == list(map(answer, requests))
    (seconds, _, _), (attempt, waited) = pause.call_args.args, backoff.call_args.args
    assert (attempt, waited) == (1, seconds)
    assert 0 < seconds <= 500 if dated else seconds == 500
    assert counts.retries == pause.call_count == backoff.call_count == 1


def test_busy_is_no_failure_while_others_are_answered(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.1)
    requests = label_requests(200)
    server.faults[prompt(requests[0])] = [ErrorStatus(429)] * 4
    server.seconds = 0.01
    _, replies = replies_of(server, requests, tmp_path, concurrency=2, retries=2)
    assert replies == list(map(answer, requests))


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a run would have slept, by a clock that stands still."""
    seconds: list[float] = []

    async def sleep(self: object, wait: float) -> None:
        seconds.append(wait)

    monkeypatch.setattr(endpoint._LabelRun, "now", lambda self: 0.0)
    monkeypatch.setattr(endpoint._LabelRun, "sleep", sleep)
    return seconds


@pytest.mark.parametrize("options", [{"requests_per_minute": 600}, {"tokens_per_minute": 60 * 16 * 10}])
def test_requests_are_as_far_apart_as_the_limits_say(
    server: ChatServer, tmp_path: Path, slept: list[float], options: dict[str, int]
) -> None:
    replies_of(server, label_requests(9), tmp_path, concurrency=9, **options)
    assert sorted(slept) == pytest.approx([0.1 * number for number in range(1, 9)])


def test_retries_count_for_the_limits_too(server: ChatServer, tmp_path: Path, slept: list[float]) -> None:
    requests = label_requests(1)
    server.faults[prompt(requests[0])] = [ErrorStatus(500)] * 6
    replies_of(server, requests, tmp_path, requests_per_minute=600, retries=6)
    assert slept[1::2] == pytest.approx([0.1 * number for number in range(1, 7)]), "between the retries' own waits"


REJECTED: dict[str, Fault] = {
    "content filter": ErrorStatus(400, "The response was filtered", "content_filter"),
    "content filter ": Body(json.dumps(completion("so", "content_filter")).encode()),
    "too long": ErrorStatus(400, "This model's maximum context length is 2048 tokens. However, you asked for 4000.", 400),
    "too long ": ErrorStatus(413, "Payload Too Large"),
    "refused: I cannot rate this": Body(
        json.dumps({"choices": [{"message": {"content": None, "refusal": "I cannot rate this."}}]}).encode()
    ),
    "refused: 400: Invalid 'messages[0].content'": ErrorStatus(400, "Invalid 'messages[0].content'."),
}


def test_what_is_wrong_with_one_prompt_rejects_it_with_the_reason_once(server: ChatServer, tmp_path: Path) -> None:
    requests = label_requests(30)
    for one, fault in zip(requests, REJECTED.values(), strict=False):
        server.faults[prompt(one)] = [fault]
    for run in range(2):
        counts, replies = replies_of(server, requests, tmp_path)
        assert [reply.reason for reply in replies if reply and reply.reason] == [reason.strip() for reason in REJECTED]
        assert replies[len(REJECTED) :] == list(map(answer, requests[len(REJECTED) :]))
        assert counts.rejected == ({"content filter": 2, "too long": 2, "refused": 2} if run == 0 else {})
    assert len(server.requests) == 30


def test_a_prompt_that_the_server_fails_at_again_and_again_is_rejected_and_asked_anew_by_the_next_run(
    server: ChatServer, tmp_path: Path
) -> None:
    requests = label_requests(20)
    server.faults[prompt(requests[3])] = [ErrorStatus(500, "out of memory")] * 3
    counts, replies = replies_of(server, requests, tmp_path)
    assert replies[3] == LabelReply("", "no answer in 3 tries: 500: out of memory")
    assert (counts.answered, counts.rejected, counts.retries) == (19, {"no answer in 3 tries": 1}, 2)

    counts, replies = replies_of(server, requests, tmp_path)
    assert replies == list(map(answer, requests))
    assert (counts.kept, counts.answered) == (19, 1)


LASTING: dict[str, Fault] = {
    r"refuses the key \(401\); set SHOP_KEY to a key for served": ErrorStatus(401, f"Incorrect API key provided: {KEY}"),
    r"refuses the key \(403\)": ErrorStatus(403, "not yours"),
    "knows no model 'served' .404: The model `served` does not exist": ErrorStatus(404, "The model `served` does not exist."),
    "the quota of this key is used up": ErrorStatus(429, "You exceeded your current quota", "insufficient_quota"),
    "the quota of this key is used up ": ErrorStatus(402, "Insufficient Balance"),
    "asks to wait 3600 seconds": ErrorStatus(429, headers={"Retry-After": "3600"}),
    r"refuses the requests \(400: Unknown parameter: 'response_format'\); leave out what it refuses": ErrorStatus(
        400, "Unknown parameter: 'response_format'."
    ),
    "gave no answer in 3 tries: 500: key … broke it. Run the same command when the server is well": ErrorStatus(
        500, f"key {KEY} broke it"
    ),
    "gave no answer in 3 tries: no reply within 1 seconds": Stall(30),
    "gave no answer in 3 tries: it cannot be reached": CutConnection(),
    "gave no answer in 3 tries: its reply is not JSON": Body(b"<html>a proxy speaks</html>", "text/html"),
    "gave no answer in 3 tries: its reply is not a chat completion": Body(b'{"choices": []}'),
}


@pytest.mark.parametrize("sentence", LASTING)
def test_what_will_not_pass_ends_the_run_in_one_sentence_without_the_key_and_keeps_nothing_wrong(
    sentence: str, server: ChatServer, tmp_path: Path
) -> None:
    server.always = LASTING[sentence]
    seconds = 1 if isinstance(server.always, Stall) else 30
    with pytest.raises(UserError, match=sentence.strip()) as raised:
        replies_of(server, label_requests(3 * MAX_FAILURES_IN_A_ROW), tmp_path, timeout=seconds, key_name="SHOP_KEY")
    assert re.search(r"\. 0 new replies are kept in .*test_what_will_not_pass", str(raised.value))
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)
    with ReplyStore(tmp_path) as store:
        assert len(list(store.missing(label_requests(3 * MAX_FAILURES_IN_A_ROW), "served"))) == 3 * MAX_FAILURES_IN_A_ROW


def test_a_server_that_is_not_there_is_told(server: ChatServer, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(UserError, match=r"gave no answer in 3 tries: it cannot be reached .*Connect call failed"):
        replies_of(server, label_requests(1), tmp_path, url=url)


def test_a_single_request_that_is_refused_is_told_as_no_answer_shows_that_others_are_right(
    server: ChatServer, tmp_path: Path
) -> None:
    server.always = ErrorStatus(422, "max_tokens is too large")
    with pytest.raises(UserError, match=r"refuses the requests \(422: max_tokens is too large\)"):
        replies_of(server, label_requests(1), tmp_path)


def test_what_was_under_way_when_the_run_ended_is_kept(server: ChatServer, tmp_path: Path) -> None:
    requests = label_requests(12)
    server.seconds = 0.1
    server.faults[prompt(requests[6])] = [ErrorStatus(401)]
    with pytest.raises(UserError, match=r"refuses the key .* (\d+) new replies are kept") as raised:
        replies_of(server, requests, tmp_path, concurrency=4)
    kept = int(re.findall(r"(\d+) new replies", str(raised.value))[0])
    assert kept == len(server.requests) - 1
    counts, replies = replies_of(server, requests, tmp_path)
    assert replies == list(map(answer, requests))
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
    _, replies = replies_of(server, label_requests(1, schema=SCHEMA), tmp_path)
    assert replies == [LabelReply('{"label": 1}', "", PROMPT_TOKENS, COMPLETION_TOKENS)]
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)


def test_a_structured_answer_that_is_wrong_is_asked_for_once_more_with_what_is_wrong(
    server: ChatServer, tmp_path: Path
) -> None:
    structured(server, '{"label": 2}', '{"label": 0}')
    _, replies = replies_of(server, label_requests(1, schema=SCHEMA), tmp_path)
    assert replies == [LabelReply('{"label": 0}', "", 2 * PROMPT_TOKENS, 2 * COMPLETION_TOKENS)]
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
        _, (reply,) = replies_of(server, label_requests(1, schema=SCHEMA), tmp_path)
        assert reply == LabelReply("", reason, len(answers) * PROMPT_TOKENS, len(answers) * COMPLETION_TOKENS)
    assert len(server.requests) == len(answers)


@pytest.mark.parametrize(("text", "kept"), [("", ""), (None, ""), ("Red sho", "Red sho"), ("\ud800!", "?!")])
def test_a_plain_answer_is_kept_whatever_it_is(text: str | None, kept: str, server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda body: completion(text, "length")
    _, (reply,) = replies_of(server, label_requests(1), tmp_path)
    assert reply == LabelReply(kept, "", PROMPT_TOKENS, COMPLETION_TOKENS)


def test_an_error_while_asks_are_read_ends_the_run_and_keeps_what_was_answered(server: ChatServer, tmp_path: Path) -> None:
    def broken() -> Iterator[LabelRequest]:
        yield from label_requests(5)
        raise UserError("the rows end in the middle")

    with ReplyStore(tmp_path) as store:
        with pytest.raises(UserError, match=r"the rows end in the middle\. 5 new replies are kept"):
            request_all(Endpoint(server.url, "served", concurrency=1), broken(), store, lambda counts: None)
        assert [store.get(one.key("served")) for one in label_requests(5)] == list(map(answer, label_requests(5)))


SCRIPT = """
import sys
from pathlib import Path
from dataset_builders.labelling import endpoint
from dataset_builders.labelling.requests import LabelRequest
from dataset_builders.labelling.reply_store import ReplyStore
from common.errors import plain_errors
url, out, count, concurrency, endpoint.GRACE_SECONDS = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
requests = (LabelRequest((("user", f"Rate product {number}."),), 8) for number in range(count))
with plain_errors(), ReplyStore(out) as store:
    where = endpoint.Endpoint(url, "served", concurrency)
    counts = endpoint.request_all(where, requests, store, lambda counts: None)
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
        with ReplyStore(tmp_path) as store:
            kept = count - len(list(store.missing(label_requests(count), "served")))
        assert len(server.requests) - kept <= concurrency * (kills.index(after) + 1)
        before = len(server.requests)
    with running(server, tmp_path, count, concurrency) as process:
        told, _ = process.communicate()
    assert told == f"{kept} {count - kept}\n"
    assert len(server.requests) - before == count - kept, "the last run sends only what is missing"
    with ReplyStore(tmp_path) as store:
        assert [store.get(one.key("served")) for one in label_requests(count)] == list(map(answer, label_requests(count)))


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
    requests = len(server.requests)
    assert told.splitlines() == [
        "stopping: requests in flight have 30 s; a second signal stops at once",
        f"stopped: {requests} new replies are kept in {tmp_path}; run the same command to resume",
    ]
    assert requests <= 8


def test_a_second_signal_or_the_end_of_the_grace_time_ends_at_once(server: ChatServer, tmp_path: Path) -> None:
    requests = label_requests(10)
    for one in requests[2:]:
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
            f"stopping: requests in flight have {grace} s; a second signal stops at once",
            f"stopped: {2 if grace else 0} new replies are kept in {tmp_path}; run the same command to resume",
        ]
    with ReplyStore(tmp_path) as store:
        assert list(store.missing(requests, "served")) == requests[2:]


def test_a_full_disk_ends_the_run_in_one_sentence_and_what_was_kept_stays(server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda body: "long " * 500
    with running(server, tmp_path, 400, 4, before="ulimit -f 200;") as process:
        _, told = process.communicate()
    assert process.returncode == 2
    assert re.fullmatch(
        r"error: the replies in .* cannot be read or written \(.*\); make room .* new replies are kept.*\n", told
    )
    kept = int(re.findall(r"(\d+) new replies", told)[0])
    with ReplyStore(tmp_path) as store:
        assert 0 < kept == 400 - len(list(store.missing(label_requests(400), "served")))


def test_an_error_in_progress_is_raised_and_nothing_hangs(server: ChatServer, tmp_path: Path) -> None:
    def broken(counts: ReplyCounts) -> None:
        raise ZeroDivisionError("the bar broke")

    with ReplyStore(tmp_path) as store, pytest.raises(ZeroDivisionError, match="the bar broke"):
        request_all(Endpoint(server.url, "served"), label_requests(20), store, broken)


def test_signals_are_python_s_own_again_after_a_run(server: ChatServer, tmp_path: Path) -> None:
    replies_of(server, label_requests(1), tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
