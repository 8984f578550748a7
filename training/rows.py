"""Rows of other shapes as prompt-completion rows of chat turns: plain strings and `messages`."""

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

SHAPES = "prompt and completion (strings or lists of turns), or messages"


def as_chats(rows: "Dataset", name: str) -> "Dataset":
    """The rows with `prompt` and `completion` as lists of turns, rows that hold none left out; says what it changed.

    Of `messages` (or ShareGPT's `conversations`) the last assistant turn is the completion. Raises UserError.
    """
    from datasets import Value

    columns = set(rows.column_names)
    turns = next((column for column in ("messages", "conversations") if column in columns), None)
    if {"prompt", "completion"} <= columns:
        texts = [column for column in ("prompt", "completion") if isinstance(rows.features[column], Value)]
        if not texts:
            return rows
        say(f"{' and '.join(texts)} of {name} are text, not turns; a prompt becomes a user's turn, a completion an assistant's")
        change: Any = wrap_strings
    elif turns:
        say(f"of the {turns} in {name}, each row's last assistant turn is the completion, and all before it the prompt")

        def change(row: dict[str, Any]) -> dict[str, Any]:
            return split_turns([as_turn(turn) for turn in row[turns] or []])

    else:
        missing = sorted({"prompt", "completion"} - columns)
        raise UserError(f"the dataset {name} has no column {' or '.join(missing)}; its rows must have {SHAPES}")
    changed = rows.map(change, remove_columns=[column for column in (turns,) if column], desc="Rows as chats")
    reasons = Counter(changed["left_out"])
    kept = changed.select([number for number, reason in enumerate(changed["left_out"]) if not reason])
    for reason, count in sorted(reasons.items()):
        if reason:
            say(f"{count:,} rows of {name} are left out: {reason}")
    if not len(kept):
        raise UserError(f"no row of {name} can be trained on: {next(iter(reasons))}")
    return kept.remove_columns("left_out")


def wrap_strings(row: dict[str, Any]) -> dict[str, Any]:
    """A prompt and a completion that are strings as a turn each."""
    wrapped = {
        name: [{"role": role, "content": row[name]}] if isinstance(row[name], str) else row[name] or []
        for name, role in (("prompt", "user"), ("completion", "assistant"))
    }
    empty = next((name for name, turns in wrapped.items() if not turns), None)
    return wrapped | {"left_out": f"they have no {empty}" if empty else ""}


def as_turn(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn with `role` and `content`, also of ShareGPT's `from` and `value`."""
    if "from" not in turn:
        return turn
    return {"role": {"human": "user", "gpt": "assistant"}.get(turn["from"], turn["from"]), "content": turn.get("value")}


def split_turns(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The turns before the last one as the prompt, and that one, which must be the assistant's, as the completion."""
    *before, last = turns or [{}]
    reason = ""
    if last.get("role") != "assistant":
        reason = "their last turn is not the assistant's"
    elif not before:
        reason = "they have no turn before the assistant's"
    elif any(not isinstance(turn.get("content"), str) for turn in (*before, last)):
        reason = "they have a turn without text"
    return {"prompt": before, "completion": [last] if last else [], "left_out": reason}


def say(sentence: str) -> None:
    """Prints it on standard error, in the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr, flush=True)
