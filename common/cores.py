"""How many cores there are to compute on."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity, and no more than its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no cgroup of version 2, or no quota: "max 100000"
        quota, period = map(int, _CGROUP_QUOTA.read_text().split())
        cores = min(cores, max(1, quota // period))
    return cores
