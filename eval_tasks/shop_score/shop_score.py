"""An `evaluate` metric that scores answers to the twelve tasks of an online shop and to ShopBench, many tasks in one call."""

import json
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from common.answers import parse_completion, whole_characters
from common.scoring import MetricUnavailableError, score_answer
from common.tasks import RANKED, TASKS, Task
from eval_tasks.metrics.embeddings import SENTENCE_MODELS
from eval_tasks.metrics.shopbench import PARSERS, TASK_TYPES, is_truth, says_nothing, score_answers, wanted_truth
from eval_tasks.metrics.task_scores import task_score
from eval_tasks.reporting.intervals import TaskValues, overall_interval

DESCRIPTION = """\
Scores a language model's answers on twelve tasks of an online shop (rating a review, relations of queries and products,
ranking, co-purchases, next queries, titles, answers from reviews), and on all metrics of ShopBench, the benchmark of the KDD
Cup 2024, as its official scorer computes them. One call may mix tasks; it returns each task's score, the mean over tasks, the
share of unparsable answers, and optional bootstrap intervals.
"""

KWARGS_DESCRIPTION = f"""
Args:
    predictions (list of str): the model's answers, unchanged.
    references (list): the right answers: a number, a list or a text, depending on the task, or the same as JSON, as in the
        `answer` column of the dataset.
    tasks (list of str, or one str for all rows): for each row the name of its task ({", ".join(TASKS)})
        or of its metric in ShopBench ({", ".join(TASK_TYPES)}).
    intervals (bool): whether to bootstrap a 95 % interval of each score. Default: False.
    groups (list, optional): for each row a group label, such as its product. Rows of a group are resampled together for the
        intervals.
    seed (int): seed of the intervals. Default: 0.
    sentence_model (str, optional): folder or Hub id for sent-transformer, instead of {SENTENCE_MODELS["sent-transformer"]}.

Returns:
    overall (float or None): the mean over the tasks that were scored.
    unparsable (float): the share of unparsable answers; they count in the scores.
    tasks (dict): for each task its `metric`, `score` (from 0 to 1), `rows`, `unparsable`, and with intervals `low` and `high`.
        A task whose model or package is missing has the score None and a `reason`, and does not count in `overall`.
    low, high (float): the interval of `overall`, with intervals.

Examples:
    >>> import evaluate
    >>> shop_score = evaluate.load("org/shop_score")
    >>> result = shop_score.compute(
    ...     predictions=["4 stars", "2,1,3,4,5", "red shoes"],
    ...     references=["4", [0.1, 1.0, 0.0, 0.0, 0.0], "red running shoes"],
    ...     tasks=["review_rating", "query_product_ranking", "query_generation"],
    ... )
    >>> print(round(result["overall"], 3), result["tasks"]["review_rating"]["score"])
    0.933 1.0
"""

