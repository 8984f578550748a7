"""Bootstrap confidence intervals of scores, and paired permutation tests of two models on the same rows.

Values are one per row, as lighteval's details hold them: a number, or a list of numbers where the task's metric is no mean.
`task_scores.task_score(metric, values)` makes the task's score of them. Rows that belong together (`groups`, one label a
row) are drawn together, since rows that are alike would make an interval too short; without groups each row is its own.

Intervals are percentile bootstrap intervals (https://doi.org/10.1201/9780429246593, chapter 13), their level widened for few
groups (the "expanded percentile" of https://doi.org/10.1080/00031305.2015.1089789). The order of the rows changes nothing.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval_tasks.metrics.task_scores import AGGREGATES, micro_f1, share, task_score

DRAWS = 2000
LEVEL = 0.95

_BLOCK = 4_000_000
"""Numbers drawn at a time: 32 MB of them."""

Floats = NDArray[np.float64]
Values = Sequence[float] | Sequence[Sequence[float]]


@dataclass(frozen=True)
class TaskValues:
    """The rows of one task: their values, the metric that sums them up, and the group of each (None: each its own)."""

    values: Values
    metric: str = "mean"
    groups: Sequence[Any] | None = None


@dataclass(frozen=True)
class Difference:
    """What the first model has more than the second: the score, its interval from `low` to `high`, and the p-value.

    `p_value` is two-sided: how often a difference this large comes up where it is chance which answer is whose.
    """

    value: float
    low: float
    high: float
    p_value: float


def overall_interval(
    tasks: Sequence[TaskValues], seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> tuple[float, float]:
    """Low and high end of the bootstrap interval of the mean over tasks, from draws within each task.

    One row, or rows that are all equal, give an interval of no length. Raises ValueError where there are no tasks or rows, a
    value is no number, a task's `groups` have another length, or an option makes no sense.
    """
    tables = [_Table.of(task.metric, task.groups, task.values) for task in _some(tasks)]
    random = np.random.default_rng(seed)
    means = np.mean([table.drawn(random, draws)[0] for table in tables], axis=0)
    return _ends(means, tables, level)


def overall_paired(
    first: Sequence[TaskValues], second: Sequence[TaskValues], seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> Difference:
    """The difference of two models' mean scores over the same tasks, on the same rows in the same order, from draws of rows.

    The p-value is that of a permutation test which swaps the two models' values of whole groups: of all swaps where there are
    no more than `draws`, of a binomial where a mean's differences have one size (McNemar's exact test, as for accuracy), and
    else of `draws` random ones, with one added to both counts (https://doi.org/10.2202/1544-6115.1585).
    Raises ValueError as `overall_interval` does, and where the two have not as many tasks or rows.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} tasks of the first model and {len(second)} of the second; they must be the same ones")
    tables = [
        _Table.of(mine.metric, mine.groups, mine.values, theirs.values)
        for mine, theirs in zip(_some(first), second, strict=True)
    ]
    random = np.random.default_rng(seed)
    mine, theirs = np.mean([table.drawn(random, draws) for table in tables], axis=0)
    low, high = _ends(mine - theirs, tables, level)
    value = float(np.mean([table.gain() for table in tables]))
    return Difference(value, low, high, _p_value(tables, value, random, draws))


# --- Rows as a table of groups ---


