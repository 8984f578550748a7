"""A benchmark as a user runs it."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.whole_way import ROOT

Benchmark = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def benchmark() -> Benchmark:
    """Runs `python -m benchmarks.NAME ARGUMENTS` to its end."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run
