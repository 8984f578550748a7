"""Merges an adapter into its base at several weights, evaluates each, and names the best.

    python -m training.sweep --adapter A --data DATASET --out DIR --weights 0,0.25,0.5,0.75,1

A weight is that of `python -m training.merge --weight`: 0 is the base, 1 the tuned model. Each merged model is evaluated by
lighteval on the `shop:` tasks, and goes when it was, unless --keep is given.

The weight that scores best on some rows scores too well on just these rows, since it was chosen on them. So the test rows of
every task are halved, by group, so that no product or query is in both halves: the weight is chosen on the one half, then it
and weights 0 and 1 are scored on the other. Those are the figures to report. With --choose-on all it is chosen on all test
rows of --data and no figure is to be reported; that is for a dataset of its own, such as one of validation rows.

DIR gets sweep.json, sweep.png and, under results/, what lighteval wrote. The same command goes on where it stopped: what was
evaluated is not evaluated again, unless the adapter, the base, the rows, an option or a library has changed.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.errors import UserError, first_line, plain_errors
from common.files import sha256_of, write_json, write_whole
from eval_tasks.reporting.results import read_run
from training.adapters import Adapter, base_of, parse_weights, public_name, read_adapter
from training.halves import CHOICE, REPORT, Rows, fingerprint, halves, read_test_rows, write_rows
from training.merge import merge_adapters
from training.sweep_report import Point, best, conclusion, print_table, write_plot

ROOT = Path(__file__).resolve().parents[1]
MARKER = ".sweep"
"""A file that says that a folder is a sweep's."""
LOG = "lighteval.log"
DONE = "done.json"
VERSIONED = ("lighteval", "peft", "torch", "transformers")
OPTIMISTIC = "The weight was chosen on these rows: its score on them is too high to report. Score it on rows that took no part."


@dataclass(frozen=True)
class Sweep:
    """What is evaluated and how. `rows` are CHOICE and, unless the weight is chosen on all rows, REPORT."""

    adapter: Adapter
    base: str
    out: Path
    weights: tuple[float, ...]
    rows: dict[str, Rows]
    max_samples: int | None
    model_args: str
    keep: bool


def command(sweep: Sweep, weight: float, part: str) -> list[str]:
    """lighteval's command line for the merged model of a weight."""
    model_args = [f"model_name={model_folder(sweep, weight).resolve()}", f"cache_dir={(sweep.out / 'cache').resolve()}"]
    limit = ["--max-samples", str(sweep.max_samples)] if sweep.max_samples else []
    return [
        *(sys.executable, "-m", "lighteval", "accelerate", ",".join([*model_args, sweep.model_args])),
        *(",".join(f"shop:{task}|0" for task in sweep.rows[part]), "--custom-tasks", "eval_tasks/shop.py"),
        *("--output-dir", str(results_folder(sweep, weight, part).resolve()), *limit),
    ]


def model_folder(sweep: Sweep, weight: float) -> Path:
    return sweep.out / "models" / f"{weight:g}" if sweep.keep else sweep.out / "model"


def results_folder(sweep: Sweep, weight: float, part: str) -> Path:
    return sweep.out / "results" / part / f"{weight:g}"


def identity(name: str, commit: str | None) -> str:
    """What changes when a model or an adapter does: the commit on the Hub, or what is in the files of its folder."""
    if commit:
        return f"{name}@{commit}"
    kinds = (".json", ".safetensors", ".jinja", ".model", ".txt")
    files = sorted(path for path in Path(name).iterdir() if path.suffix in kinds and path.name != "training_summary.json")
    return hashlib.sha256(json.dumps([(path.name, sha256_of(path)) for path in files]).encode()).hexdigest()


def base_commit(base: str) -> str | None:
    """The commit of a base on the Hub; None for a folder."""
    from huggingface_hub import hf_hub_download

    if Path(base).is_dir():
        return None
    try:
        return Path(hf_hub_download(base, "config.json")).parent.name
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the base {base}: {first_line(error)}; give its folder or Hub id as --base") from None


def stamps(sweep: Sweep) -> dict[str, dict[str, Any]]:
    """All that the scores on some rows depend on, except the weight."""
    facts = {
        "adapter": identity(sweep.adapter.name, sweep.adapter.revision),
        "base": identity(sweep.base, base_commit(sweep.base)),
        "max_samples": sweep.max_samples,
        "model_args": sweep.model_args,
        "versions": {name: version(name) for name in VERSIONED},
    }
    return {
        part: {**facts, "rows": {task: fingerprint(table) for task, table in rows.items()}} for part, rows in sweep.rows.items()
    }


