"""Merges an adapter into its base at several weights, evaluates each merged model, and names the best weight.

    python -m eval_tasks.sweep --adapter A --data DATASET --out DIR --weights 0,0.25,0.5,0.75,1

A weight is that of `python -m training.merge --weight`: 0 is the base, 1 the tuned model. A weight that was chosen on some
rows scores too well on them. So the test rows are split in two halves by group, such as a product or a query: the weight is
chosen on one half, then it and the weights 0 and 1 are scored on the other half, and those are the figures to report. With
--choose-on all it is chosen on all test rows of --data, which is for a dataset of validation rows.

DIR gets sweep.json, sweep.png and, below results/, what lighteval wrote. The same command resumes: what was evaluated is
evaluated again only if the adapter, the base, the rows, an option, torch or transformers has changed.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.files import check_writable, write_json, write_whole
from common.tasks import TASKS
from training.adapters import Adapter, base_of, parse_weights, public_name, read_adapter
from training.merge import merge_adapters

CHOICE, REPORT = "choice", "report"
"""The half of the rows that the weight is chosen on, and the one that it is scored on."""

OPTIMISTIC = "The weight was chosen on these rows: its score on them is too high to report. Score it on other rows."


@dataclass(frozen=True)
class Sweep:
    """What is evaluated. `tables`: part of the rows -> lighteval's tasks; `stamp`: what scores depend on besides these."""

    adapter: Adapter
    base: str
    out: Path
    weights: tuple[float, ...]
    tables: Mapping[str, Sequence[Any]]
    options: Sequence[str]
    max_samples: int | None
    stamp: Mapping[str, Any]

    def folder(self, weight: float, part: str) -> Path:
        """Where the results of a weight are."""
        return self.out / "results" / part / f"{weight:g}"


@dataclass(frozen=True)
class SweepPoint:
    """A weight's scores: task -> score."""

    weight: float
    scores: Mapping[str, float]

    @property
    def mean(self) -> float:
        return sum(self.scores.values()) / len(self.scores)


def in_choice(row: Mapping[str, Any]) -> bool:
    """Whether a row is in the half to choose on. It depends on the row's group alone, so all tasks agree."""
    return hashlib.md5(f"sweep|{row.get('group') or row['sample_id']}".encode()).digest()[0] % 2 == 0


def in_report(row: Mapping[str, Any]) -> bool:
    return not in_choice(row)


