"""Answers by eval_tasks beside those of a text-generation pipeline, same model, data type, threads and rows.

    python -m benchmarks.generation_speed --data DATASET --model MODEL

The straightforward loop is transformers' pipeline over the test rows in an order drawn by --seed: eight at a time, up to 100
new tokens. Loading is not counted on either side, reading prompts is. The last line is JSON.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured, timed
from common.answers import parse_completion
from common.console import print_table
from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.backends.prompts import Prompt

LOOP_BATCH = 8
LOOP_NEW_TOKENS = 100


def parse_arguments(argv: Sequence[str] | None, command: str, about: str | None, rows: int, dtype: str) -> argparse.Namespace:
    """Options of a comparison of speeds on a dataset's test rows; `rows` and `dtype` are defaults."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{command}", description=(about or "").split("\n\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of a built dataset")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument(
        "--rows", type=int, default=rows, metavar="N", help="test rows of the tasks' mix (default: %(default)s)"
    )
    parser.add_argument("--dtype", default=dtype, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser.parse_args(argv)


def drawn_rows(folder: str, rows: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the test split in a seeded order, so that tasks come in the mix that the dataset has. Raises UserError."""
    from training.mixture import draw

    test = [row for table in read_split(folder, "test").values() for row in table.to_pylist()]
    if not test:
        raise UserError(f"{folder} holds no test rows. Give the --out of python -m dataset_builders.build.")
    return sorted(test, key=lambda row: draw(seed, row["sample_id"]))[:rows]


def row_prompts(rows: Sequence[Mapping[str, Any]]) -> list[Prompt]:
    """What the evaluation asks of a dataset's rows."""
    asked = [(row["prompt"][0]["content"], TASKS[row["task"]]) for row in rows]
    return [Prompt((("user", text),), text, task.max_new_tokens, f"shop:{task.name}") for text, task in asked]


def by_loop(model: str, dtype: str, prompts: Sequence[Prompt]) -> Measured:
    """Answers of the pipeline, and what they cost."""
    from transformers import pipeline

    generator: Any = pipeline("text-generation", model=model, dtype=dtype)
    generator.tokenizer.padding_side = "left"
    if generator.tokenizer.pad_token is None:
        generator.tokenizer.pad_token = generator.tokenizer.eos_token
    options = {"max_new_tokens": LOOP_NEW_TOKENS, "do_sample": False, "return_full_text": False, "batch_size": LOOP_BATCH}
    generator([prompts[0].chat()], **options | {"max_new_tokens": 2})  # what is done once
    chats = [asked.chat() for asked in prompts]
    return timed(lambda: [said[0]["generated_text"] for said in generator(chats, **options)])


def by_engine(model: str, dtype: str, prompts: Sequence[Prompt], adapter: Path | None = None) -> Measured:
    """Answers of the evaluation's transformers backend, and what they cost."""
    from eval_tasks.backends.prompts import parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    options = parse_options(f"model_name={model},dtype={dtype}", TransformersBackend.OPTIONS)
    loaded = load(options, [adapter] if adapter else [])

    def answer(asked: Sequence[Prompt]) -> list[str]:
        found = dict(loaded.answer(asked, adapter, False))
        return [found[place] for place in range(len(asked))]

    answer(prompts[:1])  # what is done once
    return timed(partial(answer, prompts))


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv, "generation_speed", __doc__, 96, "bfloat16")
    rows = drawn_rows(arguments.data, arguments.rows, arguments.seed)

    from training.summary import use_cores

    use_cores(0)
    tasks, prompts = [TASKS[row["task"]] for row in rows], row_prompts(rows)
    engine = by_engine(arguments.model, arguments.dtype, prompts)
    loop = by_loop(arguments.model, arguments.dtype, prompts)
    read = [[parse_completion(task, text) for task, text in zip(tasks, way.result, strict=True)] for way in (engine, loop)]
    same = [one == other for one, other in zip(*read, strict=True)]
    differ = sorted({task.name for task, equal in zip(tasks, same, strict=True) if not equal})
    ways = {"text-generation pipeline": loop, "eval_tasks/backends/generation.py": engine}
    lines = [(name, f"{way.seconds:.1f}", f"{len(rows) / way.seconds:.2f}") for name, way in ways.items()]
    print_table(("way", "seconds", "rows/s"), lines)
    print(f"{sum(same)} of {len(same)} answers are read the same" + (f"; others in {', '.join(differ)}" if differ else ""))
    figures = {
        "ratio": loop.seconds / engine.seconds,
        "rows": len(rows),
        "tasks": len({task.name for task in tasks}),
        "rows_per_second": len(rows) / engine.seconds,
        "loop_rows_per_second": len(rows) / loop.seconds,
        "read_the_same": sum(same) / len(same),
    }
    print(json.dumps(figures | {"dtype": arguments.dtype, "seed": arguments.seed}))


if __name__ == "__main__":
    with plain_errors():
        main()
