"""Answers scored by eval_tasks beside one full forward pass per candidate, same model, data type, threads and rows.

The straightforward way is a padded batch of whole texts, a text for each candidate of each prompt, those of about one length
together. Neither loading nor reading prompts is counted, on either side.
"""

import json
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

from benchmarks.generation_speed import drawn_rows, parse_arguments
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from common.words import is_scored
from eval_tasks.backends.prompts import Likelihoods, ScoredPrompt


def asked(rows: Sequence[dict[str, Any]]) -> list[ScoredPrompt]:
    """The prompts in words of the rows whose answers are scored."""
    from lighteval.tasks.requests import Doc

    from eval_tasks.backends.scored_rows import scored_rows

    docs = [
        Doc(query=row["prompt"][0]["content"], choices=[""], gold_index=0, task_name=f"shop:{row['task']}|0") for row in rows
    ]
    return [prompt for row in scored_rows(docs).values() for prompt in row.prompts]


def timed(found: Iterator[tuple[int, Likelihoods]]) -> tuple[dict[int, Likelihoods], float]:
    """Likelihoods by place, and seconds."""
    started = perf_counter()
    return dict(found), perf_counter() - started


def main(argv: Sequence[str]) -> None:
    arguments = parse_arguments(argv, "likelihoods", __doc__, 64, "float32")
    scored = [row for row in drawn_rows(arguments.data, 2**30, arguments.seed) if is_scored(TASKS[row["task"]])]
    rows = scored[: arguments.rows]
    if not rows:
        raise UserError(f"{arguments.data} holds no test rows that can be scored. Build it with other --tasks.")
    prompts = asked(rows)

    import torch
    import transformers
    from rich.console import Console
    from rich.table import Table

    from eval_tasks.backends.chat_format import load_format
    from eval_tasks.backends.engine import context_length
    from eval_tasks.backends.kv_buffers import ATTENTION
    from eval_tasks.backends.lighteval_model import local_folder
    from eval_tasks.backends.likelihoods import placed_texts, plain_likelihoods, tree_likelihoods
    from eval_tasks.transformers_model import greedy, vocabulary
    from training.summary import usable_cores

    torch.set_num_threads(usable_cores())
    folder = local_folder(arguments.model)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=arguments.dtype)
    model.eval()
    form = load_format(folder, None, {}, greedy(model), vocabulary(model))
    placed = placed_texts(form, prompts, context_length(model.config))
    plain, plain_seconds = timed(plain_likelihoods(model, form, placed))
    model.set_attn_implementation(ATTENTION)
    trees, tree_seconds = timed(tree_likelihoods(model, form, placed))

    pairs = [(plain[place], trees[place]) for place in range(len(prompts))]
    apart = max(abs(one - other) for both in pairs for one, other in zip(*both, strict=True))
    same = sum(one.index(max(one)) == other.index(max(other)) for one, other in pairs)
    table = Table("way")
    for title in ("seconds", "candidates/s"):
        table.add_column(title, justify="right")
    candidates = sum(len(prompt.candidates) for prompt in prompts)
    ways = (("full forward passes", plain_seconds), ("eval_tasks/backends/likelihoods.py", tree_seconds))
    for name, seconds in ways:
        table.add_row(name, f"{seconds:.1f}", f"{candidates / seconds:.1f}")
    Console().print(table)
    print(f"{same} of {len(prompts)} prompts have the same likeliest candidate; log-likelihoods differ by {apart:.1e} at most")
    print(
        json.dumps(
            {
                "ratio": plain_seconds / tree_seconds,
                "rows": len(rows),
                "prompts": len(prompts),
                "candidates": candidates,
                "candidates_per_second": candidates / tree_seconds,
                "largest_difference": apart,
                "same_candidate": same / len(prompts),
                "dtype": arguments.dtype,
                "seed": arguments.seed,
            }
        )
    )


if __name__ == "__main__":
    import sys

    with plain_errors():
        main(sys.argv[1:])
