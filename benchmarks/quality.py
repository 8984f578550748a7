"""Quality of a tuned model on held-out rows of real corpora, beside its base and baselines.

    python -m benchmarks.quality --raw DIR [--shopbench FILE] [-- any option of training/sft.py]
    python -m benchmarks.quality --raw DIR --split validation -- --learning_rate 5e-4    # to tune; reads no test row

Builds the dataset, trains a LoRA adapter on it and evaluates base, adapter and baselines with the ordinary commands. Reports
are in --out; answers that were given are not asked for again. The last line is JSON.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.holdout import write_validation_folder
from benchmarks.measure import command
from common.dataset import read_manifest
from common.errors import UserError, plain_errors

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "training" / "recipes" / "smollm2-135m-lora.yaml"
BASELINES = {"shop": ("random", "majority", "tfidf", "minilm"), "shopbench": ("random", "tfidf", "minilm")}
"""Suite -> the baselines that answer it."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """`options` is what stands behind `--`."""
    own, options = list(argv), []
    if "--" in own:
        place = own.index("--")
        own, options = own[:place], own[place + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=(__doc__ or "").split("\n")[0],
        epilog="What stands behind -- goes to training/sft.py, and wins over the recipe.",
    )
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of raw corpora")
    parser.add_argument(
        "--shopbench", type=Path, metavar="FILE", help="ShopBench rows: out of train, and scored on (test only)"
    )
    parser.add_argument("--size", default="unlimited", help="of the dataset, as dataset_builders.build takes it (default: all)")
    parser.add_argument("--base", metavar="MODEL", help="folder or Hub id (default: the embedded SmolLM2-135M-Instruct)")
    parser.add_argument("--recipe", type=Path, default=RECIPE, metavar="YAML", help=f"(default: {RECIPE.name})")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="validation: rows held out of train")
    parser.add_argument("--rows", type=int, metavar="N", help="evaluate the first N test rows of each task (default: all)")
    parser.add_argument("--cpu-minutes", type=float, default=30, metavar="M", help="budget of the training (default: 30)")
    tuned = parser.add_mutually_exclusive_group()
    tuned.add_argument("--adapter", metavar="DIR", help="score this adapter instead of training one")
    tuned.add_argument("--untuned", action="store_true", help="train nothing: only the base model and the baselines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/quality"), metavar="DIR", help="(default: %(default)s)")
    arguments = parser.parse_args(own)
    arguments.options = options
    return arguments


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    check(arguments)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data = make_dataset(arguments, out)
    base = arguments.base or str(out / "base")
    if not arguments.base:
        say("Base model")
        command("training.embedded_model", "--out", base)
    training, adapter = tune(arguments, data, base, out)
    scores = evaluate(arguments, base, adapter, "shop", data)
    official = None
    if arguments.shopbench and arguments.split == "test":
        os.environ["SHOP_DATASET"] = str(data)  # where baselines learn from
        official = evaluate(arguments, base, adapter, "shopbench", arguments.shopbench)
    report(arguments, training, data, base, scores, official)


def check(arguments: argparse.Namespace) -> None:
    """Raises UserError for what would else be found out after minutes."""
    if not arguments.raw.is_dir():
        raise UserError(f"{arguments.raw} is not a folder. Give --raw a folder with files of the raw corpora.")
    for path, option in ((arguments.shopbench, "--shopbench"), (arguments.recipe, "--recipe")):
        if path and not path.is_file():
            raise UserError(f"{path}: no such file. Give {option} one that is there.")
    if arguments.rows is not None and arguments.rows < 1:
        raise UserError(f"--rows {arguments.rows} scores nothing. Give 1 or more, or leave it out.")
    if arguments.options and (arguments.adapter or arguments.untuned):
        raise UserError(
            "Options behind -- are of a training, and nothing is trained. Leave them out, or --adapter and --untuned."
        )


def say(what: str) -> None:
    print(f"== {what}", file=sys.stderr, flush=True)


# --- The stages before scoring ---


def make_dataset(arguments: argparse.Namespace, out: Path) -> Path:
    """The folder to train and to score on."""
    say("Dataset")
    dataset = out / "dataset"
    with tempfile.TemporaryDirectory() as folder:
        sets = []
        if arguments.shopbench:
            shutil.copy(arguments.shopbench, folder)
            sets = ["--evaluation-sets", folder]
        options = ("--size", arguments.size, "--seed", arguments.seed, *sets)
        command("dataset_builders.build", "--raw", arguments.raw, "--out", dataset, *options)
    if arguments.split == "test":
        return dataset
    write_validation_folder(dataset, out / "validation", arguments.seed)
    return out / "validation"


def tune(arguments: argparse.Namespace, data: Path, base: str, out: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Figures of the training, if there was one, and the adapter, if there is one."""
    if arguments.untuned or arguments.adapter:
        return None, arguments.adapter
    say("Training")
    return train_adapter(arguments, data, base, str(out / "adapter")), str(out / "adapter")


