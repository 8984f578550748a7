"""Lets a language model write the queries of next_query: searches for viewed products, and the lists to choose from.

python -m dataset_builders.session_queries --raw corpora --model NAME --out queries --dry-run
python -m dataset_builders.session_queries --raw corpora --endpoint http://localhost:8000/v1 --model NAME --out queries
python -m dataset_builders.build --raw corpora --session-queries queries --out dataset

Give both commands the same --seed and --size, which choose the sessions. For each session's label the model writes the query,
unless a customer typed it, two narrower ones, a substitute and two complements; for a product in a session's history, only the
query. An answer that cannot be used is requested a second time; if that fails, the build makes that session's queries by rule.
Replies are kept beside --out as they arrive, so an interrupted run resumes where it stopped.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, plain_errors
from common.files import check_replaceable, replaced
from dataset_builders.engine import add_engine_options
from dataset_builders.labelling import options
from dataset_builders.labelling.costs import TokenPrices
from dataset_builders.splits import parse_sizes
from dataset_builders.tables import SESSION_QUERIES, SESSION_QUERY_COLUMNS, TABLES

if TYPE_CHECKING:
    from dataset_builders.labelling.query_writing import QuerySubject, WrittenQueries
    from dataset_builders.labelling.reply_store import ReplyStore
    from dataset_builders.labelling.requests import LabelRequest

REPORT = f"{SESSION_QUERIES}.json"
TASK = "next_query"
EVENTS = TABLES["events"]


def parse_arguments() -> argparse.Namespace:
    name = "python -m dataset_builders.session_queries"
    parser = argparse.ArgumentParser(prog=name, description=__doc__.split("\n", maxsplit=1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--raw", type=Path, metavar="DIR", help="folder with files of the raw corpora")
    source.add_argument("--tables", type=Path, metavar="DIR", help="folder with canonical tables as Parquet or CSV")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the table; an earlier one is replaced"
    )
    parser.add_argument("--seed", type=int, default=0, help="as for the build (default: %(default)s)")
    parser.add_argument(
        "--size", default="full", metavar="SIZE", help="as for the build, such as 0.1 or 900+100 (default: full)"
    )
    parser.add_argument(
        "--licences", choices=("all", "commercial"), default="all", help="which corpora may be used (default: %(default)s)"
    )
    add_engine_options(parser)
    options.add_options(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    options.check_options(arguments)
    check_replaceable(arguments.out, REPORT)
    from dataset_builders.labelling.reply_store import ReplyStore

    prices = TokenPrices(arguments.price_in, arguments.price_out)
    model = options.model_of(arguments, arguments.model, arguments.endpoint, arguments.key_env, prices)
    subjects = find_subjects(arguments)
    with ReplyStore(options.answers_folder(arguments)) as store:

        def requests() -> "list[LabelRequest]":
            return [request for subject in subjects for request in requests_of(arguments, subject, store)]

        for _ in range(2):  # the second pass has the second requests
            if not options.collect_replies(arguments, [model], requests, store):
                return
        written = [queries_of(arguments, subject, store) for subject in subjects]
    write(arguments, written)


def find_subjects(arguments: argparse.Namespace) -> "list[QuerySubject]":
    """Subjects of the build's sessions, by key. Raises UserError where there are no sessions."""
    from common.cores import usable_cores
    from dataset_builders.canonical_tables import load_tables
    from dataset_builders.engine import Draw, connect, reader
    from dataset_builders.engine_errors import plain_engine_errors
    from dataset_builders.labelling.query_writing import QuerySubject
    from dataset_builders.recipes.retrieval import subjects
    from dataset_builders.record_counts import RecordCounts
    from dataset_builders.sources import merrec
    from dataset_builders.sources.own_tables import table_of
    from dataset_builders.staging import find_corpora, find_tables, stage
    from dataset_builders.workers import worker_pool

    size = parse_sizes(arguments.size)[TASK]
    folder = arguments.raw or arguments.tables
    files, _ = find_corpora(folder, arguments.licences == "commercial") if arguments.raw else find_tables(folder)
    exhausted = plain_engine_errors(arguments.memory_limit)
    with tempfile.TemporaryDirectory(prefix="shop-sessions-") as place, exhausted:
        staged = Path(place)
        connection = connect(arguments.memory_limit, arguments.threads, staged / "spill", arguments.engine)
        sessions = [file for file in files if file.source.startswith(merrec.NAME) or table_of(file.path, folder) is EVENTS]
        with worker_pool(usable_cores()) as run:
            stage(sessions, folder, staged, frozenset(("us",)), RecordCounts(), reader(connection, run))
        tables, _ = load_tables(connection, staged)
        if "events" not in tables:
            raise UserError(f"{folder} has no sessions, which {TASK} needs. Give a folder with MerRec, or with a table events.")
        found = subjects(tables, Draw(arguments.seed, TASK), size.candidates())
        rows = found.order_by("key").to_pyarrow().to_pylist()
    if not rows:
        raise UserError(f"{folder} has no session with a new kind of product, which {TASK} needs. Give more sessions.")
    return [QuerySubject(**row) for row in rows]


