"""The answers to a batch of rows: each row gets an answer or a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, RefusedAnswer, RefusedLikelihoods, ScoredPrompt
from eval_tasks.prediction.input_rows import InputRow
from eval_tasks.prediction.questions import CannotAskError, RowForm

TOO_LONG = "the prompt is too long for the model"
REFUSED = "the model's server gave no answer"


@dataclass(frozen=True)
class Answerer:
    """A loaded model with its adapter, and whether its decoding is limited to answers that can be read."""

    loaded: LoadedModel
    adapter: Path | None = None
    constrained: bool = True

    def ask(self, prompts: Sequence[Prompt] | Sequence[ScoredPrompt]) -> list[str | Likelihoods]:
        """What is said to each prompt; the same prompt is asked once. A RefusedAnswer or RefusedLikelihoods says why not.

        Raises UserError.
        """
        plain = [each.prompt if isinstance(each, ScoredPrompt) else each for each in prompts]
        cut = self.loaded.cut(plain, self.adapter)
        fitting = list(dict.fromkeys(each for each, tokens in zip(prompts, cut, strict=True) if not tokens))
        found: dict[Any, str | Likelihoods] = {
            each: RefusedAnswer(f"{TOO_LONG}, by {tokens} tokens") for each, tokens in zip(prompts, cut, strict=True) if tokens
        }
        stream: Any = ()
        if fitting and isinstance(fitting[0], ScoredPrompt):
            stream = self.loaded.score([each for each in fitting if isinstance(each, ScoredPrompt)], self.adapter)
        elif fitting:
            stream = self.loaded.answer([each for each in fitting if isinstance(each, Prompt)], self.adapter, self.constrained)
        for place, said in stream:
            found[fitting[place]] = said
        if missing := [each for each in fitting if each not in found]:
            raise UserError(f"{len(missing)} of {len(fitting)} prompts were not answered; run the same command again")
        return [found[each] for each in prompts]


@dataclass(frozen=True)
class RowQuestion:
    """What a row makes: its fields and prompts, or none and the reason."""

    form: RowForm
    fields: dict[str, Any]
    prompts: tuple[Any, ...]
    error: str = ""

    def read(self, said: Sequence[Any]) -> dict[str, Any]:
        """The columns of the row's answer, by what was said to each of its prompts."""
        if self.error:
            return {"error": self.error}
        refused = next((each for each in said if isinstance(each, RefusedAnswer | RefusedLikelihoods)), None)
        if refused is not None:
            return {"error": refused.reason if refused.reason.startswith(TOO_LONG) else f"{REFUSED}: {refused.reason}"}
        return self.form.read_likelihoods(self.fields, said) if self.form.scored else self.form.read_text(self.fields, said[0])


def row_question(form: RowForm, values: Mapping[str, Any], error: str = "") -> RowQuestion:
    """`error`: why the row could not be read, if it could not."""
    if error:
        return RowQuestion(form, {}, (), error)
    try:
        fields = form.fields(values)
        return RowQuestion(form, fields, tuple(form.prompts(fields)))
    except CannotAskError as reason:
        return RowQuestion(form, {}, (), str(reason))


def answered(rows: Sequence[InputRow], form: RowForm, answerer: Answerer) -> list[dict[str, Any]]:
    """The columns of each row's answer; `error` says why a row has none."""
    questions = [row_question(form, row.values, row.error) for row in rows]
    said = iter(answerer.ask([prompt for each in questions for prompt in each.prompts]))
    return [each.read([next(said) for _ in each.prompts]) for each in questions]
