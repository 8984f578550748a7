"""Scored pairs of a query and a product as ranked lists, by DuckDB, so that memory does not grow with their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from common.errors import UserError, first_line
from common.files import write_whole
from common.scoring import expected_ndcg, ndcg
from common.tasks import GAINS

FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
}
"""Ending of the ranked file -> how DuckDB writes it."""
MEMORY = "500MB"
QUERIES_AT_ONCE = 1000
RANKED_COLUMNS = ("score", "rank")
LETTERS = {label[0]: gain for label, gain in GAINS.items()}
"""The ESCI corpus' labels: E, S, C and I."""


@dataclass(frozen=True)
class RankQuality:
    """Mean NDCG over the queries with a judgment above 0: of the ranking, of the input's order, and of any order by chance."""

    queries: int
    ranked: float
    given: float
    chance: float
    unjudged: int
    """Pairs without a judgment that can be read: they are ranked, and left out of NDCG."""

    def text(self) -> str:
        without = f"{self.unjudged:,} pairs have no judgment"
        if not self.queries:
            return f"no NDCG, since no query has a judgment above irrelevant; {without}"
        return (
            f"NDCG over {self.queries:,} queries: {self.ranked:.4f}; in the input's order {self.given:.4f}, by chance "
            f"{self.chance:.4f}; {without}"
        )


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def connection(folder: Path) -> Any:
    import duckdb

    return duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "temp_directory": str(folder / "spilled")})


def ranked_sql(folder: Path, group: str, by_text: bool = False) -> str:
    """All pairs with `score` and `rank`, from 1 in each group; a pair that has an error has neither.

    `by_text`: the score is the log-likelihood of the query behind the product, else the expected gain.
    """
    parts = str(folder / "**" / "part-*.parquet").replace("'", "''")  # of a shard, or of all shards on Spark
    gain = " + ".join(f"probabilities.{label} * {2**gain - 1!r}" for label, gain in GAINS.items())
    found, score = ("likelihood", "likelihood") if by_text else ("probabilities", gain)
    return (
        f"WITH scored AS (SELECT * EXCLUDE (text, {found}), {score} AS score FROM read_parquet('{parts}')) "
        f"SELECT *, CASE WHEN error IS NULL THEN row_number() OVER (PARTITION BY {quoted(group)}, error IS NULL "
        'ORDER BY score DESC, "row") END AS rank FROM scored'
    )


def write_ranked(folder: Path, group: str, out: Path, top: int | None, by_text: bool = False) -> None:
    """Writes the ranked pairs: groups in the order of the input, each with its best first, and its errors last."""
    kept = f"WHERE rank <= {top} OR rank IS NULL" if top else ""
    firsts = f'min("row") OVER (PARTITION BY {quoted(group)})'
    sql = (
        f'SELECT * EXCLUDE ("row") FROM ({ranked_sql(folder, group, by_text)}) {kept} ORDER BY {firsts}, rank NULLS LAST, "row"'
    )

    def write(unfinished: Path) -> None:
        import duckdb

        target = str(unfinished).replace("'", "''")
        try:
            with connection(folder) as database:
                database.execute(f"COPY ({sql}) TO '{target}' ({FORMATS[out.suffix.lower()]})")
        except duckdb.Error as error:
            raise UserError(f"{out} cannot be written: {first_line(error)}") from None

    write_whole(out, write)


def judged_groups(folder: Path, group: str, judgments: str, by_text: bool = False) -> Iterator[tuple[list[Any], list[int]]]:
    """Of each group the judgments in the input's order, the ranks of the same pairs."""
    sql = (
        f'SELECT list({quoted(judgments)} ORDER BY "row"), list(rank ORDER BY "row") '
        f'FROM ({ranked_sql(folder, group, by_text)}) WHERE rank IS NOT NULL GROUP BY {quoted(group)} ORDER BY min("row")'
    )
    with connection(folder) as database:
        found = database.execute(sql)
        while rows := found.fetchmany(QUERIES_AT_ONCE):
            yield from rows


def gain_of(judgment: Any) -> float | None:
    """What a judgment is worth: a label of GAINS, its first letter as the ESCI corpus writes it, or a number from 0."""
    text = str(judgment).strip().lower()
    if text in GAINS or text in LETTERS:
        return GAINS.get(text, LETTERS.get(text))
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 100 else None


def quality(folder: Path, group: str, judgments: str, by_text: bool = False) -> RankQuality:
    scores: list[tuple[float, float, float]] = []
    unjudged = 0
    for values, ranks in judged_groups(folder, group, judgments, by_text):
        pairs = [(gain, rank) for value, rank in zip(values, ranks, strict=True) if (gain := gain_of(value)) is not None]
        unjudged += len(values) - len(pairs)
        gains = [gain for gain, _ in pairs]
        if not any(gains):
            continue
        order = sorted(range(1, len(pairs) + 1), key=lambda number: pairs[number - 1][1])
        scores.append((ndcg(order, gains), ndcg(range(1, len(gains) + 1), gains), expected_ndcg(gains)))
    return RankQuality(len(scores), *means(scores), unjudged)


def means(scores: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    if not scores:
        return 0.0, 0.0, 0.0
    ranked, given, chance = (fmean(column) for column in zip(*scores, strict=True))
    return ranked, given, chance