@dataclass(frozen=True)
class _Table:
    """The rows of a task in an order that does not depend on the one they came in.

    `models` holds each model's values, `group` the number of each row's group, from 0 to `size` - 1. `sums` are the groups'
    sums of [1, the first model's values..., the second's...], of shape (size, 1 + models x columns).
    """

    metric: str
    models: tuple[Floats, ...]
    group: NDArray[np.intp]
    sums: Floats

    @classmethod
    def of(cls, metric: str, groups: Sequence[Any] | None, *models: Values) -> "_Table":
        columns = [_columns(values) for values in models]
        rows = len(columns[0])
        for other, kind in ((columns[-1], "values of the second model"), (groups, "groups")):
            if other is not None and len(other) != rows:
                raise ValueError(f"{len(other)} {kind} for {rows} rows; there must be one for each row")
        every = np.concatenate(columns, axis=1)
        if metric not in AGGREGATES and every.shape[1] > len(models):
            raise ValueError(f"values are lists, and {metric!r} is a mean of numbers")
        if groups is None:
            every = every[np.lexsort(every.T)]
            group = np.arange(rows)
        else:
            labels = {label: number for number, label in enumerate(sorted(set(map(str, groups))))}
            group = np.array([labels[str(label)] for label in groups])
            order = np.lexsort((*every.T, group))
            every, group = every[order], group[order]
        sums = np.zeros((group[-1] + 1, 1 + every.shape[1]))
        np.add.at(sums, group, np.concatenate([np.ones((rows, 1)), every], axis=1))
        return cls(metric, tuple(np.split(every, len(models), axis=1)), group, sums)

    @property
    def size(self) -> int:
        return len(self.sums)

    @property
    def _needs_rows(self) -> bool:
        """Whether the score cannot be computed from the sums of the values."""
        return self.metric in AGGREGATES and AGGREGATES[self.metric] not in OF_SUMS

    def gain(self) -> float:
        """The first model's score less the second's."""
        first, second = self.models
        return self._score(first) - self._score(second)

    def drawn(self, random: np.random.Generator, draws: int) -> Floats:
        """Each model's score of as many groups drawn with replacement, of shape (models, draws)."""
        if draws < 1:
            raise ValueError(f"draws is {draws}; it must be at least 1")
        blocks = []
        for block in _blocks(draws, self.size):
            chosen = random.integers(0, self.size, (block, self.size)) + self.size * np.arange(block)[:, None]
            counts = np.bincount(chosen.ravel(), minlength=block * self.size).reshape(block, self.size)
            blocks.append(self._scores_of(counts))
        return np.concatenate(blocks, axis=1)

    def _scores_of(self, counts: NDArray[np.intp]) -> Floats:
        if self._needs_rows:
            times = counts[:, self.group]
            return np.array([[self._score(np.repeat(values, time, axis=0)) for time in times] for values in self.models])
        sums = counts @ self.sums
        return np.array([self._score_of_sums(sums[:, 0], part) for part in np.split(sums[:, 1:], len(self.models), axis=1)])

    def swapped(self, swaps: NDArray[np.bool_]) -> Floats:
        """First score less second where each draw (rows of `swaps`, one column a group) has swapped the models' values."""
        if self._needs_rows:
            first, second = self.models
            differences = []
            for swap in swaps:
                away = swap[self.group][:, None]
                differences.append(self._score(np.where(away, second, first)) - self._score(np.where(away, first, second)))
            return np.array(differences)
        mine, theirs = np.split(self.sums[:, 1:], 2, axis=1)
        moved, rows = swaps.astype(float) @ (theirs - mine), self.sums[:, 0].sum()
        return self._score_of_sums(rows, mine.sum(axis=0) + moved) - self._score_of_sums(rows, theirs.sum(axis=0) - moved)

    def _score(self, values: Any) -> float:
        return float(task_score(self.metric, values) if self.metric in AGGREGATES else values.mean())

    def _score_of_sums(self, rows: Any, sums: Floats) -> Floats:
        if self.metric in AGGREGATES:
            return OF_SUMS[AGGREGATES[self.metric]](sums)
        least, largest = min(values.min() for values in self.models), max(values.max() for values in self.models)
        means: Floats = np.clip(sums[:, 0] / rows, least, largest)  # of equal values the mean is the same, to the last digit
        return means


