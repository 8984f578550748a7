"""GRPO on verifiable rewards: a sampled answer's reward is its score by the task's own metric (common/scoring.py).

    python training/grpo.py --config training/recipes/grpo/smollm2-135m.yaml --model_name_or_path BASE --adapter ADAPTER \\
        --dataset_name DATASET --tasks also_buy --output_dir OUT

is TRL's GRPOTrainer (https://huggingface.co/docs/trl/grpo_trainer, https://arxiv.org/abs/2402.03300). A recipe's keys are the
field names of TRL's ScriptArguments, GRPOConfig and ModelConfig and of RewardArguments below, all of them are options too, and
an unknown one is an error; `--help-all` lists them. With --adapter the training goes on from an adapter of training/sft.py,
which has learned the form of answers: a model whose answers cannot be parsed earns nothing and learns nothing. Rows come from
the train split; what the adapter is worth is measured by eval_tasks on others.

Written to the output folder, as by training/sft.py: adapter, tokenizer, training_summary.json, training_log.jsonl and loss.png.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `accelerate launch` puts only this file's folder there

from common.answers import decode_answer, parse_completion
from common.errors import UserError, first_line, plain_errors
from common.files import check_writable
from common.scoring import score_answer
from common.tasks import TASKS
from common.thinking import template_arguments, without_thoughts
from common.words import row_task

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class RewardArguments:
    """The adapter to go on from, and the rows."""

    adapter: str | None = field(
        default=None, metadata={"help": "Folder or Hub id of the LoRA adapter to go on from; default a new one."}
    )
    tasks: str | None = field(default=None, metadata={"help": "Comma-separated tasks to train on; default all."})
    max_rows_per_task: int = field(default=0, metadata={"help": "Maximum number of rows per task, by a seeded draw; 0 = all."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of a Hub dataset."})
    pad_token: str | None = field(default=None, metadata={"help": "Padding token; default the tokenizer's."})
    eos_token: str | None = field(default=None, metadata={"help": "Token that ends a turn; default the tokenizer's."})
    cpu_threads: int = field(default=0, metadata={"help": "Compute threads on a CPU; 0 = all cores."})


def score(completions: Sequence[Any], task: Sequence[str], answer: Sequence[str], **columns: Any) -> list[float]:
    """Each completion's score, from 0 to 1: TRL's reward function. `task` and `answer` are the rows' columns.

    The share of completions that can be parsed is logged as `parsed`.
    """
    texts = [completion if isinstance(completion, str) else str(completion[-1]["content"]) for completion in completions]
    truths = [decode_answer({"answer": text}) for text in answer]
    asked = [row_task(TASKS[name], truth) for name, truth in zip(task, truths, strict=True)]
    parsed = [parse_completion(form, without_thoughts(text) or "") for form, text in zip(asked, texts, strict=True)]
    if log := columns.get("log_metric"):
        log("parsed", sum(value is not None for value in parsed) / max(1, len(parsed)))
    return [score_answer(form, value, truth) for form, value, truth in zip(asked, parsed, truths, strict=True)]


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    with plain_errors():
        run(sys.argv[1:])


def run(argv: list[str]) -> None:
    """The whole training. Raises UserError."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # TRL's own use of names that transformers renamed
    from trl import GRPOConfig, ModelConfig, ScriptArguments

    from training.arguments import output_folder, parse, use_float32_where_bfloat16_is_emulated

    script, args, model, data = parse(argv, (ScriptArguments, GRPOConfig, ModelConfig, RewardArguments))
    use_float32_where_bfloat16_is_emulated(args, model)
    if args.push_to_hub:
        raise UserError("training/grpo.py does not push; leave --push_to_hub out and run python -m training.publish after it")
    output = output_folder(args)
    check_writable(output, "--output_dir")
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # read when trackio is imported
    args.run_name = args.run_name or output.name

    import torch
    from transformers.trainer_utils import set_seed

    from training.adapters import find_adapter
    from training.summary import use_cores
    from training.tokenizer import load_tokenizer

    use_cores(data.cpu_threads)
    set_seed(args.seed)
    checkpoint = find_checkpoint(args.resume_from_checkpoint, output)
    rows = choose_rows(script, data, args.seed)
    longest = max(TASKS[name].max_new_tokens for name in set(rows["task"]))
    args.max_completion_length = min(args.max_completion_length or longest, longest)
    args.chat_template_path = None  # a field of SFTConfig, which load_tokenizer looks at
    adapter = find_adapter(data.adapter) if data.adapter else None
    tokenizer = load_tokenizer(model, args, adapter)
    args.chat_template_kwargs = template_arguments(tokenizer.get_chat_template(), args.chat_template_kwargs)
    tokenizer.pad_token, tokenizer.eos_token = data.pad_token or tokenizer.pad_token, data.eos_token or tokenizer.eos_token
    trainer = make_trainer(args, model, adapter, tokenizer, rows)
    started = time.monotonic()
    try:
        result = trainer.train(resume_from_checkpoint=checkpoint)
    except torch.OutOfMemoryError:
        raise UserError("out of memory; lower --per_device_train_batch_size or --max_completion_length") from None
    write_results(trainer, script, model, data, rows, time.monotonic() - started, float(result.training_loss))


