"""LoRA fine-tuning on a dataset folder or a Hub dataset, with the loss on the completion only.

    accelerate launch training/sft.py --config training/recipes/smollm2-135m-lora.yaml [--any_field value]

A recipe is YAML whose keys are the field names of TRL's ScriptArguments, SFTConfig and ModelConfig and of DataArguments
below; the same names are command-line options and win over the recipe, and an unknown name is an error. Those asked for
most: --model_name_or_path, --dataset_name, --dataset_config, --tasks, --max_rows_per_task, --validation_samples,
--output_dir, --max_steps, --learning_rate, --seed, --resume_from_checkpoint (a checkpoint, or "last"), --push_to_hub,
--hub_model_id org/name. `--help-all` lists every option; `accelerate launch --quiet` keeps errors to one sentence.

The output folder gets adapter_model.safetensors, adapter_config.json, the tokenizer, training_summary.json and loss.png.
"""

import difflib
import hashlib
import json
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer

VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@dataclass
class DataArguments:
    """Which rows are trained on."""

    tasks: str | None = field(default=None, metadata={"help": "Comma-separated tasks to train on; default all."})
    max_rows_per_task: int = field(
        default=0, metadata={"help": "At most so many rows of a task, by a seeded draw, validation included; 0 = all."}
    )
    validation_samples: int = field(
        default=0, metadata={"help": "At most so many rows of the train split are held out, whole groups only."}
    )
    batch_by_length: bool = field(
        default=False, metadata={"help": "Rows of about the same length in a batch, batches in a seeded random order."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a Hub dataset."})
    cpu_threads: int = field(
        default=0, metadata={"help": "Threads on a CPU; 0 = all cores (accelerate's own default is often one)."}
    )


def fail(message: str) -> NoReturn:
    """Ends the run with one sentence and no traceback."""
    sys.exit(f"error: {message}")


def first_line(error: BaseException) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


def looks_like_path(name: str) -> bool:
    """Whether a dataset or model name cannot be meant as a Hub id (`name` or `org/name`)."""
    return not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", name)


def parse_arguments(argv: list[str]) -> "tuple[ScriptArguments, SFTConfig, ModelConfig, DataArguments]":
    """Recipe and command line together."""
    import torch
    import yaml
    from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig, DataArguments), allow_abbrev=False)
    parser.set_defaults(use_cpu=not torch.accelerator.is_available())  # else bf16 is refused where there is no GPU
    if "--help-all" in argv:
        parser.print_help()
        sys.exit()
    parser.error = fail  # argparse would print the usage of some 200 options first
    try:
        *parsed, rest = parser.parse_args_and_config(argv, return_remaining_strings=True)
    except OSError as error:
        fail(f"cannot read the recipe {error.filename}: {error.strerror}")
    except IndexError:
        fail("--config needs the path of a recipe; those that come along are in training/recipes")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        fail(f"the recipe or an option is wrong: {first_line(error)}")
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        unknown = next((word for word in rest if word.startswith("--")), rest[0])
        close = difflib.get_close_matches(unknown, known, n=1)
        fail(f"unknown field {unknown.lstrip('-')}" + (f"; did you mean {close[0].lstrip('-')}?" if close else ""))
    return tuple(parsed)


