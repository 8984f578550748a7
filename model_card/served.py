"""The tuned model as it is served, exported to another format or not, beside the tuned model of the other tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.errors import UserError
from eval_tasks.reporting.comparison import make_report
from eval_tasks.reporting.report import Report
from eval_tasks.suites.suite import SHOP
from model_card.evaluations import TUNED, ModelResults, SuiteComparison, by_form, comparable

Form = tuple[str, str]
"""How answers were given and lists scored: see ANSWERS and LISTS of eval_tasks.backends.prompts."""


@dataclass(frozen=True)
class ServedComparison:
    """Results of the same form of answers: `tuned`, and each of `served` under the name that says what it is."""

    tuned: ModelResults
    served: tuple[ModelResults, ...]

    @property
    def answers(self) -> str:
        return self.tuned.model.run.answers

    @cached_property
    def report(self) -> Report:
        """The report on the tasks that were measured as served; the tuned model is the reference of all differences."""
        tasks = {task for one in self.served for task in one.model.run.scores}
        models = [comparable(one, self.tuned)[0].model for one in self.served]
        return make_report([self.tuned.of_tasks(sorted(tasks)).model, *models])

    @property
    def other_prompts(self) -> dict[str, list[str]]:
        """Name -> tasks with other prompts than the tuned model's, which have no score here."""
        return {one.model.name: other for one in self.served if (other := comparable(one, self.tuned)[1])}


def served_places(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Name -> paths of `NAME=PATH` texts. Raises UserError."""
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, equals, path = (part.strip() for part in text.partition("="))
        if not (name and equals and path):
            raise UserError(
                f"--served-results {text!r}: write WHAT=RESULTS, such as 'GGUF q8_0, llama.cpp=outputs/demo/results/served'"
            )
        found.setdefault(name, []).append(Path(path))
    return found


def read_served(places: Mapping[str, Sequence[Path]], shop: SuiteComparison) -> tuple[ServedComparison, ...]:
    """The served models' results on the dataset's own test rows, by form of answers, written ones first. Raises UserError."""
    tuned = {_form(one): one for one in (shop.tuned, shop.scored.get(TUNED)) if one}
    found: dict[Form, list[ModelResults]] = {}
    for name, paths in places.items():
        own = [results[SHOP] for results in by_form(name, paths) if SHOP in results]
        if not own:
            raise UserError(
                f"{paths[0]} holds no score of a {SHOP} task; evaluate with eval_tasks.run --backend endpoint --data first"
            )
        for one in own:
            if _form(one) not in tuned:
                raise UserError(
                    f"{name} has {_words(_form(one))}, and the tuned model has none; give its own with --results, too"
                )
            if not one.model.run.scores.keys() & tuned[_form(one)].model.run.scores.keys():
                raise UserError(f"{name} has no task that the tuned model was measured on; evaluate both on the same --data")
            found.setdefault(_form(one), []).append(one)
    return tuple(ServedComparison(tuned[form], tuple(found[form])) for form in tuned if form in found)


def _form(results: ModelResults) -> Form:
    return results.model.run.answers, results.model.run.lists


def _words(form: Form) -> str:
    return "written answers" if form[0] == "written" else f"scored answers, lists by {form[1]}"
