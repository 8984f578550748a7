"""`python -m dataset_builders.session_queries` and a build with what it wrote."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from common.answers import numbered_items
from tests import raw
from tests.chat_server import ChatServer, chat_server
from tests.dataset_builders.conftest import run_command

Build = Callable[..., int]
Rows = list[dict[str, Any]]
SIZE = "40+5"


def run(*arguments: object) -> int:
    return run_command("session_queries", *arguments)


def fields(body: dict[str, Any]) -> list[str]:
    found: list[str] = body["response_format"]["json_schema"]["schema"]["required"]
    return found


def good(body: dict[str, Any]) -> dict[str, str]:
    """Queries that nobody else's product has."""
    name = "written " + hashlib.md5(body["messages"][1]["content"].encode()).hexdigest()[:6]
    return {field: name if field == "query" else f"{name} {field}" for field in fields(body)}


def write(body: dict[str, Any]) -> str:
    return json.dumps(good(body))


def stubborn(body: dict[str, Any]) -> str:
    """For some products what cannot be used, once or always."""
    answer = good(body)
    draw = int(hashlib.md5(body["messages"][1]["content"].encode()).hexdigest()[:2], 16) % 4
    if draw == 0 or (draw == 1 and len(body["messages"]) == 2):
        answer = dict.fromkeys(answer, " ")
    return json.dumps(answer)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MerRec alone. Not to be written to."""
    return raw.write(tmp_path_factory.mktemp("sessions"), raw.merrec())


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _calm(chat: ChatServer) -> None:
    chat.requests.clear()
    chat.answer = write


def to(chat: ChatServer) -> tuple[str, ...]:
    return ("--endpoint", chat.url, "--model", "writer", "--size", SIZE)


def table(folder: Path) -> Rows:
    rows: Rows = pq.read_table(folder / "session_queries.parquet").to_pylist()
    return rows


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "session_queries.json").read_text())
    return found


def built(run_build: Build, sessions: Path, out: Path, *options: object) -> dict[str, Any]:
    numbered = ("--word-rows", "0")
    assert run_build("--raw", sessions, "--tasks", "next_query", "--size", SIZE, "--out", out, *numbered, *options) == 0
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


def prompts(out: Path) -> list[str]:
    paths = sorted(out.glob("data/next_query/*.parquet"))
    return [row["prompt"][0]["content"] for path in paths for row in pq.read_table(path).to_pylist()]


def test_a_build_takes_what_was_written_and_says_so(chat: ChatServer, sessions: Path, tmp_path: Path, run_build: Build) -> None:
    assert run("--raw", sessions, *to(chat), "--out", tmp_path / "queries") == 0
    found = report(tmp_path / "queries")
    assert found["written"] == found["asked"] == len(chat.requests)
    assert found["rejects"] == {}
    manifest = built(run_build, sessions, tmp_path / "with", "--session-queries", tmp_path / "queries")
    asked = prompts(tmp_path / "with")
    assert asked
    assert manifest["queries_made_by"] == "model"
    assert manifest["session_queries"] == {"models": ["writer"], "rows": {"model": len(asked), "rule": 0}}
    for prompt in asked:
        queries = numbered_items(prompt)
        assert len(queries) == 10
        assert all("written" in query for query in queries.values())
        searched = [line for line in prompt.splitlines() if line.startswith("Searched for")]
        assert all("written" in line for line in searched)
    assert any("Searched for 'written" in prompt for prompt in asked)
    card = (tmp_path / "with" / "README.md").read_text()
    assert f"The queries of {len(asked)} rows of `next_query`\n(100.0 %) were written by a language model (writer)" in card


def test_without_it_all_are_made_by_rule_and_the_manifest_names_no_model(
    sessions: Path, tmp_path: Path, run_build: Build
) -> None:
    manifest = built(run_build, sessions, tmp_path / "out")
    assert manifest["queries_made_by"] == "rule"
    assert "session_queries" not in manifest
    assert "made by rule from searches" in (tmp_path / "out" / "README.md").read_text()


def test_what_cannot_be_used_is_asked_once_more_and_then_left_to_the_rule(
    chat: ChatServer, sessions: Path, tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.answer = stubborn
    assert run("--raw", sessions, *to(chat), "--out", tmp_path / "queries") == 0
    found = report(tmp_path / "queries")
    assert found["asked"] == found["written"] + sum(found["rejects"].values())
    assert set(found["rejects"]) == {"a query is empty"}
    assert len(found["rejected"]) == found["rejects"]["a query is empty"] < found["asked_again"]
    assert len(chat.requests) == found["asked"] + found["asked_again"]
    assert max(Counter(request.body["messages"][1]["content"] for request in chat.requests).values()) == 2
    capsys.readouterr()
    manifest = built(run_build, sessions, tmp_path / "with", "--session-queries", tmp_path / "queries")
    rows = manifest["session_queries"]["rows"]
    assert rows["model"]
    assert rows["rule"]
    assert manifest["queries_made_by"] == "model and rule"
    assert f"{rows['rule']} rows have queries made by rule" in " ".join(capsys.readouterr().out.split())
    for prompt in prompts(tmp_path / "with"):  # never a mixture, in which one kind would be told by its style
        assert len({"written" in query for query in numbered_items(prompt).values()}) == 1


def test_a_second_run_asks_nothing_and_writes_the_same_and_a_dry_run_nothing_at_all(
    chat: ChatServer, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.answer = stubborn
    options = ("--raw", sessions, *to(chat), "--answers", tmp_path / "answers")
    assert run(*options, "--out", tmp_path / "dry", "--dry-run") == 0
    assert not (tmp_path / "dry").exists()
    assert chat.requests == []
    assert "Requests to send" in capsys.readouterr().out
    assert run(*options, "--out", tmp_path / "one") == 0
    chat.requests.clear()
    assert run(*options, "--out", tmp_path / "two") == 0
    assert chat.requests == []
    assert table(tmp_path / "one") == table(tmp_path / "two")
    assert report(tmp_path / "one") == report(tmp_path / "two")


def test_batch_files_lead_to_the_same_table_in_two_rounds(chat: ChatServer, sessions: Path, tmp_path: Path) -> None:
    chat.answer = stubborn
    assert run("--raw", sessions, *to(chat), "--out", tmp_path / "asked") == 0
    chat.requests.clear()
    options = ("--raw", sessions, "--model", "writer", "--size", SIZE, "--out", tmp_path / "out")
    assert run(*options, "--batch-out", tmp_path / "first") == 0
    first = answered(tmp_path / "first")
    assert run(*options, "--batch-in", *first, "--batch-out", tmp_path / "second") == 0
    second = answered(tmp_path / "second")
    assert 0 < lines(second) < lines(first)
    assert run(*options, "--batch-in", *second) == 0
    assert chat.requests == []
    assert table(tmp_path / "out") == table(tmp_path / "asked")
    assert report(tmp_path / "out") == report(tmp_path / "asked")


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


def answered(folder: Path) -> list[Path]:
    """The output files that a provider would give for the batch files in the folder."""
    paths = []
    for path in sorted(folder.glob("*.jsonl")):
        paths.append(folder.with_name(f"{folder.name}-{path.stem}-output.jsonl"))
        with paths[-1].open("w") as output:
            for line in map(json.loads, path.read_text().splitlines()):
                message = {"role": "assistant", "content": stubborn(line["body"])}
                body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
                response = {"status_code": 200, "body": body}
                output.write(json.dumps({"custom_id": line["custom_id"], "response": response, "error": None}) + "\n")
    return paths


def test_where_no_answer_can_be_used_nothing_is_written(
    chat: ChatServer, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.answer = lambda body: json.dumps(dict.fromkeys(fields(body), ""))
    assert run("--raw", sessions, *to(chat), "--out", tmp_path / "out") == 2
    assert "no answer can be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_replaced_is_refused_before_anything_is_asked(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    assert run("--raw", sessions, "--model", "writer", "--endpoint", "http://localhost:1/v1", "--out", tmp_path) == 2
    assert "holds something else" in capsys.readouterr().err


def test_input_without_sessions_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = raw.write_tables(tmp_path / "shop", {"reviews": raw.own_shop()["reviews"]}, "csv")
    assert run("--tables", shop, "--model", "writer", "--out", tmp_path / "out") == 2
    assert "has no sessions" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"no Parquet"])
def test_a_table_that_cannot_be_read_is_told_by_the_build(
    sessions: Path, tmp_path: Path, run_build: Build, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    (tmp_path / "queries").mkdir()
    if content is not None:
        (tmp_path / "queries" / "session_queries.parquet").write_bytes(content)
    assert run_build("--raw", sessions, "--out", tmp_path / "out", "--session-queries", tmp_path / "queries") == 2
    assert "holds no session_queries.parquet that can be read" in capsys.readouterr().err
