"""Evaluates a base model, any number of its adapters, loaded once, and baselines, and shows their scores side by side.

    python -m eval_tasks.run --data outputs/demo/dataset --model BASE --adapter ADAPTER --adapter org/name@v2 \\
        --baseline majority --baseline minilm --out OUT

Results and details of each are in a folder of its own below --out, as lighteval writes them, and the report is in OUT/report.
What was answered is kept and not asked again, so the same command goes on where it was interrupted.
"""

import argparse
import inspect
import os
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from common.dataset import looks_like_path
from common.errors import UserError, plain_errors
from common.files import check_writable
from common.tasks import TASKS
from eval_tasks.backends.prompts import LISTS, LISTS_HELP, NO_TEXT_AT_ENDPOINT
from eval_tasks.suites.suite import SHOP, SUITES, UNSEEN, suite_name

BACKENDS = {"transformers": "TransformersBackend", "vllm": "VllmBackend", "endpoint": "EndpointBackend"}
"""Backend -> its class in eval_tasks/BACKEND_model.py."""

BASELINES = "random, majority, tfidf, bm25, minilm, embedder=MODEL, cross-encoder=MODEL or qlm"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval_tasks.run", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--model", required=True, metavar="BASE", help="folder or Hub id, or an endpoint's name of the model")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="ADAPTER", help="folder, Hub id or id@revision; repeat"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME",
        help=f"{BASELINES}; repeat",
    )
    parser.add_argument("--adapters-only", action="store_true", help="do not evaluate the base itself")
    parser.add_argument(
        "--suite", choices=[name for name in SUITES if name != UNSEEN], default=SHOP, help="whose tasks (default: %(default)s)"
    )
    parser.add_argument(
        "--data", metavar="DATA", help="the suite's rows, a folder, file or Hub id (default: $SHOP_DATASET etc.)"
    )
    parser.add_argument(
        "--tasks",
        metavar="A,B",
        help='tasks, such as also_buy, or lighteval\'s names, "shop:also_buy|2", with a number of examples '
        "(default: all, without examples)",
    )
    add_backend_options(parser)
    parser.add_argument("--constrained", action="store_true", help="limit decoding to answers that can be read")
    parser.add_argument(
        "--answers",
        choices=("written", "scored", "both"),
        default="written",
        help="scored: by the likelihoods of labels in words, of each item of a list; texts are written (default: %(default)s)",
    )
    parser.add_argument(
        "--lists",
        choices=LISTS,
        default="words",
        help=f"{LISTS_HELP} (default: %(default)s)",
    )
    parser.add_argument("--max-samples", type=int, metavar="N", help="N rows of each task, by a fixed draw (default: all)")
    parser.add_argument(
        "--names", metavar="A,B", help="of base and adapters, separated by commas (default: the last parts of theirs)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results and details, a folder for each model")
    arguments = parser.parse_args(argv)
    if arguments.adapters_only and not arguments.adapter:
        raise UserError("--adapters-only without --adapter evaluates nothing; give an --adapter")
    if arguments.lists == "text" and arguments.answers == "written":
        raise UserError("--lists text is of scored answers; give --answers scored or both, or leave it out")
    if arguments.lists == "text" and arguments.backend == "endpoint":
        raise UserError(NO_TEXT_AT_ENDPOINT)
    if arguments.max_samples is not None and arguments.max_samples < 1:
        raise UserError(f"--max-samples {arguments.max_samples} evaluates nothing; give 1 or more, or leave it out")
    return arguments


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """What every command has that asks a model: how its backend is called and set up."""
    parser.add_argument("--revision", help="branch, tag or commit of a base on the Hub (default: main)")
    parser.add_argument(
        "--backend", choices=list(BACKENDS), default="transformers", help="what runs the models (default: %(default)s)"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the backend, such as dtype=float32 or base_url=http://…/v1; repeat",
    )
    parser.add_argument(
        "--template-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the chat template, such as enable_thinking=true (false by default, where the template has it)",
    )


