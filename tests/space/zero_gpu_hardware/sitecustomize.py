"""What a machine without CUDA lacks so that the package `spaces` works as on a Space with ZeroGPU: the GPU is the CPU.

With this folder on PYTHONPATH and SPACES_ZERO_GPU=true all of `spaces` runs that is no CUDA: its stand-in for "cuda" in the
page's process, a GPU process for each request, what is pickled between the two, and the calls to the device API.
"""

import os
import sys
from typing import Any

if os.environ.get("SPACES_ZERO_GPU") == "true" and sys.argv[:1] != ["-c"]:
    import torch

    def nothing(*_: Any, **__: Any) -> int:
        return 0

    torch.version.cuda = "12.8"
    torch._C._cuda_init = nothing
    torch._C._cuda_getCurrentRawStream = nothing
    torch.cuda._is_in_bad_fork = bool  # asked for in a child process, which can import nothing of this file yet

    import spaces.zero.torch
    from spaces.zero.torch.patching import cuda_aliases

    def move(callback: Any = None) -> None:
        """Tensors that stood in for those on the GPU get the data that they stand for."""
        for tensor, data in cuda_aliases.items():
            tensor.data = data

    spaces.zero.torch.pack = nothing
    spaces.zero.torch.init = nothing
    spaces.zero.torch.move = move
