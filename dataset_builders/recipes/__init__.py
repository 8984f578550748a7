"""One module per family of tasks. A recipe takes the canonical tables to the fields of a task's templates."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from common.tasks import TASKS
from dataset_builders.engine import Draw, RecipeRows

if TYPE_CHECKING:
    import ibis.expr.types as ir

Tables = dict[str, "ir.Table"]
Recipe = Callable[[Tables, Draw, int], RecipeRows]
"""(tables, draw, most rows that can be needed) -> RecipeRows"""


def recipes() -> dict[str, Recipe]:
    """Task name -> recipe, for the tasks that have one: the function of the task's name in the module of its family."""
    modules = {task.name: import_module(f"{__name__}.{task.family}") for task in TASKS.values()}
    return {name: getattr(module, name) for name, module in modules.items() if hasattr(module, name)}