CITATION = """\
@inproceedings{jin2024shopping,
    title={Shopping {MMLU}: A Massive Multi-Task Online Shopping Benchmark for Large Language Models},
    author={Jin, Yilun and Li, Zheng and Zhang, Chenwei and others},
    booktitle={Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
    year={2024},
    url={https://arxiv.org/abs/2410.20745}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(DESCRIPTION, KWARGS_DESCRIPTION)
class ShopScore(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """See DESCRIPTION and KWARGS_DESCRIPTION."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value("string") for name in ("predictions", "references", "tasks")}),
            reference_urls=["https://arxiv.org/abs/2410.20745"],
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Takes references of any type, and one task for all rows. Raises ValueError where columns differ in length."""
        predictions = [whole_characters(text) for text in predictions]
        references = [text if isinstance(text, str) else json.dumps(_plain(text)) for text in references]
        tasks = kwargs.pop("tasks", None)
        tasks = [tasks] * len(predictions) if isinstance(tasks, str) else list(tasks or ())
        if not len(predictions) == len(references) == len(tasks):
            raise ValueError(
                f"{len(predictions)} predictions, {len(references)} references and {len(tasks)} tasks; "
                "there must be one of each for every row"
            )
        super().add_batch(predictions=predictions, references=list(map(whole_characters, references)), tasks=tasks, **kwargs)

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str],
        tasks: Sequence[str],
        intervals: bool = False,
        groups: Sequence[Any] | None = None,
        seed: int = 0,
        sentence_model: str | None = None,
    ) -> dict[str, Any]:
        if groups is not None and len(groups) != len(tasks):
            raise ValueError(f"{len(groups)} groups for {len(tasks)} rows; there must be one for each row")
        by_task: dict[str, list[int]] = {}
        for index, name in enumerate(tasks):
            by_task.setdefault(name, []).append(index)
        found: dict[str, dict[str, Any]] = {}
        unread, scored = 0.0, []
        for name, rows in by_task.items():
            metric = TASKS[name].metric if name in TASKS else name
            truths = [_truth(name, references[row], row) for row in rows]
            values, reason, silent = _values(name, [predictions[row] for row in rows], truths, sentence_model)
            found[name] = {"metric": metric, "score": None, "rows": len(rows), "unparsable": silent / len(rows)}
            unread += silent
            if reason:
                found[name]["reason"] = reason
                continue
            found[name]["score"] = float(task_score(metric, values))
            labels = [groups[row] for row in rows] if groups is not None else None
            scored.append(TaskValues([np.atleast_1d(value).astype(float).tolist() for value in values], metric, labels))
            if intervals:
                found[name]["low"], found[name]["high"] = overall_interval(scored[-1:], seed)
        scores = [task["score"] for task in found.values() if task["score"] is not None]
        result = {"overall": float(np.mean(scores)) if scores else None, "unparsable": unread / len(tasks), "tasks": found}
        if intervals and scored:
            result["low"], result["high"] = overall_interval(scored, seed)
        return result


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _truth(name: str, reference: str, row: int) -> Any:
    """A reference as its task needs it. Raises ValueError."""
    if name not in TASKS and name not in TASK_TYPES:
        raise ValueError(f"tasks[{row}] is {name!r}; known are {', '.join((*TASKS, *TASK_TYPES))}")
    try:
        truth = json.loads(reference)
    except (ValueError, RecursionError):
        truth = reference
    task = TASKS.get(name)
    if not _fits(task, name, truth) and _fits(task, name, reference):
        return reference  # a text that happens to be JSON of something else, such as "5"
    if not _fits(task, name, truth):
        wanted = _WANTED[task.family] if task else wanted_truth(name)
        raise ValueError(f"references[{row}] is {reference[:60]!r}; {name} needs {wanted}")
    return truth


_WANTED = {
    "multiple_choice": "one of its labels",
    "ranking": f"a list of {RANKED} weights from 0",
    "retrieval": "a list of numbers, at least one",
    "generation": "a text",
}


def _fits(task: Task | None, name: str, truth: Any) -> bool:
    if task is None:
        return is_truth(truth, name)
    if task.family == "multiple_choice":
        return str(truth) in task.labels
    if task.family == "generation":
        return isinstance(truth, str)
    return is_truth(truth, "ndcg") and (task.family == "retrieval" or len(truth) == RANKED)


def _values(
    name: str, predictions: Sequence[str], truths: Sequence[Any], sentence_model: str | None
) -> tuple[list[Any], str | None, int]:
    """The values of a task's rows, why there are none, and how many answers say nothing."""
    task = TASKS.get(name)
    answers: list[Any]
    if task:
        answers = [parse_completion(task, text) for text in predictions]
        silent = sum(answer is None for answer in answers)
    else:
        answers = [PARSERS[TASK_TYPES[name]](text) for text in predictions]
        silent = sum(map(says_nothing, answers))
    try:
        if task:
            return [score_answer(task, answer, truth) for answer, truth in zip(answers, truths, strict=True)], None, silent
        return score_answers(name, answers, truths, sentence_model), None, silent
    except MetricUnavailableError as error:
        return [], str(error), silent
