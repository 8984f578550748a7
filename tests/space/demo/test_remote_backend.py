"""Base and tuned model on a server, which is a real one on the loopback interface, well or in every kind of trouble."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from space.demo import remote_backend
from space.demo.backend import AnswerRequest, BackendBusy, BackendError, ModelAnswer
from space.demo.remote_backend import EndpointSettings, RemoteBackend, label_probabilities
from tests.chat_faults import Body, CutConnection, ErrorStatus, Fault, Stall
from tests.chat_server import ChatServer, chat_server, pieces

KEY = "loopback-secret"
ASK = AnswerRequest("Rate it.", 8, ("1", "2", "3"))


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        running.answer = lambda body: f"{body['model']} says {body['messages'][0]['content']}"
        yield running


@pytest.fixture
def model(server: ChatServer) -> RemoteBackend:
    return connected(server)


def connected(server: ChatServer) -> RemoteBackend:
    model = RemoteBackend(EndpointSettings(server.url, {"base": "base", "tuned": "shop"}, KEY))
    model.wait(30)
    return model


def last(model: RemoteBackend, request: AnswerRequest = ASK, seconds: float = 30) -> dict[str, ModelAnswer]:
    *_, said = model.stream(request, seconds)
    return said


def test_both_models_are_asked_for_the_prompt_greedily_with_the_key(model: RemoteBackend, server: ChatServer) -> None:
    said = last(model)
    assert {who: one.text for who, one in said.items()} == {"base": "base says Rate it.", "tuned": "shop says Rate it."}
    assert all(one.seconds is not None and not one.cut for one in said.values())
    assert {request.body["model"] for request in server.requests} == {"base", "shop"}
    for request in server.requests:
        assert request.authorization == f"Bearer {KEY}"
        assert request.body["messages"] == [{"role": "user", "content": "Rate it."}]
        assert request.body["temperature"] == 0
        assert request.body["max_tokens"] == 8


@pytest.mark.parametrize("unknown", [set(), {"logprobs"}])
def test_arguments_of_the_chat_template_are_in_every_request(server: ChatServer, unknown: set[str]) -> None:
    server.unknown = unknown  # then the request is sent a second time, without it
    server.tokens = {"1": [17], "2": [18], "3": [19]}
    model = RemoteBackend(EndpointSettings(server.url, {"base": "base"}, template={"enable_thinking": False}))
    model.wait(30)
    last(model)
    last(model, AnswerRequest("Write it.", 8))
    assert len(server.requests) == 2 + len(unknown)
    assert all(request.body["chat_template_kwargs"] == {"enable_thinking": False} for request in server.requests)
    assert server.requests[0].body["logprob_token_ids"] == [17, 18, 19]


def test_both_grow_at_the_same_time(model: RemoteBackend, server: ChatServer) -> None:
    server.seconds = 0.02
    both = threading.Barrier(2)  # neither begins long before the other

    def answer(body: dict[str, Any]) -> str:
        both.wait(30)
        return f"{body['model']} says {body['messages'][0]['content']}"

    server.answer = answer
    updates = list(model.stream(ASK, 30))
    halfway = updates[len(updates) // 2]
    for who in ("base", "tuned"):
        assert 0 < len(halfway[who].text) < len(updates[-1][who].text)
    assert server.most_at_once == 2


def test_without_a_tuned_model_only_the_base_is_asked(server: ChatServer) -> None:
    model = RemoteBackend(EndpointSettings(server.url, {"base": "base"}))
    model.wait(30)
    assert list(last(model)) == ["base"]
    assert server.requests[0].authorization == "Bearer none"


def test_the_chances_of_labels_come_with_the_first_token(model: RemoteBackend, server: ChatServer) -> None:
    server.tops = {"1": math.log(0.6), "2": math.log(0.2), "3": math.log(0.1), "The": math.log(0.1)}
    updates = list(model.stream(ASK, 30))
    first = next(update["tuned"] for update in updates if update["tuned"].text)
    assert first.probabilities == pytest.approx((6 / 9, 2 / 9, 1 / 9))
    assert updates[-1]["tuned"].probabilities == first.probabilities
    assert last(model, AnswerRequest("Rate it.", 8))["tuned"].probabilities is None


def test_a_server_that_tells_tokens_is_asked_for_those_of_the_labels(model: RemoteBackend, server: ChatServer) -> None:
    server.tokens = {"1": [17], "2": [18], "3": [19, 4]}
    server.tops = {"1": math.log(0.02), "2": math.log(0.01), "3": math.log(0.01), "The": math.log(0.9)}
    for _ in range(2):
        assert last(model)["base"].probabilities == pytest.approx((0.5, 0.25, 0.25))
    assert all(request.body["logprob_token_ids"] == [17, 18, 19] for request in server.requests)
    last(model, AnswerRequest("Rate it.", 8, ("no", "yes")))
    assert "logprob_token_ids" not in server.requests[-1].body


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_too_busy_to_tell_tokens_is_asked_for_them_again(
    model: RemoteBackend, server: ChatServer, status: int
) -> None:
    server.tokens = {"1": [17], "2": [18], "3": [19]}
    server.tokens_status = status
    assert last(model)["base"].text == "base says Rate it."
    assert all("logprob_token_ids" not in request.body for request in server.requests)
    server.tokens_status = None
    last(model)
    assert server.requests[-1].body["logprob_token_ids"] == [17, 18, 19]


def test_a_server_that_tells_no_chances_answers_without_them(model: RemoteBackend, server: ChatServer) -> None:
    server.unknown = {"logprobs"}
    for _ in range(2):
        said = last(model)
        assert said["base"].text == "base says Rate it."
        assert said["base"].probabilities is None
    assert ["logprobs" in request.body for request in server.requests][-2:] == [False, False]


@pytest.mark.parametrize(
    ("tops", "probabilities"),
    [
        ({"no": 0.3, "yes": 0.1}, (0.75, 0.25)),
        ({"n": 0.3, "y": 0.1}, (0.75, 0.25)),
        ({"no": 0.5, "Maybe": 0.001}, (1.0, 0.0)),
        ({"no": 0.5, "Maybe": 0.1}, None),
        ({"Maybe": 0.9}, None),
        ({"": 0.5, "The": 0.1}, None),
    ],
    ids=["whole tokens", "beginnings", "one unlikely", "one unknown", "none", "empty token"],
)
def test_chances_from_the_likeliest_tokens(tops: dict[str, float], probabilities: tuple[float, ...] | None) -> None:
    found = label_probabilities(("no", "yes"), {token: math.log(probability) for token, probability in tops.items()})
    assert found == (None if probabilities is None else pytest.approx(probabilities))


def test_labels_that_one_token_begins_have_no_chances() -> None:
    assert label_probabilities(("10", "11"), {"1": -0.1, "2": -3.0}) is None


@given(st.dictionaries(st.sampled_from(["no", "yes", "n", "y", "", "The", " no"]), st.floats(-20, 0)))
def test_chances_are_a_distribution_or_unknown(tops: dict[str, float]) -> None:
    found = label_probabilities(("no", "yes"), tops)
    assert found is None or (sum(found) == pytest.approx(1) and min(found) >= 0)


def event(data: str) -> Body:
    begun = next(iter(pieces("1")))
    return Body(begun + f"data: {data}\n\n".encode(), "text/event-stream")


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (
            ErrorStatus(401, f"wrong key {KEY}"),
            BackendError,
            "The endpoint does not let this page in. ENDPOINT_API_KEY has to be",
        ),
        (ErrorStatus(403), BackendError, "The endpoint does not let this page in."),
        (ErrorStatus(404, "no such model"), BackendError, "The endpoint knows no model"),
        (ErrorStatus(429), BackendBusy, "The endpoint is busy. Try again in a minute."),
        (ErrorStatus(503), BackendBusy, "The endpoint is busy. Try again in a minute."),
        (ErrorStatus(500, f"crash {KEY}"), BackendError, "The endpoint does not answer this request (500)."),
        (ErrorStatus(400, "maximum context length is 2048"), BackendError, "The prompt is too long for the model. Shorten it."),
        (ErrorStatus(413), BackendError, "The prompt is too long for the model. Shorten it."),
        (ErrorStatus(400, "bad: Rate it."), BackendError, "The endpoint does not answer this request (400)."),
        (CutConnection(), BackendError, "The endpoint cannot be reached, or the connection broke."),
        (CutConnection(30), BackendError, "The endpoint cannot be reached, or the connection broke."),
        (Body(b"".join(pieces("1234"))[:600], "text/event-stream"), BackendError, "The endpoint "),
        (event('{"error": {"message": "out of memory", "code": 500}}'), BackendError, "The endpoint failed in the middle"),
        (event("{torn"), BackendError, "The endpoint answers with something that is no chat completion."),
        (event('{"choices": [{"delta": {"content": 5}}]}'), BackendError, "The endpoint answers with something that is no"),
        (event('{"choices": 5}'), BackendError, "The endpoint answers with something that is no chat completion."),
        (event("[DONE]"), BackendError, "The endpoint broke off in the middle of an answer."),
        (Body(b"<html>hello</html>", "text/html"), BackendError, "The endpoint "),
        (Stall(5), BackendError, "The endpoint gave no answer within 1 seconds."),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, type) else None,
)
def test_each_trouble_is_a_sentence_without_the_servers_words_and_the_next_answer_comes(
    model: RemoteBackend, server: ChatServer, capfd: pytest.CaptureFixture[str], fault: Fault, kind: type, sentence: str
) -> None:
    server.always = fault
    with pytest.raises(BackendError) as error:
        last(model, seconds=1 if isinstance(fault, Stall) else 30)
    assert type(error.value) is kind
    assert str(error.value).startswith(sentence)
    assert server.url not in str(error.value)
    told = capfd.readouterr()
    assert KEY not in f"{error.value}{told.out}{told.err}"
    assert ASK.prompt not in f"{error.value}{told.out}{told.err}"
    assert "Traceback" not in told.err
    server.always = None
    assert last(model)["tuned"].text == "shop says Rate it."


def test_an_unknown_model_is_named(model: RemoteBackend, server: ChatServer) -> None:
    server.always = ErrorStatus(404)
    with pytest.raises(BackendError, match=r"knows no model (base|shop)\. ENDPOINT_BASE_MODEL and"):
        last(model)


def test_an_answer_is_cut_where_its_time_ends(model: RemoteBackend, server: ChatServer) -> None:
    server.seconds = 0.05
    server.answer = lambda body: "word " * 1000
    said = last(model, seconds=2)
    for one in said.values():
        assert one.cut
        assert one.text
        assert ("word " * 1000).startswith(one.text)
        assert one.seconds == 2


def test_a_reader_that_goes_closes_its_connections(model: RemoteBackend, server: ChatServer) -> None:
    server.seconds = 0.05
    server.answer = lambda body: "word " * 1000
    gone = model.stream(ASK, 60)
    next(gone)
    gone.close()
    deadline = time.monotonic() + 10
    while server.at_once and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.at_once == 0


def test_many_at_once_wait_for_their_turn_and_each_get_their_own_answer(model: RemoteBackend, server: ChatServer) -> None:
    server.seconds = 0.005
    requests = [AnswerRequest(f"Rate number {number}.", 8) for number in range(64)]
    with ThreadPoolExecutor(len(requests)) as pool:
        told = list(pool.map(lambda request: last(model, request, 60), requests))
    for request, said in zip(requests, told, strict=True):
        assert said["base"].text == f"base says {request.prompt}"
        assert said["tuned"].text == f"shop says {request.prompt}"
    assert server.most_at_once <= 2 * model.max_concurrency


def test_a_turn_that_does_not_come_in_time_is_told_as_busy(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteBackend, "max_concurrency", 1)
    model = connected(server)
    server.seconds = 0.5
    ahead = model.stream(ASK, 30)
    next(ahead)
    with pytest.raises(BackendBusy, match="busy with other requests"):
        last(model, seconds=0.2)
    ahead.close()


def test_a_server_that_is_not_there_is_told_and_found_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_backend, "RETRY_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = RemoteBackend(EndpointSettings(f"http://127.0.0.1:{port}/v1", {"base": "base", "tuned": "shop"}))
    assert model.state().kind == "loading"
    sentence = "The endpoint cannot be reached, or the connection broke. Try again in a minute."
    with pytest.raises(BackendError, match=sentence):
        model.wait(30)
    assert model.state().kind == "failed"
    with chat_server(port) as server:
        deadline = time.monotonic() + 10
        while model.state().kind != "ready" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert last(model)["base"].text
        assert server.requests


def test_a_key_that_is_refused_is_told_before_the_first_request(server: ChatServer) -> None:
    server.always = ErrorStatus(401)
    model = RemoteBackend(EndpointSettings(server.url, {"base": "base"}, KEY))
    with pytest.raises(BackendError, match="does not let this page in"):
        model.wait(30)
    assert model.state().kind == "failed"
    assert not server.requests


def test_a_server_that_does_not_list_its_models_is_asked_all_the_same(server: ChatServer) -> None:
    server.always = ErrorStatus(404)
    model = connected(server)
    server.always = None
    assert last(model)["base"].text


def test_many_are_asked_of_one_model_some_at_once_and_each_has_an_answer_or_a_reason(
    model: RemoteBackend, server: ChatServer
) -> None:
    server.seconds = 0.001
    server.faults["Rate number 3."] = [ErrorStatus(503)]
    requests = [AnswerRequest(f"Rate number {number}.", 8, only=("tuned",)) for number in range(40)]
    found = dict(model.answer_all(requests, 60))
    assert sorted(found) == list(range(40))
    assert isinstance(found.pop(3), BackendBusy)
    for place, said in found.items():
        assert isinstance(said, dict)
        assert {who: one.text for who, one in said.items()} == {"tuned": f"shop says Rate number {place}."}
    assert 1 < server.most_at_once <= RemoteBackend.rows_at_once
