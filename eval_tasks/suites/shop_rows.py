"""The test rows of the twelve tasks: which tasks are meant, which can be scored here. Nothing here needs lighteval."""

from common.errors import UserError
from common.scoring import MetricUnavailableError, rouge_l
from common.tasks import FAMILIES, TASKS, Task


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