def check_output(folder: Path) -> None:
    """Finds out before the training, not after it, that the output folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fail(f"cannot write to --output_dir {folder}: {error.strerror}")


def load_rows(script: "ScriptArguments", data: DataArguments) -> "Dataset":
    """The rows of the train split that the tasks ask for, with all their columns."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import GatedRepoError

    name = script.dataset_name
    if not name:
        fail("no dataset; give --dataset_name with a dataset folder or a Hub id")
    if script.dataset_streaming:
        fail("dataset_streaming is not supported; leave it out")
    if not Path(name).exists() and looks_like_path(name):
        fail(f"there is no dataset folder {name}; build it with python -m dataset_builders.build --out {name}")
    try:
        rows = load_dataset(name, script.dataset_config, split=script.dataset_train_split, revision=data.dataset_revision)
    except DatasetNotFoundError as error:
        if isinstance(error.__cause__, GatedRepoError):
            fail(f"the dataset {name} is gated; accept its terms on its page, then run: hf auth login")
        fail(f"there is no dataset {name!r}, neither a folder nor on the Hub; check --dataset_name, or run: hf auth login")
    except (OSError, ValueError, DatasetsError) as error:
        fail(f"cannot load the dataset {name}: {first_line(error)}; check --dataset_name and --dataset_config")
    if missing := {"prompt", "completion"} - set(rows.column_names):
        fail(f"the dataset {name} has no column {' or '.join(sorted(missing))}; its rows must be prompt-completion rows")
    if data.tasks:
        rows = select_tasks(rows, [task.strip() for task in data.tasks.split(",") if task.strip()])
    if not len(rows):
        fail(f"the dataset {name} has no rows to train on; check --tasks and --dataset_config")
    return rows


def select_tasks(rows: "Dataset", tasks: list[str]) -> "Dataset":
    if "task" not in rows.column_names:
        fail("--tasks needs a dataset with a column task")
    column = rows["task"][:]
    if unknown := sorted(set(tasks) - set(column)):
        fail(f"the dataset has no task {', '.join(unknown)}; it has {', '.join(sorted(set(column)))}")
    return rows.select([index for index, task in enumerate(column) if task in tasks])


def draw(seed: int, key: object) -> str:
    """The place of a key in the seeded order; it depends neither on the order of rows nor on their number."""
    return hashlib.md5(f"{seed}|{key}".encode()).hexdigest()


def cap_tasks(rows: "Dataset", limit: int, seed: int) -> "Dataset":
    """At most `limit` rows of each task, the first ones of the draw, in the order that they had."""
    if limit <= 0:
        return rows
    count = range(len(rows))
    tasks = rows["task"][:] if "task" in rows.column_names else [""] * len(rows)
    keys = rows["sample_id"][:] if "sample_id" in rows.column_names else count
    taken: Counter[str] = Counter()
    chosen = []
    for index in sorted(count, key=lambda index: draw(seed, keys[index])):
        if taken[tasks[index]] < limit:
            taken[tasks[index]] += 1
            chosen.append(index)
    return rows.select(sorted(chosen))


def split_validation(rows: "Dataset", samples: int, seed: int) -> "tuple[Dataset, Dataset | None]":
    """Holds out whole groups, in the order of a seeded draw, as long as they make at most `samples` rows."""
    if samples <= 0:
        return rows, None
    groups = rows["group"][:] if "group" in rows.column_names else [str(index) for index in range(len(rows))]
    sizes = Counter(groups)
    held: set[str] = set()
    free = min(samples, len(rows) - 1)
    for group in sorted(sizes, key=lambda group: draw(seed, group)):
        if sizes[group] <= free:
            held.add(group)
            free -= sizes[group]
    if not held:
        return rows, None
    sides: tuple[list[int], list[int]] = ([], [])
    for index, group in enumerate(groups):
        sides[group in held].append(index)
    return rows.select(sides[0]), rows.select(sides[1])


def load_tokenizer(model: "ModelConfig", args: "SFTConfig") -> "PreTrainedTokenizerBase":
    """The base model's tokenizer; ends the run if there is no such model or it has no chat template."""
    from huggingface_hub.errors import GatedRepoError
    from transformers import AutoConfig, AutoTokenizer

    name = model.model_name_or_path
    if not name:
        fail("no base model; give --model_name_or_path with a model folder or a Hub id")
    if not Path(name).exists() and looks_like_path(name):
        fail(f"there is no model folder {name}; python -m training.embedded_model --out {name} makes a small real model")
    try:
        AutoConfig.from_pretrained(name, revision=model.model_revision)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=model.model_revision)
    except (OSError, ValueError) as error:
        if isinstance(error, GatedRepoError) or isinstance(error.__cause__, GatedRepoError):
            fail(f"the model {name} is gated; accept its terms on its page, then run: hf auth login")
        fail(f"cannot load the model {name}: {first_line(error)}; check --model_name_or_path, or run: hf auth login")
    if tokenizer.chat_template is None and args.chat_template_path is None:
        fail(f"the model {name} has no chat template; take its instruct version or give --chat_template_path")
    return tokenizer


