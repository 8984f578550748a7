"""The processes of one run: when one of them fails, all end, and one sentence says why.

Without it the others would wait in their next collective operation, for minutes or for good. They share torch.distributed's
key-value store, in which a failing process leaves a mark that a thread of each of the others looks for.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.errors import UserError

FAILED = "training/failed"
"""The key of the mark, whose value is the rank of the process that failed first."""
EVERY = 0.25
"""Seconds between two looks at the store."""
OUT_OF_MEMORY = "out of memory; lower --tokens_per_batch, --per_device_train_batch_size or --max_length"


def watch_others() -> None:
    """Ends this process with exit code 2 once another one has failed; called when the processes have found each other."""
    store = shared_store()
    if store is not None:
        threading.Thread(target=_watch, args=(store.clone(),), name="failures", daemon=True).start()


def _watch(store: Any) -> None:
    while True:
        time.sleep(EVERY)
        try:
            failed = store.check([FAILED]) and store.get(FAILED).decode() != os.environ.get("RANK", "0")
        except RuntimeError:  # the process that keeps the store has ended
            return
        if failed:
            sys.stdout.flush()
            os._exit(2)


@contextmanager
def ends_all_processes() -> Iterator[None]:
    """Marks a failure for the other processes, and turns a lack of memory into a UserError. The first that fails says why."""
    try:
        yield
    except Exception as error:
        store = shared_store()
        if store is not None:
            rank = os.environ.get("RANK", "0")
            first = store.compare_set(FAILED, "", rank).decode() == rank
            if not first:
                os._exit(2)
            time.sleep(4 * EVERY)  # this process may be the one that keeps the store
        if out_of_memory(error):
            raise UserError(OUT_OF_MEMORY) from None
        raise


def out_of_memory(error: Exception) -> bool:
    """On a GPU torch has an error of its own, on a CPU one of its allocator's messages."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def shared_store() -> Any:
    """The store of torch.distributed; None where there is one process, or the processes have not found each other yet."""
    if "torch" not in sys.modules:
        return None
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return None
    return dist.distributed_c10d._get_default_store()
