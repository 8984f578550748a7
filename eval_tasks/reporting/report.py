"""A report: models, and what they scored and gained, as lines of tasks and of means over tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eval_tasks.reporting.details import Answer
from eval_tasks.reporting.results import Run

LEVEL = 0.05
"""P-value below which a difference is taken to be more than chance."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A column: a run under the name that it is shown by, and the answers that it kept: task -> details.by_row -> answer."""

    name: str
    run: Run
    answers: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreCell:
    """What a model scored. `low` to `high` is the 95 % interval, None where it is unknown."""

    value: float
    low: float | None = None
    high: float | None = None
    unparsable: float | None = None
    rows: int | None = None


@dataclass(frozen=True)
class ScoreGain:
    """What a model has more than the reference; `rows` that both answered, None where it is not known which."""

    value: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    rows: int | None = None

    @property
    def clear(self) -> bool:
        """Whether it is beyond chance: the interval lies on one side of zero, and the p-value below 0.05 where there is one.

        Of a few rows that all differ alike the interval has no length; the p-value still knows how few they are.
        """
        off_zero = self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
        return off_zero and (self.p_value is None or self.p_value < LEVEL)


@dataclass(frozen=True)
class ScoreLine:
    """A task, or a mean over several, which has no metric: a cell and a gain for each model, None where it has none."""

    name: str
    metric: str
    cells: tuple[ScoreCell | None, ...]
    gains: tuple[ScoreGain | None, ...]


@dataclass(frozen=True)
class ScoreGroup:
    """The tasks of one family or track, and their mean."""

    suite: str
    family: str
    lines: tuple[ScoreLine, ...]
    mean: ScoreLine


@dataclass(frozen=True)
class WordingCell:
    """One model: its scores in the trained and in the unseen wording, and the second less the first."""

    seen: float
    unseen: float
    gain: ScoreGain


@dataclass(frozen=True)
class WordingLine:
    """A task, or the mean over all tasks here, which has no metric: a cell for each model, None where it has none."""

    name: str
    metric: str
    cells: tuple[WordingCell | None, ...]


@dataclass(frozen=True)
class Report:
    """Models, the reference first and baselines last, and what they scored.

    Means are over the tasks that every model but the baselines was scored on; `means` are the suites' where there are several.
    `wordings` compare scores in a trained and in an unseen wording, of the models that are no baselines; empty where no row was
    asked in both.
    """

    models: tuple[EvaluatedModel, ...]
    groups: tuple[ScoreGroup, ...]
    means: tuple[ScoreLine, ...]
    mean: ScoreLine
    wordings: tuple[WordingLine, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(model.name for model in self.models)

    @property
    def last(self) -> int:
        """Number of the last column that is no baseline: what a reader wants to know of."""
        return sum(1 for model in self.models if not model.run.baseline) - 1

    @property
    def lines(self) -> tuple[ScoreLine, ...]:
        """Those of tasks."""
        return tuple(line for group in self.groups for line in group.lines)

    def best_baseline(self, line: ScoreLine) -> float | None:
        """The highest score of a baseline, None where there is none."""
        values = [cell.value for cell in line.cells[self.last + 1 :] if cell]
        return max(values) if values else None