def is_done(sweep: Sweep, weight: float, part: str, stamp: Mapping[str, Any]) -> bool:
    try:
        found = json.loads((results_folder(sweep, weight, part) / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == {"weight": weight, **stamp})


def evaluate(sweep: Sweep, weight: float, part: str, stamp: Mapping[str, Any]) -> Point:
    """The scores of a weight on some rows: those of an earlier run if nothing has changed, else merged and evaluated now."""
    folder, model = results_folder(sweep, weight, part), model_folder(sweep, weight)
    if is_done(sweep, weight, part, stamp):
        print(f"weight {weight:g}: evaluated before, on the {part} rows", flush=True)
        return _read_point(sweep, weight, part)
    print(f"weight {weight:g}: merged and evaluated on the {part} rows ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(sweep.out / "cache", ignore_errors=True)
    try:
        merge_adapters([sweep.adapter], model, sweep.base, weight)
        folder.mkdir(parents=True)
        _run_lighteval(sweep, weight, part, folder / LOG)
    finally:
        shutil.rmtree(sweep.out / "cache", ignore_errors=True)
        if not sweep.keep:
            shutil.rmtree(model, ignore_errors=True)
    point = _read_point(sweep, weight, part)
    write_json(folder / DONE, {"weight": weight, **stamp})
    return point


def _read_point(sweep: Sweep, weight: float, part: str) -> Point:
    folder = results_folder(sweep, weight, part)
    run = read_run(folder).scores
    if missing := [task for task in sweep.rows[part] if f"shop:{task}" not in run]:
        raise UserError(f"lighteval scored no {', '.join(missing)} at weight {weight:g}; see {folder / LOG}")
    return Point(weight, {f"shop:{task}": run[f"shop:{task}"] for task in sweep.rows[part]})


def _run_lighteval(sweep: Sweep, weight: float, part: str, log: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "SHOP_DATASET_REVISION"}
    rows = str((sweep.out / "rows" / part).resolve())
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            command(sweep, weight, part),
            cwd=ROOT,
            env=kept | {"SHOP_DATASET": rows},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        lines = [line.strip(" │╭╰─╮╯") for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), f"exit code {done.returncode}")
        raise UserError(f"lighteval failed at weight {weight:g}: {last.removeprefix('error: ')}; all it said is in {log}")


@contextmanager
def workplace(out: Path) -> Iterator[None]:
    """Makes `out`, and keeps other sweeps out of it; a failure leaves only what is of use, finished weights and a log."""
    if out.exists() and not (out.is_dir() and ((out / MARKER).exists() or not any(out.iterdir()))):
        raise UserError(f"{out} exists and holds something else; give an empty or a new folder")
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / MARKER).open("a")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}; give a folder that you may write to") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another sweep is writing to {out}; wait for it, or give another --out") from None
        try:
            yield
        except BaseException:
            if made and not any(out.glob(f"results/*/*/{LOG}")):
                shutil.rmtree(out, ignore_errors=True)
            raise


def run_sweep(sweep: Sweep) -> dict[str, Any]:
    """Evaluates, draws and prints; returns what sweep.json holds."""
    stamp = stamps(sweep)
    with workplace(sweep.out):
        for part, rows in sweep.rows.items():
            write_rows(sweep.out / "rows" / part, rows)
        points = [evaluate(sweep, weight, CHOICE, stamp[CHOICE]) for weight in sweep.weights]
        found = best(points)
        told = [weight for weight in sweep.weights if weight in (0, 1, found.weight)] if REPORT in sweep.rows else []
        reported = [evaluate(sweep, weight, REPORT, stamp[REPORT]) for weight in told]
        summary = as_json(sweep, points, reported, stamp)
        write_json(sweep.out / "sweep.json", summary)
        write_whole(sweep.out / "sweep.png", lambda path: write_plot(points, path))
    print_table("Chosen on these rows", points, found.weight)
    if reported:
        print_table("The other half of the rows: what to report", reported, found.weight)
    else:
        print(f"NOTE: {OPTIMISTIC}")
    print(conclusion(points))
    again = ["python", "-m", "training.merge", "--adapter", _named(sweep.adapter), "--base", sweep.base]
    print(shlex.join([*again, "--weight", f"{found.weight:g}", "--out", "MODEL"]) + "  makes its model")
    return summary


