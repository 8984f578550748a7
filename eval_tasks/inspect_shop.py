"""inspect-ai tasks `shop` and `shopbench`: the twelve tasks and ShopBench, with the prompts and scores of lighteval's.

    python -m eval_tasks.inspect_shop --data data/shop --model hf/local -M model_path=MODEL
    inspect eval eval_tasks/inspect_shop.py@shop -T dataset=data/shop -T tasks=ranking,review_rating \\
        --model hf/local -M model_path=MODEL -M do_sample=false

`dataset` is the folder of a build or its Hub id (`org/name@revision` too), by default SHOP_DATASET; `data` of `shopbench` is as
SHOPBENCH_DATA in shopbench.py. MODEL is a folder or Hub id; any model of inspect-ai (https://inspect.aisi.org.uk/models.html)
takes its place. The scorers `score` and `unparsable` have a figure for each task, in the same metrics as lighteval's results.

Models are asked in chat form; a model without a chat template gets inspect-ai's own plain form, not lighteval's.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `inspect` script does not look into the checkout

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, grouped, mean, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from common.answers import decode_answer, parse_completion, whole_characters
from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.model_files import reason_of
from common.scoring import score_answer
from common.tasks import TASKS
from common.words import row_task
from eval_tasks.metrics.task_scores import task_score
from eval_tasks.suites.shopbench_rows import GENERATION_SIZES, load_tasks, row_of
from eval_tasks.suites.shopbench_scoring import plain_scores, score_samples, why_unscored
from eval_tasks.suites.suite import SUITES, chosen_tasks, is_readable, left_out, parse_answer, unavailable

GREEDY = GenerateConfig(temperature=0.0)

SCORED_AS = "metric"
"""Key of a sample's metadata: the metric that scores it."""


@task
def shop(dataset: str = "", tasks: str = "") -> Task:
    """The test rows of a built dataset. `tasks`: some of them, by their names or their families'."""
    with for_inspect():
        return _task("shop", shop_samples(_source("shop", dataset), tasks), shop_score())


@task
def shopbench(data: str = "") -> Task:
    """The rows of ShopBench."""
    with for_inspect():
        return _task("shopbench", shopbench_samples(_source("shopbench", data)), shopbench_score())


@contextmanager
def for_inspect() -> Iterator[None]:
    """A user's mistake as the error that inspect-ai's command prints without a traceback."""
    try:
        yield
    except UserError as error:
        raise PrerequisiteError(str(error)) from None


def _source(suite: str, given: str) -> str:
    if not (source := given or os.environ.get(SUITES[suite].variable, "")):
        raise UserError(f"there are no rows to evaluate on; give -T dataset=… or data=…, or set {SUITES[suite].variable}")
    return source


def _task(name: str, samples: Iterator[Sample], scored: Scorer) -> Task:
    rows = MemoryDataset(list(samples), name=name)
    return Task(dataset=rows, solver=answer(), scorer=[scored, unparsable()], config=GREEDY, name=name)


def shop_samples(dataset: str, only: str = "") -> Iterator[Sample]:
    """A sample for each test row of the tasks that can be scored here. Raises UserError."""
    names = chosen_tasks(only, "tasks")
    tables = read_split(dataset, "test", names, option="dataset")
    if not tables:
        raise UserError(f"dataset={dataset}: no task has test rows; build it from more data or with other --tasks")
    for name, table in tables.items():
        task, about = TASKS[name], {"task": name, SCORED_AS: TASKS[name].metric}
        if reason := unavailable(task):
            left_out(f"shop:{name}", reason)
            continue
        for number, row in enumerate(table.to_pylist()):
            if row_task(task, decode_answer(row)) is task:  # a row in words is an example of another form
                metadata = about | {"max_new_tokens": task.max_new_tokens}
                yield Sample(row["prompt"][0]["content"], target=row["answer"], id=f"{name}-{number}", metadata=metadata)


def shopbench_samples(source: str) -> Iterator[Sample]:
    """A sample for each row of the tasks that can be scored here. Raises UserError."""
    for name, rows in load_tasks(source).items():
        if reason := why_unscored(rows):
            left_out(f"shopbench:{name}", reason)
            continue
        for number, row in enumerate(rows):
            metadata = {"task": name, SCORED_AS: row.metric, "max_new_tokens": GENERATION_SIZES[row.task_type]}
            yield Sample(row.prompt, target=json.dumps(vars(row)), id=f"{name}-{number}", metadata=metadata)


@solver
def answer() -> Solver:
    """One answer with the task's limit of tokens."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, max_tokens=state.metadata["max_new_tokens"])

    return solve


@metric
def task_mean() -> Metric:
    """A task's score by its metric: the mean, or F1 over summed counts."""

    def value(scores: list[SampleScore]) -> float:
        values = [each.score.metadata["value"] for each in scores if each.score.metadata]
        return float(task_score(str((scores[0].sample_metadata or {})[SCORED_AS]), values)) if values else 0.0

    return value


