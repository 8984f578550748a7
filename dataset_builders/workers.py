"""A pool of processes for pure functions: results as they come, nothing left behind on Ctrl-C or when a process is killed."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from multiprocessing import active_children, get_context, parent_process
from threading import Thread, current_thread, main_thread
from typing import Any

from common.errors import UserError

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""(function, tasks) -> the function's results, in any order. `map` is one; the tasks may be a generator."""

TASKS_AHEAD = 2
"""Tasks for each process that are begun or wait in its queue; more are not taken from the generator."""


@contextmanager
def worker_pool(workers: int) -> Iterator[Run]:
    """Runs functions in so many processes, which end with the block, or with this process. With one worker there is no other
    process.

    Functions and tasks must be importable and picklable, since processes are spawned: a caller may have threads, of which a
    fork would copy the locks. Raises UserError where the machine ends a process.
    """
    if workers <= 1:
        yield map
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    try:
        yield partial(_run, pool, workers * TASKS_AHEAD)
    except BrokenProcessPool:
        raise UserError(
            "A worker process was ended by the machine, probably for want of memory. Give fewer --workers."
        ) from None
    finally:
        for process in set(active_children()) - others:
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _run(pool: ProcessPoolExecutor, most: int, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    waiting: set[Future[Any]] = set()
    tasks = iter(tasks)
    first = list(islice(tasks, 2))
    if len(first) < 2:  # not worth a process
        yield from map(function, first)
        return
    for task in chain(first, tasks):
        with _ctrl_c_waits():
            waiting.add(pool.submit(function, task))
        while len(waiting) >= most:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C is answered after the block, and never by a process that is spawned in it: one that still imports, or that is told
    only half of what to do, would end in a traceback."""
    if current_thread() is not main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    came: list[int] = []
    # A spawned process inherits the mask; in this one another thread, which has none, may take the signal.
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)


def _start_worker() -> None:
    """Ctrl-C reaches the whole process group, and the parent alone answers it. A worker whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
