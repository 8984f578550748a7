"""Checks labels with a language model: it answers every row's prompt, and rows with which it disagrees are left out.

python -m dataset_builders.annotate --data dataset --tasks query_relation,also_buy,query_product_ranking \\
    --endpoint http://localhost:8000/v1 --model NAME --out checked --dry-run
python -m dataset_builders.annotate --data dataset --endpoint URL --model NAME --keep majority --samples 5 --out checked
python -m dataset_builders.annotate --data dataset --endpoint URL --model NAME --second-model OTHER --keep two-models \\
    --out checked

By default both splits are checked: a test label should be at least as good as a training label. Replies are kept beside --out
as they arrive, so an interrupted run resumes where it stopped, and another policy over the same replies sends no request.
Policies and label columns are in labelling/votes.py.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dataset import MANIFEST, SPLITS
from common.errors import UserError, plain_errors
from common.files import check_replaceable, replaced
from common.tasks import TASKS
from dataset_builders.labelling import options
from dataset_builders.labelling.costs import TokenPrices
from dataset_builders.labelling.options import LabelModel
from dataset_builders.labelling.votes import (
    POLICIES,
    SYSTEM,
    Vote,
    comparable,
    label_columns,
    parse_bounds,
    read_vote,
    rejection,
    row_requests,
)
from dataset_builders.rows import DatasetRow

if TYPE_CHECKING:
    from dataset_builders.labelling.labelled_dataset import CheckedRow, SourceDataset
    from dataset_builders.labelling.reply_store import ReplyStore
    from dataset_builders.labelling.requests import LabelRequest

NOT_ASKED = "not asked, since --max-rows leaves it out"
SAMPLING = 0.7
"""Default for several samples, which would be equal at 0."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.annotate", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset from python -m dataset_builders.build")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the new dataset; an earlier one is replaced"
    )
    parser.add_argument("--tasks", metavar="A,B", help="tasks to check (default: all but free text)")
    parser.add_argument("--splits", default=",".join(SPLITS), metavar="A,B", help="splits to check (default: %(default)s)")
    parser.add_argument(
        "--keep",
        choices=POLICIES,
        default="agree",
        help="keep a row where every answer agrees with its label (default), where more than half do, where both models agree, "
        "or always",
    )
    parser.add_argument("--samples", type=int, default=1, metavar="K", help="answers per prompt (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, metavar="T", help=f"of sampling (default: 0, and {SAMPLING} for several samples)"
    )
    parser.add_argument(
        "--agreement",
        metavar="FAMILY=X",
        help="lowest score of a selection (share of the right items) and of a ranking (NDCG) that agrees "
        "(default: retrieval=0.67,ranking=0.95)",
    )
    parser.add_argument("--max-rows", type=int, metavar="N", help="rows to check per task; the others are left out")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw of these rows (default: %(default)s)")
    parser.add_argument(
        "--system", default=SYSTEM, metavar="TEXT", help="system message; '' for none (default: that only the answer is wanted)"
    )
    second = parser.add_argument_group("a second model")
    second.add_argument("--second-model", metavar="NAME", help="for --keep two-models: its name at the endpoint")
    second.add_argument("--second-endpoint", metavar="URL", help="its server (default: --endpoint)")
    second.add_argument("--second-key-env", metavar="NAME", help="variable with its API key (default: --key-env)")
    second.add_argument("--second-price-in", type=float, default=0.0, metavar="X", help="as --price-in")
    second.add_argument("--second-price-out", type=float, default=0.0, metavar="X", help="as --price-out")
    options.add_options(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    check_options(arguments)
    from dataset_builders.labelling.labelled_dataset import draw_rows, read_source, rows_of
    from dataset_builders.labelling.reply_store import ReplyStore

    models = models_of(arguments)
    source = read_source(arguments.data)
    tasks = parse_tasks(arguments.tasks, source)
    splits = parse_splits(arguments.splits)
    rows = rows_of(source, tasks, splits)
    drawn = {name for task in tasks for name in draw_rows(rows_of(source, [task], splits), arguments.max_rows, arguments.seed)}
    to_check = [row for _, row in rows if row.sample_id in drawn]
    if not to_check:
        raise UserError(f"{arguments.data} has no row of {', '.join(tasks)} in {' and '.join(splits)}. Give other --splits.")
    with ReplyStore(options.answers_folder(arguments)) as store:
        if options.collect_replies(arguments, models, lambda: requests_of(arguments, to_check), store):
            votes = all_votes(arguments, models, to_check, store)
            checked = [check(arguments, split, row, votes.get(row.sample_id, ())) for split, row in rows]
            write(arguments, source, tasks, splits, checked, votes)


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UserError for values that make no sense; sets the default temperature and the bounds of agreement."""
    options.check_options(arguments)
    if arguments.samples < 1:
        raise UserError(f"--samples must be 1 or more, not {arguments.samples}.")
    if arguments.temperature is None:
        arguments.temperature = SAMPLING if arguments.samples > 1 else 0.0
    if not 0 <= arguments.temperature <= 2:
        raise UserError(f"--temperature must be between 0 and 2, not {arguments.temperature:g}.")
    if arguments.samples > 1 and not arguments.temperature:
        raise UserError(f"--samples {arguments.samples} are all equal at --temperature 0. Give one such as {SAMPLING}.")
    if arguments.keep == "majority" and arguments.samples < 3:
        raise UserError("--keep majority needs several answers per prompt. Give --samples 3 or more.")
    if arguments.keep == "two-models" and not arguments.second_model:
        raise UserError("--keep two-models needs a second model. Give --second-model.")
    if arguments.second_model and arguments.keep not in ("two-models", "all"):
        raise UserError(f"--keep {arguments.keep} uses one model. Give --keep two-models or all, or leave out --second-model.")
    if arguments.second_model == arguments.model:
        raise UserError(f"--second-model {arguments.model} is also --model. Give another model.")
    if arguments.max_rows is not None and arguments.max_rows < 1:
        raise UserError(f"--max-rows must be 1 or more, not {arguments.max_rows}.")
    if arguments.data.resolve() == arguments.out.resolve():
        raise UserError("--out and --data are the same folder. Give another --out.")
    check_replaceable(arguments.out, MANIFEST)
    arguments.bounds = parse_bounds(arguments.agreement)


def models_of(arguments: argparse.Namespace) -> list[LabelModel]:
    prices = TokenPrices(arguments.price_in, arguments.price_out)
    models = [options.model_of(arguments, arguments.model, arguments.endpoint, arguments.key_env, prices)]
    if arguments.second_model:
        url, key_env = arguments.second_endpoint or arguments.endpoint, arguments.second_key_env or arguments.key_env
        prices = TokenPrices(arguments.second_price_in, arguments.second_price_out)
        models.append(options.model_of(arguments, arguments.second_model, url, key_env, prices))
    return models


def parse_tasks(text: str | None, source: "SourceDataset") -> list[str]:
    """The tasks to check, in the dataset's order. Raises UserError for an unknown or a free-text task."""
    can = [name for name in source.built if comparable(TASKS[name])]
    if text is None:
        names = can
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if name not in source.built]:
            raise UserError(f"{source.folder} has no task {', '.join(unknown)}. It has {', '.join(source.built)}.")
        if free := [name for name in names if name not in can]:
            raise UserError(
                f"--tasks {', '.join(free)}: a free text that differs from the constructed answer may be as good, so agreement "
                f"says nothing about the label. Check {', '.join(can) or 'a dataset with other tasks'}."
            )
    if not names:
        raise UserError(f"{source.folder} has no task whose answers can be compared. Give --tasks, or another dataset.")
    return [name for name in source.built if name in names]


