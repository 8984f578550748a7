"""LoRA fine-tuning on a dataset folder or a Hub dataset, with the loss on the completion only.

    accelerate launch training/sft.py --config training/recipes/smollm2-135m-lora.yaml [--any_field value]

A recipe is YAML whose keys are the field names of TRL's ScriptArguments, SFTConfig and ModelConfig and of DataArguments
in training/arguments.py; the same names are command-line options and win over the recipe, and an unknown name is an
error. Those asked for most: --model_name_or_path, --num_train_epochs, --validation_samples 10k, --dataset_name,
--dataset_config, --tasks, --task_weights, --max_rows_per_task, --rows_per_step, --output_dir, --max_steps,
--learning_rate, --seed, --resume_from_checkpoint (last, a folder, or org/name@revision), --push_to_hub,
--hub_model_id org/name, --hub_strategy every_save|checkpoint|end. `--help-all` lists every option; `accelerate launch
--quiet` keeps errors to one sentence.

The output folder gets adapter_model.safetensors, adapter_config.json, the tokenizer, training_summary.json,
training_log.jsonl and loss.png. SIGTERM and Ctrl-C end a run after a last checkpoint.
"""

import logging
import math
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `accelerate launch` puts only this file's folder there

from common.dataset import looks_like_path
from common.errors import UserError, first_line, plain_errors
from training import mixture as data_rows
from training.arguments import DataArguments, parse_arguments

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, ScriptArguments, SFTConfig

    from training.trainer import SafeTrainer


def check_output(folder: Path) -> None:
    """Finds out before the training, not after it, that the output folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to --output_dir {folder}: {error.strerror}") from None


def load_tokenizer(model: "ModelConfig", args: "SFTConfig") -> "PreTrainedTokenizerBase":
    """The base model's tokenizer. Raises UserError if there is no such model or it has no chat template."""
    from huggingface_hub.errors import GatedRepoError
    from transformers import AutoConfig, AutoTokenizer

    name = model.model_name_or_path
    if not name:
        raise UserError("no base model; give --model_name_or_path with a model folder or a Hub id")
    if not Path(name).exists() and looks_like_path(name):
        raise UserError(
            f"there is no model folder {name}; python -m training.embedded_model --out {name} makes a small real model"
        )
    try:
        AutoConfig.from_pretrained(name, revision=model.model_revision)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=model.model_revision)
    except (OSError, ValueError) as error:
        if isinstance(error, GatedRepoError) or isinstance(error.__cause__, GatedRepoError):
            raise UserError(f"the model {name} is gated; accept its terms on its page, then run: hf auth login") from None
        raise UserError(
            f"cannot load the model {name}: {first_line(error)}; check --model_name_or_path, or run: hf auth login"
        ) from None
    if tokenizer.chat_template is None and args.chat_template_path is None:
        raise UserError(f"the model {name} has no chat template; take its instruct version or give --chat_template_path")
    return tokenizer


def end_with_turn(row: dict[str, list[int]], end: int) -> dict[str, list[int]]:
    """Cuts what a chat template writes after the end-of-turn token (ChatML: a newline): it is not the model's to write."""
    labels = row["labels"]
    length = next((index for index in range(len(labels), 0, -1) if labels[index - 1] == end), len(labels))
    return {"input_ids": row["input_ids"][:length], "labels": labels[:length]}


def without_long_rows(rows: "Dataset", count: int, limit: int | None) -> "list[Dataset]":
    """The rows by versions, `count` of each, less those of which the first version is longer than `limit` tokens."""
    versions = [rows.select(range(start, start + count)) for start in range(0, len(rows), count)]
    short = [number for number, ids in enumerate(versions[0]["input_ids"]) if limit is None or len(ids) <= limit]
    return [version.select(short) for version in versions]


