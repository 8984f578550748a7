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


@pytest.mark.parametrize("own", [7, 40, 250])
def test_texts_of_a_tree_see_what_is_before_the_tree_and_themselves(own: int) -> None:
    """By the definition of attention; what no query of a block sees is left out."""
    torch.manual_seed(0)
    queries, before = 250, 11
    query, key, value = (
        torch.randn(1, heads, count, 8) for heads, count in ((4, queries), (2, before + queries), (2, before + queries))
    )
    texts = torch.arange(queries) // own
    visible = torch.ones(queries, before + queries, dtype=torch.bool)
    visible[:, before:] = (texts[:, None] == texts).tril()
    mask = torch.zeros(1, 1, *visible.shape).masked_fill_(~visible, float("-inf"))
    attended, _ = grouped_attention(torch.nn.Module(), query, key, value, mask, scaling=0.3)
    keys, values = (tensor.repeat_interleave(2, dim=1) for tensor in (key, value))
    expected = ((query @ keys.transpose(2, 3)) * 0.3 + mask).softmax(-1) @ values
    torch.testing.assert_close(attended, expected.transpose(1, 2))


def test_cudnn_is_not_taken_for_steps_of_every_length() -> None:
    code = "import torch, eval_tasks.backends.kv_buffers; print(torch.backends.cuda.cudnn_sdp_enabled())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