def parse_splits(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or set(names) - set(SPLITS):
        raise UserError(f"Unknown --splits {text}; use {' or '.join(SPLITS)}, or both.")
    return [split for split in SPLITS if split in names]


def requests_of(arguments: argparse.Namespace, rows: Sequence[DatasetRow]) -> "Iterator[LabelRequest]":
    return row_requests(rows, arguments.samples, arguments.temperature, arguments.max_tokens, arguments.system, arguments.extra)


def all_votes(
    arguments: argparse.Namespace, models: Sequence[LabelModel], rows: Sequence[DatasetRow], store: "ReplyStore"
) -> dict[str, list[Vote]]:
    """The votes on each row, by its id."""
    from rich.console import Console
    from rich.progress import track

    tracked = track(rows, "Reading answers", console=Console(stderr=True))
    return {row.sample_id: read_votes(arguments, models, row, store) for row in tracked}


def read_votes(arguments: argparse.Namespace, models: Sequence[LabelModel], row: DatasetRow, store: "ReplyStore") -> list[Vote]:
    """Each model's votes in order of the samples. A reply without an answer is a vote without a text."""
    from dataset_builders.labelling.requests import NO_ANSWER, LabelReply

    no_reply = LabelReply("", NO_ANSWER)
    return [
        read_vote(model.name, row, store.get(request.key(model.name)) or no_reply, arguments.bounds)
        for model in models
        for request in requests_of(arguments, [row])
    ]


def check(arguments: argparse.Namespace, split: str, row: DatasetRow, votes: Sequence[Vote]) -> "CheckedRow":
    from dataset_builders.labelling.labelled_dataset import CheckedRow

    if not votes:
        return CheckedRow(split, row, NOT_ASKED)
    return CheckedRow(split, replace(row, checked=label_columns(arguments.keep, votes)), rejection(arguments.keep, votes))


def write(
    arguments: argparse.Namespace,
    source: "SourceDataset",
    tasks: Sequence[str],
    splits: Sequence[str],
    checked: "Sequence[CheckedRow]",
    votes: dict[str, list[Vote]],
) -> None:
    """Measures the agreement, writes the new dataset, and prints the counts."""
    from dataset_builders.labelling.agreement import measure_agreement
    from dataset_builders.labelling.labelled_dataset import kept_rows, task_counts, write_labelled
    from dataset_builders.labelling.plots import plot_agreement

    voted = ((one.row, votes[one.row.sample_id]) for one in checked if one.row.sample_id in votes)
    agreements = measure_agreement(voted, arguments.bounds)
    built = kept_rows(source, checked, tasks, splits)
    annotation: dict[str, Any] = {
        "models": [name for name in (arguments.model, arguments.second_model) if name],
        "policy": arguments.keep,
        "samples": arguments.samples,
        "temperature": arguments.temperature,
        "bounds": {family: bound for family, bound in arguments.bounds.items() if family != "multiple_choice"},
        "system": arguments.system,
        "splits": list(splits),
        "max_rows": arguments.max_rows,
        "seed": arguments.seed,
        "checked_fingerprint": source.manifest["configs"]["default"]["fingerprint"],
        "tasks": task_counts(checked, agreements),
        "not_asked": [task for task in source.built if task not in tasks],
        "picture": f"images/agreement-{len(source.manifest.get('annotations', [])) + 1}.png",
    }
    print_tables(annotation)
    if not built:
        raise UserError(
            f"no row of {arguments.data} is left, so nothing is written. See the reasons above, or give another --keep."
        )
    with replaced(arguments.out, MANIFEST) as out:
        plot_agreement(out / annotation["picture"], agreements, arguments.bounds)
        write_labelled(out, source, checked, built, annotation)
    print(f"The dataset is in {arguments.out}, its agreement in agreement.json and {annotation['picture']} there")


def print_tables(annotation: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    agreement = Table("task", "model", "label", title="Answers")
    for column in ("asked", "answered", "unreadable", "refused", "agreed", "share", "by chance", "kappa"):
        agreement.add_column(column, justify="right")
    rows = Table("task", "rows", "", title="Rows")
    rows.columns[2].justify = "right"
    for name, task in annotation["tasks"].items():
        for model, found in task["models"].items():
            refused = sum(found["refused"].values())
            counts = (found["answers"], found["answers"] - refused, found["unreadable"], refused, found["agreed"])
            kappa = "" if found["kappa"] is None else f"{found['kappa']:.2f}"
            agreement.add_row(
                name, model, "", *(f"{count:,}" for count in counts), f"{found['share']:.1%}", f"{found['chance']:.1%}", kappa
            )
            for reason, count in found["refused"].items():
                agreement.add_row("", "", f"refused: {reason}", "", "", "", f"{count:,}")
            for label, label_counts in found["labels"].items():
                answers, agreed = label_counts["answers"], label_counts["agreed"]
                agreement.add_row("", "", label, f"{answers:,}", "", "", "", f"{agreed:,}", f"{agreed / answers:.1%}")
        agreement.add_section()
        rows.add_row(name, "kept", f"{task['kept']:,}")
        for reason, count in task["rejects"].items():
            rows.add_row("", reason, f"{count:,}")
    console = Console(markup=False)
    console.print(agreement)
    console.print(rows)


if __name__ == "__main__":
    with plain_errors():
        main()
