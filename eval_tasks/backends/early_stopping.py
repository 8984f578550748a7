"""Early stopping: whether further tokens can still change the parsed answer.

A model that answers "4 stars, since ..." is parsed by its first token; what it goes on to say costs time and changes nothing.
"""

from collections.abc import Callable

from common.tasks import Task
from common.thinking import may_open_thoughts, without_thoughts
from eval_tasks.suites.suite import shop_task


def final_check(task_name: str) -> Callable[[str], bool]:
    """Of a lighteval task's name, a function that is true of a text whose parsed answer no continuation can change.

    False where that cannot be known, such as for numbers: ShopBench's parser reads all of them, to the end of the text.
    """
    if task := shop_task(task_name):
        return lambda text: _is_final(task, text)
    return lambda text: False


def _is_final(task: Task, text: str) -> bool:
    answer = without_thoughts(text.rstrip("\ufffd"))  # a character whose bytes are not all there yet may still become any
    if answer is None or may_open_thoughts(answer):
        return False
    text = answer.lstrip()
    if task.family == "multiple_choice":
        # A label is followed by something else than a letter or digit, so one character more than the longest has to be there.
        return len(text.rstrip()) > max(map(len, task.labels))
    return task.family == "generation" and "\n" in text
