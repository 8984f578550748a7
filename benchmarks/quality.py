"""Quality of a model tuned in two stages on held-out rows of real corpora, beside its base and baselines.

    python -m benchmarks.quality --raw DIR [--shopbench FILE] [-- any option of training/sft.py]
    python -m benchmarks.quality --raw DIR --split validation --start ADAPTER -- --learning_rate 3e-4    # reads no test row
    python -m benchmarks.quality --raw DIR --curve [TRAINING TRAINING]

Stage one trains a LoRA adapter on sample corpora, stage two goes on from it on real rows; base, adapter and baselines are
evaluated with the ordinary commands, answers written and scored. Reports are in --out; answers that were given are not asked
for again. With --curve so are the checkpoints on the way, whose scores against tokens are curve.json and curve.png. The last
line is JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.judged_pairs import baseline_scores, judged_pairs, label_probabilities, pair_scores, rows_to_score
from benchmarks.measure import children_seconds, command
from benchmarks.quality_curve import curve_points, make_curve, write_curve
from benchmarks.quality_rows import make_rows, make_sample_rows
from common.dataset import read_manifest, read_split
from common.errors import UserError, plain_errors
from training.adapters import LOG

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "training" / "recipes" / "two_stages"
FIRST, SECOND = RECIPES / "1-sample-corpora.yaml", RECIPES / "2-own-rows.yaml"
NOTHING = "none"
CURVE = "curve"
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
        epilog="What stands behind -- goes to training/sft.py in each stage, and wins over the recipes.",
    )
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="folder of raw corpora")
    parser.add_argument(
        "--shopbench", type=Path, metavar="FILE", help="ShopBench rows: out of train, and scored on (test only)"
    )
    parser.add_argument("--tasks", metavar="A,B", help="(default: those with enough real rows)")
    parser.add_argument("--train-rows", type=int, default=1200, metavar="N", help="most of a task (default: %(default)s)")
    parser.add_argument(
        "--text-rows",
        type=int,
        default=300,
        metavar="N",
        help="most of each task of texts to train on besides, which keep what the base can write (default: %(default)s)",
    )
    parser.add_argument("--scale", type=float, default=0.1, help="of the sample corpora (default: %(default)s)")
    parser.add_argument(
        "--sample-size",
        default="150+1,query_product_relation=2400+1,product_relation=700+1",
        help="of the sample rows, as dataset_builders.build takes it (default: %(default)s)",
    )
    parser.add_argument("--base", metavar="MODEL", help="folder or Hub id (default: the embedded SmolLM2-135M-Instruct)")
    parser.add_argument("--start", metavar="ADAPTER", help=f"go on from this adapter, or from {NOTHING}, without stage one")
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="validation: rows held out of train (default: %(default)s)",
    )
    parser.add_argument("--rows", type=int, metavar="N", help="N test rows of each task, by a fixed draw (default: all)")
    tuned = parser.add_mutually_exclusive_group()
    tuned.add_argument("--adapter", metavar="DIR", help="score this adapter instead of training one")
    tuned.add_argument(
        "--curve",
        type=Path,
        nargs="*",
        metavar="TRAINING",
        help="draw scores against tokens: of the trainings of this run, or of those in these folders, in the order of their "
        "stages; the last one's adapter is scored, and nothing is trained",
    )
    parser.add_argument(
        "--curve-points", type=int, default=12, metavar="N", help="most adapters of each training (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("outputs/quality"), metavar="DIR", help="(default: %(default)s)")
    arguments = parser.parse_args(own)
    arguments.options = options
    return arguments


def main() -> None:
    arguments = parse_arguments(sys.argv[1:])
    check(arguments)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    say("Real rows")
    data = make_rows(arguments, out)
    base = arguments.base or str(out / "base")
    if not arguments.base:
        say("Base model")
        command("training.embedded_model", "--out", base)
    stages, adapter = tune(arguments, data, base, out)
    points = curve_points(trainings(arguments), arguments.curve_points) if arguments.curve is not None else []
    tuned = {"tuned": adapter or str(points[-1].folder)}
    scores = evaluate(arguments, "shop", data, base, tuned)
    train, held = rows_to_score(data)
    pairs = judged_pairs(held)
    models = [None, *(str(point.folder) for point in points)] if points else [tuned["tuned"]]
    chances = label_probabilities(base, models, pairs, out / "answers") if pairs else []
    of_models = [pair_scores(each, pairs) for each in chances]
    of_baselines = baseline_scores(train, held) if pairs else {}
    official = None
    if arguments.shopbench and arguments.split == "test":
        os.environ["SHOP_DATASET"] = str(data)  # where baselines learn from
        official = evaluate(arguments, "shopbench", arguments.shopbench, base, tuned)
    if points:
        asked = [line["task"] for line in scores["tasks"]]
        between = evaluate(arguments, CURVE, data, base, {point.name: str(point.folder) for point in points}, asked)
        write_curve(make_curve(points, scores, between, of_models, of_baselines), out)
    report(
        arguments,
        stages,
        {
            "base": Path(base).resolve().name if Path(base).exists() else base,
            "dataset": asdict(read_manifest(str(data)).configs["default"]),
            "shop": scores,
            "pairs": len(pairs),
            "pair_scores": {**of_baselines, "tuned": of_models[-1]} if pairs else {},
            "shopbench": official,
        },
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises UserError for what would else be found out after minutes."""
    if not arguments.raw.is_dir():
        raise UserError(f"{arguments.raw} is not a folder. Give --raw a folder with files of the raw corpora.")
    if arguments.shopbench and not arguments.shopbench.is_file():
        raise UserError(f"{arguments.shopbench}: no such file. Give --shopbench one that is there.")
    if arguments.rows is not None and arguments.rows < 1:
        raise UserError(f"--rows {arguments.rows} scores nothing. Give 1 or more, or leave it out.")
    if arguments.train_rows < 1:
        raise UserError(f"--train-rows must be 1 or more, not {arguments.train_rows}.")
    if arguments.text_rows < 0:
        raise UserError(f"--text-rows must be 0 or more, not {arguments.text_rows}.")
    if arguments.curve_points < 2:
        raise UserError(f"--curve-points must be 2 or more, not {arguments.curve_points}.")
    if arguments.curve:
        curve_points(arguments.curve, arguments.curve_points)
    nothing = arguments.adapter or arguments.curve
    if arguments.start and nothing:
        raise UserError("--start is of a training, and nothing is trained. Leave it out, or what says what to score instead.")
    if arguments.options and nothing:
        raise UserError(
            "Options behind -- are of a training, and nothing is trained. Leave them out, or what says what to score instead."
        )


