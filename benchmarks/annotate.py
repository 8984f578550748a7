"""How fast a language model is asked for labels, and whether memory stays flat through a storm.

    python -m benchmarks.annotate throughput --asks 1000 --latency 0.2 --concurrency 64
    python -m benchmarks.annotate storm --asks 125000 --failures 0.1

Both ask a loopback server in a process of its own. `throughput` compares with what `concurrency` requests at once of that
latency allow, beside a loop of threads around the openai client that keeps its answers in memory. Processes import their
libraries before the clock starts. A core for each of client and server makes the figures the client's.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.loopback_chat import loopback_chat
from benchmarks.measure import Measured, alone
from common.errors import UserError, plain_errors
from dataset_builders.labelling.costs import Prices, progress_bar
from dataset_builders.labelling.endpoint import Endpoint, ask_all
from dataset_builders.labelling.reply_store import Replies
from dataset_builders.labelling.requests import Ask, Counts

SCHEMA = '{"additionalProperties":false,"properties":{"label":{"enum":[0,1,2,3]}},"required":["label"],"type":"object"}'
TEXT = "Which of these products would this customer buy next? " * 8
CLIENT = ("openai", "openai.resources.chat", "aiohttp", "httpx2", "filelock", "jsonschema", "rich.progress")

SAMPLES = 20
"""Times at which memory is looked at in a storm."""

SETTLED = 0.1
"""Share of the asks after which memory should not grow any more."""


def asks(count: int) -> Iterator[Ask]:
    return (Ask((("user", f"Customer {number}. {TEXT}"),), 16, schema=SCHEMA) for number in range(count))


def ours(url: str, count: int, concurrency: int, out: Path) -> Counts:
    with Replies(out) as store, progress_bar(count, Prices()) as progress:
        return ask_all(Endpoint(url, "m", concurrency), asks(count), store, progress)


def threads(url: str, count: int, concurrency: int) -> int:
    """How many answers a pool of threads has got, which share a client."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")

    def answer(ask: Ask) -> str | None:
        content: str | None = client.chat.completions.create(**ask.body("m")).choices[0].message.content
        return content

    with ThreadPoolExecutor(concurrency) as pool:
        return len([text for text in pool.map(answer, asks(count)) if text])


def throughput(count: int, latency: float, concurrency: int) -> dict[str, Any]:
    ideal = concurrency / latency

    def figures(measured: Measured) -> dict[str, float]:
        achieved = count / measured.seconds
        return {**measured.figures(), "requests_per_second": round(achieved, 1), "ratio": round(achieved / ideal, 3)}

    with loopback_chat(latency) as url, TemporaryDirectory() as folder:
        by_threads = alone(threads, url, count, concurrency, modules=CLIENT)
        by_us = alone(ours, url, count, concurrency, Path(folder), modules=CLIENT)
    if by_us.result.answered != count or by_threads.result != count:
        raise UserError(f"only {by_us.result.answered} and {by_threads.result} of {count} asks were answered")
    found = {"ours": figures(by_us), "threads": figures(by_threads)}
    return {"asks": count, "ideal_requests_per_second": round(ideal, 1), **found, "ratio": found["ours"]["ratio"]}


def storm(count: int, failures: float, concurrency: int, out: Path) -> dict[str, Any]:
    """What became of the rows, and the resident megabytes (10^6 bytes) along the way."""
    with loopback_chat(0.0, failures) as url:
        measured = alone(stormy, url, count, concurrency, out, modules=CLIENT)
        counts, memory = measured.result
        again, _ = alone(stormy, url, count, concurrency, out, modules=CLIENT).result
    settled = next(megabytes for done, megabytes in memory if done >= SETTLED * count)
    with Replies(out) as store:
        replies = Counter(reply.kind or "labelled" if (reply := store.get(ask.key("m"))) else "nothing" for ask in asks(count))
    return {
        "asks": count,
        "retries": counts.retries,
        "rows": dict(replies),
        "asked_by_a_second_run": again.done - again.kept,
        **measured.figures(),
        "mb_by_rows_done": memory,
        "ratio": round(memory[-1][1] / settled, 3),
    }


def stormy(url: str, count: int, concurrency: int, out: Path) -> tuple[Counts, list[tuple[int, float]]]:
    import psutil

    process, memory = psutil.Process(), list[tuple[int, float]]()
    with Replies(out) as store, progress_bar(count, Prices()) as show:

        def progress(counts: Counts) -> None:
            show(counts)
            if counts.done >= count * len(memory) / SAMPLES:
                memory.append((counts.done, round(process.memory_info().rss / 1e6, 1)))

        return ask_all(Endpoint(url, "m", concurrency), asks(count), store, progress), memory


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "storm"])
    parser.add_argument("--asks", type=int, metavar="N", help="default: 1000, and 125000 in a storm")
    parser.add_argument("--latency", type=float, default=0.2, metavar="S", help="seconds that a reply takes (default: 0.2)")
    parser.add_argument("--failures", type=float, default=0.1, metavar="SHARE", help="of replies in a storm (default: 0.1)")
    parser.add_argument("--concurrency", type=int, default=64, metavar="N", help="requests at once (default: 64)")
    arguments = parser.parse_args(argv)
    if arguments.what == "throughput":
        print(json.dumps(throughput(arguments.asks or 1000, arguments.latency, arguments.concurrency)))
        return
    with TemporaryDirectory() as folder:
        print(json.dumps(storm(arguments.asks or 125_000, arguments.failures, arguments.concurrency, Path(folder))))


if __name__ == "__main__":
    with plain_errors():
        main()
