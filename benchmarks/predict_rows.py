"""Any number of invented reviews through `predict` and a loopback server, with the process killed on the way.

    python -m benchmarks.predict_rows --rows 1000000

The input is Parquet of short reviews; the server is a process of its own, of whose replies a share fails, in ten ways. At even
distances the process is killed (SIGKILL), and the same command starts again. Then all parts are read: every row must be there
once, in the order of the input, with the answer or a reason. The last line is JSON.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from benchmarks.loopback_chat import loopback_chat
from common.errors import UserError, plain_errors
from eval_tasks.prediction.parts import AnswerParts

POLL_SECONDS = 0.2
ROWS_AT_ONCE = 50_000
SAMPLES = 20
"""Of the memory, over the run."""
WARM = 0.1
"""Share of the rows after which memory should not grow."""
SAID = "The handle of number {number} came off in the second week, the lid leaks and the colour is not that of the picture; "
REVIEW = (
    SAID + "the shop answered within a day, took it back without a question and paid for the parcel, so I may try another one."
)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict_rows", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--kills", type=int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--failures", type=float, default=0.001, metavar="SHARE", help="of the replies (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds of a reply (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=64, metavar="N", help="requests in flight (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser.parse_args(argv)


def write_reviews(path: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.int64()), ("category", pa.string()), ("review", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, ROWS_AT_ONCE):
            numbers = range(first, min(first + ROWS_AT_ONCE, rows))
            columns = [list(numbers), ["Kitchen"] * len(numbers), [REVIEW.format(number=number) for number in numbers]]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


class Watch:
    """Rows on disk and memory of one process after another. Megabytes are 10^6 bytes."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.parts, self.rows = AnswerParts(folder, {}, {}), rows
        self.counted: dict[Path, int] = {}
        self.memory: list[tuple[int, float]] = []
        self.peak = 0.0

    def look(self, pid: int, before: int) -> int:
        """The rows on disk, after a look at the process's memory. `before`: rows that were there when the process began."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            now, peak = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
        except (OSError, IndexError):  # it has just ended
            return self.parts.rows(self.counted)
        self.peak = max(self.peak, peak)
        done = self.parts.rows(self.counted)
        if done > max([before, *(rows for rows, _ in self.memory)]) and done >= self.rows * len(self.memory) / SAMPLES:
            self.memory.append((done, round(now, 1)))
        return done


def run_with_kills(command: Sequence[str], watch: Watch, kills: int, rng: random.Random) -> int:
    """Runs the command until it ends by itself, and returns how often it was killed. Raises UserError where it fails."""
    killed = 0
    while True:
        before = watch.parts.rows(watch.counted)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                if watch.look(process.pid, before) >= watch.rows * (killed + 1) / (kills + 1) and killed < kills:
                    time.sleep(rng.uniform(0, 1))  # anywhere within a part
                    os.kill(process.pid, signal.SIGKILL)
                    break
            said = process.stderr.read().strip() if process.stderr else ""
        if process.returncode == -signal.SIGKILL:
            killed += 1
        elif process.returncode:
            raise UserError(f"predict failed: {said.rpartition(chr(10))[2]}")
        else:
            return killed


def checked(parts: AnswerParts) -> Iterator[tuple[int, int, bool, str]]:
    """(number, id, whether there is an answer, reason) of each row on disk."""
    for batch in parts.batches(["row", "id", "answer", "error"]):
        for row in batch:
            yield row["row"], row["id"], row["answer"] is not None, (row["error"] or "").partition(":")[0]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.rows < 1 or not 0 <= arguments.failures < 1:
        raise UserError("--rows must be at least 1, and --failures from 0 to less than 1")
    with TemporaryDirectory() as folder:
        source, out = Path(folder) / "reviews.parquet", Path(folder) / "out"
        write_reviews(source, arguments.rows)
        with loopback_chat(arguments.latency, arguments.failures, answer="4") as url:
            command = [sys.executable, "-m", "eval_tasks.predict", "--task", "review_rating", "--input", str(source)]
            command += ["--out", str(out), "--backend", "endpoint", "--model", "m", "--option", f"base_url={url}"]
            command += ["--option", f"concurrency={arguments.concurrency}"]
            watch, started = Watch(out, arguments.rows), time.perf_counter()
            killed = run_with_kills(command, watch, arguments.kills, random.Random(arguments.seed))
            seconds = time.perf_counter() - started
            with urlopen(url) as reply:
                asked: dict[str, int] = json.load(reply)
        print(json.dumps(figures(arguments.rows, watch, asked, seconds) | {"killed": killed, "seed": arguments.seed}))


def figures(rows: int, watch: Watch, asked: dict[str, int], seconds: float) -> dict[str, Any]:
    """Raises UserError where a row is missing, twice there, out of order, or without an answer or a reason."""
    answered, reasons = 0, Counter[str]()
    number = 0
    for number, (row, own, answer, reason) in enumerate(checked(watch.parts), 1):
        if (row, own) != (number, number - 1):
            raise UserError(f"row {number} of the output is row {row} of the input")
        if answer == bool(reason):
            raise UserError(f"row {number} has {'an answer and a reason' if answer else 'neither an answer nor a reason'}")
        answered += answer
        reasons.update([reason] if reason else [])
    if number != rows:
        raise UserError(f"{number} of {rows} rows are in the output")
    warm = next((megabytes for done, megabytes in watch.memory if done >= WARM * rows), watch.memory[-1][1])
    return {
        "rows": rows,
        "answered": answered,
        "reasons": dict(reasons),
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds, 1),
        "requests": asked["requests"],
        "answered_in_vain": asked["requests"] - asked["failed"] - answered,
        "peak_mb": round(watch.peak, 1),
        "mb_by_rows_done": watch.memory,
        "ratio": round(watch.memory[-1][1] / warm, 3),
    }


if __name__ == "__main__":
    with plain_errors():
        main()
