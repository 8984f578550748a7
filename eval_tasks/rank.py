"""Ranks products for queries by a tuned model: pairs, or queries with lists of any length, in; scores and ranks out.

    python -m eval_tasks.rank --input pairs.parquet --model BASE --adapter ADAPTER --out ranked.parquet --top 10
    python -m eval_tasks.rank --input pairs.csv --map query=q,product=title --judgments label --model BASE --out ranked.csv

Each product is scored by itself: the model's probabilities of exact, substitute, complement and irrelevant, times what NDCG
counts each for; or by text, the log-likelihood of the query behind the product (--lists). Scores are kept beside --out until
all pairs have one, so the same command goes on where it was interrupted.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import UserError, plain_errors
from common.tasks import TASKS
from eval_tasks.prediction.options import add_options, mapped_columns, required
from eval_tasks.prediction.shards import Shard, add_shard_options, answer_shard, chosen_shard

LISTS = ("candidates", "products")
"""Columns that hold a query's products as a list."""


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.rank", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add_options(parser)
    parser.add_argument("--group", metavar="COLUMN", help="what pairs of one ranking share (default: the query)")
    parser.add_argument(
        "--judgments",
        metavar="COLUMN",
        help="exact, substitute, complement, irrelevant, their first letters, or gains as numbers: prints NDCG",
    )
    add_shard_options(
        parser,
        "the K-th of N shares of the rankings, each of them whole, in a file of its own beside --out (default: 1/1, all)",
    )
    parser.add_argument("--top", type=int, metavar="N", help="the best N of each ranking only")
    parser.add_argument("--out", type=Path, metavar="FILE", help="ranked pairs: .parquet, .csv or .jsonl")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    required(arguments, "input", "model", "out")
    shard, mapped = chosen_shard(arguments), mapped_columns(arguments.map)

    from dataset_builders.mapping import near
    from eval_tasks.prediction.input_rows import one_row_an_item, open_input
    from eval_tasks.prediction.list_form import list_form
    from eval_tasks.prediction.outcome import outcome_of, print_outcome
    from eval_tasks.prediction.parts import alone
    from eval_tasks.prediction.questions import row_form
    from eval_tasks.prediction.ranked import FORMATS, RANKED_COLUMNS, quality, write_ranked
    from eval_tasks.prediction.spark import answer_on_spark

    out: Path = arguments.out
    if out.suffix.lower() not in FORMATS or out.is_dir():
        raise UserError(f"--out {out}: give a file that ends in {', '.join(FORMATS)}")
    if arguments.top is not None and arguments.top < 1:
        raise UserError(f"--top {arguments.top} keeps nothing; give 1 or more, or leave it out")
    table = open_input(arguments.input, arguments.input_revision)
    for field in LISTS:
        if field in mapped and mapped[field] not in table.columns:
            raise UserError(f"--map: --input has no column {mapped[field]!r}. {near(mapped[field], table.columns)}")
    listed = next((name for name in [mapped.pop(field, field) for field in LISTS] if name in table.columns), "")
    if listed and mapped.get("product", "product") not in table.columns:
        table = one_row_an_item(table, listed, "product")
    pair = row_form("query_product_relation", True, list(table.columns), mapped)
    form = replace(pair, columns={name: pair.columns[name] for name in ("query", "product")})
    for name in filter(None, (arguments.group, arguments.judgments)):
        if name not in table.columns:
            raise UserError(f"--input has no column {name!r}. {near(name, table.columns)}")
    by_text, why = list_form(TASKS["query_product_ranking"], arguments)
    if by_text:
        form = form.scored_by_text(by_text)
    if why:
        print(why)

    if shard[1] > 1:
        out = out.with_stem(f"{out.stem}-{shard[0]}-of-{shard[1]}")
    folder = out.with_name(f"{out.name}.parts")
    grouped = arguments.group or form.columns["query"]
    whole = Shard(arguments, table, form, folder, *shard, grouped, settings={"lists": listed}, reserved=RANKED_COLUMNS)
    with alone(folder):
        parts = answer_on_spark(whole) if arguments.engine else answer_shard(whole)
        if not parts.files():  # more shards than groups
            whole.parts().write(0, (), ())
        outcome = outcome_of(parts, form)
        group = parts.kept_name(grouped)
        write_ranked(folder, group, out, arguments.top, by_text is not None)
        print_outcome(outcome, "Pairs")
        if arguments.judgments:
            found = quality(folder, group, parts.kept_name(arguments.judgments), by_text is not None)
            print(found.text())
        shutil.rmtree(folder)
    print(f"The ranked pairs are in {out}")


if __name__ == "__main__":
    with plain_errors():
        main()