def make_trainer(
    args: "SFTConfig",
    model: "ModelConfig",
    tokenizer: "PreTrainedTokenizerBase",
    train: "Dataset",
    validation: "Dataset | None",
    data: DataArguments,
) -> "SafeTrainer":
    """The trainer over tokenised rows: prompt, completion and end-of-turn token, the last two supervised."""
    import torch
    from datasets import concatenate_datasets
    from safetensors import SafetensorError
    from trl import get_peft_config, get_quantization_config

    from training import attention, patches
    from training.batches import Batches, PrefixCollator
    from training.curriculum import EasierFirst, easier
    from training.trainer import SafeTrainer

    # On padding-free batches: that they need FlashAttention, which is not so here, and that one row a batch is few.
    logging.getLogger("trl.trainer.sft_trainer").setLevel(logging.ERROR)
    attention.register()
    if torch.device(args.device).type == "cpu":
        patches.score_supervised_positions_only()
    args.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(args.model_init_kwargs or {}),
    }
    max_length = args.max_length
    if not args.packing:
        args.max_length = None  # a row that is too long is left out below; TRL would cut its completion off
    columns = ["prompt", "completion"]
    ways = train.select_columns(columns)
    if data.sorted_options:
        ways = concatenate_datasets([ways, ways.map(easier, desc="Sorting options")])
    try:
        trainer = SafeTrainer(
            model=model.model_name_or_path,
            args=args,
            train_dataset=ways,
            eval_dataset=validation.select_columns(columns) if validation else None,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(model),
            peft_config=get_peft_config(model),
        )
    except (OSError, SafetensorError, ValueError, ImportError) as error:
        raise UserError(f"cannot start the training: {first_line(error)}") from None
    if args.bf16 or args.fp16:
        patches.compute_adapters_in_half(trainer.model)
    if model.load_in_4bit:
        patches.keep_gradients_of_4bit_weights(trainer.model)
    if not args.packing:

        def prepared(rows: "Dataset", count: int) -> "list[Dataset]":
            rows = rows.map(end_with_turn, fn_kwargs={"end": tokenizer.eos_token_id}, desc="Ending rows at the end of the turn")
            return without_long_rows(rows, count, max_length)

        trainer.train_dataset, *easier_rows = prepared(trainer.train_dataset, len(train))
        if validation:
            [trainer.eval_dataset] = prepared(trainer.eval_dataset, len(validation))
    args.max_length = max_length
    if not len(trainer.train_dataset):
        raise UserError(f"every row is longer than --max_length {max_length} tokens; raise it")
    if validation and not len(trainer.eval_dataset):
        raise UserError(f"every row held out for validation is longer than --max_length {max_length} tokens; raise it")
    trainer.rows = len(trainer.train_dataset)
    if data.tokens_per_batch:
        share = attention.shares_prefixes(trainer.model)
        trainer.train_dataset = Batches(trainer.train_dataset, data.tokens_per_batch, args.seed, share, *easier_rows)
        if data.sorted_options:
            trainer.order = EasierFirst(trainer.train_dataset, data.sorted_options, args.seed)
        trainer.data_collator = PrefixCollator(trainer.data_collator)
        args.remove_unused_columns = False  # transformers would hand the collator none that TRL does not know
    return trainer


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    with plain_errors():
        run(sys.argv[1:])


