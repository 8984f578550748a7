"""Bytes that an object holds in memory, with all that it refers to."""

import sys
from io import IOBase
from typing import Any

import numpy as np


def held_bytes(held: Any) -> int:
    if isinstance(held, np.ndarray):
        return held.nbytes
    if isinstance(held, IOBase):
        return 0  # a buffer of one size
    parts: Any = ()
    if isinstance(held, dict):
        parts = [part for pair in held.items() for part in pair]
    elif isinstance(held, (list, tuple, set, frozenset)):
        parts = held
    elif hasattr(held, "__dict__"):
        parts = vars(held).values()
    return sys.getsizeof(held) + sum(map(held_bytes, parts))