def train_adapter(arguments: argparse.Namespace, data: Path, base: str, adapter: str) -> dict[str, Any]:
    """Seconds of the training, of all its processes, and whether they are within the budget."""
    launch = ("-m", "accelerate.commands.launch", "--quiet", "--config_file", ROOT / "training/accelerate/cpu.yaml")
    options = {"config": arguments.recipe, "model_name_or_path": base, "dataset_name": data, "output_dir": adapter}
    words = [word for name, value in (*options.items(), ("seed", arguments.seed)) for word in (f"--{name}", value)]
    shutil.rmtree(adapter, ignore_errors=True)
    started, busy = perf_counter(), children_seconds()
    line = [sys.executable, *launch, ROOT / "training/sft.py", *words, *arguments.options]
    done = subprocess.run([str(word) for word in line], stdout=sys.stderr, check=False)
    if done.returncode:
        raise UserError(f"The training ended with exit code {done.returncode}; what it said stands above.")
    wall, cpu = (perf_counter() - started) / 60, (children_seconds() - busy) / 60
    summary = json.loads(Path(adapter, "training_summary.json").read_text(encoding="utf-8"))
    return {
        "recipe": arguments.recipe.name,
        "options": arguments.options,
        "wall_minutes": round(wall, 2),
        "cpu_minutes": round(cpu, 2),
        "budget_cpu_minutes": arguments.cpu_minutes,
        "within_budget": cpu <= arguments.cpu_minutes,
        "rows": summary.get("train_rows"),
        "steps": summary.get("steps"),
        "epochs": summary.get("epochs"),
        "tokens": summary.get("tokens"),
    }


def children_seconds() -> float:
    """User and system seconds of every process that was started from here and has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# --- Scores ---


def evaluate(arguments: argparse.Namespace, base: str, adapter: str | None, suite: str, data: Path) -> dict[str, Any]:
    """The figures of a report on a suite, whose table is printed."""
    say(f"Evaluation on {suite}")
    out = arguments.out / suite
    names = ["base", *(["tuned"] if adapter else [])]
    options = [("--model", base), ("--suite", suite), ("--data", data), ("--out", out), ("--names", ",".join(names))]
    options += [("--option", f"cache_dir={arguments.out / 'answers'}"), *(("--baseline", name) for name in BASELINES[suite])]
    options += [("--adapter", adapter)] if adapter else []
    options += [("--max-samples", arguments.rows)] if arguments.rows and suite == "shop" else []
    words = [str(word) for option in options for word in option]
    done = subprocess.run([sys.executable, "-m", "eval_tasks.run", *words], check=False)
    if done.returncode:
        raise UserError(f"The evaluation ended with exit code {done.returncode}; its reason is above.")
    figures: dict[str, Any] = json.loads((out / "report" / "scores.json").read_text(encoding="utf-8"))
    return figures


def report(
    arguments: argparse.Namespace,
    training: dict[str, Any] | None,
    data: Path,
    base: str,
    scores: dict[str, Any],
    official: dict[str, Any] | None,
) -> None:
    """The training's time, and everything as JSON."""
    figures = {
        "split": arguments.split,
        "seed": arguments.seed,
        "base": Path(base).resolve().name if Path(base).exists() else base,
        "dataset": asdict(read_manifest(str(data)).configs["default"]),
        "training": training,
        "shop": scores,
        "shopbench": official,
    }
    if training:
        print(
            "The training took {cpu_minutes} CPU minutes and {wall_minutes} minutes, ".format(**training)
            + ("within" if training["within_budget"] else "OVER")
            + f" the budget of {arguments.cpu_minutes:g} CPU minutes."
        )
    (arguments.out / "quality.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    with plain_errors():
        main()