def last_checkpoint(args: "SFTConfig") -> str | None:
    """What --resume_from_checkpoint means: a path, or "last" for the newest one in the output folder."""
    from transformers.trainer_utils import get_last_checkpoint

    wanted = args.resume_from_checkpoint
    if wanted is None or wanted.lower() == "false":
        return None
    path = get_last_checkpoint(args.output_dir) if wanted.lower() in ("last", "true") else wanted
    if path is None or not Path(path, "trainer_state.json").is_file():
        fail(f"there is no checkpoint to resume from in {path or args.output_dir}; leave --resume_from_checkpoint out")
    return path


def score_supervised_positions_only() -> None:
    """Has TRL send only supervised positions through the LM head on a CPU too, as it does on a GPU with Triton.

    Prompts are long and completions short, so that projecting every position to the vocabulary costs a third of the
    whole training. TRL 1.16 has no public switch; the loss is the same either way.
    """
    import trl.trainer.utils as trl_utils

    on_gpu = trl_utils._use_triton
    trl_utils._use_triton = lambda device: device.type == "cpu" or on_gpu(device)


def end_with_turn(row: dict[str, list[int]], end: int) -> dict[str, list[int]]:
    """Cuts what a chat template writes after the end-of-turn token (ChatML: a newline): it is not the model's to write."""
    labels = row["labels"]
    length = next((index for index in range(len(labels), 0, -1) if labels[index - 1] == end), len(labels))
    return {"input_ids": row["input_ids"][:length], "labels": labels[:length]}


def batches_by_length(lengths: list[int], size: int, seed: int) -> list[int]:
    """An order of the rows in which every `size` next to each other are about as long, the batches at random.

    TRL's own group_by_length goes from long batches to short ones, 50 at a time. A task's rows are of like length, so that
    tasks would come one after another and the last one would overwrite those before it.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)  # sorting is stable: rows of one length stay in random order
    order.sort(key=lambda index: lengths[index])
    rest = len(order) % size
    batches = [order[start : start + size] for start in range(rest, len(order), size)]
    rng.shuffle(batches)
    return [index for batch in batches for index in batch] + order[:rest]  # a short batch can only stand last


def make_trainer(
    args: "SFTConfig",
    model: "ModelConfig",
    tokenizer: "PreTrainedTokenizerBase",
    train: "Dataset",
    validation: "Dataset | None",
    batch_by_length: bool = False,
) -> "SFTTrainer":
    """The trainer over tokenised rows: prompt, completion and end-of-turn token, the last two supervised."""
    import torch
    from safetensors import SafetensorError
    from transformers.trainer_callback import ProgressCallback
    from trl import SFTTrainer, get_peft_config, get_quantization_config

    class LossBar(ProgressCallback):
        """The loss beside the progress bar, in place of a line of numbers for every log."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if self.training_bar is not None and "loss" in logs:
                self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}")

    if torch.device(args.device).type == "cpu":
        score_supervised_positions_only()
    args.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(args.model_init_kwargs or {}),
    }
    columns = ["prompt", "completion"]
    try:
        trainer = SFTTrainer(
            model=model.model_name_or_path,
            args=args,
            train_dataset=train.select_columns(columns),
            eval_dataset=validation.select_columns(columns) if validation else None,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(model),
            peft_config=get_peft_config(model),
        )
    except (OSError, SafetensorError, ValueError, ImportError) as error:
        fail(f"cannot start the training: {first_line(error)}")
    if not args.packing:
        cut = {"fn_kwargs": {"end": tokenizer.eos_token_id}, "desc": "Ending rows at the end of the turn"}
        trainer.train_dataset = trainer.train_dataset.map(end_with_turn, **cut)
        if validation:
            trainer.eval_dataset = trainer.eval_dataset.map(end_with_turn, **cut)
    if batch_by_length:
        lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        order = batches_by_length(lengths, args.per_device_train_batch_size, args.seed)
        trainer.train_dataset = trainer.train_dataset.select(order)
        args.train_sampling_strategy = "sequential"
    if not len(trainer.train_dataset):
        fail(f"every row is longer than --max_length {args.max_length} tokens; raise it")
    if not args.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(LossBar)
    return trainer