def _named(adapter: Adapter) -> str:
    return f"{adapter.name}@{adapter.revision}" if adapter.revision else adapter.name


def as_json(
    sweep: Sweep, points: Sequence[Point], reported: Sequence[Point], stamp: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    def shown(point: Point) -> dict[str, Any]:
        scores = {
            name.removeprefix("shop:"): {"metric": score.metric, "score": score.value, "stderr": score.stderr}
            for name, score in point.run.items()
        }
        return {"weight": point.weight, "mean": point.mean, "stderr": point.stderr, "scores": scores}

    return {
        "best": best(points).weight,
        "rows": {part: {task: table.num_rows for task, table in rows.items()} for part, rows in sweep.rows.items()},
        CHOICE: [shown(point) for point in points],
        REPORT: [shown(point) for point in reported],
        "note": None if reported else OPTIMISTIC,
        "adapter": public_name(sweep.adapter.name),
        "base": public_name(sweep.base),
        "stamps": dict(stamp),
    }


def print_plan(sweep: Sweep) -> None:
    """What a run would do, without doing it."""
    stamp = stamps(sweep)
    for part, rows in sweep.rows.items():
        print(f"{part} rows: " + ", ".join(f"{task} {table.num_rows}" for task, table in rows.items()))
    for weight in sweep.weights:
        print(f"weight {weight:g}: {'evaluated before' if is_done(sweep, weight, CHOICE, stamp[CHOICE]) else 'to evaluate'}")
    if REPORT in sweep.rows:
        print("then the best weight, 0 and 1, as far as they are among these, on the report rows")
    print("each by")
    print(
        f"SHOP_DATASET={shlex.quote(str(sweep.out / 'rows' / CHOICE))} {shlex.join(command(sweep, sweep.weights[-1], CHOICE))}"
    )


def sweep_weights(text: str) -> tuple[float, ...]:
    """--weights in ascending order. Raises UserError."""
    weights = sorted(parse_weights(text, "--weights"))
    if weights[0] < 0 or len({f"{weight:g}" for weight in weights}) < len(weights):
        raise UserError(f"--weights {text!r}: give different ones of 0 or more, such as 0,0.25,0.5,0.75,1")
    return tuple(weights)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", required=True, help="adapter folder, Hub id, or org/name@revision")
    parser.add_argument("--base", help="base model folder or Hub id (default: the one that the adapter names)")
    parser.add_argument("--data", required=True, help="folder of a built dataset, Hub id, or org/name@revision")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, sweep.json and sweep.png")
    parser.add_argument("--weights", default="0,0.25,0.5,0.75,1", help="separated by commas (default: %(default)s)")
    parser.add_argument("--tasks", default="", help="tasks to evaluate, separated by commas (default: all of the dataset)")
    parser.add_argument("--choose-on", choices=("half", "all"), default="half", help="test rows to choose on (default: half)")
    parser.add_argument("--max-samples", type=int, help="at most so many rows of a task in each evaluation")
    parser.add_argument(
        "--model-args", default="batch_size=16,dtype=bfloat16", help="further ones for lighteval (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the models that are merged now, in models/")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    return parser.parse_args(argv)


def read_sweep(args: argparse.Namespace) -> Sweep:
    """Raises UserError for what can be told before anything is merged."""
    weights = sweep_weights(args.weights)
    if args.max_samples is not None and args.max_samples < 1:
        raise UserError(f"--max-samples {args.max_samples} is none; give 1 or more")
    if "," in str(args.out.resolve()):
        raise UserError(f"{args.out} has a comma in its path, where lighteval ends a name; give another --out")
    adapter = read_adapter(args.adapter)
    rows = read_test_rows(args.data, [name.strip() for name in args.tasks.split(",") if name.strip()])
    parts = halves(rows) if args.choose_on == "half" else {CHOICE: rows}
    base = args.base or base_of([adapter])
    return Sweep(adapter, base, args.out, weights, parts, args.max_samples, args.model_args, args.keep)


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    sweep = read_sweep(args)
    if args.dry_run:
        print_plan(sweep)
    else:
        from transformers.utils.logging import disable_progress_bar

        warnings.filterwarnings("ignore", category=FutureWarning)  # transformers' own use of names that it renamed
        quiet: Callable[[], None] = disable_progress_bar
        quiet()
        run_sweep(sweep)


if __name__ == "__main__":
    with plain_errors():
        main()
