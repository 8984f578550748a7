"""How the items of a list are scored, in words or by text: as --lists says, else as the model was trained."""

import argparse
from pathlib import Path

from common.dataset import find_folder
from common.errors import UserError
from common.tasks import TASKS, Task, TextForm
from eval_tasks.backends.prompts import NO_TEXT_AT_ENDPOINT
from training.adapters import MERGED, SUMMARY, TrainedRows, read_training


def list_form(task: Task, arguments: argparse.Namespace) -> tuple[TextForm | None, str]:
    """The form by text, None for words; and where the model's training decided that, a sentence that says so.

    An explicit --lists wins. Without one lists are scored by text where the model learnt them by text alone. Raises UserError.
    """
    if arguments.lists == "text" and task.by_text is None:
        listed = ", ".join(other.name for other in TASKS.values() if other.by_text)
        raise UserError(f"--lists text is of {listed}, not of {task.name}; leave it out")
    if arguments.lists == "text" and arguments.backend == "endpoint":
        raise UserError(NO_TEXT_AT_ENDPOINT)
    if arguments.lists:
        return (task.by_text if arguments.lists == "text" else None), ""
    if task.by_text is None or arguments.backend == "endpoint":  # which has no folder that says what it was trained on
        return None, ""
    which = "adapter" if arguments.adapter else "model"
    folder = find_folder(arguments.adapter or arguments.model, [SUMMARY, MERGED], None, "model", f"--{which}")
    trained = read_training(folder)
    if trained is None or not learnt_by_text(task, trained):
        return None, ""
    return task.by_text, f"lists by text: the {which} was trained on rows of {task.by_text.task} and on no list in words"


def note_for_server(adapter: Path | None) -> str:
    """What to know of lists before an adapter is served; "" where it is nothing."""
    trained = read_training(adapter) if adapter else None
    if trained is None or not any(learnt_by_text(task, trained) for task in TASKS.values()):
        return ""
    return (
        "note: this adapter learnt lists by text, of which a server tells no likelihoods, and no list in words, as clients "
        "ask: rank with python -m eval_tasks.rank"
    )


def learnt_by_text(task: Task, trained: TrainedRows) -> bool:
    """Whether the rows teach a list to be scored by text, and none of them teaches it in words.

    Rows in words count of every task that is asked in the same words: those of query_product_relation teach rankings. Where
    the training went on from another adapter, that one's rows are not known, so the answer is no.
    """
    if task.by_text is None or task.words is None or trained.adapter or not trained.tasks.get(task.by_text.task):
        return False
    alike = [other.name for other in TASKS.values() if other.words and other.words.templates == task.words.templates]
    return not any(trained.rows_in_words.get(name) for name in alike)
