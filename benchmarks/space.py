"""Start-up time of the Space: until the page, the model and the first answer, compared with plain transformers and PEFT.

Each start is a new process. The page is up at its first HTTP 200, when the first answer is requested; the model's readiness
is the time of that answer minus its generation time. Plain loading is the time of a process that imports torch, transformers
and PEFT and loads base and adapter. `ratio` is plain loading divided by readiness: 1 if the page costs nothing. The first
start of each kind warms up the caches and is not counted.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from common.console import print_table
from common.errors import UserError, plain_errors

START_SECONDS = 300.0
TASK, PROMPT = "review_rating", "Review: The bottle leaks and the lid broke after two days.\nAnswer: "

PLAIN = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, dtype = sys.argv[1:]
AutoTokenizer.from_pretrained(base)
model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
if adapter:
    PeftModel.from_pretrained(model, adapter)
"""


@dataclass(frozen=True)
class StartTimes:
    """Seconds from the start of the process to the page, to the model, and to the first answer."""

    page: float
    ready: float
    answer: float


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.space", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--base-model", required=True, metavar="DIR|ID", help="folder or Hub id")
    parser.add_argument("--adapter", metavar="DIR|ID", help="LoRA adapter of it, folder or Hub id")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measured starts of each kind (default: 3)")
    return parser.parse_args(argv)


def resolved(source: str | None) -> str:
    """The absolute path of a folder, since the page runs in another one; a Hub id unchanged."""
    return str(Path(source).resolve()) if source and Path(source).exists() else source or ""


@contextmanager
def page(tree: Path, base: str, adapter: str) -> Iterator[tuple[str, float]]:
    """The address of a running page and the seconds until it was up. Raises UserError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | {"BASE_MODEL": base, "ADAPTER": adapter, "GRADIO_SERVER_PORT": str(port)}
    with (tree.parent / "log").open("w+") as log:
        started = perf_counter()
        process = subprocess.Popen([sys.executable, "app.py"], cwd=tree, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            while not answers(url):
                if process.poll() is not None or perf_counter() - started > START_SECONDS:
                    log.seek(0)
                    raise UserError(f"the page did not start: {log.read().strip().rpartition(chr(10))[2]}")
                sleep(0.02)
            yield url, perf_counter() - started
        finally:
            process.terminate()
            process.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=START_SECONDS):
            return True
    except OSError:
        return False


def first_answer(url: str) -> tuple[float, float]:
    """Seconds until an answer requested now is complete, and its generation time. Raises UserError."""
    started = perf_counter()
    joined = urllib.request.Request(
        f"{url}gradio_api/call/answer",
        data=json.dumps({"data": [TASK, PROMPT]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(joined) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{url}gradio_api/call/answer/{event}") as events:
            kind, _, data = events.read().decode().strip().rpartition("event: ")[2].partition("\ndata: ")
    except (OSError, HTTPException) as error:
        raise UserError(f"the page ended before it answered: {type(error).__name__}") from None
    seconds = perf_counter() - started
    if kind != "complete":
        raise UserError(f"the page gave no answer: {data}")
    result = json.loads(data)[0]
    return seconds, max(result[who]["seconds"] for who in ("base", "tuned") if result[who])


def start(tree: Path, base: str, adapter: str) -> StartTimes:
    """Raises UserError."""
    with page(tree, base, adapter) as (url, up):
        waited, generating = first_answer(url)
        return StartTimes(up, up + waited - generating, up + waited)


def plain_loading(base: str, adapter: str, dtype: str) -> float:
    """Run time of a process that loads base and adapter. Raises UserError."""
    started = perf_counter()
    done = subprocess.run([sys.executable, "-c", PLAIN, base, adapter, dtype], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the models cannot be loaded: {done.stderr.strip().rpartition(chr(10))[2]}")
    return perf_counter() - started


def space_dtype() -> str:
    """The data type that the page loads weights in here."""
    from space.demo.model_pair import fastest_dtype

    return str(fastest_dtype()).removeprefix("torch.")


def report(starts: Sequence[StartTimes], plain: Sequence[float], dtype: str) -> dict[str, Any]:
    middle = {name: median(getattr(one, name) for one in starts) for name in ("page", "ready", "answer")}
    lines = [
        (title, *(f"{getattr(one, name):.1f}" for one in starts))
        for name, title in (("page", "the page"), ("ready", "the model"), ("answer", "the first answer"))
    ]
    header = ("seconds from the start of the process to", *(f"start {number}" for number in range(1, len(starts) + 1)))
    print_table(header, [*lines, ("plain loading", *(f"{seconds:.1f}" for seconds in plain))])
    return {
        "ratio": median(plain) / middle["ready"],
        "page_seconds": round(middle["page"], 2),
        "ready_seconds": round(middle["ready"], 2),
        "first_answer_seconds": round(middle["answer"], 2),
        "plain_seconds": round(median(plain), 2),
        "starts": len(starts),
        "dtype": dtype,
    }


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv)
    if arguments.repeats < 1:
        raise UserError("--repeats must be at least 1")
    from rich.progress import track

    from common.publishing import Destination
    from space.publish import assemble

    base, adapter, dtype = resolved(arguments.base_model), resolved(arguments.adapter), space_dtype()
    starts, plain = [], []
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "space"
        assemble(tree, Destination(""))
        for _ in track(range(arguments.repeats + 1), "starting"):
            plain.append(plain_loading(base, adapter, dtype))
            starts.append(start(tree, base, adapter))
    print(json.dumps(report(starts[1:], plain[1:], dtype)))


if __name__ == "__main__":
    with plain_errors():
        main(sys.argv[1:])
