"""Rejection sampling (RFT): the best of several sampled answers to each row, as a dataset to train on again.

    python -m training.rejection --model BASE --adapter ADAPTER --data DATASET --samples 8 --out OUT
    accelerate launch training/sft.py --config RECIPE --dataset_name OUT ...

Samples answers to the train split's rows, scores each by its task's own metric (common/scoring.py), and keeps the best one as
the row's completion where its score is --min-score or more (https://arxiv.org/abs/2308.01825). Of equally good answers the
commonest counts. Rows without such an answer are left out and counted by reason. Prompts, true answers and groups stay as they
are, so that the folder is trained on and split like any dataset.

Samples are kept in OUT/samples.jsonl as they come: the same command goes on where it was interrupted. With --engine vllm run it
in vLLM's environment (make setup-vllm). No row of the test split is read.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.answers import decode_answer, parse_completion, render_completion
from common.console import print_table
from common.dataset import MANIFEST, config_tasks, data_file, data_pattern, read_split
from common.errors import UserError, plain_errors
from common.files import sha256_of, write_json, write_whole
from common.scoring import score_answer
from common.tasks import TASKS
from common.thinking import without_thoughts
from common.words import row_task
from training.adapters import ADAPTER_WEIGHTS, find_adapter, public_name
from training.sampling import Sampling, sample

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = "samples.jsonl"
REPORT = "rejection.json"
UNPARSABLE = "no answer could be parsed"
TOO_LOW = "no answer scored --min-score or more"


@dataclass(frozen=True)
class Chosen:
    """The best of a row's answers: its completion, or None with the reason. `scores` are those of all its answers."""

    completion: str | None
    scores: list[float]
    reason: str = ""


@dataclass
class TaskReport:
    """What became of a task's rows. `mean` is that of all samples' scores, `best` that of the best sample of each row."""

    rows: int = 0
    kept: int = 0
    mean: float = 0.0
    best: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)