def requests_of(arguments: argparse.Namespace, subject: "QuerySubject", store: "ReplyStore") -> "Iterator[LabelRequest]":
    """The request for a subject, and the second one once the answer to the first cannot be used."""
    from dataset_builders.labelling.query_writing import query_request, read_queries, second_request

    first = query_request(subject, arguments.max_tokens, arguments.extra)
    yield first
    reply = store.get(first.key(arguments.model))
    if reply and reply.text and (reason := read_queries(subject, reply).reason):
        yield second_request(first, reply.text, reason)


def queries_of(arguments: argparse.Namespace, subject: "QuerySubject", store: "ReplyStore") -> "WrittenQueries":
    from dataset_builders.labelling.query_writing import read_queries
    from dataset_builders.labelling.requests import NO_ANSWER, LabelReply

    requests = list(requests_of(arguments, subject, store))
    reply = store.get(requests[-1].key(arguments.model)) or LabelReply("", NO_ANSWER)
    return replace(read_queries(subject, reply), second=len(requests) > 1)


def write(arguments: argparse.Namespace, written: "Sequence[WrittenQueries]") -> None:
    """Writes the table and the report with the rejects, and prints the counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dataset_builders.labelling.query_writing import query_rows

    rejected = [one for one in written if one.reason]
    report: dict[str, Any] = {
        "model": arguments.model,
        "seed": arguments.seed,
        "size": arguments.size,
        "asked": len(written),
        "asked_again": sum(one.second for one in written),
        "written": len(written) - len(rejected),
        "rejects": dict(Counter(one.reason for one in rejected).most_common()),
        "rejected": [{"about": one.subject.masked(), "reason": one.reason} for one in rejected],
    }
    print_table(report)
    if len(rejected) == len(written):
        raise UserError("no answer can be used, so nothing is written. See the reasons above, or use another model.")
    kinds = {"place": pa.int64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in SESSION_QUERY_COLUMNS])
    with replaced(arguments.out, REPORT) as out:
        table = pa.Table.from_pylist(list(query_rows(written, arguments.model)), schema)
        pq.write_table(table, out / f"{SESSION_QUERIES}.parquet")
        (out / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"The queries are in {arguments.out}; give it to the build as --session-queries")


def print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("products and searches", "", title=f"Queries by {report['model']}")
    table.columns[1].justify = "right"
    for name, count in (("asked", report["asked"]), ("asked again", report["asked_again"]), ("written", report["written"])):
        table.add_row(name, f"{count:,}")
    for reason, count in report["rejects"].items():
        table.add_row(f"rejected: {reason}", f"{count:,}")
    Console(markup=False).print(table)


if __name__ == "__main__":
    with plain_errors():
        main()
