"""`eval.yaml`, by which the Hub knows a dataset as a benchmark with a leaderboard for each task, and inspect-ai runs it.

    inspect eval hf/org/name --model hf/MODEL -M do_sample=false

https://huggingface.co/docs/hub/eval-results, https://inspect.aisi.org.uk/tasks.html#hugging-face. Its scorers know no NDCG, no
hit rate and no ROUGE-L: only tasks that are scored by accuracy are in it. All twelve are in eval_tasks/inspect_shop.py.
"""

from collections.abc import Mapping
from typing import Any

from common.tasks import TASKS, Task

EVAL_YAML = "eval.yaml"
FRAMEWORK = "inspect-ai"
"""One of https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/eval.ts; lighteval is not."""


def in_benchmark(task: Task) -> bool:
    """Whether inspect-ai's own scorers give the task's score, so that it has a leaderboard on the Hub."""
    return task.metric == "accuracy"


def eval_yaml(title: str, test_rows: Mapping[str, int]) -> str | None:
    """The file's text for a dataset with so many test rows by config; None where no task of it can be in a benchmark."""
    import yaml

    tasks = [task for task in TASKS.values() if in_benchmark(task) and test_rows.get(task.name)]
    if not tasks:
        return None
    described = {
        "name": title,
        "description": "Choices that an online shop asks of a language model, scored by accuracy.",
        "evaluation_framework": FRAMEWORK,
        "tasks": [_benchmark_task(task) for task in tasks],
    }
    return str(yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120))


def _benchmark_task(task: Task) -> dict[str, Any]:
    """A prompt is a list of chat turns, which inspect-ai takes as messages.

    The column `answer` is JSON, a label in quotes; `match` leaves punctuation out on both sides. As in this project's own
    scoring an answer is right that begins with the label.
    """
    return {
        "id": task.name,
        "config": task.name,
        "split": "test",
        "field_spec": {"input": "prompt", "target": "answer"},
        "solvers": [{"name": "generate", "args": {"max_tokens": task.max_new_tokens}}],
        "scorers": [{"name": "match", "args": {"location": "begin"}}],
    }