def base_options(arguments: argparse.Namespace) -> list[str]:
    """The base model's options, as KEY=VALUE."""
    given = [f"model_name={arguments.model}", *arguments.option]
    given += [f"template.{option}" for option in arguments.template_option]
    return [*given, *([f"revision={arguments.revision}"] if arguments.revision else [])]


def backend_class(name: str) -> Any:
    return getattr(import_module(f"eval_tasks.{name}_model"), BACKENDS[name])


def model_options(arguments: argparse.Namespace) -> list[str]:
    """The options of every model to evaluate, the base first, and of `--answers both` all that write before all that score."""
    common = base_options(arguments)
    if arguments.constrained:
        common.append("constrained=true")
    bases = [] if arguments.adapters_only else [",".join(common)]
    written = [*bases, *(",".join([*common, f"adapter={adapter}"]) for adapter in arguments.adapter)]
    scored = [f"{options},answers=scored,lists={arguments.lists}" for options in written]
    return {"written": written, "scored": scored, "both": [*written, *scored]}[arguments.answers]


def baseline_options(name: str, options: str, loaded: Any) -> tuple[str, Any]:
    """A baseline's options, and the base model with its store of answers for the one that asks it."""
    if name != "qlm":
        return f"model_name={name}", None
    kept = [option for option in options.split(",") if option.startswith("cache_dir=")]
    return ",".join([f"model_name={name}", *kept]), loaded


def folder_names(names: Sequence[str]) -> list[str]:
    """The models' names as folders of their own: what comes again gets a number, a slash of a Hub id becomes two dashes."""
    found: list[str] = []
    for name in names:
        plain = name.replace("/", "--")
        found.append(plain if plain not in found else f"{plain}-{sum(other.startswith(plain) for other in found) + 1}")
    return found


def task_names(asked: str | None, declared: Sequence[str]) -> str:
    """lighteval's list of tasks: those asked for, or all that the data has rows for. Raises UserError.

    A task's own name, such as `also_buy`, is that of the suite, `shop:also_buy`. All are spelt out, since lighteval takes
    `shop|0` for all tasks only where there are two or more.
    """
    if asked is None:
        return ",".join(f"{name}|0" for name in declared)
    suites = Counter(map(suite_name, declared))
    whole: dict[str, str] = {}
    for name in declared:
        whole.setdefault(name.partition(":")[2], name)  # of a task in two suites the first one's
    found = []
    for task in asked.split(","):
        name, _, shots = task.strip().partition("|")
        name, shots = whole.get(name, name), shots or "0"
        if (name not in declared and suites[name] < 2) or not shots.isdecimal():
            raise UserError(
                f"--tasks: there is no {task!r}; give some of {', '.join(whole)}, or lighteval's names such as {declared[0]}|0"
            )
        found.append(f"{name}|{shots}")
    return ",".join(found)


def of_baseline(tasks: str) -> str:
    """The tasks without those in an unseen wording: a baseline reads what a template is filled with, and no wording.

    Raises UserError where nothing is left.
    """
    if not (own := [task for task in tasks.split(",") if suite_name(task.strip().partition("|")[0]) != UNSEEN]):
        raise UserError(f"--baseline: a baseline has no score of {UNSEEN} tasks; add {SHOP} tasks to --tasks, or leave it out")
    return ",".join(own)


def check_prompts(data: str, tasks: str, every: bool) -> None:
    """Raises UserError for a dataset whose prompts no template fits, before the models answer and not after.

    Likelihoods and baselines read prompts by their templates; `every`: of all tasks, as baselines do.
    """
    from common.dataset import read_split
    from eval_tasks.baselines.template_rows import prompt_row

    asked = {task.strip().partition("|")[0].partition(":")[2] for task in tasks.split(",")}
    names = [name for name, task in TASKS.items() if name in asked and (every or task.words)]
    for name, table in read_split(data, "test", names, os.environ.get("SHOP_DATASET_REVISION") or None).items():
        prompt_row(TASKS[name], table["prompt"][0].as_py()[0]["content"])