def run(argv: list[str]) -> None:
    """The whole training. Raises UserError."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # TRL's own use of names that transformers renamed
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on a CPU, about GPU kernels that nobody asked for
    script, args, model, data = parse_arguments(argv)
    if args.hub_token:
        os.environ["HF_TOKEN"] = args.hub_token
    output = Path(args.output_dir)
    check_output(output)
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # read when trackio is imported
    args.run_name = args.run_name or output.name  # one run, also of a training that is resumed

    import torch
    from transformers.trainer_utils import set_seed

    from training import callbacks, checkpoints
    from training.summary import usable_cores

    first = args.process_index == 0
    torch.set_num_threads(data.cpu_threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    set_seed(args.seed)
    with args.main_process_first(desc="fetching what is on the Hub"):
        checkpoint = checkpoints.resolve(args.resume_from_checkpoint, output, args.hub_token)
        tokenizer = load_tokenizer(model, args)
        train, validation, available = choose_rows(script, args, data)
    set_rows_per_step(args, data, train, tokenizer)
    pushing, args.push_to_hub = args.push_to_hub, False  # transformers' own pushes take pickles along
    repo = callbacks.create_repo(args, model.model_name_or_path or "") if pushing and first else None
    if first:
        data_rows.print_composition(train, available, len(validation) if validation else 0)
    trainer = make_trainer(args, model, tokenizer, train, validation, data)
    left_out = 0 if args.packing else len(train) - trainer.rows
    if left_out and first:
        print(f"{left_out:,} rows are left out: they are longer than --max_length {args.max_length} tokens")
    trainer.facts = {
        "seed": args.seed,
        "rows": data_rows.content_key(train),
        "tokens per batch": data.tokens_per_batch,
        "sorted options": data.sorted_options,
        "batches a step": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
    }
    if checkpoint:
        checkpoints.check_same_run(checkpoint, trainer.facts)

    start = time.monotonic()
    train_loss = train_until_done(trainer, checkpoint, repo)
    seconds = time.monotonic() - start
    validation_loss = trainer.evaluate()["eval_loss"] if validation else None
    summary = summarise(script, model, data, trainer, seconds) | {
        "tasks": data_rows.task_counts(train),
        "train_rows": len(train) - left_out,
        "validation_rows": len(validation if args.packing else trainer.eval_dataset) if validation else 0,
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "resumed_from_step": checkpoints.step_of(checkpoint) if checkpoint else None,
    }
    deliver(trainer, summary, repo)


def deliver(trainer: "SafeTrainer", summary: dict[str, Any], repo: str | None) -> None:
    """Writes the results, shows them, and pushes them to `repo`."""
    from safetensors import SafetensorError

    from training import callbacks
    from training.summary import print_summary, write_run
    from training.trainer import why_not_written

    output = Path(trainer.args.output_dir)
    try:
        write_run(trainer, summary)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"cannot write the results into {output}: {why_not_written(error)}; make room on the disk. {trainer.go_on()}"
        ) from None
    if trainer.is_world_process_zero():
        print_summary(summary, str(output))
    if repo:
        try:
            print(f"pushed to {callbacks.upload(repo, output, 'Adapter')}")
        except UserError as error:
            raise UserError(
                f"{error}; the adapter is in {output}, and --resume_from_checkpoint last pushes it without another step"
            ) from None


def train_until_done(trainer: "SafeTrainer", checkpoint: Path | None, repo: str | None) -> float:
    """Trains, pushing to `repo` meanwhile, and returns the mean loss; ends the process if a signal stopped the training."""
    import torch
    from transformers.trainer_callback import ProgressCallback

    from training import callbacks

    args = trainer.args
    bar = callbacks.LossBar()
    if not args.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(bar)
    stop = callbacks.StopOnSignal()
    trainer.add_callback(stop)
    push = callbacks.HubPush(repo, args) if repo else None
    if push:
        trainer.add_callback(push)
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError:
        raise UserError("out of memory; lower --tokens_per_batch, --per_device_train_batch_size or --max_length") from None
    finally:
        stop.restore()
        bar.close()
        if push:
            push.wait()
    if stop.stopped:
        step = trainer.state.global_step
        if args.process_index == 0:
            print(f"stopped after step {step}, which is saved; --resume_from_checkpoint last goes on from there")
        sys.exit(128 + (stop.received or signal.SIGTERM))
    return float(result.training_loss)


def set_rows_per_step(args: "SFTConfig", data: DataArguments, train: "Dataset", tokenizer: Any) -> None:
    """Gradient accumulation such that a step has about `rows_per_step` rows, on however many processes.

    Without tokens_per_batch, a micro-batch has at most per_device_train_batch_size rows, and so many that a step has the
    rows asked for where they can be shared out evenly.
    """
    if data.rows_per_step <= 0:
        return
    if data.tokens_per_batch:
        from training.batches import rows_in_a_batch, sampled_lengths

        lengths = sampled_lengths(train, tokenizer, args.seed)
        rows, most = rows_in_a_batch(lengths, data.tokens_per_batch), data.rows_per_step / args.world_size
        if rows > most:  # even one micro-batch on each process would be more
            data.tokens_per_batch = max(1, round(data.tokens_per_batch * most / rows))
            rows = rows_in_a_batch(lengths, data.tokens_per_batch)
        args.gradient_accumulation_steps = max(1, round(data.rows_per_step / (rows * args.world_size)))
        return
    steps = math.ceil(data.rows_per_step / (args.per_device_train_batch_size * args.world_size))
    args.gradient_accumulation_steps = steps
    args.per_device_train_batch_size = max(1, round(data.rows_per_step / (steps * args.world_size)))


def choose_rows(
    script: "ScriptArguments", args: "SFTConfig", data: DataArguments
) -> "tuple[Dataset, Dataset | None, dict[str, int]]":
    """Rows to train on in their mixture, rows for validation, and how many of each task there were before the mixture."""
    if not script.dataset_name:
        raise UserError("no dataset; give --dataset_name with a dataset folder or a Hub id")
    if script.dataset_streaming:
        raise UserError("dataset_streaming is not supported; leave it out")
    rows = data_rows.load_rows(
        script.dataset_name, script.dataset_config, script.dataset_train_split, data.dataset_revision, data.tasks
    )
    rows = data_rows.cap_tasks(rows, data.max_rows_per_task, args.seed)
    train, validation = data_rows.split_validation(rows, data_rows.parse_count(data.validation_samples), args.seed)
    available = data_rows.task_counts(train)
    return data_rows.take(train, data_rows.mixture(available, data.task_weights), args.seed), validation, available


def summarise(
    script: "ScriptArguments", model: "ModelConfig", data: DataArguments, trainer: "SafeTrainer", seconds: float
) -> dict[str, Any]:
    """What the run was asked to do and what it took; `tokens` are real ones, without padding, of this run's own steps."""
    from training.summary import hardware, peak_memory, versions

    args, tokens = trainer.args, trainer.tokens_seen
    name = script.dataset_name or ""
    return {
        "base_model": model.model_name_or_path,
        "dataset_name": name,
        "dataset_config": script.dataset_config or "default",
        "dataset_fingerprint": data_rows.dataset_fingerprint(name, script.dataset_config, data.dataset_revision),
        "task_weights": data.task_weights,
        "sorted_options": data.sorted_options,
        "epochs": trainer.state.epoch,
        "steps": trainer.state.global_step,
        "best_checkpoint_step": trainer.state.best_global_step,
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "peak_memory_bytes": peak_memory(),
        "learning_rate": args.learning_rate,
        "rows_per_step": round(trainer.rows_per_step, 1),
        "max_length": args.max_length,
        "seed": args.seed,
        "processes": args.world_size,
        "hardware": hardware(),
        "lora": {
            "r": model.lora_r,
            "alpha": model.lora_alpha,
            "dropout": model.lora_dropout,
            "target_modules": model.lora_target_modules,
        }
        if model.use_peft
        else None,
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