def find_checkpoint(wanted: str | None, output: Path) -> str | None:
    """The folder that --resume_from_checkpoint names; "last" is the newest whole one in `output`. Raises UserError."""
    from training.checkpoints import STATE, check_states, checkpoints

    if wanted is None:
        return None
    found = checkpoints(output) if wanted == "last" else [Path(wanted)]
    whole = [folder for folder in found if (folder / STATE).is_file()]  # the file that is written last
    if not whole:
        place = output if wanted == "last" else wanted
        raise UserError(f"there is no checkpoint to resume from in {place}; leave --resume_from_checkpoint out")
    check_states(whole[-1])
    return str(whole[-1])


def choose_rows(script: Any, data: RewardArguments, seed: int) -> "Dataset":
    """Rows of the train split with the columns that the reward needs. Raises UserError."""
    from training.mixture import cap_tasks, load_rows

    if not script.dataset_name:
        raise UserError("no dataset; give --dataset_name with a dataset folder or a Hub id")
    rows = load_rows(script.dataset_name, script.dataset_config, script.dataset_train_split, data.dataset_revision, data.tasks)
    if missing := {"task", "answer"} - set(rows.column_names):
        raise UserError(f"the dataset {script.dataset_name} has no column {' or '.join(sorted(missing))}, which rewards need")
    if unknown := sorted(set(rows["task"]) - set(TASKS)):
        raise UserError(f"the dataset {script.dataset_name} has rows of {unknown[0]}, which is no task of common/tasks.py")
    return cap_tasks(rows, data.max_rows_per_task, seed).select_columns(["prompt", "task", "answer"])


def make_trainer(args: Any, model: Any, adapter: Path | None, tokenizer: Any, rows: "Dataset") -> Any:
    """TRL's trainer over the rows, from an adapter where one is given. Raises UserError."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from trl import GRPOTrainer, get_peft_config, get_quantization_config

    from training.base_model import with_adapter

    logging.getLogger("trl").setLevel(logging.ERROR)
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    quantised = get_quantization_config(model)
    try:
        policy: Any = model.model_name_or_path
        if adapter:
            base = AutoModelForCausalLM.from_pretrained(policy, quantization_config=quantised, **options)
            policy = with_adapter(base, adapter)
        else:
            args.model_init_kwargs = options | (args.model_init_kwargs or {})
        return GRPOTrainer(
            model=policy,
            reward_funcs=cast("Any", score),
            args=args,
            train_dataset=rows,
            processing_class=tokenizer,
            quantization_config=None if adapter else quantised,
            peft_config=None if adapter else get_peft_config(model),
        )
    except (OSError, SafetensorError, RuntimeError, ValueError, ImportError) as error:
        raise UserError(f"cannot start the training: {first_line(error)}") from None


def write_results(
    trainer: Any, script: Any, model: Any, data: RewardArguments, rows: "Dataset", seconds: float, loss: float
) -> None:
    """Writes adapter, summary, log and plot as training/sft.py does, and prints the rewards of the first and last steps."""
    from training.mixture import task_counts
    from training.summary import run_facts, write_run

    args, state = trainer.args, trainer.state
    rewards = [log["reward"] for log in state.log_history if "reward" in log]
    summary = {
        "method": "GRPO",
        **run_facts(script, args, model, data, state, int(state.num_input_tokens_seen), seconds),
        "tasks": task_counts(rows),
        "train_rows": len(rows),
        "num_generations": args.num_generations,
        "rows_per_step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size / args.num_generations,
        "rewards": rewards,
        "train_loss": loss,
    }
    write_run(trainer, summary)
    if trainer.is_world_process_zero() and rewards:
        part = max(1, len(rewards) // 5)
        first, last = (sum(some) / len(some) for some in (rewards[:part], rewards[-part:]))
        print(f"{state.global_step} steps in {seconds / 60:.1f} min; mean reward {first:.3f} at first, {last:.3f} at last")
        print(f"written to {args.output_dir}; python -m eval_tasks.run says what it is worth on rows that it has not seen")


if __name__ == "__main__":
    main()
