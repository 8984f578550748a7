"""The suites of tasks: their names, where rows come from, what tasks are averaged by, how answers are parsed.

A task's name is lighteval's, `shop:also_buy`, with or without `|0` behind it. Nothing here needs lighteval.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from common.answers import parse_completion
from common.errors import UserError
from common.scoring import MetricUnavailableError, rouge_l
from common.tasks import FAMILIES, TASKS, Task
from eval_tasks.metrics.shopbench import says_nothing
from eval_tasks.suites import ecinstruct_scoring, shopbench_scoring, shopping_mmlu_scoring
from eval_tasks.suites.shopbench_rows import row_of

OTHER = "other"
"""The family of a task that its suite does not know."""

SHOP = "shop"
"""The suite of the dataset's own test rows."""

UNSEEN = "shop_unseen"
"""The suite of some of the same rows in a wording that is never trained on."""

UNSEEN_SHARE = 0.25
"""Share of a task's rows that are asked in it. Scores are compared on the same rows, so that fewer tell as much."""

SHOPBENCH_TRACKS = {
    "concepts": range(1, 8),
    "reasoning": range(8, 11),
    "behavior": range(11, 16),
    "languages": range(16, 19),
}
"""ShopBench's four tracks -> the numbers of their tasks."""

DOMAINS = ("in-domain", "out-of-domain")
"""ECInstruct's two: the tasks without and with `_ood` at their end."""


@dataclass(frozen=True)
class Suite:
    """One suite. Its functions take the name of a task without the suite's.

    `variable` is the environment variable that says where the rows are, and `rows` says what they are. A task belongs to one of
    `families` or to OTHER, and `position` orders the tasks of a family. `parse` takes a task, the row as JSON text ("" in the
    suite `shop`) and an answer's text; `is_readable` says whether it could read anything. `shopbench_rows`: the rows have
    ShopBench's form. `note` is for readers of a model card.
    """

    name: str
    title: str
    variable: str
    rows: str
    families: tuple[str, ...]
    family: Callable[[str], str]
    position: Callable[[str], int]
    parse: Callable[[str, str, str], Any]
    is_readable: Callable[[Any], bool] = lambda answer: answer is not None
    metric_key: Callable[[str], str] = lambda task: "score"
    task_title: Callable[[str], str] = lambda task: task.replace("_", " ")
    is_task: Callable[[str], bool] = lambda task: task != "_average"
    shopbench_rows: bool = False
    note: str = ""


def _shopbench_number(task: str) -> int:
    """17 for `task17`."""
    return int(task[4:]) if re.fullmatch(r"task[0-9]{1,9}", task) else sys.maxsize


def _shopbench_track(task: str) -> str:
    number = _shopbench_number(task)
    return next((track for track, numbers in SHOPBENCH_TRACKS.items() if number in numbers), OTHER)


def _domain(task: str) -> str:
    return DOMAINS[task.endswith("_ood")] if task.removesuffix("_ood") in ecinstruct_scoring.TASKS else OTHER


_SHOP = Suite(
    name=SHOP,
    title="shop",
    variable="SHOP_DATASET",
    rows="the folder of a built dataset or its Hub id",
    families=FAMILIES,
    family=lambda task: TASKS[task].family if task in TASKS else OTHER,
    position=lambda task: _index(tuple(TASKS), task),
    parse=lambda task, row, text: parse_completion(TASKS[task], text),
    metric_key=lambda task: TASKS[task].metric if task in TASKS else "score",
    task_title=lambda task: TASKS[task].title if task in TASKS else task.replace("_", " "),
    is_task=lambda task: task in TASKS,
)

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        _SHOP,
        replace(_SHOP, name=UNSEEN, title="shop, unseen wording"),
        Suite(
            name="shopbench",
            title="ShopBench",
            variable="SHOPBENCH_DATA",
            rows="ShopBench's development.json or a Hub dataset with its columns",
            families=tuple(SHOPBENCH_TRACKS),
            family=_shopbench_track,
            position=_shopbench_number,
            parse=lambda task, row, text: shopbench_scoring.parse_answer(row_of(row), text),
            is_readable=lambda answer: not says_nothing(answer),
            shopbench_rows=True,
        ),
        Suite(
            name="ecinstruct",
            title="ECInstruct",
            variable="ECINSTRUCT_DATA",
            rows="ECInstruct's JSON file, a folder of its files or its Hub id",
            families=DOMAINS,
            family=_domain,
            position=lambda task: _index(tuple(ecinstruct_scoring.TASKS), task.removesuffix("_ood")),
            parse=lambda task, row, text: ecinstruct_scoring.parse_answer(ecinstruct_scoring.row_of(row), text),
            note="By the benchmark's own rules answers that cannot be read are left out: read its scores beside their share.",
        ),
        Suite(
            name="shopping_mmlu",
            title="Shopping MMLU",
            variable="SHOPPING_MMLU_DATA",
            rows="the folder that Shopping MMLU's data.zip was unpacked into, or the Hub id of a dataset with its files",
            families=tuple(shopping_mmlu_scoring.SKILLS.values()),
            family=lambda task: shopping_mmlu_scoring.SKILLS.get(task.partition(":")[0], OTHER),
            position=lambda task: sys.maxsize,
            parse=lambda task, row, text: shopping_mmlu_scoring.parse_answer(row_of(row), text),
            is_readable=lambda answer: not says_nothing(answer),
            shopbench_rows=True,
        ),
    )
}
"""Name -> suite."""


