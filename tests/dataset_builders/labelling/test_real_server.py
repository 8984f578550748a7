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
from dataset_builders.labelling.costs import estimate_cost, token_counter
from dataset_builders.labelling.endpoint import Endpoint, request_all
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import LabelReply, LabelRequest, ReplyCounts
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
LONG = LabelRequest((("user", "red shoes " * 3000),), 16, schema=SCHEMA)


def label_requests(count: int, schema: str = SCHEMA) -> list[LabelRequest]:
    texts = (f"Order {number}: {REVIEWS[number % len(REVIEWS)]}" for number in range(count))
    form = 'Answer as {"stars": N}.' if schema else "Answer in three words."
    return [
        LabelRequest((("system", "You rate reviews from 1 to 5."), ("user", f"{text}\n{form}")), 24, schema=schema)
        for text in texts
    ]


def replies_of(url: str, requests: list[LabelRequest], out: Path) -> tuple[ReplyCounts, list[LabelReply | None]]:
    with ReplyStore(out) as store:
        counts = request_all(Endpoint(url, "smollm2", concurrency=4, timeout=300), requests, store, lambda counts: None)
        return counts, [store.get(one.key("smollm2")) for one in requests]


def test_structured_answers_are_of_their_schema_plain_ones_are_text_and_a_long_prompt_is_rejected(
    served: str, smollm2: Path, tmp_path: Path
) -> None:
    requests = [*label_requests(8), *label_requests(4, ""), LONG]
    counts, replies = replies_of(served, requests, tmp_path)
    stars = [json.loads(reply.text)["stars"] for reply in replies[:8] if reply]
    assert len(stars) == 8
    assert set(stars) <= {1, 2, 3, 4, 5}
    assert all(reply and reply.text.strip() for reply in replies[8:12])
    assert replies[12] == LabelReply("", "too long")
    assert (counts.answered, counts.rejected, counts.retries) == (12, {"too long": 1}, 0)
    expected = estimate_cost(requests[:12], token_counter(str(smollm2)))
    assert counts.prompt_tokens == expected.prompt_tokens
    assert 0 < counts.completion_tokens <= expected.completion_tokens

    counts, again = replies_of(served, requests, tmp_path)
    assert again == replies
    assert (counts.kept, counts.answered) == (13, 0)


def test_a_killed_run_goes_on_where_it_was(served: str, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.dataset_builders.labelling import test_real_server as tests\n"
        "tests.replies_of(sys.argv[1], tests.label_requests(60), Path(sys.argv[2]))\n"
    )
    requests, kept = label_requests(60), 0
    with subprocess.Popen([sys.executable, "-c", script, served, str(tmp_path)], cwd=REPOSITORY) as process:
        while (tmp_path / "replies.sqlite-wal").exists() is False or (tmp_path / "replies.sqlite-wal").stat().st_size < 40_000:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    with ReplyStore(tmp_path) as store:
        kept = 60 - len(list(store.missing(requests, "smollm2")))
    assert 0 < kept < 60
    counts, replies = replies_of(served, requests, tmp_path)
    assert (counts.kept, counts.answered) == (kept, 60 - kept)
    assert all(reply and json.loads(reply.text)["stars"] for reply in replies)


def test_what_is_wrong_with_the_whole_run_is_told(served: str, tmp_path: Path) -> None:
    with ReplyStore(tmp_path) as store:
        for url, model, told in (
            (served, "other", "knows no model 'other' .404: The model `other` does not exist"),
            (served.removesuffix("/v1"), "smollm2", r"knows no model .* mostly in /v1"),
        ):
            with pytest.raises(UserError, match=told):
                request_all(Endpoint(url, model), label_requests(3), store, lambda counts: None)
        wrong = [LabelRequest(one.messages, 24, schema=SCHEMA, extra='{"top_p": 7}') for one in label_requests(6)]
        with pytest.raises(UserError, match=r"refuses the requests \(400: .*top_p"):
            request_all(Endpoint(served, "smollm2"), wrong, store, lambda counts: None)
        assert list(store.missing(wrong, "smollm2")) == wrong


def test_batch_files_go_through_vllms_own_runner(smollm2: Path, tmp_path: Path) -> None:
    requests = [*label_requests(4), LONG]
    with ReplyStore(tmp_path / "out") as store:
        (path,) = write_batch(requests, str(smollm2), store, tmp_path / "batch")
        output = tmp_path / "output.jsonl"
        runner = [str(BIN / "python"), "-m", "vllm.entrypoints.openai.run_batch", "-i", str(path), "-o", str(output)]
        light = ["--dtype", "float32", "--enforce-eager", "--gpu-memory-utilization", "0.1", "--generation-config", "vllm"]
        command = [*runner, "--model", str(smollm2), *light, *CONTEXT]
        env = environment(tmp_path / "home")
        done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
        assert output.is_file(), done.stderr[-5000:]
        counts = read_batch([output], str(smollm2), store, requests)
        assert (counts.answered, counts.rejected, counts.skipped) == (4, {"too long": 1}, {}), output.read_text()
        replies = [store.get(one.key(str(smollm2))) for one in requests[:4]]
        assert all(reply and json.loads(reply.text)["stars"] in (1, 2, 3, 4, 5) for reply in replies)
