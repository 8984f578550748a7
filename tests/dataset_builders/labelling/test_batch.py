"""Batch files: what is written answers to what is read, in whatever order and state the output comes."""

import json
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.labelling import batch
from dataset_builders.labelling.batch import read_batch, write_batch
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import LabelReply, LabelRequest
from tests.chat_server import COMPLETION_TOKENS, PROMPT_TOKENS, completion

SCHEMA = '{"additionalProperties":false,"properties":{"label":{"enum":[0,1]}},"required":["label"],"type":"object"}'


def label_requests(count: int, **fields: Any) -> list[LabelRequest]:
    return [LabelRequest((("user", f"Rate product {number}."),), 8, **fields) for number in range(count)]


def lines(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def output(request: dict[str, Any], text: str | None, ending: str = "stop") -> dict[str, Any]:
    response = {"status_code": 200, "request_id": "r", "body": completion(text, ending)}
    return {"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}


def failed(request: dict[str, Any], status: int, message: str, code: str | None = None) -> dict[str, Any]:
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}


def file_of(found: list[dict[str, Any]], path: Path) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


def answer(text: str) -> LabelReply:
    return LabelReply(text, "", PROMPT_TOKENS, COMPLETION_TOKENS)


def test_a_line_is_what_the_batch_api_takes(tmp_path: Path) -> None:
    (wanted,) = label_requests(1, schema=SCHEMA, temperature=0.5, sample=2)
    with ReplyStore(tmp_path / "out") as store:
        paths = write_batch([wanted, wanted], "m", store, tmp_path / "batch")
    assert paths == [tmp_path / "batch" / "batch-0001.jsonl"]
    assert lines(paths) == [
        {"custom_id": wanted.key("m"), "method": "POST", "url": "/v1/chat/completions", "body": wanted.body("m")}
    ]


@settings(max_examples=25)
@given(st.integers(0, 8), st.integers(1, 4), st.randoms(use_true_random=False), st.data())
def test_outputs_in_any_order_twice_and_in_pieces_answer_what_was_written(
    count: int, most: int, random: Random, data: st.DataObject
) -> None:
    wanted = label_requests(count)
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch, ReplyStore(Path(name) / "out") as store:
        folder = Path(name)
        patch.setattr(batch, "MAX_REQUESTS", most)
        patch.setattr(batch, "REPLIES_PER_WRITE", 3)
        paths = write_batch(wanted, "m", store, folder / "batch")
        assert [len(lines([path])) for path in paths] == [most] * (count // most) + [count % most] * (count % most > 0)

        requests = lines(paths)
        texts = {request["custom_id"]: data.draw(st.text(st.characters(exclude_categories=["Cs"]))) for request in requests}
        done = [output(request, texts[request["custom_id"]]) for request in requests]
        twice = done + done[: count // 2]
        random.shuffle(twice)
        cut = len(twice) // 2
        parts = [file_of(twice[:cut], folder / "one.jsonl"), file_of(twice[cut:], folder / "two.jsonl")]
        counts = read_batch(parts, "m", store, wanted)

        assert {one.key("m"): store.get(one.key("m")) for one in wanted} == {key: answer(text) for key, text in texts.items()}
        assert (counts.answered, counts.rejected) == (count, {})
        assert counts.skipped == ({"answered before": count // 2} if count > 1 else {})
        assert write_batch(wanted, "m", store, folder / "batch") == []


def test_files_are_split_by_size_and_an_earlier_batch_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = label_requests(6)
    with ReplyStore(tmp_path / "out") as store:
        (whole,) = write_batch(wanted, "m", store, tmp_path / "batch")
        monkeypatch.setattr(batch, "MAX_BYTES", whole.stat().st_size // 3)
        paths = write_batch(wanted, "m", store, tmp_path / "batch")
        assert [len(lines([path])) for path in paths] == [2, 2, 2]
        assert all(path.stat().st_size <= batch.MAX_BYTES for path in paths)
        store.put({one.key("m"): LabelReply("3") for one in wanted[:5]})
        paths = write_batch(wanted, "m", store, tmp_path / "batch")
        assert sorted((tmp_path / "batch").iterdir()) == paths
        assert [line["custom_id"] for line in lines(paths)] == [wanted[5].key("m")]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with ReplyStore(tmp_path / "out") as store, pytest.raises(UserError, match="holds something else"):
        write_batch(label_requests(1), "m", store, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_every_line_that_is_no_answer_is_counted_with_its_reason_and_asked_again_where_that_may_help(tmp_path: Path) -> None:
    wanted = label_requests(12)
    with ReplyStore(tmp_path / "out") as store:
        requests = lines(write_batch(wanted, "m", store, tmp_path / "batch"))
        expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
        found = [
            output(requests[0], "3"),
            output(requests[1], "so", "content_filter"),
            failed(requests[2], 400, "too many tokens", "context_length_exceeded"),
            failed(requests[3], 400, "Invalid 'messages[0].content'."),
            failed(requests[4], 500, "the server had an error"),
            failed(requests[5], 429, "rate limit", "rate_limit_exceeded"),
            {"id": "b", "custom_id": requests[6]["custom_id"], "response": None, "error": expired},
            {"custom_id": requests[7]["custom_id"], "response": {"status_code": 200, "body": {"choices": []}}, "error": None},
            # vLLM's run-batch: an error beside the response
            {
                "custom_id": requests[8]["custom_id"],
                "response": {"status_code": 400, "request_id": "r", "body": None},
                "error": {"error": {"message": "This model's maximum context length is 64 tokens.", "code": 400}},
            },
            failed(requests[9], 401, "Incorrect API key provided"),
            {"custom_id": "of-another-run", "response": None},
            {"custom_id": "ab" * 32, "response": None},
            {"some": "json"},
        ]
        path = file_of(found, tmp_path / "output.jsonl")
        whole = json.dumps(output(requests[10], "4"))
        path.write_bytes(path.read_bytes() + b"\n\xff\n[]\n7\n" + whole.encode()[:50])
        counts = read_batch([path], "m", store, wanted)

        assert counts.answered == 1
        assert counts.rejected == {"content filter": 1, "too long": 2, "refused": 1}
        assert counts.skipped == {
            "no completion, status 500": 1,
            "no completion, status 429": 1,
            "no completion, status 200": 1,
            "no reply: batch_expired": 1,
            "the batch refuses the key (401); set OPENAI_API_KEY to a key for m": 1,
            "the reply to no request of this run": 1,
            "not a line of a batch's output": 6,
        }
        assert store.get(wanted[3].key("m")) == LabelReply("", "refused: 400: Invalid 'messages[0].content'")
        again = lines(write_batch(wanted, "m", store, tmp_path / "batch"))
        assert [line["custom_id"] for line in again] == [wanted[place].key("m") for place in (4, 5, 6, 7, 9, 10, 11)]


def test_a_batch_in_which_every_request_is_refused_rejects_nothing(tmp_path: Path) -> None:
    wanted = label_requests(3)
    with ReplyStore(tmp_path / "out") as store:
        requests = lines(write_batch(wanted, "m", store, tmp_path / "batch"))
        found = [failed(request, 400, "Unsupported parameter: 'max_tokens'") for request in requests]
        counts = read_batch([file_of(found, tmp_path / "errors.jsonl")], "m", store, wanted)
        assert (counts.answered, counts.rejected) == (0, {})
        assert counts.skipped == {"refused: 400: Unsupported parameter: 'max_tokens'": 3}
        assert list(store.missing(wanted, "m")) == wanted


def test_a_structured_answer_that_is_wrong_is_asked_once_more_in_the_next_batch(tmp_path: Path) -> None:
    wanted = label_requests(3, schema=SCHEMA)
    with ReplyStore(tmp_path / "out") as store:
        requests = lines(write_batch(wanted, "m", store, tmp_path / "batch"))
        texts = ('{"label": 1}', '{"label": 2}', "one")
        first = file_of([output(*pair) for pair in zip(requests, texts, strict=True)], tmp_path / "first.jsonl")
        for already in (False, True):  # reading it again is no second try
            counts = read_batch([first], "m", store, wanted)
            assert counts.answered == (not already)
            again = "a first reply that was read before" if already else "no JSON of the schema, for a second request"
            assert counts.skipped[again] == 2

        requests = lines(write_batch(wanted, "m", store, tmp_path / "batch"))
        assert [request["body"]["messages"][1]["content"] for request in requests] == ['{"label": 2}', "one"]
        assert "at $.label: 2 is not one of [0, 1]" in requests[0]["body"]["messages"][2]["content"]
        second = file_of([output(requests[0], '{"label": 0}'), output(requests[1], "two")], tmp_path / "second.jsonl")
        counts = read_batch([first, second], "m", store, wanted)
        assert (counts.answered, counts.rejected) == (1, {"no JSON of the schema": 1})
        assert [store.get(one.key("m")) for one in wanted[:2]] == [answer('{"label": 1}'), answer('{"label": 0}')]
        assert not list(store.missing(wanted, "m"))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "out") as store, pytest.raises(UserError, match=r"cannot be read .*give a batch's output"):
        read_batch([tmp_path / "none.jsonl"], "m", store, label_requests(1))
