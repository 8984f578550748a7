"""Checks of the chat template on real rows: a prompt as it is asked begins its trained row, a turn ends with the eos token."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from common.errors import UserError, first_line
from common.thinking import template_arguments
from training.mixture import draw
from training.rows import say

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE = 100
"""Rows that are checked."""
OPTIONS = "chat_template_kwargs"
"""TRL's column of a row's options for the chat template."""


def template_options(tokenizer: Any, rows: "Dataset", seed: int) -> dict[str, Any]:
    """The options of the chat template with which a prompt begins its trained row: none, or no thinking. Raises UserError.

    Else a model would be trained in another context than it is asked in, such as `<think>` before an answer.
    """
    sample = rows.select(sorted(range(len(rows)), key=lambda row: draw(seed, row))[:SAMPLE])
    options: list[dict[str, Any]] = [{}]
    without_thinking = template_arguments(str(tokenizer.chat_template))
    if without_thinking and OPTIONS not in rows.column_names:
        options.append(without_thinking)
    tried = [(option, [parting(tokenizer, row, option) for row in sample]) for option in options]
    option, partings = min(tried, key=lambda one: sum(parted is not None for parted in one[1]))
    parted = [found for found in partings if found]
    if len(parted) == len(partings):
        asked, trained = parted[0]
        raise UserError(
            f"the chat template's prompt ends in {asked!r} where the trained row has {trained!r}: the model would be trained "
            "in another context than it is asked in; give --chat_template_path with a template that writes both alike, or take "
            "another model"
        )
    if parted:
        say(
            f"of {len(partings)} rows, {len(parted)} do not begin with their prompt, whose end {parted[0][0]!r} became one "
            f"token with what follows, {parted[0][1]!r}; completions should not begin with white space"
        )
    check_answers_are_written(tokenizer, sample, option)
    if option:
        say("rows are trained with enable_thinking=false, else the chat template's prompt would not begin the trained row")
    return option


def check_answers_are_written(tokenizer: Any, sample: "Dataset", options: Mapping[str, Any]) -> None:
    """Raises UserError where the chat template writes no row's completion, and says of how many it does not."""
    lost = 0
    for row in sample:
        given = {**(row.get(OPTIONS) or {}), **options}
        prompt, whole = (
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation, **given)
            for turns, generation in ((row["prompt"], True), (row["prompt"] + row["completion"], False))
        )
        lost += str(row["completion"][-1]["content"]).strip() not in whole.removeprefix(prompt)
    if lost == len(sample):
        raise UserError(
            "the chat template leaves the completions out, so that nothing would be learnt; give --chat_template_path with a "
            "template that writes an assistant's turn"
        )
    if lost:
        say(f"of {len(sample)} rows, the chat template writes the completion of {lost} otherwise or not at all")


def with_template_options(
    tokenizer: Any, train: "Dataset", validation: "Dataset | None", seed: int
) -> "tuple[Dataset, Dataset | None]":
    """The rows with the options of `template_options` in TRL's column for them, where there are any. Raises UserError."""
    options = template_options(tokenizer, train, seed)
    if not options:
        return train, validation
    sides = [rows and rows.add_column(OPTIONS, [options] * len(rows)) for rows in (train, validation)]
    return sides[0], sides[1]


def parting(tokenizer: Any, row: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where a prompt as it is asked parts from the trained row: the rest of the one and the other's next tokens, or None.

    TRL takes the prompt with the row's own options; the evaluation asks without thinking where the template can.
    """
    options = {**(row.get(OPTIONS) or {}), **options}
    evaluated = template_arguments(str(tokenizer.chat_template), options)
    try:
        trained, *prompts = (
            tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, add_generation_prompt=generation, **given)[
                "input_ids"
            ]
            for turns, generation, given in (
                (row["prompt"] + row["completion"], False, options),
                (row["prompt"], True, options),
                (row["prompt"], True, evaluated),
            )
        )
    except Exception as error:  # a template raises what it likes
        raise template_error(error) from None
    for asked in prompts:
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(asked, trained, strict=False)))
        if common < len(asked):
            return tokenizer.decode(asked[common:]), tokenizer.decode(trained[common : common + 4])
    return None


def template_error(error: Exception) -> UserError:
    """What a template's refusal of a row means: mostly a system message, or two turns of one role after each other."""
    return UserError(
        f"the chat template refuses a row: {first_line(error)}; change such rows (a system message can go into the user's "
        "turn), or give --chat_template_path with a template that takes them"
    )


def hint_at_end_of_turn(tokenizer: Any, rows: "Dataset") -> None:
    """Says so where no trained row holds the eos token: a model would not learn to end its answer with it."""
    labels: Sequence[Sequence[int]] = rows[: min(SAMPLE, len(rows))]["labels"]
    if any(tokenizer.eos_token_id in row for row in labels):
        return
    last = tokenizer.decode([next(token for token in reversed(labels[0]) if tokenizer.decode([token]).strip())])
    say(
        f"the chat template ends a turn with {last!r}, not with the eos token {tokenizer.eos_token!r}, so the model would not "
        f"learn to stop; if {last!r} ends a turn, give --eos_token {last!r}"
    )
