"""The answers to a batch of rows: each row gets an answer or a reason."""

from collections.abc import Sequence
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


def answered(rows: Sequence[InputRow], form: RowForm, answerer: Answerer) -> list[dict[str, Any]]:
    """The columns of each row's answer; `error` says why a row has none."""
    asked: list[tuple[dict[str, Any], list[Any]] | str] = []
    for row in rows:
        try:
            fields = form.fields(row.values) if not row.error else {}
            asked.append(row.error or (fields, list(form.prompts(fields))))
        except CannotAskError as reason:
            asked.append(str(reason))
    said = iter(answerer.ask([prompt for each in asked if not isinstance(each, str) for prompt in each[1]]))
    return [{"error": each} if isinstance(each, str) else _read(form, each[0], [next(said) for _ in each[1]]) for each in asked]


def _read(form: RowForm, fields: dict[str, Any], said: Sequence[Any]) -> dict[str, Any]:
    refused = next((each for each in said if isinstance(each, RefusedAnswer | RefusedLikelihoods)), None)
    if refused is not None:
        return {"error": refused.reason if refused.reason.startswith(TOO_LONG) else f"{REFUSED}: {refused.reason}"}
    return form.read_likelihoods(fields, said) if form.scored else form.read_text(fields, said[0])