@scorer(metrics=[grouped(task_mean(), "task", all="groups")])
def shop_score() -> Scorer:
    """The score of a task's own metric."""

    async def score(state: TaskState, target: Target) -> Score:
        task, text = TASKS[state.metadata["task"]], _text(state)
        found = score_answer(task, parse_completion(task, text), json.loads(target.text))
        return Score(value=found, answer=text, metadata={"value": found})

    return score


@scorer(metrics=[grouped(task_mean(), "task", all="groups")])
def shopbench_score() -> Scorer:
    """The score of the metric that the row names; counts of a row that is scored by F1."""

    async def score(state: TaskState, target: Target) -> Score:
        (found,) = plain_scores(score_samples([row_of(target.text)], [_text(state)]))
        return Score(value=found, answer=_text(state), metadata={"value": found})

    return score


@scorer(metrics=[grouped(mean(), "task", all="groups")])
def unparsable() -> Scorer:
    """1 where the suite's parser reads nothing from an answer."""

    async def score(state: TaskState, target: Target) -> Score:
        suite = "shopbench" if target.text.startswith('{"prompt"') else "shop"
        name = f"{suite}:{state.metadata['task']}"
        parsed = parse_answer(name, target.text if suite == "shopbench" else "", _text(state))
        return Score(value=float(not is_readable(name, parsed)))

    return score


def _text(state: TaskState) -> str:
    return whole_characters(state.output.completion)


def scores_of(log: Any) -> dict[str, dict[str, float]]:
    """Task -> {"score", "unparsable"} of an inspect-ai log; "all" is the mean over tasks."""
    own, unread = ({name: float(found.value) for name, found in one.metrics.items()} for one in log.results.scores)
    return {name: {"score": own[name], "unparsable": unread[name]} for name in own}


def model_options(pairs: Sequence[str], model: str) -> dict[str, Any]:
    """`-M KEY=VALUE` as inspect-ai's CLI takes it, and greedy decoding for its transformers provider. Raises UserError."""
    import yaml

    if wrong := next((pair for pair in pairs if "=" not in pair), None):
        raise UserError(f"-M {wrong}: write KEY=VALUE, such as model_path=FOLDER")
    given = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    return ({"do_sample": False} if model.startswith("hf/") else {}) | given


def evaluate(asked: Task, model: str, options: dict[str, Any], logs: str) -> Any:
    """The log of a run of the task; inspect-ai's own file of it is in the folder `logs`. Raises UserError."""
    import inspect_ai
    from inspect_ai.model import ModelInfo, set_model_info

    # For a model that it does not know, inspect-ai would look the context's length up by loading the model again, from the Hub.
    set_model_info(model, ModelInfo())
    try:
        (log,) = inspect_ai.eval(asked, model=model, model_args=options, log_dir=logs, display="none")
    except PrerequisiteError as error:  # a package or a key that the provider needs
        raise UserError(f"inspect-ai cannot ask {model}: {' '.join(str(error.message).split())}") from None
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"inspect-ai cannot ask {model}: {reason_of(error)}; check --model and -M") from None
    if log.status != "success":
        raise UserError(f"the evaluation ended early ({log.error.message if log.error else log.status}); its log is in {logs}")
    return log


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.inspect_shop", description="Evaluates a model by inspect-ai and prints the scores by task."
    )
    parser.add_argument("--data", metavar="DIR|ID", help="rows of the suite (default: its environment variable)")
    parser.add_argument("--suite", choices=("shop", "shopbench"), default="shop", help="whose tasks (default: %(default)s)")
    parser.add_argument("--tasks", default="", metavar="A,B", help="tasks and families of the suite shop (default: all)")
    parser.add_argument("--model", required=True, metavar="PROVIDER/NAME", help="as inspect-ai names it: hf/org/name, openai/…")
    parser.add_argument("-M", dest="options", action="append", default=[], metavar="KEY=VALUE", help="of the model; repeat")
    parser.add_argument("--out", metavar="DIR", default="logs", help="inspect-ai's logs (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    with plain_errors():
        from rich.console import Console
        from rich.table import Table

        options = model_options(arguments.options, arguments.model)
        rows = arguments.data or ""
        try:
            asked = shop(rows, arguments.tasks) if arguments.suite == "shop" else shopbench(rows)
        except PrerequisiteError as error:
            raise UserError(str(error.message)) from None
        log = evaluate(asked, arguments.model, options, arguments.out)
        table = Table("task", "score", "unparsable")
        for name, found in scores_of(log).items():
            table.add_row(name, f"{found['score']:.4f}", f"{found['unparsable']:.1%}")
        Console().print(table)


if __name__ == "__main__":
    main()
