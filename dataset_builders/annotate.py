"""Asks a language model every row's own prompt, and keeps the rows whose constructed answer it agrees with.

python -m dataset_builders.annotate --data dataset --tasks query_relation,also_buy,query_product_ranking \\
    --endpoint http://localhost:8000/v1 --model NAME --out checked --dry-run
python -m dataset_builders.annotate --data dataset --endpoint URL --model NAME --keep majority --samples 5 --out checked
python -m dataset_builders.annotate --data dataset --endpoint URL --model NAME --second-model OTHER --keep two-models \\
    --out checked

Both splits are asked unless --splits says otherwise: a label that is tested on should be at least as good as one to train on.
Answers are kept as they come beside --out, so a run that was cut goes on where it stopped, and another policy over the same
answers asks nothing anew. What is kept and why not, and which columns tell it, is in annotating/votes.py.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.dataset import MANIFEST, SPLITS
from common.errors import UserError, plain_errors
from common.files import replaced
from common.tasks import TASKS
from dataset_builders.labelling import options
from dataset_builders.labelling.costs import Prices
from dataset_builders.labelling.row_requests import SYSTEM, drawn, row_asks
from dataset_builders.labelling.votes import POLICIES, Vote, comparable, label_columns, parse_bounds, read_vote, rejection
from dataset_builders.rows import DatasetRow

if TYPE_CHECKING:
    from dataset_builders.labelling.labelled_dataset import Checked, Source
    from dataset_builders.labelling.reply_store import Replies
    from dataset_builders.labelling.requests import Ask

NOT_ASKED = "not asked, since --max-rows leaves it out"
SEVERAL = 0.7
"""Temperature where a prompt is asked several times, unless one is given; the answers would be the same at 0."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dataset_builders.annotate", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what python -m dataset_builders.build wrote")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the new dataset; an earlier one is replaced"
    )
    parser.add_argument("--tasks", metavar="A,B", help="tasks to ask (default: all whose answers can be compared)")
    parser.add_argument("--splits", default=",".join(SPLITS), metavar="A,B", help="splits to ask (default: %(default)s)")
    parser.add_argument(
        "--keep",
        choices=POLICIES,
        default="agree",
        help="a row is kept where every answer agrees with the constructed one (default), where more than half do, where both "
        "models agree, or always",
    )
    parser.add_argument("--samples", type=int, default=1, metavar="K", help="answers to each prompt (default: %(default)s)")
    parser.add_argument("--temperature", type=float, metavar="T", help=f"default: 0, and {SEVERAL} for several samples")
    parser.add_argument(
        "--agreement",
        metavar="FAMILY=X",
        help="least score of a selection (share of the right items) and of a ranking (NDCG) that agrees "
        "(default: retrieval=0.67,ranking=0.95)",
    )
    parser.add_argument("--max-rows", type=int, metavar="N", help="rows to ask of each task; the others are left out")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of these rows")
    parser.add_argument("--system", default=SYSTEM, metavar="TEXT", help="what is said before each prompt; '' for nothing")
    second = parser.add_argument_group("a second model")
    second.add_argument("--second-model", metavar="NAME")
    second.add_argument("--second-endpoint", metavar="URL", help="default: --endpoint")
    second.add_argument("--second-key-env", metavar="NAME", help="default: --key-env")
    second.add_argument("--second-price-in", type=float, default=0.0, metavar="X")
    second.add_argument("--second-price-out", type=float, default=0.0, metavar="X")
    options.add_options(parser)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    check_options(arguments)
    from dataset_builders.labelling.labelled_dataset import asked_rows, read_source
    from dataset_builders.labelling.reply_store import Replies

    models = models_of(arguments)
    source = read_source(arguments.data)
    tasks = parse_tasks(arguments.tasks, source)
    splits = parse_splits(arguments.splits)
    rows = asked_rows(source, tasks, splits)
    chosen = {name for task in tasks for name in drawn(asked_rows(source, [task], splits), arguments.max_rows, arguments.seed)}
    asked = [row for _, row in rows if row.sample_id in chosen]
    if not asked:
        raise UserError(f"{arguments.data} has no row of {', '.join(tasks)} in {' and '.join(splits)}. Give other --splits.")
    with Replies(options.answers_folder(arguments)) as store:
        if options.get_answers(arguments, models, lambda: asks_of(arguments, asked), store):
            votes = all_votes(arguments, models, asked, store)
            checked = [check(arguments, split, row, votes.get(row.sample_id, ())) for split, row in rows]
            write(arguments, source, tasks, splits, checked, votes)


def check_options(arguments: argparse.Namespace) -> None:
    """Raises UserError for what cannot be meant, and fills in the temperature."""
    options.check_options(arguments)
    if arguments.samples < 1:
        raise UserError(f"--samples {arguments.samples} asks nothing. Give 1 or more.")
    if arguments.temperature is None:
        arguments.temperature = SEVERAL if arguments.samples > 1 else 0.0
    if not 0 <= arguments.temperature <= 2:
        raise UserError(f"--temperature {arguments.temperature} is none. Give a number from 0 to 2.")
    if arguments.samples > 1 and not arguments.temperature:
        raise UserError(f"--samples {arguments.samples} at --temperature 0 would all say the same. Give one such as {SEVERAL}.")
    if arguments.keep == "majority" and arguments.samples < 3:
        raise UserError("--keep majority needs several answers to each prompt. Give --samples 3 or more.")
    if arguments.keep == "two-models" and not arguments.second_model:
        raise UserError("--keep two-models needs a second model. Give --second-model.")
    if arguments.second_model and arguments.keep not in ("two-models", "all"):
        raise UserError(f"--keep {arguments.keep} knows one model. Give --keep two-models or all, or no --second-model.")
    if arguments.second_model == arguments.model:
        raise UserError(f"--second-model {arguments.model} is the first model's name. Give another model.")
    if arguments.max_rows is not None and arguments.max_rows < 1:
        raise UserError(f"--max-rows {arguments.max_rows} leaves nothing to ask. Give 1 or more.")
    if arguments.data.resolve() == arguments.out.resolve():
        raise UserError("--out is the folder of --data, which stays as it is. Give another.")
    parse_bounds(arguments.agreement)


