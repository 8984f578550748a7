"""The README's table of what was measured on a GPU, from gpu_check.json; without one, estimates that say so.

python -m benchmarks.gpu_table [gpu_check.json] [--readme README.md]

With --readme the text between its two marks is replaced.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError, plain_errors
from common.files import read_object, write_whole

MARKS = ("<!-- gpu-check: by python -m benchmarks.gpu_table -->", "<!-- /gpu-check -->")

ROWS = 105_865
"""Rows to train on of a full-size dataset."""
TOKENS_PER_ROW = 150
"""On average, of real rows (benchmarks/README.md: 136 to 153)."""
EPOCHS = 3

USED = 0.4
"""Share of a card's peak that a training is assumed to use where none was measured."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's weights, in billions, how often a token passes them at two FLOP each, and a card that it is for.

    `passes`: forward and backward to the inputs are two; with gradient checkpointing the forward comes twice.
    """

    name: str
    weights: float
    passes: int
    card: str
    flops: float
    """The card's dense bfloat16 peak by its maker's data sheet."""

    @property
    def tokens_per_second(self) -> float:
        return USED * self.flops / (2 * self.passes * self.weights * 1e9)


RECIPES = (
    Recipe("llama-3-8b-lora", 8.0, 3, "A100 40 GB", 312e12),
    Recipe("llama-3-8b-lora-80gb", 8.0, 2, "A100 80 GB", 312e12),
    Recipe("llama-3-8b-lora-80gb", 8.0, 2, "H100", 989e12),
    Recipe("qwen3-4b-lora", 4.0, 3, "L40S", 362e12),
    Recipe("qwen3-4b-lora-80gb", 4.0, 2, "H100", 989e12),
)


def tables(check: Mapping[str, Any] | None) -> str:
    """Markdown: what was measured, and what a training costs."""
    return "\n\n".join([*([] if check is None else measured(check)), cost(check)])


def measured(check: Mapping[str, Any]) -> list[str]:
    device, peak = check["device"], (check.get("peak") or {}).get("flops")
    memory = f", {device['memory_bytes'] / 2**30:.0f} GiB" if device.get("memory_bytes") else ""
    versions = ", ".join(f"{name} {version}" for name, version in device["versions"].items())
    shape = "Llama-3-8B's shape" if check["shape"] == "8b" else f"the shape {check['shape']}"
    parts = [f"Measured on {max(1, device['cards'])} x {device['name']}{memory} ({versions}), with random weights of {shape}:"]
    rows = [
        [
            name,
            f"{entry['tokens_per_second']:,.0f}",
            f"{entry['tokens_per_second'] * entry['flop_per_token'] / peak:.0%}" if peak and name != "QLoRA" else "",
            gib(entry["peak_memory_bytes"]),
            gib(entry["host_memory_bytes"]),
            f"{entry['losses'][-1]:.3f}",
        ]
        for name, entry in check["training"].items()
    ]
    if rows:
        parts.append(markdown(["training", "tokens/s", "of measured peak", "GPU GiB", "host GiB", "last loss"], rows))
    if check["launched"]:
        titles = ["5 steps by training/sft.py", "processes", "loss", "peak GiB", "adapter's difference"]
        launched = [
            [
                name,
                str(one["processes"]),
                f"{one['train_loss']:.4f}",
                gib(one["peak_memory_bytes"]),
                f"{one['adapter_difference']:.1%}",
            ]
            for name, one in check["launched"].items()
        ]
        parts.append(markdown(titles, launched))
    if check["answers"]:
        answers = [
            [f"{name}, {one['model']}", str(one["rows"]), f"{one['rows_per_second']:.1f}", f"{one['score']:.3f}"]
            for name, one in check["answers"].items()
        ]
        parts.append(markdown(["answers with an adapter", "rows", "rows/s", "score"], answers))
    if check["equal"]:
        parts.append("; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in check["equal"].items()) + ".")
    if check["failed"]:
        parts.append("Not run to the end: " + "; ".join(f"{name} ({why})" for name, why in check["failed"].items()) + ".")
    return parts


def cost(check: Mapping[str, Any] | None) -> str:
    """Hours of three epochs over a full-size dataset."""
    tokens = ROWS * TOKENS_PER_ROW * EPOCHS
    rows = []
    measured_ways = {"varlen": "llama-3-8b-lora", "varlen, no checkpointing": "llama-3-8b-lora-80gb"}
    training = check["training"] if check and check["shape"] == "8b" else {}
    for way, name in measured_ways.items():
        if entry := training.get(way):
            speed = entry["tokens_per_second"]
            rows.append(
                [name, check["device"]["name"] if check else "", f"{speed:,.0f}", f"{tokens / speed / 3600:.1f}", "measured"]
            )
    for recipe in RECIPES:
        speed = recipe.tokens_per_second
        rows.append([recipe.name, recipe.card, f"{speed:,.0f}", f"{tokens / speed / 3600:.1f}", "estimate"])
    by = "measured lines are of the check above" if training else "no card has run any of it yet"
    head = (
        f"{EPOCHS} epochs of {ROWS:,} rows at {TOKENS_PER_ROW} tokens, {tokens / 1e6:.0f} million tokens, on one card. "
        f"An estimate takes {USED:.0%} of the card's bfloat16 peak; {by}."
    )
    return f"{head}\n\n" + markdown(["recipe", "card", "tokens/s", "hours", ""], rows)


def gib(size: float | None) -> str:
    return "" if size is None else f"{size / 2**30:.1f}"


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "--:|" * (len(titles) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def replaced_between(text: str, new: str) -> str:
    """The text with `new` between the marks. Raises UserError where they are not there."""
    before, first, rest = text.partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not first or not last:
        raise UserError(f"the file has no line {MARKS[0]} and after it {MARKS[1]}; put them where the tables belong")
    return f"{before}{first}\n{new}\n{last}{after}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_table", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("check", type=Path, nargs="?", metavar="gpu_check.json", help="of python -m benchmarks.gpu")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="replace the tables in this file")
    arguments = parser.parse_args(argv)
    check = read_object(arguments.check, "run make gpu-check") if arguments.check else None
    if check is not None and not {"training", "launched", "answers", "device", "equal", "failed", "shape"} <= check.keys():
        raise UserError(f"{arguments.check} is not of python -m benchmarks.gpu; run make gpu-check")
    text = tables(check)
    if arguments.readme:
        new = replaced_between(arguments.readme.read_text(encoding="utf-8"), text)
        write_whole(arguments.readme, lambda unfinished: unfinished.write_text(new, encoding="utf-8"))
    else:
        print(text)


if __name__ == "__main__":
    with plain_errors():
        main()
