"""How long compute threads should spin while they wait: idle, beside one busy process, and two at a time.

torch computes with GNU OpenMP, whose threads by default spin for as long as they wait for each other. Beside another process
the spinning thread holds the core that the one it waits for needs. OMP_WAIT_POLICY and GOMP_SPINCOUNT say otherwise
(https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html); both are read when torch is loaded, so every run is a process
of its own. The work is that of a language model with layers of SmolLM2-135M's shape: tokens one by one, then training steps.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mean
from subprocess import PIPE
from time import perf_counter
from typing import Any

SETTINGS = (
    "libgomp's default",
    "OMP_WAIT_POLICY=PASSIVE",
    "GOMP_SPINCOUNT=1000",
    "GOMP_SPINCOUNT=3000",
    "GOMP_SPINCOUNT=10000",
)
CHOSEN = "GOMP_SPINCOUNT=3000"
"""What common/__init__.py sets."""
SITUATIONS = {
    "idle": (1, 0),
    "beside a busy process": (1, 1),
    "beside one a core": (1, os.cpu_count() or 1),
    "two at a time": (2, 0),
}
"""Workers and busy processes beside them."""
NEW_TOKENS = 20
TRAINED_TOKENS = 256


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy_machine", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--layers", type=int, default=8, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=4, metavar="N", help="of which the mean is taken (default: %(default)s)")
    return parser.parse_args(argv)


def work(layers: int, repeats: int) -> None:
    """Run in a process of its own: says when it is loaded, and prints seconds as JSON for each line on stdin."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=8192,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
    )
    model: Any = LlamaForCausalLM(shape)
    model.to(torch.bfloat16)
    prompt = torch.arange(16)[None]
    row = torch.arange(TRAINED_TOKENS)[None]

    def write() -> None:
        model.generate(prompt, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False)

    def train() -> None:
        model(input_ids=row, labels=row).loss.backward()
        model.zero_grad()

    def mean_seconds(step: Callable[[], None]) -> float:
        started = perf_counter()
        for _ in range(repeats):
            step()
        return (perf_counter() - started) / repeats

    write()  # what is done once
    train()
    print("loaded", flush=True)
    for _ in sys.stdin:
        print(json.dumps({"write": mean_seconds(write), "train": mean_seconds(train)}), flush=True)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """That many processes that compute all the time."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def measure(setting: str, layers: int, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each kind of work in each situation; of two workers the mean."""
    unset = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    if "=" in setting:
        name, value = setting.split("=")
        environment[name] = value
    # Until main runs this module imports nothing of the project, whose own setting would be in force otherwise.
    command = [sys.executable, "-c", f"from benchmarks.busy_machine import work; work({layers}, {repeats})"]
    workers = [subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) for _ in range(2)]
    try:
        if any(_said(worker) != "loaded\n" for worker in workers):
            raise SystemExit("error: a worker could not load torch; what it said stands above.")
        found = {}
        for situation, (count, neighbours) in SITUATIONS.items():
            with busy(neighbours):
                for worker in workers[:count]:
                    print(file=worker.stdin, flush=True)
                seconds = [json.loads(_said(worker)) for worker in workers[:count]]
            found[situation] = {kind: mean(one[kind] for one in seconds) for kind in seconds[0]}
        return found
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _said(worker: "subprocess.Popen[str]") -> str:
    return worker.stdout.readline() if worker.stdout else ""


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv)

    from common.console import print_table

    found = {setting: measure(setting, arguments.layers, arguments.repeats) for setting in SETTINGS}
    lines = [(name, *(f"{one['write']:.2f}, {one['train']:.2f}" for one in each.values())) for name, each in found.items()]
    title = f"seconds for {NEW_TOKENS} tokens, and for a training step of {TRAINED_TOKENS}"
    print_table(("setting", *SITUATIONS), lines, title)
    beside = {setting: sum(seconds["beside a busy process"].values()) for setting, seconds in found.items()}
    print(json.dumps({"ratio": beside[SETTINGS[0]] / beside[CHOSEN], "chosen": CHOSEN, "seconds": found}))


if __name__ == "__main__":
    from common.errors import plain_errors

    with plain_errors():
        main(sys.argv[1:])