def choose(task: str, answer: Any, answers: Sequence[str], min_score: float) -> Chosen:
    """The best of the answers to a row, in the form that its task's completions have. `answer` is the row's decoded one."""
    asked = row_task(TASKS[task], answer)
    parsed = [parse_completion(asked, without_thoughts(text) or "") for text in answers]
    scores = [score_answer(asked, value, answer) for value in parsed]
    texts = ["" if value is None else render_completion(asked, value) for value in parsed]
    readable = [(score, text) for score, text, value in zip(scores, texts, parsed, strict=True) if value is not None]
    if not readable:
        return Chosen(None, scores, UNPARSABLE)
    best = max(score for score, _ in readable)
    if best < min_score:
        return Chosen(None, scores, TOO_LOW)
    return Chosen(Counter(text for score, text in readable if score == best).most_common(1)[0][0], scores)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.rejection", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", required=True, metavar="BASE", help="folder or Hub id of the base, or of a merged model")
    parser.add_argument("--adapter", help="folder or Hub id of the adapter whose answers are sampled")
    parser.add_argument("--data", required=True, metavar="DATASET", help="folder or Hub id of a built dataset")
    parser.add_argument("--tasks", metavar="A,B", help="tasks of the dataset (default: all)")
    parser.add_argument("--max-rows-per-task", type=int, default=0, metavar="N", help="by a seeded draw (default: all)")
    parser.add_argument("--samples", type=int, default=8, metavar="N", help="answers to each row (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling, above 0 (default: %(default)s)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, help="share of the likeliest tokens to sample from (default: %(default)s)"
    )
    parser.add_argument("--min-score", type=float, default=0.5, help="least score to keep, 0 to 1 (default: %(default)s)")
    parser.add_argument(
        "--engine", choices=("transformers", "vllm"), default="transformers", help="what samples (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of samples and of the draw of rows (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new dataset")
    arguments = parser.parse_args(argv)
    if arguments.samples < 1:
        raise UserError(f"--samples must be 1 or more, not {arguments.samples}")
    if not 0 < arguments.temperature <= 2:
        raise UserError(f"--temperature must be above 0 and at most 2, not {arguments.temperature}; at 0 all samples are alike")
    if not 0 < arguments.top_p <= 1:
        raise UserError(f"--top-p must be above 0 and at most 1, not {arguments.top_p}")
    if not 0 <= arguments.min_score <= 1:
        raise UserError(f"--min-score must be between 0 and 1, not {arguments.min_score}")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    from rich.console import Console
    from rich.progress import track

    arguments = parse_arguments(argv)
    tables = chosen_rows(arguments.data, arguments.tasks, arguments.max_rows_per_task, arguments.seed)
    rows = [row for table in tables.values() for row in table.to_pylist()]
    adapter = find_adapter(arguments.adapter) if arguments.adapter else None
    how = Sampling(arguments.samples, arguments.temperature, arguments.top_p, arguments.seed)
    settings = {"model": arguments.model, "adapter": arguments.adapter, "rows": rows_key(rows), **asdict(how)}
    if adapter:  # trained again under the same name it is another one
        settings["adapter_sha256"] = sha256_of(adapter / ADAPTER_WEIGHTS)
    known = open_samples(arguments.out, settings)
    missing = [row for row in rows if row["sample_id"] not in known]
    print(f"{len(rows):,} rows, of which {len(known):,} are answered; {how.count} answers to each", flush=True)
    if missing:
        limits = [row_task(TASKS[row["task"]], decode_answer(row)).max_new_tokens for row in missing]
        prompts = [row["prompt"] for row in missing]
        with (arguments.out / SAMPLES).open("a", encoding="utf-8") as file:
            found = sample(arguments.engine, arguments.model, adapter, prompts, limits, how)
            for place, answers in track(found, "Rows", len(missing), console=Console(stderr=True)):
                known[missing[place]["sample_id"]] = answers
                file.write(json.dumps({"sample_id": missing[place]["sample_id"], "answers": answers}) + "\n")
                file.flush()
    best = {
        row["sample_id"]: choose(row["task"], decode_answer(row), known[row["sample_id"]], arguments.min_score) for row in rows
    }
    report = write_dataset(arguments.out, tables, best)
    show(report)
    shown = {name: public_name(settings[name]) for name in ("model", "adapter") if settings[name]}
    write_json(arguments.out / REPORT, settings | shown | {"tasks": {name: asdict(entry) for name, entry in report.items()}})
    if not any(entry.kept for entry in report.values()):
        raise UserError("no row has an answer that is good enough; lower --min-score, give more --samples, or train first")


def chosen_rows(data: str, tasks: str | None, limit: int, seed: int) -> "dict[str, pa.Table]":
    """Task -> its rows to train on. Raises UserError."""
    from training.mixture import draw

    wanted = [task.strip() for task in tasks.split(",") if task.strip()] if tasks else list(TASKS)
    found = read_split(data, "train", [task for task in wanted if task in TASKS])
    if tasks and (unknown := [task for task in wanted if task not in found]):
        raise UserError(f"the dataset has no rows of the task {', '.join(unknown)}; check --tasks")
    if not found:
        raise UserError(f"{data} holds no rows to train on; give the --out of python -m dataset_builders.build")
    for task, table in found.items():
        ids = table["sample_id"].to_pylist()
        if limit and len(ids) > limit:
            first = set(sorted(range(len(ids)), key=lambda place: draw(seed, ids[place]))[:limit])
            found[task] = table.take(sorted(first))
    return found


def rows_key(rows: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps([[row["sample_id"], row["prompt"]] for row in rows]).encode()).hexdigest()


