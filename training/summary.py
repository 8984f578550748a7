"""What a run leaves behind: training_summary.json, which the model card reads, a picture of the loss, and a table."""

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trl import SFTTrainer

VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    import torch

    device = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"device": device, "cores": usable_cores(), "memory_bytes": memory}


def peak_memory() -> int:
    """Peak bytes of this process: on the GPU if there is one, else in main memory."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONED}


def draw_loss(history: list[dict[str, Any]], path: Path) -> None:
    """The loss of training and validation over the steps, the learning rate behind it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rates = [(log["step"], log["learning_rate"]) for log in history if "learning_rate" in log]
    if rates:
        behind = axes.twinx()
        steps, heights = zip(*rates, strict=True)
        behind.fill_between(steps, heights, color="tab:gray", alpha=0.15, linewidth=0)
        behind.set(ylabel="learning rate (grey)", ylim=(0, None))
        behind.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for key, label, style in (("loss", "train", "-"), ("eval_loss", "validation", "o--")):
        points = [(log["step"], log[key]) for log in history if key in log]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=4)
    axes.set(xlabel="step", ylabel="loss per supervised token", title="Training loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    if axes.lines:  # a run may be shorter than logging_steps
        axes.legend()
    figure.savefig(path, dpi=120)


def write_run(trainer: "SFTTrainer", summary: dict[str, Any]) -> None:
    """Writes all files beside their place and moves them in when they are complete."""
    from training.callbacks import LOG, write_log

    folder = Path(trainer.args.output_dir or "")
    staging = folder / ".saving"
    trainer.save_model(str(staging))
    if not trainer.is_world_process_zero():
        return
    draw_loss(trainer.state.log_history, staging / "loss.png")
    write_log(trainer.state.log_history, staging / LOG)
    (staging / "training_summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    for unwanted in ("training_args.bin", "README.md"):  # a pickle; a card without data and scores
        (staging / unwanted).unlink(missing_ok=True)
        (folder / unwanted).unlink(missing_ok=True)
    for path in staging.iterdir():
        path.replace(folder / path.name)
    shutil.rmtree(staging)


def print_summary(summary: dict[str, Any], folder: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Training", show_header=False)
    validation = summary["validation_loss"]
    for name, value in (
        ("rows, validation rows", f"{summary['train_rows']:,}, {summary['validation_rows']:,}"),
        ("steps, epochs", f"{summary['steps']:,}, {summary['epochs']:.2f}"),
        ("rows a step", f"{summary['rows_per_step']:,.1f}"),
        ("tokens, per second", f"{summary['tokens']:,}, {summary['tokens_per_second']:.0f}"),
        ("time", f"{summary['seconds'] / 60:.1f} min"),
        ("peak memory", f"{summary['peak_memory_bytes'] / 2**30:.1f} GiB"),
        ("train loss (mean)", f"{summary['train_loss']:.3f}"),
        ("validation loss", "none" if validation is None else f"{validation:.3f}"),
        ("written to", folder),
    ):
        table.add_row(name, value)
    Console().print(table)