def say(what: str) -> None:
    print(f"== {what}", file=sys.stderr, flush=True)


# --- The two stages ---


def tune(arguments: argparse.Namespace, data: Path, base: str, out: Path) -> tuple[dict[str, Any], str | None]:
    """Figures of each training by its name, and the adapter to score, if there is one."""
    stages: dict[str, Any] = {}
    if arguments.adapter or arguments.curve:
        return stages, arguments.adapter
    start = arguments.start
    if not start:
        say("Sample rows")
        samples = make_sample_rows(arguments, list(read_split(str(data), "test")), out)
        say("Stage one: sample rows")
        start = str(out / "sample_adapter")
        stages["sample"] = train_adapter(arguments, FIRST, base, samples, start)
    say("Stage two: real rows")
    going_on = [] if start == NOTHING else ["--adapter", start]
    stages["real"] = train_adapter(arguments, SECOND, base, data, str(out / "adapter"), going_on)
    return stages, str(out / "adapter")


def train_adapter(
    arguments: argparse.Namespace, recipe: Path, base: str, data: Path, adapter: str, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Minutes of the training, of all its processes, and what it trained on."""
    launch = ("-m", "accelerate.commands.launch", "--quiet", "--config_file", ROOT / "training/accelerate/cpu.yaml")
    options: dict[str, object] = {"config": recipe, "model_name_or_path": base, "dataset_name": data, "output_dir": adapter}
    if arguments.curve is not None:
        options |= {"save_total_limit": 0, "save_steps": round(1 / arguments.curve_points, 4)}  # all, each a share of the steps
    words = [word for name, value in (*options.items(), ("seed", arguments.seed)) for word in (f"--{name}", value)]
    shutil.rmtree(adapter, ignore_errors=True)
    started, busy = perf_counter(), children_seconds()
    line = [sys.executable, *launch, ROOT / "training/sft.py", *words, *more, *arguments.options]
    done = subprocess.run([str(word) for word in line], stdout=sys.stderr, check=False)
    if done.returncode:
        raise UserError(f"The training ended with exit code {done.returncode}; what it said stands above.")
    wall, cpu = (perf_counter() - started) / 60, (children_seconds() - busy) / 60
    summary = json.loads(Path(adapter, "training_summary.json").read_text(encoding="utf-8"))
    known = {name: summary.get(name) for name in ("tasks", "adapter", "steps", "epochs", "tokens")}
    return {"recipe": recipe.name, "wall_minutes": round(wall, 2), "cpu_minutes": round(cpu, 2), **known}


def trainings(arguments: argparse.Namespace) -> list[Path]:
    """Output folders of the trainings of the curve, in their order."""
    if arguments.curve:
        return list(arguments.curve)
    first = Path(arguments.start or arguments.out / "sample_adapter")
    return [*([first] if (first / LOG).is_file() else []), arguments.out / "adapter"]


# --- Scores ---


def evaluate(
    arguments: argparse.Namespace,
    suite: str,
    data: Path,
    base: str,
    adapters: Mapping[str, str],
    tasks: Sequence[str] = (),
) -> dict[str, Any]:
    """The figures of a report on a suite, whose table is printed. `adapters`: name -> folder or Hub id; `tasks`: all, if none.

    Of the curve, which is no suite but many adapters on shop, neither base nor baselines, nor a table.
    """
    say(f"Evaluation on {suite}")
    out, curve = arguments.out / suite, suite == CURVE
    names = [*([] if curve else ["base"]), *adapters]
    options = [("--model", base), ("--suite", "shop" if curve else suite), ("--data", data), ("--out", out)]
    options += [("--names", ",".join(names)), ("--answers", "both"), ("--option", f"cache_dir={arguments.out / 'answers'}")]
    options += [] if curve else [("--baseline", name) for name in BASELINES[suite]]
    options += [("--tasks", ",".join(f"{task}|0" for task in tasks))] if tasks else []
    options += [("--adapter", adapter) for adapter in adapters.values()]
    options += [("--lists", "text")] if suite == "shopbench" else []  # whose lists no row teaches in words
    options += [("--max-samples", arguments.rows)] if arguments.rows and suite != "shopbench" else []
    words = [*(["--adapters-only"] if curve else []), *(str(word) for option in options for word in option)]
    line = [sys.executable, "-m", "eval_tasks.run", *words]
    done = subprocess.run(line, stdout=subprocess.DEVNULL if curve else None, check=False)
    if done.returncode:
        raise UserError(f"The evaluation ended with exit code {done.returncode}; its reason is above.")
    figures: dict[str, Any] = json.loads((out / "report" / "scores.json").read_text(encoding="utf-8"))
    return figures


def report(arguments: argparse.Namespace, stages: dict[str, Any], found: dict[str, Any]) -> None:
    """The pairs' measures, the trainings' time, and everything as JSON."""
    for name, each in found["pair_scores"].items():
        print(f"{name:8} " + "  ".join(f"{measure} {score:.3f}" for measure, score in each.items()))
    cpu, wall = (round(sum(stage[f"{unit}_minutes"] for stage in stages.values()), 2) for unit in ("cpu", "wall"))
    if stages:
        print(f"The trainings took {cpu} CPU minutes and {wall} minutes.")
    training = {"options": arguments.options, "cpu_minutes": cpu, "wall_minutes": wall, **stages}
    asked = {"split": arguments.split, "seed": arguments.seed, "training": training if stages else None}
    text = json.dumps({**asked, **found}, indent=1)
    (arguments.out / "quality.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(json.loads(text)))


if __name__ == "__main__":
    with plain_errors():
        main()
