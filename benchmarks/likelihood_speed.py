"""Answers scored by eval_tasks beside one full forward pass per candidate, same model, data type, threads and rows.

    python -m benchmarks.likelihood_speed --data DATASET --model MODEL

The straightforward way is a padded batch of whole texts, a text for each candidate of each prompt, those of about one length
together. Neither loading nor reading prompts is counted, on either side. The last line is JSON.
"""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.generation_speed import drawn_rows, parse_arguments
from benchmarks.measure import timed
from common.console import print_table
from common.errors import UserError, plain_errors
from common.tasks import TASKS
from common.words import is_scored
from eval_tasks.backends.prompts import ScoredPrompt


def asked(rows: Sequence[dict[str, Any]]) -> list[ScoredPrompt]:
    """The prompts in words of the rows whose answers are scored."""
    from lighteval.tasks.requests import Doc

    from eval_tasks.backends.scored_rows import scored_rows

    docs = [
        Doc(query=row["prompt"][0]["content"], choices=[""], gold_index=0, task_name=f"shop:{row['task']}|0") for row in rows
    ]
    return [prompt for row in scored_rows(docs).values() for prompt in row.prompts]


def load_texts(name: str, dtype: str, prompts: Sequence[ScoredPrompt]) -> tuple[Any, Any, Any]:
    """The model, its chat format, and the tokens of every candidate behind its prompt. Raises UserError."""
    import transformers

    from eval_tasks.backends.chat_format import load_format
    from eval_tasks.backends.engine import context_length
    from eval_tasks.backends.lighteval_model import local_folder
    from eval_tasks.backends.likelihoods import placed_texts
    from eval_tasks.transformers_model import greedy, vocabulary

    folder = local_folder(name)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    form = load_format(folder, None, {}, greedy(model.eval()), vocabulary(model))
    return model, form, placed_texts(form, prompts, context_length(model.config))


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv, "likelihood_speed", __doc__, 64, "float32")
    scored = [row for row in drawn_rows(arguments.data, 2**30, arguments.seed) if is_scored(TASKS[row["task"]])]
    rows = scored[: arguments.rows]
    if not rows:
        raise UserError(f"{arguments.data} holds no test rows that can be scored. Build it with other --tasks.")
    prompts = asked(rows)

    from eval_tasks.backends.kv_buffers import ATTENTION
    from eval_tasks.backends.likelihoods import plain_likelihoods, tree_likelihoods
    from training.summary import use_cores

    use_cores(0)
    model, form, placed = load_texts(arguments.model, arguments.dtype, prompts)
    plain = timed(lambda: dict(plain_likelihoods(model, form, placed)))
    model.set_attn_implementation(ATTENTION)
    trees = timed(lambda: dict(tree_likelihoods(model, form, placed)))

    pairs = [(plain.result[place], trees.result[place]) for place in range(len(prompts))]
    apart = max(abs(one - other) for both in pairs for one, other in zip(*both, strict=True))
    same = sum(one.index(max(one)) == other.index(max(other)) for one, other in pairs)
    candidates = sum(len(prompt.candidates) for prompt in prompts)
    ways = {"full forward passes": plain, "eval_tasks/backends/likelihoods.py": trees}
    lines = [(name, f"{way.seconds:.1f}", f"{candidates / way.seconds:.1f}") for name, way in ways.items()]
    print_table(("way", "seconds", "candidates/s"), lines)
    print(f"{same} of {len(prompts)} prompts have the same likeliest candidate; log-likelihoods differ by {apart:.1e} at most")
    figures = {
        "ratio": plain.seconds / trees.seconds,
        "rows": len(rows),
        "prompts": len(prompts),
        "candidates": candidates,
        "candidates_per_second": candidates / trees.seconds,
        "largest_difference": apart,
        "same_candidate": same / len(prompts),
    }
    print(json.dumps(figures | {"dtype": arguments.dtype, "seed": arguments.seed}))


if __name__ == "__main__":
    with plain_errors():
        main()
