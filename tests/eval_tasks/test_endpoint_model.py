"""The endpoint backend against a server that fails in every way, in this process and as lighteval runs it."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from common import retry
from common.chat import Endpoint
from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends import endpoint
from eval_tasks.backends.answer_store import AnswerStore
from eval_tasks.backends.prompts import LoadedModel, Prompt, RefusedAnswer, ScoredPrompt, parse_options
from tests.chat_faults import TRANSIENT_FAULTS, Body, CutConnection, ErrorStatus, Fault, Stall, transient_faults
from tests.chat_server import ChatServer, chat_server, completion, said
from tests.eval_tasks.conftest import Lighteval
from tests.eval_tasks.rows import write_dataset

KEY = "-".join(("sk", "that-nobody-may-see-0123456789"))


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds before a retry."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)


def prompts(count: int) -> list[Prompt]:
    return [Prompt((("user", f"Rate product {number}."),), "", 8, "shop:review_rating", "[1-5]") for number in range(count)]


def loaded(server: ChatServer, monkeypatch: pytest.MonkeyPatch, key: str = KEY, **options: Any) -> LoadedModel:
    from eval_tasks.backends.served_model import OPTIONS, load

    monkeypatch.setenv("OPENAI_API_KEY", key)
    # Long, so that on a busy machine none is given up that was only late: it would be asked once more.
    pairs = {"model_name": "served", "base_url": server.url, "timeout": 60} | options
    return load(parse_options(",".join(f"{name}={value}" for name, value in pairs.items()), OPTIONS))


def texts(endpoint: LoadedModel, asked: list[Prompt], constrained: bool = False) -> list[str]:
    found = list(endpoint.answer(asked, None, constrained))
    assert sorted(place for place, _ in found) == list(range(len(asked))), "each prompt is answered once"
    return [text for _, text in sorted(found)]


def calm(asked: list[Prompt]) -> list[str]:
    return [said(prompt.messages[-1][1]) for prompt in asked]


RELEVANCE = ("exact", "substitute", "complement", "irrelevant")


def scored(count: int, candidates: tuple[str, ...] = RELEVANCE) -> list[ScoredPrompt]:
    return [ScoredPrompt(prompt, candidates) for prompt in prompts(count)]


def test_likelihoods_are_those_of_the_first_tokens_that_the_server_tells(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    likeliest = {"sub": -0.5, " ex": -1.25, "substit": -2.0, "The": -3.0, "comp": -4.5}
    server.answer = lambda body: completion("substitute", likeliest=likeliest)
    server.faults = {f"Rate product {number}.": transient_faults(number)[:1] for number in range(2)}
    found = dict(loaded(server, monkeypatch).score(scored(9), None))
    # The longest token that a word begins with is its own; what is not told is no likelier than the last that is.
    assert found == dict.fromkeys(range(9), (-1.25, -2.0, -4.5, -4.5))
    body = server.requests[-1].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 20, 1)


@pytest.mark.parametrize(
    ("likeliest", "candidates", "sentence"),
    [
        ({}, RELEVANCE, "gives no log-probabilities"),
        ({"1": -0.5, "2": -1.0}, ("1", "10", "2"), "several of 1, 10, 2 begin with '1'"),
    ],
)
def test_a_server_that_cannot_score_is_told_in_a_sentence(
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    likeliest: dict[str, float],
    candidates: tuple[str, ...],
    sentence: str,
) -> None:
    server.answer = lambda body: completion("1", likeliest=likeliest)
    with pytest.raises(UserError, match="--answers written") as told:
        list(loaded(server, monkeypatch).score(scored(3, candidates), None))
    assert sentence in str(told.value)


def test_a_server_that_refuses_log_probabilities_is_told(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.unknown = {"logprobs"}
    with pytest.raises(UserError, match="refuses a request for log-probabilities"):
        list(loaded(server, monkeypatch).score(scored(1), None))


def test_requests_are_greedy_limited_and_in_the_models_name(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = (("system", "Be brief."), ("user", "Rate it."))
    assert texts(loaded(server, monkeypatch), [Prompt(chat, "", 8)]) == [said("Rate it.")]
    (request,) = server.requests
    assert request.body == {
        "model": "served",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rate it."}],
        "temperature": 0,
        "max_tokens": 8,
    }
    assert request.authorization == f"Bearer {KEY}"


@pytest.mark.usefixtures("impatient")
def test_answers_after_a_storm_are_those_of_a_calm_server(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(2 * len(TRANSIENT_FAULTS))
    for number, prompt in enumerate(asked):
        server.faults[prompt.messages[-1][1]] = transient_faults(number)

    assert texts(loaded(server, monkeypatch, concurrency=16, timeout=5), asked) == calm(asked)
    assert len(server.requests) == 3 * len(asked)


def test_a_retry_waits_as_long_as_the_server_says(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    backoff = Mock(return_value=0.0)
    monkeypatch.setattr(endpoint, "backoff", backoff)
    asked = prompts(2)
    server.faults[asked[0].messages[-1][1]] = [ErrorStatus(429, headers={"Retry-After": "300"})]
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
    server.faults[asked[1].messages[-1][1]] = [ErrorStatus(503, headers={"Retry-After": moment})]

    assert texts(loaded(server, monkeypatch), asked) == calm(asked)
    first, later = sorted(call.args[1] for call in backoff.call_args_list)
    assert first == 300 < later <= 500


def test_no_more_requests_are_under_way_at_once_than_the_option_says(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.seconds = 0.05
    asked = prompts(20)
    assert texts(loaded(server, monkeypatch, concurrency=3), asked) == calm(asked)
    assert server.most_at_once == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (ErrorStatus(401, f"Incorrect API key provided: {KEY}"), r"refuses the key \(401\); set OPENAI_API_KEY"),
        (ErrorStatus(403, "not yours"), r"refuses the key \(403\); set OPENAI_API_KEY"),
        (ErrorStatus(404, "The model `served` does not exist.", "model_not_found"), "knows no model 'served' .404: The model"),
        (ErrorStatus(429, "You exceeded your current quota", "insufficient_quota"), "the quota of this key is used up"),
        (ErrorStatus(429, headers={"Retry-After": "3600"}), "asks to wait 3600 seconds"),
        (ErrorStatus(400, "no such field"), r"refuses the request \(400: no such field\)$"),
        (ErrorStatus(500, f"key {KEY} broke it"), "gave no answer in 3 tries: 500: key … broke it. What was answered is kept"),
        (CutConnection(), "gave no answer in 3 tries: it cannot be reached"),
        (Stall(30), "gave no answer in 3 tries: no reply within 1 seconds"),
        (Body(b"{"), "gave no answer in 3 tries: its reply is not JSON"),
        (Body(f"<p>{KEY}</p>".encode(), "text/html"), "gave no answer in 3 tries: its reply is not JSON .'<p>…</p>"),
    ],
)
def test_what_does_not_pass_ends_the_run_in_one_sentence_without_the_key(
    fault: Fault, sentence: str, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always = fault
    timeout = 1 if isinstance(fault, Stall) else 60
    with pytest.raises(UserError, match=sentence) as raised:
        texts(loaded(server, monkeypatch, retries=2, timeout=timeout), prompts(3))
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_there_is_told(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(UserError, match="gave no answer in 2 tries: it cannot be reached"):
            texts(loaded(server, monkeypatch, base_url=url, retries=1), prompts(1))


def test_what_was_answered_before_a_failure_is_kept_and_not_asked_again(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from eval_tasks.backends.lighteval_model import answer_prompts

    asked, store = prompts(12), AnswerStore(tmp_path / "answers.sqlite")
    bad = asked[6].messages[-1][1]
    server.faults[bad] = [ErrorStatus(500)]
    server.seconds = 0.02
    served = loaded(server, monkeypatch, concurrency=2, retries=0)

    with pytest.raises(UserError, match="gave no answer in 1 tries"):
        answer_prompts(served, asked, None, False, store)
    before = [prompt for prompt in server.prompts() if prompt != bad]
    server.requests.clear()

    assert answer_prompts(served, asked, None, False, store) == calm(asked)
    assert len(before) >= 6
    assert set(server.prompts()) == {prompt.messages[-1][1] for prompt in asked} - set(before)


def test_a_refused_prompt_is_recorded_so_and_told_again_when_resumed(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from eval_tasks.backends.lighteval_model import answer_prompts

    asked, store = prompts(6), AnswerStore(tmp_path / "answers.sqlite")
    too_long = "This model's maximum context length is 2048 tokens. However, your prompt contains 4000 input tokens."
    server.faults = {
        asked[0].messages[-1][1]: [Body(json.dumps(completion("no", "content_filter")).encode())],
        asked[1].messages[-1][1]: [ErrorStatus(400, "filtered", "content_filter")],
        asked[2].messages[-1][1]: [ErrorStatus(400, "too many tokens", "context_length_exceeded")],
        asked[3].messages[-1][1]: [ErrorStatus(400, too_long, 400)],
        asked[4].messages[-1][1]: [ErrorStatus(413, "Payload Too Large")],
    }
    served = loaded(server, monkeypatch)

    for _ in range(2):
        assert answer_prompts(served, asked, None, False, store) == ["", "", "", "", "", *calm(asked[5:])]
        said = "5 of 6 prompts were refused by the server (too long: 3, content filter: 2); they count as unparsable"
        assert said in capsys.readouterr().err
    assert len(server.requests) == 6


@pytest.mark.parametrize("text", ["", None])
def test_an_empty_answer_is_an_answer(text: str | None, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda body: completion(text)
    (answer,) = texts(loaded(server, monkeypatch), prompts(1))
    assert answer == ""
    assert not isinstance(answer, RefusedAnswer)


def test_fields_of_the_request_are_options_and_part_of_the_identity(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "max_completion_tokens": 900,
        "temperature": "none",
        "reasoning_effort": "low",
        "template.enable_thinking": "false",
        "extra.seed": 3,
        "extra.user": "shop",
        "extra.nested": '{"a": [1, 2]}',
    }
    endpoint = loaded(server, monkeypatch, **options)
    assert texts(endpoint, prompts(1)) == calm(prompts(1))
    (request,) = server.requests
    assert request.body == {
        **{"model": "served", "messages": prompts(1)[0].chat(), "max_completion_tokens": 900, "reasoning_effort": "low"},
        **{"chat_template_kwargs": {"enable_thinking": False}, "seed": 3, "user": "shop", "nested": {"a": [1, 2]}},
    }
    plain = loaded(server, monkeypatch)
    assert endpoint.identity != plain.identity == ("endpoint", server.url, "served")
    texts(loaded(server, monkeypatch, **{"extra.max_tokens": "null", "temperature": "0.5"}), prompts(1))
    assert "max_tokens" not in server.requests[-1].body
    assert server.requests[-1].body["temperature"] == 0.5


@pytest.mark.parametrize(
    ("reply", "text", "spent"),
    [
        (completion(None, "length"), "<think>", True),
        (completion("", "length"), "<think>", True),
        (completion("<think>Let me see, 1 or", "length"), "<think>Let me see, 1 or", True),
        (completion("<think>hm</think>4"), "<think>hm</think>4", False),
        (completion("so it is 4</think>\n4"), "so it is 4</think>\n4", False),
        (completion(None), "", False),
    ],
)
def test_a_budget_that_is_spent_on_reasoning_is_told_apart(
    reply: dict[str, Any], text: str, spent: bool, server: ChatServer, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from eval_tasks.backends.lighteval_model import answer_prompts

    server.answer = lambda body: reply
    store = AnswerStore(tmp_path / "answers.sqlite")
    assert answer_prompts(loaded(server, monkeypatch), prompts(2), None, False, store) == [text] * 2
    told = capsys.readouterr().err
    assert ("2 of 2 answers spent all their tokens on reasoning" in told) == spent
    assert ("max_completion_tokens=4000" in told) == spent


def test_reasoning_that_a_server_keeps_apart_is_no_answer(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = completion(None, "length")
    reply["choices"][0]["message"]["reasoning_content"] = "Let me see"
    server.answer = lambda body: reply
    assert texts(loaded(server, monkeypatch), prompts(1)) == ["<think>Let me see"]
    reply["choices"][0]["message"] |= {"content": "4"}
    reply["choices"][0]["finish_reason"] = "stop"
    assert texts(loaded(server, monkeypatch), prompts(1)) == ["4"]


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        ("'max_tokens' is not supported with this model. Use 'max_completion_tokens'.", "--option max_completion_tokens=4000"),
        ("'temperature' does not support 0 with this model.", "--option temperature=none, which leaves it out"),
        ("unknown field chat_template_kwargs", "leave out --template-option"),
    ],
)
def test_a_server_that_refuses_a_field_is_told_with_a_way_out(
    refusal: str, advice: str, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always = ErrorStatus(400, refusal)
    with pytest.raises(UserError, match="refuses the request") as told:
        texts(loaded(server, monkeypatch), prompts(1))
    assert advice in str(told.value)


def test_a_constrained_run_sends_each_pattern_as_vllm_takes_it(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    free = Prompt((("user", "Say anything."),), "", 8)
    asked = [*prompts(1), free]
    assert texts(loaded(server, monkeypatch, concurrency=1), asked, constrained=True) == calm(asked)
    assert [request.body.get("structured_outputs") for request in server.requests] == [{"regex": "[1-5]"}, None]


def test_a_server_that_ignores_patterns_is_told(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer = lambda body: "five stars"
    with pytest.raises(UserError, match=r"answers 'five stars' where only '\[1-5\]' is allowed: constrained=true"):
        texts(loaded(server, monkeypatch), prompts(1), constrained=True)


def test_an_answer_that_was_cut_at_its_limit_need_not_match_its_pattern(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda body: completion("3,", "length")
    assert texts(loaded(server, monkeypatch), prompts(1), constrained=True) == ["3,"]


def test_a_server_that_refuses_patterns_is_told(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.always = ErrorStatus(400, "Unrecognized request argument supplied: structured_outputs")
    with pytest.raises(UserError, match=r"structured_outputs\); constrained=true needs a server with vLLM's"):
        texts(loaded(server, monkeypatch), prompts(1), constrained=True)


@pytest.mark.parametrize(
    ("options", "environment", "sentence"),
    [
        ("model_name=m", {}, "base_url must be the server's URL"),
        ("model_name=m,base_url=localhost:8000", {}, "base_url must be the server's URL"),
        ("model_name=m,base_url=http://h/v1,revision=main", {}, "leave out the model option revision"),
        ("model_name=m,base_url=http://h/v1,concurrency=0", {}, "concurrency must be a whole number of at least 1"),
        ("model_name=m,base_url=http://h/v1,temperature=warm", {}, "temperature must be between 0 and 2, or none"),
        ("model_name=m,base_url=http://h/v1,temperature=3", {}, "temperature must be between 0 and 2, or none"),
        ("model_name=m,base_url=http://h/v1,max_completion_tokens=0", {}, "max_completion_tokens must be a whole number"),
        ("model_name=m,base_url=http://h/v1", {"OPENAI_API_KEY": "sk-\u00e4"}, "characters that no key has"),
    ],
)
def test_options_that_cannot_be_meant_are_told(options: str, environment: dict[str, str], sentence: str) -> None:
    from eval_tasks.backends.served_model import OPTIONS, from_options, request_fields

    parsed = parse_options(options, OPTIONS)
    with pytest.raises(UserError, match=sentence):
        print(from_options(parsed, environment), request_fields(parsed))


def test_address_and_key_may_come_from_the_environment_and_the_key_shows_nowhere() -> None:
    from eval_tasks.backends.served_model import OPTIONS, from_options

    environment = {"OPENAI_BASE_URL": "http://h/v1/", "OPENAI_API_KEY": f" {KEY}\n"}
    found = from_options(parse_options("m", OPTIONS), environment)
    assert found == Endpoint("http://h/v1", "m", concurrency=64, key=KEY)
    assert KEY not in repr(found)


def test_an_adapter_is_to_be_named_as_the_server_does(tmp_path: Path) -> None:
    from eval_tasks.backends.served_model import OPTIONS, load

    with pytest.raises(UserError, match="serves adapters under their own names"):
        load(parse_options("model_name=m,base_url=http://h/v1", OPTIONS), [tmp_path])


def test_a_run_of_lighteval_through_a_storm_scores_as_without_one_and_leaves_no_key_anywhere(
    server: ChatServer, lighteval: Lighteval, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    dataset = write_dataset(tmp_path / "dataset", ["review_rating", "query_generation"])
    rows = [row for path in dataset.rglob("*test*.parquet") for row in pq.read_table(path).to_pylist()]
    gold = {row["prompt"][0]["content"]: row["completion"][0]["content"] for row in rows}
    server.answer = lambda body: gold[body["messages"][-1]["content"]]
    refused, *others = gold
    faults: list[Fault] = [ErrorStatus(500), CutConnection(9), Body(b"{")]
    server.faults = {prompt: [fault] for prompt, fault in zip(others, faults, strict=False)}
    server.faults[refused] = [ErrorStatus(400, f"{KEY}: no", "content_filter")]

    done = lighteval(
        "custom",
        f"model_name=served,base_url={server.url},cache_dir={tmp_path}/cache",
        "eval_tasks/endpoint_model.py",
        "shop|0",
        *("--custom-tasks", "eval_tasks/shop.py", "--output-dir", str(tmp_path / "out"), "--save-details"),
        SHOP_DATASET=str(dataset),
        OPENAI_API_KEY=KEY,
        HF_HOME=str(tmp_path / "home"),
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert {request.authorization for request in server.requests} == {f"Bearer {KEY}"}
    details = [row for path in (tmp_path / "out").rglob("details_*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["doc"]["query"]: row["model_response"]["text"][0] for row in details} == gold | {refused: ""}
    for row in details:
        name = row["doc"]["task_name"].removeprefix("shop:").removesuffix("|0")
        answered = row["doc"]["query"] != refused
        assert row["metric"] == {TASKS[name].metric: float(answered), "unparsable": float(not answered), "unfinished": 0.0}
    assert "1 of 6 prompts were refused by the server (content filter: 1)" in done.stderr
    assert "HTTP Request" not in done.stdout + done.stderr, "a line for each request hides the progress"

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".sqlite", ".json", ".parquet"}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr


def test_a_run_of_lighteval_ends_without_a_traceback_where_the_server_does_not_let_it_in(
    server: ChatServer, lighteval: Lighteval, tmp_path: Path
) -> None:
    server.always = ErrorStatus(401, f"Incorrect API key provided: {KEY}")
    done = lighteval(
        "custom",
        f"model_name=served,base_url={server.url},cache_dir={tmp_path}/cache",
        "eval_tasks/endpoint_model.py",
        "shop|0",
        *("--custom-tasks", "eval_tasks/shop.py", "--output-dir", str(tmp_path / "out")),
        SHOP_DATASET=str(write_dataset(tmp_path / "dataset", ["review_rating", "query_generation"])),
        OPENAI_API_KEY=KEY,
    )

    assert done.returncode == 2
    assert f"error: {server.url} refuses the key (401)" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