def _columns(values: Values) -> Floats:
    """Values as an array of shape (rows, numbers of a row)."""
    if len(values) == 0:
        raise ValueError("there are no rows to say anything of")
    try:
        columns = np.array([np.atleast_1d(np.asarray(value, float)) for value in values])
    except (TypeError, ValueError) as error:
        raise ValueError(f"values must be numbers, or lists of as many numbers each ({error})") from None
    if columns.ndim != 2 or not np.isfinite(columns).all():
        raise ValueError("values must be finite numbers, or lists of as many numbers each")
    return columns


def _some(tasks: Sequence[TaskValues]) -> Sequence[TaskValues]:
    if not tasks:
        raise ValueError("there are no tasks to say anything of")
    return tasks


def _blocks(draws: int, size: int) -> Iterator[int]:
    block = max(1, _BLOCK // size)
    for start in range(0, draws, block):
        yield min(block, draws - start)


def _micro_f1(sums: Floats) -> Floats:
    hits, false_positives, false_negatives = sums.T
    predicted, wanted = hits + false_positives, hits + false_negatives
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, wanted, out=np.zeros_like(hits), where=wanted > 0)
    both = precision + recall
    f1: Floats = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    return f1


def _share(sums: Floats) -> Floats:
    part, whole = sums.T
    shares: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
    return shares


OF_SUMS: Mapping[Callable[..., float], Callable[[Floats], Floats]] = {micro_f1: _micro_f1, share: _share}
"""Functions of AGGREGATES that need only the sums of the rows' values -> one of sums (draws, columns) to scores (draws,).

They are fast. Any other one is called once a draw."""


# --- Draws to figures ---


def _ends(scores: Floats, tables: Sequence[_Table], level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    from scipy import stats  # slow to import, and commands import this file before they parse their options

    groups = sum(table.size for table in tables)
    freedom = groups - len(tables)
    tail = (1 - level) / 2
    if freedom:
        tail = float(stats.norm.cdf(math.sqrt(groups / freedom) * stats.t.ppf(tail, freedom)))
    low, high = np.quantile(scores, [tail, 1 - tail])
    return float(low), float(high)


def _p_value(tables: Sequence[_Table], value: float, random: np.random.Generator, draws: int) -> float:
    from scipy import stats

    # Groups in which the models do not differ change nothing by being swapped.
    differing = [_differing(table) for table in tables]
    number = sum(map(len, differing))
    if number == 0:
        return 1.0
    if len(tables) == 1 and tables[0].metric not in AGGREGATES:
        gains = np.subtract(*np.split(tables[0].sums[differing[0], 1:], 2, axis=1))[:, 0]
        if np.allclose(np.abs(gains), np.abs(gains[0]), rtol=1e-12, atol=0):
            return float(stats.binomtest(int((gains > 0).sum()), number).pvalue)
    exact = number < 63 and 2**number <= draws
    as_large = 0
    total = 2**number if exact else draws
    done = 0
    for block in _blocks(total, number):
        if exact:
            swaps = (np.arange(done, done + block)[:, None] >> np.arange(number) & 1).astype(bool)
        else:
            swaps = random.random((block, number)) < 0.5
        done += block
        differences = np.zeros(block)
        for table, groups, part in zip(tables, differing, np.split(swaps, _starts(differing), axis=1), strict=True):
            every = np.zeros((block, table.size), bool)
            every[:, groups] = part
            differences += table.swapped(every) / len(tables)
        # As large but for the last digits, which the order of a sum decides.
        as_large += int((np.abs(differences) >= abs(value) - 1e-9 * max(abs(value), 1e-3)).sum())
    return as_large / total if exact else (as_large + 1) / (total + 1)


def _differing(table: _Table) -> NDArray[np.intp]:
    """Numbers of the groups with a row of which the models' values differ."""
    first, second = table.models
    return np.unique(table.group[(first != second).any(axis=1)])


def _starts(parts: Sequence[NDArray[np.intp]]) -> list[int]:
    return [int(end) for end in np.cumsum([len(part) for part in parts])[:-1]]