def print_composition(train: "Dataset", validation: "Dataset | None") -> None:
    """What an epoch is made of."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="An epoch")
    for column in ("task", "rows", "share"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, count in task_counts(train).items():
        table.add_row(task, f"{count:,}", f"{count / len(train):.1%}")
    table.add_section()
    table.add_row("all", f"{len(train):,}", "")
    if validation:
        table.add_row("held out for validation", f"{len(validation):,}", "")
    Console().print(table)


def task_counts(rows: "Dataset") -> dict[str, int]:
    return dict(sorted(Counter(rows["task"][:]).items())) if "task" in rows.column_names else {"(no task column)": len(rows)}


def dataset_fingerprint(script: "ScriptArguments", data: DataArguments) -> str | None:
    """The fingerprint that the dataset's manifest.json gives the config, or None where there is no manifest."""
    from huggingface_hub import hf_hub_download

    manifest = Path(script.dataset_name, "manifest.json")
    try:
        if not Path(script.dataset_name).exists():
            manifest = Path(
                hf_hub_download(script.dataset_name, "manifest.json", repo_type="dataset", revision=data.dataset_revision)
            )
        configs = json.loads(manifest.read_text(encoding="utf-8"))["configs"]
        return configs[script.dataset_config or "default"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    import torch

    device = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"device": device, "cores": usable_cores(), "memory_bytes": memory}


def peak_memory() -> int:
    """Peak bytes of this process: on the GPU if there is one, else in main memory."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def draw_loss(history: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (("loss", "train"), ("eval_loss", "validation")):
        points = [(log["step"], log[key]) for log in history if key in log]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
    axes.set(xlabel="step", ylabel="loss per supervised token", title="Training loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def print_summary(summary: dict[str, Any], folder: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Training", show_header=False)
    validation = summary["validation_loss"]
    for name, value in (
        ("rows, validation rows", f"{summary['train_rows']:,}, {summary['validation_rows']:,}"),
        ("steps, epochs", f"{summary['steps']:,}, {summary['epochs']:.2f}"),
        ("tokens, per second", f"{summary['tokens']:,}, {summary['tokens_per_second']:.0f}"),
        ("time", f"{summary['seconds'] / 60:.1f} min"),
        ("peak memory", f"{summary['peak_memory_bytes'] / 2**30:.1f} GiB"),
        ("train loss (mean)", f"{summary['train_loss']:.3f}"),
        ("validation loss", "none" if validation is None else f"{validation:.3f}"),
        ("written to", folder),
    ):
        table.add_row(name, value)
    Console().print(table)


def create_repo(args: "SFTConfig") -> str:
    """Makes the model repository before the training, so that a missing token is not found out after it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    name = args.hub_model_id or Path(args.output_dir).name
    try:
        return HfApi(token=args.hub_token).create_repo(name, private=args.hub_private_repo, exist_ok=True).repo_id
    except (OSError, HFValidationError) as error:
        fail(f"cannot make the Hub repository {name}: {first_line(error)}; run hf auth login, or check --hub_model_id")


