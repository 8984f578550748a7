"""LoRA fine-tuning on a dataset folder or a Hub dataset, with the loss on the completion only.

    accelerate launch training/sft.py --config training/recipes/smollm2-135m-lora.yaml [--any_field value]

A recipe is YAML whose keys are the field names of TRL's ScriptArguments, SFTConfig and ModelConfig and of DataArguments
in training/arguments.py; the same names are command-line options, which override the recipe, and an unknown name is an
error. The most used: --model_name_or_path, --num_train_epochs, --validation_samples 10k, --dataset_name,
--dataset_config, --tasks, --task_weights, --max_rows_per_task, --rows_per_step, --output_dir, --max_steps,
--learning_rate, --seed, --resume_from_checkpoint (last, a folder, or org/name@revision), --push_to_hub,
--hub_model_id org/name, --hub_strategy every_save|checkpoint|end. `--help-all` lists every option; `accelerate launch
--quiet` keeps errors to one sentence.

Written to the output folder: adapter_model.safetensors, adapter_config.json, the tokenizer, training_summary.json,
training_log.jsonl and loss.png. SIGTERM and Ctrl-C end a run after a last checkpoint.
"""

import math
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `accelerate launch` puts only this file's folder there

from common.errors import UserError, plain_errors
from common.files import check_writable
from training.adapters import find_adapter
from training.arguments import output_folder, parse_arguments
from training.base_model import with_adapter
from training.mixture import choose_rows, content_key, print_composition, task_counts, word_row_counts
from training.processes import ends_all_processes, watch_others
from training.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from training.trainer import SafeTrainer


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    with plain_errors(), ends_all_processes():
        run(sys.argv[1:])


def run(argv: list[str]) -> None:
    """The whole training. Raises UserError."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # TRL's own use of names that transformers renamed
    script, args, model, data = parse_arguments(argv)
    watch_others()
    if args.hub_token:
        os.environ["HF_TOKEN"] = args.hub_token
    output = output_folder(args)
    check_writable(output, "--output_dir")
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # read when trackio is imported
    args.run_name = args.run_name or output.name  # the same run when it is resumed

    from transformers.trainer_utils import set_seed

    from training import checkpoints, curves
    from training.hub_push import create_repo
    from training.plan import plan_run, print_plan
    from training.summary import summarise, use_cores
    from training.template_check import with_template_options
    from training.trainer import make_trainer

    first = args.process_index == 0
    use_cores(data.cpu_threads)
    set_seed(args.seed)
    with args.main_process_first(local=False, desc="fetching a checkpoint"):  # nodes may share the output folder
        checkpoint = checkpoints.resolve(args.resume_from_checkpoint, output, args.hub_token)
    with args.main_process_first(desc="fetching what is on the Hub"):
        adapter = find_adapter(data.adapter) if data.adapter else None
        tokenizer = load_tokenizer(model, args, adapter)
        train, validation, available = choose_rows(script, data, args.seed)
    train, validation = with_template_options(tokenizer, train, validation, args.seed)
    pushing, args.push_to_hub = args.push_to_hub, False  # transformers' own pushes include training_args.bin, a pickle
    repo = create_repo(args, model.model_name_or_path or "") if pushing and first else None
    base, data, plan = plan_run(args, model, data, tokenizer, train)
    curves.keep_private(args)
    if first:
        print_composition(train, available, len(validation) if validation else 0)
        print_plan(plan)
    start_from = with_adapter(base, adapter) if adapter else base
    trainer = make_trainer(args, model, start_from, tokenizer, train, validation, data, plan)
    left_out = 0 if args.packing else len(train) - trainer.epoch_rows
    if left_out and first:
        print(f"{left_out:,} rows are left out: they are longer than --max_length {args.max_length} tokens")
    if first and data.rows_per_step and not math.isclose(trainer.rows_per_step, plan.rows_per_step, rel_tol=0.1):
        print(f"rows_per_step {data.rows_per_step} becomes {trainer.rows_per_step:.1f}, by the rows that are left")
    trainer.identity = {
        "seed": args.seed,
        "rows": content_key(train),
        "tokens per batch": plan.tokens_per_batch,
        "curriculum": data.curriculum,
        "grouped wordings": data.group_wordings,
        "batches a step": plan.batches_per_step,
    }
    if checkpoint:
        checkpoints.check_same_run(checkpoint, trainer.identity)

    train_loss, seconds = train_until_done(trainer, checkpoint, repo)
    validation_loss = trainer.evaluate()["eval_loss"] if validation else None
    summary = summarise(script, args, model, data, plan, trainer, seconds) | {
        "tasks": task_counts(train),
        "rows_in_words": word_row_counts(train),
        "train_rows": len(train) - left_out,
        "validation_rows": len(validation) if validation and args.packing else trainer.validation_rows,
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "trackio_space_id": curves.space_of(args),
        "resumed_from_step": checkpoints.step_of(checkpoint) if checkpoint else None,
    }
    deliver(trainer, summary, repo)


def train_until_done(trainer: "SafeTrainer", checkpoint: Path | None, repo: str | None) -> tuple[float, float]:
    """Trains, pushing to `repo` meanwhile, and returns mean loss and seconds; exits if a signal stopped the training."""
    from transformers.trainer_callback import ProgressCallback

    from training.callbacks import LossBar, StopOnSignal
    from training.hub_push import HubPush

    args = trainer.args
    bar = LossBar()
    if not args.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(bar)
    stop = StopOnSignal()
    trainer.add_callback(stop)
    push = HubPush(repo, args) if repo else None
    if push:
        trainer.add_callback(push)
    start = time.monotonic()
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
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
    return float(result.training_loss), time.monotonic() - start


def deliver(trainer: "SafeTrainer", summary: dict[str, Any], repo: str | None) -> None:
    """Writes the results, shows them, and pushes them to `repo`."""
    from safetensors import SafetensorError

    from training.hub_push import push_results
    from training.summary import print_summary, write_run
    from training.trainer import write_failure

    output = output_folder(trainer.args)
    try:
        write_run(trainer, summary)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"cannot write the results into {output}: {write_failure(error)}; make room on the disk. {trainer.resume_hint()}"
        ) from None
    if trainer.is_world_process_zero():
        print_summary(summary, str(output))
    if repo:
        try:
            print(f"pushed to {push_results(repo, output)}")
        except UserError as error:
            raise UserError(
                f"{error}; the adapter is in {output}, and --resume_from_checkpoint last pushes it without another step"
            ) from None


if __name__ == "__main__":
    main()
