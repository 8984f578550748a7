"""Importing common sets how long waiting compute threads spin, before torch is loaded; a user's own setting stays. And
libraries do not talk of themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHILD = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"
COMMON = f"import common, subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
SFT = (
    "import runpy, sys; sys.argv = ['sft.py', '--help']; runpy.run_path('training/sft.py', run_name='__main__'); "
    f"assert 'torch' not in sys.modules; {CHILD}"
)


@pytest.mark.parametrize(
    ("code", "own", "expected"),
    [
        (COMMON, {}, "3000"),
        (COMMON, {"GOMP_SPINCOUNT": "7"}, "7"),
        (COMMON, {"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
        (SFT, {}, "3000"),
    ],
    ids=["a child of a command", "own spin count", "own wait policy", "training script"],
)
def test_threads_spin_for_a_bounded_time_unless_the_user_says_otherwise(code: str, own: dict[str, str], expected: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=kept | own, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected


def test_libraries_do_not_advise_to_install_what_is_not_needed() -> None:
    code = (
        "import common, logging, warnings; logging.getLogger('bitsandbytes.backends.cpu.ops').warning('pip install kernels'); "
        "warnings.warn('`is_gradient_checkpointing` is deprecated', FutureWarning); warnings.warn('other', FutureWarning)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "kernels" not in done.stderr
    assert "is_gradient_checkpointing" not in done.stderr
    assert "other" in done.stderr