def models_of(arguments: argparse.Namespace) -> list[options.Model]:
    prices = Prices(arguments.price_in, arguments.price_out)
    models = [options.model_of(arguments, arguments.model, arguments.endpoint, arguments.key_env, prices)]
    if arguments.second_model:
        url, key_env = arguments.second_endpoint or arguments.endpoint, arguments.second_key_env or arguments.key_env
        prices = Prices(arguments.second_price_in, arguments.second_price_out)
        models.append(options.model_of(arguments, arguments.second_model, url, key_env, prices))
    return models


def parse_tasks(text: str | None, source: "Source") -> list[str]:
    """The tasks to ask, in the order of the dataset. Raises UserError for one that it has not, or whose answers say nothing."""
    can = [name for name in source.built if comparable(TASKS[name])]
    if text is None:
        names = can
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if name not in source.built]:
            raise UserError(f"{source.folder} has no task {', '.join(unknown)}. It has {', '.join(source.built)}.")
        if free := [name for name in names if name not in can]:
            raise UserError(
                f"--tasks {', '.join(free)}: of a free text, one that differs from the constructed answer may be as good, so "
                f"agreement would say nothing of the label. Ask {', '.join(can) or 'a dataset with other tasks'}."
            )
    if not names:
        raise UserError(f"{source.folder} has no task whose answers can be compared. Give --tasks, or another dataset.")
    return [name for name in source.built if name in names]


def parse_splits(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or set(names) - set(SPLITS):
        raise UserError(f"--splits {text} names no splits. Give {' or '.join(SPLITS)}, or both.")
    return [split for split in SPLITS if split in names]


def asks_of(arguments: argparse.Namespace, rows: Sequence[DatasetRow]) -> "Iterator[Ask]":
    return row_asks(rows, arguments.samples, arguments.temperature, arguments.max_tokens, arguments.system, arguments.extra)


def all_votes(
    arguments: argparse.Namespace, models: Sequence[options.Model], rows: Sequence[DatasetRow], store: "Replies"
) -> dict[str, list[Vote]]:
    """The votes on each row, by its id."""
    from rich.console import Console
    from rich.progress import track

    bounds = parse_bounds(arguments.agreement)
    told = track(rows, "Reading answers", console=Console(stderr=True))
    return {row.sample_id: read_votes(arguments, models, row, store, bounds) for row in told}


def read_votes(
    arguments: argparse.Namespace,
    models: Sequence[options.Model],
    row: DatasetRow,
    store: "Replies",
    bounds: Mapping[str, float],
) -> list[Vote]:
    """What each model's samples say, in order. An answer that the endpoint could not give is a vote without a text."""
    from dataset_builders.labelling.requests import NO_ANSWER, Reply

    nothing = Reply("", NO_ANSWER)
    return [
        read_vote(model.name, row, store.get(ask.key(model.name)) or nothing, bounds)
        for model in models
        for ask in asks_of(arguments, [row])
    ]


def check(arguments: argparse.Namespace, split: str, row: DatasetRow, votes: Sequence[Vote]) -> "Checked":
    from dataset_builders.labelling.labelled_dataset import Checked

    if not votes:
        return Checked(split, row, NOT_ASKED)
    return Checked(split, replace(row, checked=label_columns(arguments.keep, votes)), rejection(arguments.keep, votes))


def write(
    arguments: argparse.Namespace,
    source: "Source",
    tasks: Sequence[str],
    splits: Sequence[str],
    checked: "Sequence[Checked]",
    votes: dict[str, list[Vote]],
) -> None:
    """Measures, writes the new dataset, and prints what became of the rows."""
    from dataset_builders.labelling.agreement import measure
    from dataset_builders.labelling.labelled_dataset import account, kept_rows, write_labelled
    from dataset_builders.labelling.plots import write_agreement

    bounds = parse_bounds(arguments.agreement)
    measured = measure(((one.row, votes[one.row.sample_id]) for one in checked if one.row.sample_id in votes), bounds)
    built = kept_rows(source, checked, tasks, splits)
    annotation: dict[str, Any] = {
        "models": [name for name in (arguments.model, arguments.second_model) if name],
        "policy": arguments.keep,
        "samples": arguments.samples,
        "temperature": arguments.temperature,
        "bounds": {family: bound for family, bound in bounds.items() if family != "multiple_choice"},
        "system": arguments.system,
        "splits": list(splits),
        "max_rows": arguments.max_rows,
        "seed": arguments.seed,
        "checked_fingerprint": source.manifest["configs"]["default"]["fingerprint"],
        "tasks": account(checked, measured),
        "not_asked": [task for task in source.built if task not in tasks],
        "picture": f"images/agreement-{len(source.manifest.get('annotations', [])) + 1}.png",
    }
    print_tables(annotation)
    if not built:
        raise UserError(
            f"no row of {arguments.data} is left, so nothing is written. Look at the reasons above, or give another --keep."
        )
    with replaced(arguments.out, MANIFEST) as out:
        write_agreement(out / annotation["picture"], measured, bounds)
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
