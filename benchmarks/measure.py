"""Seconds and memory of one piece of work, alone in a fresh process.

Peak memory is what the kernel says of that process: the interpreter, its libraries and the pages of mapped files included.
On Linux it is VmHWM (https://man7.org/linux/man-pages/man5/proc_pid_status.5.html) and not `ru_maxrss`, in which a process
inherits the peak of the one that started it.
"""

import importlib
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from common.errors import UserError

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """Wall seconds, CPU seconds of all threads, resident megabytes (10^6 bytes) at the peak, and what the work returned.

    `main_megabytes` are those of a command's first process alone.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float
    result: Any
    main_megabytes: float = 0.0

    def figures(self) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "mb": round(self.megabytes),
        }


def timed(work: Callable[[], Any]) -> Measured:
    """`work()` in this process, without its memory."""
    started, busy = perf_counter(), process_time()
    result = work()
    return Measured(perf_counter() - started, process_time() - busy, 0.0, result)


def alone(work: Callable[..., Any], *arguments: Any, modules: Sequence[str] = ()) -> Measured:
    """`work(*arguments)` in a fresh process, which imports `modules` before the clock starts.

    Raises what the work raises, and UserError where the machine ends the process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measured, work, arguments, modules).result()
        except BrokenProcessPool:
            raise UserError(
                f"{work.__name__} was ended by the machine, probably for want of memory. Give a smaller --scale."
            ) from None


def _measured(work: Callable[..., Any], arguments: Sequence[Any], modules: Sequence[str]) -> Measured:
    for module in modules:
        importlib.import_module(module)
    measured = timed(lambda: work(*arguments))
    return replace(measured, megabytes=peak_bytes() / 1e6)


def peak_bytes() -> int:
    """Of this process's resident memory."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def command(*arguments: object) -> Measured:
    """`python -m <arguments>` with all processes that it starts: the largest sum of their resident memory, as polled.

    Pages that several of them share count once for each. Raises UserError with the end of what it wrote if it fails.
    """
    import psutil

    with tempfile.TemporaryFile("w+") as said:
        started, busy = perf_counter(), children_seconds()
        process = psutil.Popen([sys.executable, "-m", *map(str, arguments)], stdout=said, stderr=subprocess.STDOUT)
        peak = main = 0
        while True:
            peak, main = max(peak, _resident(process)), max(main, _resident(process, children=False))
            try:
                code = process.wait(POLL_SECONDS)
                break
            except psutil.TimeoutExpired:
                continue
        seconds, busy = perf_counter() - started, children_seconds() - busy
        if code:
            said.seek(0)
            last = said.read().strip().rpartition("\n")[2] or f"exit code {code}"
            raise UserError(f"python -m {arguments[0]} failed: {last}")
    return Measured(seconds, busy, peak / 1e6, None, main / 1e6)


def children_seconds() -> float:
    """User and system seconds of every process that was started from here and has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident(process: Any, children: bool = True) -> int:
    import psutil

    total = 0
    try:
        for part in (process, *(process.children(recursive=True) if children else ())):
            total += part.memory_info().rss
    except psutil.Error:  # it ended meanwhile
        pass
    return total


# --- Arithmetic ---


def matrix_flops(device: str, size: int) -> float:
    """FLOP/s of products of square matrices in bfloat16: the best of several."""
    import torch

    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))

    def multiply() -> None:
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * size**3 / min(timed(multiply).seconds for _ in range(10))


def flop_per_token(network: Any) -> int:
    """The least for a token of a training: a frozen weight is used once forward and once backward, an adapter's once more.

    The embedding is looked up; as a head it sees supervised positions only.
    """
    frozen = sum(weight.numel() for weight in network.parameters() if not weight.requires_grad)
    trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return int(4 * (frozen - network.get_input_embeddings().weight.numel()) + 6 * trained)
