"""SmolLM2 behind vLLM's own server, and its own runner of batch files: labels that a real model gives, as they are kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import UserError
from dataset_builders.labelling.batch import read_batch, write_batch
from dataset_builders.labelling.costs import estimate, token_counter
from dataset_builders.labelling.endpoint import Endpoint, ask_all
from dataset_builders.labelling.reply_store import Replies
from dataset_builders.labelling.requests import Ask, Counts, Reply
from tests.dataset_builders.labelling.conftest import CONTEXT
from tests.vllm_server import BIN, REPOSITORY, environment, needs_vllm

pytestmark = needs_vllm

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"stars": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
        "required": ["stars"],
        "additionalProperties": False,
    },
    separators=(",", ":"),
    sort_keys=True,
)
REVIEWS = ("The lid broke after two days.", "Light, soft and worth the price.", "It does what it says.", "Never again.")
LONG = Ask((("user", "red shoes " * 3000),), 16, schema=SCHEMA)


def asks(count: int, schema: str = SCHEMA) -> list[Ask]:
    texts = (f"Order {number}: {REVIEWS[number % len(REVIEWS)]}" for number in range(count))
    form = 'Answer as {"stars": N}.' if schema else "Answer in three words."
    return [
        Ask((("system", "You rate reviews from 1 to 5."), ("user", f"{text}\n{form}")), 24, schema=schema) for text in texts
    ]


def ask(url: str, asked: list[Ask], out: Path) -> tuple[Counts, list[Reply | None]]:
    with Replies(out) as store:
        counts = ask_all(Endpoint(url, "smollm2", concurrency=4, timeout=300), asked, store, lambda counts: None)
        return counts, [store.get(one.key("smollm2")) for one in asked]


def test_structured_answers_are_of_their_schema_plain_ones_are_text_and_a_long_prompt_is_rejected(
    served: str, smollm2: Path, tmp_path: Path
) -> None:
    asked = [*asks(8), *asks(4, ""), LONG]
    counts, replies = ask(served, asked, tmp_path)
    stars = [json.loads(reply.text)["stars"] for reply in replies[:8] if reply]
    assert len(stars) == 8
    assert set(stars) <= {1, 2, 3, 4, 5}
    assert all(reply and reply.text.strip() for reply in replies[8:12])
    assert replies[12] == Reply("", "too long")
    assert (counts.answered, counts.rejected, counts.retries) == (12, {"too long": 1}, 0)
    told = estimate(asked[:12], token_counter(str(smollm2)))
    assert counts.prompt_tokens == told.prompt_tokens
    assert 0 < counts.completion_tokens <= told.completion_tokens

    counts, again = ask(served, asked, tmp_path)
    assert again == replies
    assert (counts.kept, counts.answered) == (13, 0)


def test_a_killed_run_goes_on_where_it_was(served: str, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.dataset_builders.labelling.test_real_server import ask, asks\n"
        "ask(sys.argv[1], asks(60), Path(sys.argv[2]))\n"
    )
    asked, kept = asks(60), 0
    with subprocess.Popen([sys.executable, "-c", script, served, str(tmp_path)], cwd=REPOSITORY) as process:
        while (tmp_path / "replies.sqlite-wal").exists() is False or (tmp_path / "replies.sqlite-wal").stat().st_size < 40_000:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    with Replies(tmp_path) as store:
        kept = 60 - len(list(store.missing(asked, "smollm2")))
    assert 0 < kept < 60
    counts, replies = ask(served, asked, tmp_path)
    assert (counts.kept, counts.answered) == (kept, 60 - kept)
    assert all(reply and json.loads(reply.text)["stars"] for reply in replies)


def test_what_is_wrong_with_the_whole_run_is_told(served: str, tmp_path: Path) -> None:
    with Replies(tmp_path) as store:
        for url, model, told in (
            (served, "other", "knows no model 'other' .404: The model `other` does not exist"),
            (served.removesuffix("/v1"), "smollm2", r"knows no model .* mostly in /v1"),
        ):
            with pytest.raises(UserError, match=told):
                ask_all(Endpoint(url, model), asks(3), store, lambda counts: None)
        wrong = [Ask(one.messages, 24, schema=SCHEMA, extra='{"top_p": 7}') for one in asks(6)]
        with pytest.raises(UserError, match=r"refuses the requests \(400: .*top_p"):
            ask_all(Endpoint(served, "smollm2"), wrong, store, lambda counts: None)
        assert list(store.missing(wrong, "smollm2")) == wrong


def test_batch_files_go_through_vllms_own_runner(smollm2: Path, tmp_path: Path) -> None:
    asked = [*asks(4), LONG]
    with Replies(tmp_path / "out") as store:
        (path,) = write_batch(asked, str(smollm2), store, tmp_path / "batch")
        output = tmp_path / "output.jsonl"
        runner = [str(BIN / "python"), "-m", "vllm.entrypoints.openai.run_batch", "-i", str(path), "-o", str(output)]
        light = ["--dtype", "float32", "--enforce-eager", "--gpu-memory-utilization", "0.1", "--generation-config", "vllm"]
        command = [*runner, "--model", str(smollm2), *light, *CONTEXT]
        env = environment(tmp_path / "home")
        done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
        assert output.is_file(), done.stderr[-5000:]
        counts = read_batch([output], str(smollm2), store, asked)
        assert (counts.answered, counts.rejected, counts.skipped) == (4, {"too long": 1}, {}), output.read_text()
        replies = [store.get(one.key(str(smollm2))) for one in asked[:4]]
        assert all(reply and json.loads(reply.text)["stars"] in (1, 2, 3, 4, 5) for reply in replies)