def open_samples(out: Path, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """The answers of an earlier run with the same settings; a new file where there is none. Raises UserError."""
    path = out / SAMPLES
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    if len(lines) < 3:  # no answer yet, as after a model that could not be loaded
        if out.exists() and (not out.is_dir() or any(each != path for each in out.iterdir())):
            raise UserError(f"{out} exists and holds something else. Give an empty or a new folder.")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{out} cannot be made: {error.strerror}. Give another folder.") from None
        write_whole(path, lambda new: new.write_text(json.dumps(dict(settings)) + "\n", encoding="utf-8"))
        return {}
    if lines[0] != json.dumps(dict(settings)):
        raise UserError(f"{path} was sampled with other rows, models or settings; give another --out, or the same command")
    if lines[-1]:  # the line that a killed run was writing
        write_whole(path, lambda new: new.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8"))
    found = (json.loads(line) for line in lines[1:-1])
    return {entry["sample_id"]: entry["answers"] for entry in found}


def write_dataset(out: Path, tables: "Mapping[str, pa.Table]", best: Mapping[str, Chosen]) -> dict[str, TaskReport]:
    """Writes the rows with an answer that is good enough, in the files of a built dataset, and counts what became of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    report: dict[str, TaskReport] = {}
    counts: dict[str, int] = {}
    digest = hashlib.sha256()
    for task, table in tables.items():
        chosen = [best[name] for name in table["sample_id"].to_pylist()]
        report[task] = report_of(chosen)
        kept = [place for place, one in enumerate(chosen) if one.completion is not None]
        path = out / data_file(task, "train")
        if not kept:
            path.unlink(missing_ok=True)
            continue
        completions = [[{"role": "assistant", "content": chosen[place].completion}] for place in kept]
        digest.update(json.dumps([task, [table["sample_id"][place].as_py() for place in kept], completions]).encode())
        rows = table.take(kept)
        number = rows.schema.get_field_index("completion")
        new = rows.set_column(number, rows.schema.field(number), pa.array(completions, rows.schema.field(number).type))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda unfinished, new=new: pq.write_table(new, unfinished))  # type: ignore[misc]
        counts[task] = len(kept)
    text = rows_card("Rows with the best of a model's sampled answers", {"train": list(counts)}, digest.hexdigest())
    write_whole(out / "README.md", lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    default = {"train": sum(counts.values()), "fingerprint": digest.hexdigest()}
    configs = {"default": default} | {task: {"train": count} for task, count in counts.items()}
    write_json(out / MANIFEST, {"configs": configs})
    return report


def report_of(chosen: Sequence[Chosen]) -> TaskReport:
    scores = [score for one in chosen for score in one.scores]
    return TaskReport(
        rows=len(chosen),
        kept=sum(one.completion is not None for one in chosen),
        mean=sum(scores) / max(1, len(scores)),
        best=sum(max(one.scores, default=0.0) for one in chosen) / max(1, len(chosen)),
        left_out=dict(Counter(one.reason for one in chosen if one.reason)),
    )


def rows_card(title: str, tasks: Mapping[str, Sequence[str]], fingerprint: str) -> str:
    """A README.md by which `load_dataset` finds the files of each config. `tasks`: split -> those that have rows in it.

    With the fingerprint it takes no other rows of its cache.
    """
    names = [name for name in TASKS if any(name in found for found in tasks.values())]
    configs = []
    for config, members in config_tasks(names).items():
        paths = {split: [data_pattern(name, split) for name in members if name in found] for split, found in tasks.items()}
        files = [{"split": split, "path": found} for split, found in paths.items() if found]
        default = {"default": True} if config == "default" else {}
        configs.append({"config_name": config, "data_files": files, **default, "description": f"fingerprint {fingerprint}"})
    return f"---\nconfigs: {json.dumps(configs if names else [])}\n---\n# {title}\n"  # JSON is YAML


def show(report: Mapping[str, TaskReport]) -> None:
    lines = []
    for name, entry in report.items():
        reasons = (f"{entry.left_out.get(reason, 0):,}" for reason in (UNPARSABLE, TOO_LOW))
        lines.append((name, f"{entry.rows:,}", f"{entry.kept:,}", f"{entry.mean:.3f}", f"{entry.best:.3f}", *reasons))
    header = ("task", "rows", "kept", "mean score", "best of each row", UNPARSABLE, TOO_LOW)
    print_table(header, lines, "Rejection sampling")


if __name__ == "__main__":
    with plain_errors():
        main()