def check_baselines(names: Sequence[str]) -> None:
    """Raises UserError for a name that there is not, before the models answer and not after."""
    from eval_tasks.baseline_model import QLM
    from eval_tasks.baselines.shop import is_baseline

    if unknown := [name for name in names if name != QLM and not is_baseline(name)]:
        raise UserError(f"--baseline: there is no {unknown[0]!r}; give {BASELINES}")
    for model in (name.partition("=")[2] for name in names):
        if model and looks_like_path(model) and not Path(model).exists():
            raise UserError(f"--baseline: there is no folder {model!r}; give the folder or Hub id of the model")


def evaluate(model: Any, task_module: Any, tasks: str, out: Path, max_samples: int | None = None) -> None:
    """Runs lighteval's pipeline over tasks of a module with a TASKS_TABLE; results and details are below `out`."""
    from lighteval.logging.evaluation_tracker import EvaluationTracker
    from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters

    pipeline = Pipeline(
        tasks=tasks,
        pipeline_parameters=PipelineParameters(
            launcher_type=ParallelismManager.CUSTOM, custom_tasks_directory=task_module, max_samples=max_samples
        ),
        evaluation_tracker=EvaluationTracker(output_dir=str(out), save_details=True),
        model=model,
    )
    pipeline.evaluate()  # type: ignore[no-untyped-call]  # lighteval has no types for these two
    pipeline.save_and_push_results()  # type: ignore[no-untyped-call]


def backend_model(backend: Any, options: str, loaded: Any = None) -> Any:
    """A lighteval model of a backend's class. `loaded`: the base model, if it is there already."""
    from lighteval.models.custom.custom_model import CustomModelConfig

    return backend(CustomModelConfig(model_name=options, model_definition_file_path=inspect.getfile(backend)), loaded)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    suite = SUITES[arguments.suite]
    if arguments.data:
        os.environ[suite.variable] = arguments.data
    if not os.environ.get(suite.variable):
        raise UserError(f"there are no rows to evaluate on; give --data, or set {suite.variable}")

    from datasets import disable_progress_bars

    from eval_tasks.backends.lighteval_model import local_adapter
    from eval_tasks.backends.prompts import parse_options, shown_name
    from eval_tasks.baseline_model import BaselineBackend
    from eval_tasks.baselines.shop import shown_baseline
    from eval_tasks.report import compare, model_names

    disable_progress_bars()  # one for each details file says nothing
    backend = backend_class(arguments.backend)
    options = model_options(arguments)
    names = [shown_name(parse_options(text, backend.OPTIONS)) for text in options]
    if arguments.names:
        given = model_names(arguments.names, len(names) // (2 if arguments.answers == "both" else 1))
        names = [*given, *(f"{name}_scored" for name in given)][: len(names)]
    folders = [arguments.out / name for name in folder_names([*names, *map(shown_baseline, arguments.baseline)])]
    task_module = import_module(f"eval_tasks.{suite.name}")
    tasks = task_names(arguments.tasks, [config.name for config in task_module.TASKS_TABLE])
    check_baselines(arguments.baseline)
    check_writable(arguments.out)
    if suite.name == SHOP and (arguments.answers != "written" or arguments.baseline):
        check_prompts(os.environ[suite.variable], tasks, every=bool(arguments.baseline))
    adapters = [local_adapter(name) for name in arguments.adapter]
    loaded = backend.load(parse_options(options[0], backend.OPTIONS), adapters)
    models = [
        *((backend, text, loaded) for text in options),
        *((BaselineBackend, *baseline_options(name, options[0], loaded)) for name in arguments.baseline),
    ]
    for model, folder in zip(models, folders, strict=True):
        print(f"== {folder.name}", file=sys.stderr, flush=True)
        own = of_baseline(tasks) if model[0] is BaselineBackend else tasks
        evaluate(backend_model(*model), task_module, own, folder, arguments.max_samples)
    compare(folders, [folder.name for folder in folders], arguments.out / "report")


if __name__ == "__main__":
    with plain_errors():
        main()
