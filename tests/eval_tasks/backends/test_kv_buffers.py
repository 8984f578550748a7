"""eval_tasks/backends/kv_buffers.py: its attention on devices other than the CPU, as far as a CPU can tell."""

import subprocess
import sys

import pytest
import torch

from eval_tasks.backends.kv_buffers import grouped_attention
from tests.whole_way import ROOT


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("groups", [1, 3])
def test_another_device_gets_the_same_shapes(queries: int, groups: int) -> None:
    """On the meta device, which checks shapes and computes nothing."""
    shapes = {}
    for device in ("cpu", "meta"):
        query = torch.zeros(2, 2 * groups, queries, 8, device=device)
        keys = torch.zeros(2, 2, 9, 8, device=device)
        mask = torch.zeros(2, 1, queries, 9, device=device)
        attended, weights = grouped_attention(torch.nn.Module(), query, keys, keys, mask)
        assert weights is None
        shapes[device] = attended.shape
    assert shapes["cpu"] == shapes["meta"] == (2, queries, 2 * groups, 8)


def test_cudnn_is_not_taken_for_steps_of_every_length() -> None:
    code = "import torch, eval_tasks.backends.kv_buffers; print(torch.backends.cuda.cudnn_sdp_enabled())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
