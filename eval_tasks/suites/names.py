"""What is known of the tasks of all suites by their names alone: family, place, and how an answer is read.

A task's name is lighteval's, `shop:also_buy`, with or without `|0` behind it. Nothing here needs lighteval.
"""

import json
import re
import sys
from typing import Any

from common.answers import parse_completion, says_nothing
from common.tasks import FAMILIES, TASKS
from eval_tasks.suites import ecinstruct_scoring, shopping_mmlu_scoring
from eval_tasks.suites.shopbench_scoring import Row, read_answer
from eval_tasks.suites.shopping_mmlu_scoring import SKILLS

SUITES = ("shop", "shopbench", "ecinstruct", "shopping_mmlu")

OTHER = "other"
"""The family of a task that its suite does not know."""

SHOPBENCH_TRACKS = {
    "concepts": range(1, 8),
    "reasoning": range(8, 11),
    "behavior": range(11, 16),
    "languages": range(16, 19),
}
"""ShopBench's four tracks -> the numbers of their tasks."""

DOMAINS = ("in-domain", "out-of-domain")
"""ECInstruct's two: the tasks without and with `_ood` at their end."""


def family(task_name: str) -> str:
    """What a task is averaged with: a family, a track, a domain or a skill of its suite; `other` where it is unknown."""
    suite, task = _split(task_name)
    if suite == "shop" and task in TASKS:
        return TASKS[task].family
    if suite == "shopbench":
        return next((track for track, numbers in SHOPBENCH_TRACKS.items() if _number(task) in numbers), OTHER)
    if suite == "ecinstruct" and task.removesuffix("_ood") in ecinstruct_scoring.TASKS:
        return DOMAINS[task.endswith("_ood")]
    if suite == "shopping_mmlu":
        return SKILLS.get(task.partition(":")[0], OTHER)
    return OTHER


def place(task_name: str) -> tuple[int, int, int, str]:
    """A sort key: suite, family and task in the order of their declaration, what is unknown last in the order of its name."""
    suite, task = _split(task_name)
    families: tuple[str, ...] = ()
    number = None
    if suite == "shop":
        families, number = FAMILIES, _index(tuple(TASKS), task)
    elif suite == "shopbench":
        families, number = tuple(SHOPBENCH_TRACKS), _number(task)
    elif suite == "ecinstruct":
        families, number = DOMAINS, _index(tuple(ecinstruct_scoring.TASKS), task.removesuffix("_ood"))
    elif suite == "shopping_mmlu":
        families = tuple(SKILLS.values())
    return _index(SUITES, suite), _index(families, family(task_name)), sys.maxsize if number is None else number, task_name


def parsed(task_name: str, text: str, specific: dict[str, Any]) -> str | None:
    """An answer as the suite's own parser reads it, as short text; None where it cannot be read.

    `specific` is that of lighteval's Doc. Raises KeyError where it is not of this suite, or the suite is unknown.
    """
    suite, task = _split(task_name)
    if suite == "shop":
        return _shown(parse_completion(TASKS[task], text))
    if suite in ("shopbench", "shopping_mmlu"):
        read = read_answer if suite == "shopbench" else shopping_mmlu_scoring.read_answer
        answer = read(Row(**json.loads(specific["row"])), text)
        return None if says_nothing(answer) else _shown(answer)
    if suite == "ecinstruct":
        return ecinstruct_scoring.shown(ecinstruct_scoring.decoded(specific["row"]), text)
    raise KeyError(task_name)


def _shown(answer: Any) -> str | None:
    if answer is None:
        return None
    return ",".join(map(str, answer)) if isinstance(answer, list) else str(answer)


def _split(task_name: str) -> tuple[str, str]:
    suite, _, task = task_name.split("|", maxsplit=1)[0].partition(":")
    return suite, task


def _number(task: str) -> int | None:
    """17 for `task17`."""
    return int(task[4:]) if re.fullmatch(r"task[0-9]{1,9}", task) else None


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else sys.maxsize
