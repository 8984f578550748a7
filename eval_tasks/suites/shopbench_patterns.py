"""The right answer of a ShopBench row as text, and a regular expression for all answers that can be parsed.

Shopping MMLU's rows have the same form.
"""

import re

from common.answers import listed_numbers, selection_pattern
from eval_tasks.suites.shopbench_rows import ShopBenchRow

PICKS = 3
"""Numbers that a retrieval prompt asks for, and that its metric reads."""


def right_answer(row: ShopBenchRow) -> str:
    """A right answer as text: of an order the numbers by falling gain, of several references the first.

    Where fewer than three picks are true, others of the list follow, since three are asked for.
    """
    if row.task_type == "ranking":
        return ",".join(str(number + 1) for number in sorted(range(len(row.truth)), key=lambda number: -row.truth[number]))
    if row.task_type == "retrieval":
        others = [number for number in listed_numbers(row.prompt) if number not in row.truth]
        return ",".join(map(str, [*row.truth, *others][:PICKS]))
    if row.task_type == "generation" and isinstance(row.truth, list):
        return str(row.truth[0])
    return ",".join(row.truth) if isinstance(row.truth, list) else str(row.truth)


def pattern(row: ShopBenchRow) -> str:
    """A regular expression for the answers that the prompt allows, and the right one among them; "" where any text will do.

    A digit that is offered, a permutation, or three numbers of the list (see `answers.selection_pattern`).
    """
    found = _pattern(row)
    # Some text of the prompt may look like its list; what forbids the right answer was read from such a one.
    if re.fullmatch(found, right_answer(row)):
        return found
    return "[0-9]" if row.task_type == "multiple-choice" else ""


def _pattern(row: ShopBenchRow) -> str:
    listed = listed_numbers(row.prompt)
    if row.task_type == "multiple-choice":
        if not listed and (scale := re.search(r"\bscale of ([0-9]) to ([0-9])\b", row.prompt)):
            listed = range(int(scale[1]), int(scale[2]) + 1)
        return "|".join(str(number) for number in listed if number < 10)
    if row.task_type == "ranking" and len(row.truth) <= 5:
        return selection_pattern(range(1, len(row.truth) + 1), len(row.truth))
    return selection_pattern(listed, PICKS) if row.task_type == "retrieval" and len(listed) >= PICKS else ""
