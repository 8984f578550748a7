"""The shards of an input on Spark in local mode: the same answers and ranks as one process gives, and a killed run goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.chat_faults import Body, ErrorStatus
from tests.chat_server import ChatServer, chat_server, completion
from tests.command import run_command
from tests.whole_way import ROOT

TASK = ("--task", "review_rating")


@pytest.fixture
def spark() -> None:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with chat_server() as running:
        yield running


def served(server: ChatServer) -> tuple[str, ...]:
    return ("--model", "served", "--backend", "endpoint", "--option", f"base_url={server.url}", "--option", "retries=1")


def reviews(path: Path, count: int) -> Path:
    rows: list[Any] = [{"id": number, "category": "Kitchen", "review": f"Cup {number} is fine."} for number in range(count)]
    rows[3]["review"] = None
    rows[5]["review"] = "word " * 3000
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{no JSON\n")
    return path


def answers(folder: Path) -> list[dict[str, Any]]:
    found = [row for path in folder.glob("**/part-*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted(found, key=lambda row: row["row"])


def test_spark_gives_the_answers_of_one_process(
    spark: None, server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = reviews(tmp_path / "in.jsonl", 40)
    command = (*TASK, *served(server), "--input", source)
    assert run_command("eval_tasks.predict", *command, "--out", tmp_path / "one") == 0
    prompts = sorted(server.prompts())
    server.faults[prompts[0]] = [Body(json.dumps(completion(None, "content_filter")).encode())]
    on_spark = (*command, "--out", tmp_path / "spark", "--engine", "pyspark")
    assert run_command("eval_tasks.predict", *on_spark, "--partitions", 3) == 0
    one, several = answers(tmp_path / "one"), answers(tmp_path / "spark")
    differing = [(ours, theirs) for ours, theirs in zip(one, several, strict=True) if ours != theirs]
    assert [theirs["error"] for _, theirs in differing] == ["the model's server gave no answer: content filter"]
    assert sorted(server.prompts()[len(prompts) :]) == prompts, "each row is asked once"
    assert sorted(path.name for path in (tmp_path / "spark").glob("shard-*")) == [f"shard-{n}-of-3" for n in (1, 2, 3)]
    assert (tmp_path / "spark" / "answers.png").is_file()
    assert "41 rows" in capsys.readouterr().out

    before = len(server.requests)
    assert run_command("eval_tasks.predict", *on_spark) == 0
    assert len(server.requests) == before, "all is answered, in the number of partitions that there is"
    assert run_command("eval_tasks.predict", *on_spark, "--partitions", 2) == 2
    assert "another partitions" in capsys.readouterr().err


def test_a_killed_job_goes_on_and_asks_no_row_on_disk_again(
    spark: None, server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = reviews(tmp_path / "in.jsonl", 400), tmp_path / "out"
    server.seconds = 0.05
    command = (*TASK, *served(server), "--option", "concurrency=4", "--input", source, "--engine", "pyspark")
    arguments = [*map(str, command), "--partitions", "2", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "eval_tasks.predict", *arguments], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    ) as running:
        deadline = time.monotonic() + 200
        while not list(out.glob("shard-*/part-*.parquet")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    kept = answers(out)
    assert 0 < len(kept) < 401
    time.sleep(1)  # requests of the killed job
    before = len(server.requests)
    server.seconds = 0
    assert run_command("eval_tasks.predict", *arguments) == 0
    assert [row["row"] for row in answers(out)] == list(range(1, 402))
    again = server.prompts()[before:]
    assert not [row for row in kept if row["review"] and any(row["review"] in prompt for prompt in again)]

    server.always = ErrorStatus(401, "no such key")
    other = ("--engine", "pyspark", "--partitions", "2", "--out", tmp_path / "other")
    assert run_command("eval_tasks.predict", *TASK, *served(server), "--input", source, *other) == 2
    error = capsys.readouterr().err
    assert "refuses the key (401)" in error
    assert "2 of 2 partitions" in error
    assert "Traceback" not in error


def test_each_executor_loads_a_model_of_its_own(spark: None, tiny_llama: Path, tmp_path: Path) -> None:
    source = reviews(tmp_path / "in.jsonl", 8)
    command = (*TASK, "--model", tiny_llama, "--answers", "scored", "--input", source)
    assert run_command("eval_tasks.predict", *command, "--out", tmp_path / "one") == 0
    several = ("--engine", "pyspark", "--partitions", 2, "--sample-for-review", 3, "--out", tmp_path / "spark")
    assert run_command("eval_tasks.predict", *command, *several) == 0
    for ours, theirs in zip(answers(tmp_path / "one"), answers(tmp_path / "spark"), strict=True):
        assert (
            theirs["confidence"] == pytest.approx(ours["confidence"], abs=1e-5)
            if ours["confidence"]
            else not theirs["confidence"]
        )
        assert (theirs["row"], theirs["answer"], theirs["error"]) == (ours["row"], ours["answer"], ours["error"])
    assert len((tmp_path / "spark" / "review.jsonl").read_text().splitlines()) == 3


def test_spark_ranks_as_one_process_does(spark: None, tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"query": f"bottle {number}", "candidates": ["steel bottle", "red shoes", "cotton shirt"]} for number in range(5)]
    rows.append({"query": "cup", "candidates": []})
    source = tmp_path / "lists.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("--model", tiny_llama, "--input", source)
    assert run_command("eval_tasks.rank", *command, "--out", tmp_path / "one.parquet") == 0
    several = ("--engine", "pyspark", "--partitions", 3, "--out", tmp_path / "spark.parquet")
    assert run_command("eval_tasks.rank", *command, *several) == 0
    one, other = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("one", "spark"))
    scores = [[row.pop(name) or 0 for row in found] for found in (one, other) for name in ("score", "confidence")]
    assert one == other
    assert scores[:2] == [pytest.approx(column, abs=1e-5) for column in scores[2:]]
    assert not (tmp_path / "spark.parquet.parts").exists()