def suite_name(task_name: str) -> str:
    return task_name.partition(":")[0]


def shop_task(task_name: str) -> Task | None:
    """The task of which this is the name, in whatever wording; None for those of other suites."""
    suite, task = _split(task_name)
    return TASKS.get(task) if suite and suite.name in (SHOP, UNSEEN) else None


def _split(task_name: str) -> tuple[Suite | None, str]:
    suite, _, task = task_name.split("|", maxsplit=1)[0].partition(":")
    return SUITES.get(suite), task


def is_known(task_name: str) -> bool:
    """Whether this is a task of a suite here, and no average over several."""
    suite, task = _split(task_name)
    return suite is not None and suite.is_task(task)


def family(task_name: str) -> str:
    """What a task is averaged with: a family, a track, a domain or a skill of its suite; `other` where it is unknown."""
    suite, task = _split(task_name)
    return suite.family(task) if suite else OTHER


def place(task_name: str) -> tuple[int, int, int, str]:
    """A sort key: suite, family and task in the order of their declaration, what is unknown last in the order of its name."""
    suite, task = _split(task_name)
    if suite is None:
        return len(SUITES), 0, 0, task_name
    return list(SUITES).index(suite.name), _index(suite.families, suite.family(task)), suite.position(task), task_name


def metric_key(task_name: str) -> str:
    """What lighteval's results and details call a task's metric."""
    suite, task = _split(task_name)
    return suite.metric_key(task) if suite else "score"


def suite_title(name: str) -> str:
    return SUITES[name].title if name in SUITES else name


def task_title(task_name: str) -> str:
    """What a reader calls a task."""
    suite, task = _split(task_name)
    return (suite.task_title(task) if suite else task.replace("_", " ")) or task_name


@lru_cache(2**14)
def parse_answer(task_name: str, row: str, text: str) -> Any:
    """An answer as its suite's own parser reads it; cached, since metrics and reports parse the same answers.

    `row` is `specific["row"]` of lighteval's Doc, "" in the suite `shop`. Raises KeyError where the suite is unknown, and
    ValueError where the row is not one of this suite.
    """
    suite, task = _split(task_name)
    if suite is None:
        raise KeyError(task_name)
    return suite.parse(task, row, text)


def is_readable(task_name: str, answer: Any) -> bool:
    """Whether a parsed answer says anything."""
    return SUITES[suite_name(task_name)].is_readable(answer)


def shown_answer(task_name: str, text: str, specific: Mapping[str, Any]) -> str | None:
    """What the suite's parser reads from an answer as short text; None where it cannot be read.

    `specific` is that of lighteval's Doc. Raises as `parse_answer` does.
    """
    answer = parse_answer(task_name, specific.get("row", ""), text)
    if not is_readable(task_name, answer):
        return None
    if isinstance(answer, list):
        plain = answer and all(isinstance(item, str | int) for item in answer)
        return ",".join(map(str, answer)) if plain else text.strip()
    return str(answer)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else sys.maxsize


def left_out(task: str, reason: str) -> None:
    """Tells that a task is not declared. What cannot be scored must not look like a score of 0."""
    print(f"warning: {task} is left out: {reason}", file=sys.stderr)


# --- The suite `shop` ---


def unavailable(task: Task) -> str | None:
    """Why no answer to the task can be scored here: a package that is missing. None: they can."""
    try:
        if task.metric == "rougel":
            rouge_l("a", "b")
    except MetricUnavailableError as error:
        return str(error)
    return None


def chosen_tasks(only: str, option: str = "SHOP_TASKS") -> list[str]:
    """Names of the tasks that a list of tasks and families means, in the order of their declaration; all where it is empty."""
    wanted = [name for part in only.split(",") if (name := part.strip())]
    if unknown := [name for name in wanted if name not in TASKS and name not in FAMILIES]:
        raise UserError(
            f"{option}={only}: {unknown[0]!r} is no task and no family; families are {', '.join(FAMILIES)}, "
            f"tasks are {', '.join(TASKS)}"
        )
    return [name for name, task in TASKS.items() if not wanted or name in wanted or task.family in wanted]
