"""A run's results: training_summary.json, which the model card reads, the log, a plot of the loss, and a table."""

import json
import os
import shutil
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.console import print_table
from common.cores import usable_cores
from training.adapters import LOG, LOSS_PLOT, SUMMARY, public_name
from training.arguments import DataArguments, output_folder
from training.mixture import dataset_fingerprint

if TYPE_CHECKING:
    from trl import ModelConfig, ScriptArguments, SFTConfig

    from training.plan import TrainingPlan
    from training.trainer import SafeTrainer

VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


def use_cores(threads: int) -> None:
    """So many compute threads; with 0 this process's share of the usable cores."""
    import torch

    torch.set_num_threads(threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


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


def run_facts(script: Any, args: Any, model: Any, data: Any, state: Any, tokens: int, seconds: float) -> dict[str, Any]:
    """What every kind of training tells of a run. `tokens` are those of this run's own steps, without padding."""
    name = script.dataset_name or ""
    return {
        "base_model": model.model_name_or_path,
        "adapter": public_name(data.adapter) if data.adapter else None,
        "dataset_name": name,
        "dataset_config": script.dataset_config or "default",
        "dataset_fingerprint": dataset_fingerprint(name, script.dataset_config, data.dataset_revision),
        "epochs": state.epoch,
        "steps": state.global_step,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "peak_memory_bytes": peak_memory(),
        "learning_rate": args.learning_rate,
        "seed": args.seed,
        "processes": args.world_size,
        "hardware": hardware(),
        "versions": versions(),
    }


def summarise(
    script: "ScriptArguments",
    args: "SFTConfig",
    model: "ModelConfig",
    data: DataArguments,
    plan: "TrainingPlan",
    trainer: "SafeTrainer",
    seconds: float,
) -> dict[str, Any]:
    """The run's settings and measurements."""
    return {
        **run_facts(script, args, model, data, trainer.state, trainer.tokens_seen, seconds),
        "task_weights": data.task_weights,
        "curriculum": data.curriculum,
        "best_checkpoint_step": trainer.state.best_global_step,
        "rows_per_step": round(trainer.rows_per_step, 1),
        "max_length": args.max_length,
        "plan": asdict(plan),
        "lora": lora_settings(trainer.model.active_peft_config) if data.adapter or model.use_peft else None,
    }


def lora_settings(config: Any) -> dict[str, Any]:
    """Those of PEFT's configuration, which are the ones of the adapter that a run went on from, if it did."""
    modules = config.target_modules
    return {
        "r": config.r,
        "alpha": config.lora_alpha,
        "dropout": config.lora_dropout,
        "target_modules": modules if isinstance(modules, str) else sorted(modules),
    }


def plot_loss(history: list[dict[str, Any]], path: Path) -> None:
    """Plots the loss of training and validation over the steps, and the learning rate behind it."""
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


def write_log(history: list[dict[str, Any]], path: Path) -> None:
    """Writes what was logged as JSON lines."""
    path.write_text("".join(json.dumps(log) + "\n" for log in history), encoding="utf-8")


def write_run(trainer: "SafeTrainer", summary: dict[str, Any]) -> None:
    """Writes all files into a hidden folder first and moves them when they are complete."""
    folder = output_folder(trainer.args)
    staging = folder / ".saving"
    trainer.save_model(str(staging))
    if not trainer.is_world_process_zero():
        return
    plot_loss(trainer.state.log_history, staging / LOSS_PLOT)
    write_log(trainer.state.log_history, staging / LOG)
    (staging / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    for unwanted in ("training_args.bin", "README.md"):  # a pickle; a card without data and scores
        (staging / unwanted).unlink(missing_ok=True)
        (folder / unwanted).unlink(missing_ok=True)
    for path in staging.iterdir():
        path.replace(folder / path.name)
    shutil.rmtree(staging)


def print_summary(summary: dict[str, Any], folder: str) -> None:
    validation = summary["validation_loss"]
    lines = (
        ("rows, validation rows", f"{summary['train_rows']:,}, {summary['validation_rows']:,}"),
        ("steps, epochs", f"{summary['steps']:,}, {summary['epochs']:.2f}"),
        ("rows a step", f"{summary['rows_per_step']:,.1f}"),
        ("tokens, per second", f"{summary['tokens']:,}, {summary['tokens_per_second']:.0f}"),
        ("time", f"{summary['seconds'] / 60:.1f} min"),
        ("peak memory", f"{summary['peak_memory_bytes'] / 2**30:.1f} GiB"),
        ("train loss (mean)", f"{summary['train_loss']:.3f}"),
        ("validation loss", "none" if validation is None else f"{validation:.3f}"),
        ("written to", folder),
    )
    print_table(("Training", ""), lines, texts=2)