def push(args: "SFTConfig", repo: str) -> None:
    """Adapter, tokenizer, summary and picture in one commit. The card is model_card's to write."""
    from huggingface_hub import HfApi

    try:
        url = HfApi(token=args.hub_token).upload_folder(
            repo_id=repo,
            folder_path=args.output_dir,
            commit_message="Adapter",
            ignore_patterns=["checkpoint-*", "README.md", "*.bin", "*.pt", "runs/*", ".*"],
        )
    except OSError as error:
        fail(f"cannot push to {repo}: {first_line(error)}; the adapter is in {args.output_dir}")
    print(f"pushed to {url}")


def save(trainer: "SFTTrainer", summary: dict[str, Any]) -> None:
    """Writes all files beside their place and moves them in when they are complete."""
    folder = Path(trainer.args.output_dir)
    staging = folder / ".saving"
    trainer.save_model(str(staging))
    if not trainer.is_world_process_zero():
        return
    draw_loss(trainer.state.log_history, staging / "loss.png")
    (staging / "training_summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    for unwanted in ("training_args.bin", "README.md"):  # a pickle; a card without data and scores
        (staging / unwanted).unlink(missing_ok=True)
        (folder / unwanted).unlink(missing_ok=True)
    for path in staging.iterdir():
        path.replace(folder / path.name)
    shutil.rmtree(staging)


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    warnings.filterwarnings("ignore", category=FutureWarning)  # TRL's own use of names that transformers renamed
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on a CPU, about GPU kernels that nobody asked for
    script, args, model, data = parse_arguments(sys.argv[1:])
    check_output(Path(args.output_dir))

    import torch
    from transformers.trainer_utils import set_seed

    workers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(data.cpu_threads or max(1, usable_cores() // workers))
    set_seed(args.seed)
    checkpoint = last_checkpoint(args)
    tokenizer = load_tokenizer(model, args)
    rows = cap_tasks(load_rows(script, data), data.max_rows_per_task, args.seed)
    train, validation = split_validation(rows, data.validation_samples, args.seed)
    pushing, args.push_to_hub = args.push_to_hub, False  # one commit at the end, not one with pickles at each checkpoint
    repo = create_repo(args) if pushing and args.process_index == 0 else ""
    if args.process_index == 0:
        print_composition(train, validation)
    trainer = make_trainer(args, model, tokenizer, train, validation, data.batch_by_length)
    if (dropped := len(train) - len(trainer.train_dataset)) and args.process_index == 0 and not args.packing:
        print(f"{dropped:,} rows are left out: their prompt alone is longer than --max_length {args.max_length} tokens")

    start = time.monotonic()
    try:
        result = trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError:
        fail("out of memory; lower --per_device_train_batch_size or --max_length")
    except KeyboardInterrupt:
        fail(f"stopped; --resume_from_checkpoint last goes on from the last checkpoint in {args.output_dir}, if any")
    seconds = time.monotonic() - start
    validation_loss = trainer.evaluate()["eval_loss"] if validation else None
    tokens = int(max((log.get("num_tokens", 0) for log in trainer.state.log_history), default=0))
    summary = {
        "base_model": model.model_name_or_path,
        "dataset_name": script.dataset_name,
        "dataset_config": script.dataset_config or "default",
        "dataset_fingerprint": dataset_fingerprint(script, data),
        "tasks": task_counts(train),
        "train_rows": len(train) - dropped,
        "validation_rows": len(validation) if validation else 0,
        "epochs": trainer.state.epoch,
        "steps": trainer.state.global_step,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "peak_memory_bytes": peak_memory(),
        "train_loss": result.training_loss,
        "validation_loss": validation_loss,
        "learning_rate": args.learning_rate,
        "rows_per_step": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "max_length": args.max_length,
        "seed": args.seed,
        "hardware": hardware(),
        "lora": {
            "r": model.lora_r,
            "alpha": model.lora_alpha,
            "dropout": model.lora_dropout,
            "target_modules": model.lora_target_modules,
        }
        if model.use_peft
        else None,
        "versions": {name: version(name) for name in VERSIONED},
    }
    save(trainer, summary)
    if args.process_index == 0:
        print_summary(summary, args.output_dir)
        if repo:
            push(args, repo)


if __name__ == "__main__":
    main()
