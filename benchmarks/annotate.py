"""Throughput of label requests, and memory during many failures.

    python -m benchmarks.annotate throughput --requests 1000 --latency 0.2 --concurrency 64
    python -m benchmarks.annotate storm --requests 125000 --failures 0.1

The server is a loopback server in its own process. `throughput` compares with the ideal of `concurrency` requests in flight at
that latency, and with threads around the openai client that keep their answers in memory. Processes import their libraries
before the clock starts. With one core each for client and server, the figures are the client's.
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
from dataset_builders.labelling.costs import TokenPrices, progress_bar
from dataset_builders.labelling.endpoint import Endpoint, request_all
from dataset_builders.labelling.reply_store import ReplyStore
from dataset_builders.labelling.requests import LabelRequest, ReplyCounts

SCHEMA = '{"additionalProperties":false,"properties":{"label":{"enum":[0,1,2,3]}},"required":["label"],"type":"object"}'
TEXT = "Which of these products would this customer buy next? " * 8
CLIENT = ("openai", "openai.resources.chat", "aiohttp", "filelock", "jsonschema", "rich.progress")

MEMORY_SAMPLES = 20
WARM_UP = 0.1
"""Share of the requests after which memory should not grow."""


def requests(count: int) -> Iterator[LabelRequest]:
    return (LabelRequest((("user", f"Customer {number}. {TEXT}"),), 16, schema=SCHEMA) for number in range(count))


def ours(url: str, count: int, concurrency: int, out: Path) -> ReplyCounts:
    with ReplyStore(out) as store, progress_bar(count, TokenPrices()) as progress:
        return request_all(Endpoint(url, "m", concurrency), requests(count), store, progress)


def threads(url: str, count: int, concurrency: int) -> int:
    """Number of answers that a pool of threads received with one client."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")

    def answer(request: LabelRequest) -> str | None:
        content: str | None = client.chat.completions.create(**request.body("m")).choices[0].message.content
        return content

    with ThreadPoolExecutor(concurrency) as pool:
        return len([text for text in pool.map(answer, requests(count)) if text])


def throughput(count: int, latency: float, concurrency: int) -> dict[str, Any]:
    ideal = concurrency / latency

    def figures(measured: Measured) -> dict[str, float]:
        achieved = count / measured.seconds
        return {**measured.figures(), "requests_per_second": round(achieved, 1), "ratio": round(achieved / ideal, 3)}

    with loopback_chat(latency) as url, TemporaryDirectory() as folder:
        by_threads = alone(threads, url, count, concurrency, modules=CLIENT)
        by_us = alone(ours, url, count, concurrency, Path(folder), modules=CLIENT)
    if by_us.result.answered != count or by_threads.result != count:
        raise UserError(f"only {by_us.result.answered} and {by_threads.result} of {count} requests were answered")
    found = {"ours": figures(by_us), "threads": figures(by_threads)}
    return {"requests": count, "ideal_requests_per_second": round(ideal, 1), **found, "ratio": found["ours"]["ratio"]}


def storm(count: int, failures: float, concurrency: int, out: Path) -> dict[str, Any]:
    """Counts of the replies, and the resident megabytes (10^6 bytes) along the way."""
    with loopback_chat(0.0, failures) as url:
        measured = alone(stormy, url, count, concurrency, out, modules=CLIENT)
        counts, memory = measured.result
        again, _ = alone(stormy, url, count, concurrency, out, modules=CLIENT).result
    warm = next(megabytes for done, megabytes in memory if done >= WARM_UP * count)
    with ReplyStore(out) as store:
        replies = [store.get(request.key("m")) for request in requests(count)]
    rows = Counter((reply.kind or "labelled") if reply else "nothing" for reply in replies)
    return {
        "requests": count,
        "retries": counts.retries,
        "rows": dict(rows),
        "sent_by_a_second_run": again.done - again.kept,
        **measured.figures(),
        "mb_by_rows_done": memory,
        "ratio": round(memory[-1][1] / warm, 3),
    }


def stormy(url: str, count: int, concurrency: int, out: Path) -> tuple[ReplyCounts, list[tuple[int, float]]]:
    import psutil

    process, memory = psutil.Process(), list[tuple[int, float]]()
    with ReplyStore(out) as store, progress_bar(count, TokenPrices()) as show:

        def progress(counts: ReplyCounts) -> None:
            show(counts)
            if counts.done >= count * len(memory) / MEMORY_SAMPLES:
                memory.append((counts.done, round(process.memory_info().rss / 1e6, 1)))

        return request_all(Endpoint(url, "m", concurrency), requests(count), store, progress), memory


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.annotate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["throughput", "storm"], help="requests a second, or memory while many fail")
    parser.add_argument("--requests", type=int, metavar="N", help="default: 1000, and 125000 in a storm")
    parser.add_argument("--latency", type=float, default=0.2, metavar="S", help="seconds of a reply (default: 0.2)")
    parser.add_argument("--failures", type=float, default=0.1, metavar="SHARE", help="of the replies in a storm (default: 0.1)")
    parser.add_argument("--concurrency", type=int, default=64, metavar="N", help="requests in flight (default: 64)")
    arguments = parser.parse_args(argv)
    if arguments.what == "throughput":
        print(json.dumps(throughput(arguments.requests or 1000, arguments.latency, arguments.concurrency)))
        return
    with TemporaryDirectory() as folder:
        print(json.dumps(storm(arguments.requests or 125_000, arguments.failures, arguments.concurrency, Path(folder))))


if __name__ == "__main__":
    with plain_errors():
        main()