def halves(table: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """lighteval's tasks on either half of their rows. Raises UserError where a task has too few groups."""
    for config in table:
        rows = read_split(config.hf_repo, "test", [config.hf_subset], config.hf_revision)[config.hf_subset].to_pylist()
        if len(set(map(in_choice, rows))) < 2:
            raise UserError(f"{config.name} has too few test rows to halve; leave it out of --tasks, or give --choose-on all")
    filters = {CHOICE: in_choice, REPORT: in_report}
    return {part: [replace(config, hf_filter=chosen) for config in table] for part, chosen in filters.items()}


def evaluate_weight(sweep: Sweep, weight: float, part: str) -> SweepPoint:
    """A weight's scores on a part of the rows: those on disk if nothing has changed, else of a model that is merged now."""
    from eval_tasks import run
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.reporting.results import read_run
    from eval_tasks.transformers_model import TransformersBackend

    folder, work, table = sweep.folder(weight, part), sweep.out / ".work", sweep.tables[part]
    stamp = {**sweep.stamp, "rows": [[config.name, config.version, config.prompt_function.__name__] for config in table]}
    done = folder / "done.json"
    known = _read(done) == stamp
    print(f"== weight {weight:g}, {part} rows{': evaluated before' if known else ''}", file=sys.stderr, flush=True)
    if not known:
        for former in (folder, work):
            shutil.rmtree(former, ignore_errors=True)
        try:
            merge_adapters([sweep.adapter], work / "model", sweep.base, weight)
            options = ",".join([f"model_name={work / 'model'}", f"cache_dir={work}", *sweep.options])
            loaded = TransformersBackend.load(parse_options(options, TransformersBackend.OPTIONS), [])
            tasks: Any = ModuleType("tasks")  # what lighteval takes tasks from
            tasks.TASKS_TABLE = list(table)
            names = ",".join(f"{config.name}|0" for config in table)
            run.evaluate(run.backend_model(TransformersBackend, options, loaded), tasks, names, folder, sweep.max_samples)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        write_json(done, stamp)
    return SweepPoint(weight, {task: score.value for task, score in read_run(folder).scores.items()})


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def best(points: Sequence[SweepPoint]) -> SweepPoint:
    """The one of the highest mean; of several, the nearest to the base."""
    return max(points, key=lambda point: (point.mean, -point.weight))


def run_sweep(sweep: Sweep) -> None:
    """Evaluates all weights, prints the tables and writes sweep.json and sweep.png."""
    from eval_tasks.report import compare

    first = next(iter(sweep.tables))
    points = {first: [evaluate_weight(sweep, weight, first) for weight in sweep.weights]}
    chosen = best(points[first])
    if REPORT in sweep.tables:
        ends = [weight for weight in sweep.weights if weight in (0, 1, chosen.weight)]
        points[REPORT] = [evaluate_weight(sweep, weight, REPORT) for weight in ends]
    for part, found in points.items():
        print(f"Scores by weight on the {part} rows:")
        compare([sweep.folder(point.weight, part) for point in found], [f"{point.weight:g}" for point in found])
    summary = {
        "best": chosen.weight,
        **{part: [vars(point) | {"mean": point.mean} for point in found] for part, found in points.items()},
        "note": None if REPORT in points else OPTIMISTIC,
        "adapter": public_name(sweep.adapter.name),
        "base": public_name(sweep.base),
        "max_samples": sweep.max_samples,
    }
    write_json(sweep.out / "sweep.json", summary)
    write_whole(sweep.out / "sweep.png", lambda path: write_plot(points[first], path))
    print(f"best weight by mean: {chosen.weight:g} ({chosen.mean:.3f} on the {first} rows)")
    if summary["note"]:
        print(f"NOTE: {OPTIMISTIC}")
    adapter = sweep.adapter.name + (f"@{sweep.adapter.revision}" if sweep.adapter.revision else "")
    words = ("--adapter", adapter, "--base", sweep.base, "--weight", f"{chosen.weight:g}", "--out", "MODEL")
    print(f"python -m training.merge {shlex.join(words)}  makes its model")


def write_plot(points: Sequence[SweepPoint], path: Path) -> None:
    """Writes the picture as PNG: score by weight, a line for each task and one for the mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    weights = [point.weight for point in points]
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in points[0].scores:
        label = TASKS[name.removeprefix("shop:")].title
        axes.plot(weights, [point.scores[name] for point in points], marker=".", linewidth=1.2, alpha=0.75, label=label)
    axes.plot(weights, [point.mean for point in points], color="#222222", marker="o", linewidth=3, label="mean over tasks")
    axes.axvline(best(points).weight, color="#8a8a8a", linestyle=":", zorder=0)
    axes.set(xlabel="weight of the adapter (0: base, 1: tuned)", ylabel="score", xticks=weights)
    axes.set_title(f"Score by weight; {best(points).weight:g} has the best mean", loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, format="png", dpi=160, facecolor="white")


def read_sweep(argv: Sequence[str] | None = None) -> Sweep:
    """The command line's sweep. Raises UserError for what can be found out before anything is merged."""
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", required=True, metavar="ADAPTER", help="adapter folder, Hub id, or org/name@revision")
    parser.add_argument("--base", help="base model folder or Hub id (default: the one that the adapter names)")
    parser.add_argument("--data", required=True, help="folder of a built dataset, Hub id, or org/name@revision")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results, sweep.json and sweep.png")
    parser.add_argument(
        "--weights", default="0,0.25,0.5,0.75,1", metavar="A,B", help="separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--tasks", default="", metavar="A,B", help="tasks or families, separated by commas (default: all of the dataset)"
    )
    parser.add_argument("--choose-on", choices=("half", "all"), default="half", help="test rows to choose on (default: half)")
    parser.add_argument("--max-samples", type=int, metavar="N", help="N rows of each task, by a fixed draw (default: all)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the backend, such as dtype=float32; repeat"
    )
    arguments = parser.parse_args(argv)

    from eval_tasks.backends.cache_key import folder_stamp
    from eval_tasks.backends.lighteval_model import local_folder

    weights = tuple(sorted(parse_weights(arguments.weights, "--weights")))
    if weights[0] < 0 or len({f"{weight:g}" for weight in weights}) < len(weights):
        raise UserError(f"--weights {arguments.weights!r}: give different ones of 0 or more, such as 0,0.25,0.5,0.75,1")
    if arguments.max_samples is not None and arguments.max_samples < 1:
        raise UserError(f"--max-samples must be 1 or more, not {arguments.max_samples}")
    if "," in str(arguments.out):
        raise UserError(f"{arguments.out} has a comma in its path, where an option ends; give another --out")
    adapter = read_adapter(arguments.adapter)
    base = arguments.base or base_of([adapter])
    os.environ["SHOP_DATASET"], os.environ["SHOP_DATASET_REVISION"] = arguments.data, ""  # read when shop.py is imported
    table = import_module("eval_tasks.shop").task_table(arguments.data, None, arguments.tasks)
    stamp = {
        "adapter": [adapter.sha256, adapter.config],
        "base": folder_stamp(local_folder(base, "--base")),
        "options": arguments.option,
        "max_samples": arguments.max_samples,
    }
    tables = halves(table) if arguments.choose_on == "half" else {"all": table}
    return Sweep(adapter, base, arguments.out, weights, tables, arguments.option, arguments.max_samples, stamp)


def main(argv: Sequence[str] | None = None) -> None:
    sweep = read_sweep(argv)
    check_writable(sweep.out)
    run_sweep(sweep)


if __name__ == "__main__":
    with plain_errors():
        main()
