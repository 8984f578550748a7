"""Rows that are being generated: a prompt's tokens, what was written so far, and whether the answer is complete."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eval_tasks.backends.chat_format import ChatFormat
from eval_tasks.backends.constrained_decoding import Constraint
from eval_tasks.backends.early_stopping import final_check
from eval_tasks.backends.prompts import Prompt


@dataclass
class GenerationRow:
    """One row that is being generated; `place` is that of its prompt."""

    place: int
    ids: list[int]
    limit: int
    is_final: Callable[[str], bool] = lambda text: False
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None
    written: list[int] = field(default_factory=list)

    @property
    def positions(self) -> int:
        """What prompt and answer take at most."""
        return len(self.ids) + self.limit

    def take(self, token: int, ends: frozenset[int]) -> None:
        """One more token of the answer."""
        self.written.append(token)
        if self.constraint and token not in ends:
            self.constraint.take(token)


def generation_rows(
    prompts: Sequence[Prompt], ids: Sequence[list[int]], form: ChatFormat, constrained: bool
) -> list[GenerationRow]:
    """A row for each prompt, whose tokens are `ids`. Raises UserError for a pattern that cannot limit decoding."""
    return [
        GenerationRow(
            place,
            ids[place],
            prompt.max_new_tokens,
            final_check(prompt.task),
            () if form.chat else prompt.stop,  # a chat model ends its turn itself
            Constraint(form.grammar, prompt.pattern) if constrained and prompt.pattern else None,
        )
        for place, prompt in enumerate(prompts)
    ]


def complete_answer(row: GenerationRow, form: ChatFormat) -> str | None:
    """The row's answer where no more tokens are to come, else None. The row has at least one."""
    ended = row.written[-1] in form.ends
    text = form.text(row.written[:-1] if ended else row.written)
    found = [text.index(stop) for stop in row.stop if stop in text]
    if ended or found or len(row.written) >= row.limit or row.is_final(text):
        return text[: min(found)] if found else text
    return None
