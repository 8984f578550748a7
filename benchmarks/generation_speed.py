"""Answers by eval_tasks beside those of a text-generation pipeline, same model, data type, threads and rows.

The straightforward loop is transformers' pipeline over the test rows in an order drawn by --seed: eight at a time, up to 100
new tokens. Loading is not counted on either side, reading prompts is.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.holdout import task_rows
from common.answers import parse_completion
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.backends.prompts import Prompt

LOOP_BATCH = 8
LOOP_NEW_TOKENS = 100


def parse_arguments(argv: Sequence[str], command: str, about: str | None, rows: int, dtype: str) -> argparse.Namespace:
    """Options of a comparison of speeds on a dataset's test rows; `rows` and `dtype` are defaults."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.eval {command}", description=(about or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of a built dataset")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument(
        "--rows", type=int, default=rows, metavar="N", help="test rows of the tasks' mix (default: %(default)s)"
    )
    parser.add_argument("--dtype", default=dtype, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser.parse_args(argv)


def drawn_rows(folder: Path, rows: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the test split in a seeded order, so that tasks come in the mix that the dataset has. Raises UserError."""
    from training.mixture import draw

    test = [row for part in task_rows(folder, "test").values() for row in part]
    if not test:
        raise UserError(f"{folder} holds no test rows. Give the --out of python -m dataset_builders.build.")
    return sorted(test, key=lambda row: draw(seed, row["sample_id"]))[:rows]


def by_loop(model: str, dtype: str, prompts: Sequence[Prompt]) -> tuple[list[str], float]:
    """Answers and seconds."""
    from transformers import pipeline

    generator: Any = pipeline("text-generation", model=model, dtype=dtype)
    generator.tokenizer.padding_side = "left"
    if generator.tokenizer.pad_token is None:
        generator.tokenizer.pad_token = generator.tokenizer.eos_token
    options = {"max_new_tokens": LOOP_NEW_TOKENS, "do_sample": False, "return_full_text": False, "batch_size": LOOP_BATCH}
    generator([prompts[0].chat()], **options | {"max_new_tokens": 2})  # what is done once
    started = perf_counter()
    found = [said[0]["generated_text"] for said in generator([asked.chat() for asked in prompts], **options)]
    return found, perf_counter() - started


def by_engine(model: str, dtype: str, prompts: Sequence[Prompt]) -> tuple[list[str], float]:
    """Answers and seconds."""
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    loaded = load(parse_options(f"model_name={model},dtype={dtype}", TransformersBackend.OPTIONS))
    list(loaded.answer(prompts[:1], None, False))
    started = perf_counter()
    found = dict(loaded.answer(prompts, None, False))
    return [found[place] for place in range(len(prompts))], perf_counter() - started


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv, "generation", __doc__, 96, "bfloat16")
    rows = drawn_rows(arguments.data, arguments.rows, arguments.seed)

    import torch
    from rich.console import Console
    from rich.table import Table

    from training.summary import usable_cores

    torch.set_num_threads(usable_cores())
    tasks = [TASKS[row["task"]] for row in rows]
    texts = [row["prompt"][0]["content"] for row in rows]
    prompts = [
        Prompt((("user", text),), text, task.max_new_tokens, f"shop:{task.name}")
        for text, task in zip(texts, tasks, strict=True)
    ]
    engine, engine_seconds = by_engine(arguments.model, arguments.dtype, prompts)
    loop, loop_seconds = by_loop(arguments.model, arguments.dtype, prompts)
    read = [[parse_completion(task, text) for task, text in zip(tasks, said, strict=True)] for said in (engine, loop)]
    same = [one == other for one, other in zip(*read, strict=True)]
    differ = sorted({task.name for task, equal in zip(tasks, same, strict=True) if not equal})

    table = Table("way")
    for title in ("seconds", "rows/s"):
        table.add_column(title, justify="right")
    for name, seconds in (("text-generation pipeline", loop_seconds), ("eval_tasks/backends/generation.py", engine_seconds)):
        table.add_row(name, f"{seconds:.1f}", f"{len(rows) / seconds:.2f}")
    Console().print(table)
    print(f"{sum(same)} of {len(same)} answers are read the same" + (f"; others in {', '.join(differ)}" if differ else ""))
    print(
        json.dumps(
            {
                "ratio": loop_seconds / engine_seconds,
                "rows": len(rows),
                "tasks": len({task.name for task in tasks}),
                "rows_per_second": len(rows) / engine_seconds,
                "loop_rows_per_second": len(rows) / loop_seconds,
                "read_the_same": sum(same) / len(same),
                "dtype": arguments.dtype,
                "seed": arguments.seed,
            }
        )
    )


if __name__ == "__main__":
    import sys

    with plain_errors():
        main(sys.argv[1:])
