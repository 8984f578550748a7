"""Tokens a second of LoRA training: this project's recipe, a plain transformers Trainer, and TRL as it comes.

    python -m benchmarks.train --data DATASET_FOLDER --base MODEL_FOLDER [--rows 256]

All three train the same adapter (rank, targets, learning rate, about as many rows a step) for one epoch on the same rows, each
in a new process, and are then scored by the same code on the same held-out rows. The other two have TRL's default LoRA dropout;
the recipe has none, which is a part of its speed: --dropout 0 trains all three without. Tokens are counted without padding;
seconds are those of the training loop, without loading and tokenising.

The ceiling is this machine's bfloat16 matrix throughput divided by the least FLOP per token: each frozen weight is used once
forward and once backward (2 FLOP each), each of the adapter's three times. The last line is JSON.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Measured, alone, flop_per_token, matrix_flops, timed
from common.console import print_table
from common.errors import UserError, plain_errors

if TYPE_CHECKING:
    from datasets import Dataset

RECIPE = Path("training/recipes/smollm2-135m-lora.yaml")
HELD_OUT = 96
ROWS_PER_STEP = 8
IGNORED = -100
IMPORTS = ("transformers", "trl", "peft", "datasets", "training.trainer")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="dataset folder or Hub id; its lengths decide the figures")
    parser.add_argument("--base", required=True, help="base model folder or Hub id")
    parser.add_argument("--rows", type=int, default=256, help="rows to train on (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.05, help="LoRA dropout of the other two ways (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args()
    if arguments.rows < ROWS_PER_STEP:
        raise UserError(f"--rows must be {ROWS_PER_STEP} or more, not {arguments.rows}")
    print(json.dumps(compare(arguments.data, arguments.base, arguments.rows, arguments.seed, arguments.dropout)))


def compare(data: str, base: str, rows: int, seed: int, dropout: float) -> dict[str, Any]:
    """The three ways in turn; `ratio` is this project's tokens a second over the plain Trainer's."""
    ways = {"plain": train_plainly, "trl": train_by_defaults, "recipe": train_by_recipe}
    measured: dict[str, Measured] = {}
    for name, work in ways.items():
        print(f"{name}: training on {rows} rows", flush=True)
        more = () if work is train_by_recipe else ("--lora_dropout", str(dropout))
        measured[name] = alone(work, data, base, rows, seed, *more, modules=IMPORTS)
    figures = {name: result.result | {"mb": round(result.megabytes)} for name, result in measured.items()}
    limit = alone(ceiling, base).result
    lines = []
    for name, entry in figures.items():
        speed, seconds, loss = entry["tokens_per_second"], f"{entry['seconds']:.0f}", f"{entry['loss']:.3f}"
        shown = (f"{speed:.0f}", f"{speed / limit:.0%}", entry["tokens"], seconds, entry["steps"], loss, entry["mb"])
        lines.append((name, *shown))
    header = ("way", "tokens/s", "of the ceiling", "tokens", "seconds", "steps", "held-out loss", "MB")
    print_table(header, lines, "LoRA training")
    speeds = {name: entry["tokens_per_second"] for name, entry in figures.items()}
    return {
        "ratio": round(speeds["recipe"] / speeds["plain"], 2),
        "dropout_of_the_others": dropout,
        "ratio_to_trl_defaults": round(speeds["recipe"] / speeds["trl"], 2),
        "share_of_ceiling": round(speeds["recipe"] / limit, 2),
        "ceiling_tokens_per_second": round(limit),
        **figures,
    }


def recipe_arguments(base: str, data: str, seed: int, out: str, *more: str) -> Any:
    from training.arguments import parse_arguments

    options = ["--config", str(RECIPE), "--model_name_or_path", base, "--dataset_name", data, "--output_dir", out]
    quiet = ["--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true", "--num_train_epochs", "1"]
    return parse_arguments([*options, *quiet, "--seed", str(seed), *more])


def choose(data: str, rows: int, seed: int) -> "tuple[Dataset, Dataset]":
    """`rows` rows to train on, in the dataset's shares of tasks, and some held out; no group is in both."""
    from training.mixture import apportion, load_rows, split_validation, take, task_counts

    everything = load_rows(data, None, "train", None, None)
    train, held_out = split_validation(everything, HELD_OUT, seed)
    if held_out is None or len(train) < rows:
        raise UserError(
            f"{data} has {len(everything)} rows to train on, which is too few; give fewer --rows or a larger --data"
        )
    counts = task_counts(train)
    return take(train, apportion({task: float(count) for task, count in counts.items()}, rows), seed), held_out


def tokenised(rows: "Dataset", tokenizer: Any) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of each row up to its end of turn, the prompt not supervised."""
    out = []
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=True)["input_ids"]
        ids = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=True)["input_ids"]
        ids = ids[: len(ids) - ids[::-1].index(tokenizer.eos_token_id)]
        out.append({"input_ids": ids, "labels": [IGNORED] * len(prompt) + ids[len(prompt) :]})
    return out


def outcome(trainer: Any, train: "Dataset", held_out: "Dataset", tokenizer: Any) -> dict[str, Any]:
    """Trains, and scores what came of it."""
    seconds = timed(trainer.train).seconds
    trainer.model.set_attn_implementation("sdpa")  # the recipe's is of packed rows, and the held-out ones come one by one
    tokens = sum(len(row["input_ids"]) for row in tokenised(train, tokenizer))
    return {
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds, 1),
        "steps": trainer.state.global_step,
        "loss": round(held_out_loss(trainer.model, tokenised(held_out, tokenizer)), 4),
    }


def held_out_loss(model: Any, rows: list[dict[str, list[int]]]) -> float:
    """Mean negative log-likelihood of a supervised token, one row at a time, in bfloat16 as trained."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for row in rows:
            logits = model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1].float()
            labels = torch.tensor(row["labels"][1:])
            total += torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum").item()
            count += int((labels != IGNORED).sum())
    return total / count


def prepare(data: str, base: str, rows: int, seed: int, out: str, *more: str) -> Any:
    """Arguments of the recipe, tokenizer and rows, which all three ways share."""

    from training.summary import use_cores
    from training.tokenizer import load_tokenizer

    use_cores(0)
    _, args, model, chosen = recipe_arguments(base, data, seed, out, *more)
    train, held_out = choose(data, rows, seed)
    return args, model, chosen, load_tokenizer(model, args), train, held_out


def train_by_recipe(data: str, base: str, rows: int, seed: int) -> dict[str, Any]:
    from training.plan import plan_run
    from training.trainer import make_trainer

    with tempfile.TemporaryDirectory() as out:
        args, model, chosen, tokenizer, train, held_out = prepare(data, base, rows, seed, out)
        base_model, chosen, plan = plan_run(args, model, chosen, tokenizer, train)
        trainer: Any = make_trainer(args, model, base_model, tokenizer, train, None, chosen, plan)
        return outcome(trainer, train, held_out, tokenizer)


def train_plainly(data: str, base: str, rows: int, seed: int, *options: str) -> dict[str, Any]:
    """transformers' Trainer as its tutorials have it: two rows a micro-batch, padded to the longer one."""
    import torch
    from transformers import AutoModelForCausalLM, DataCollatorForSeq2Seq, Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as out:
        args, model, _, tokenizer, train, held_out = prepare(data, base, rows, seed, out, *options)
        network = with_adapter(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), model)
        trainer = Trainer(
            model=network,
            args=TrainingArguments(
                per_device_train_batch_size=2,
                gradient_accumulation_steps=ROWS_PER_STEP // 2,
                **same(args, out, seed),
            ),
            train_dataset=tokenised(train, tokenizer),
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        )
        return outcome(trainer, train, held_out, tokenizer)


def train_by_defaults(data: str, base: str, rows: int, seed: int, *options: str) -> dict[str, Any]:
    """TRL's SFTTrainer with its own defaults: eight rows a batch, gradient checkpointing."""
    from trl import SFTConfig, SFTTrainer, get_peft_config

    with tempfile.TemporaryDirectory() as out:
        args, model, _, tokenizer, train, held_out = prepare(data, base, rows, seed, out, *options)
        trainer = SFTTrainer(
            model=base,
            args=SFTConfig(
                per_device_train_batch_size=ROWS_PER_STEP, model_init_kwargs={"dtype": "bfloat16"}, **same(args, out, seed)
            ),
            train_dataset=train.select_columns(["prompt", "completion"]),
            processing_class=tokenizer,
            peft_config=get_peft_config(model),
        )
        return outcome(trainer, train, held_out, tokenizer)


def with_adapter(network: Any, model: Any) -> Any:
    from peft import get_peft_model
    from trl import get_peft_config

    config: Any = get_peft_config(model)
    return get_peft_model(network, config)


def same(args: Any, out: str, seed: int) -> dict[str, Any]:
    """The recipe's settings that the other two ways share."""
    names = ("learning_rate", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "bf16", "use_cpu")
    fixed = {"output_dir": out, "seed": seed, "num_train_epochs": 1, "save_strategy": "no", "report_to": "none"}
    return {name: getattr(args, name) for name in names} | fixed | {"disable_tqdm": True}


def ceiling(base: str) -> float:
    """Tokens per second if only the necessary matrix products took time, at the throughput measured here."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    _, _, model, _ = recipe_arguments(base, base, 0, tempfile.gettempdir())
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        network = with_adapter(auto.from_config(AutoConfig.from_pretrained(base)), model)
    return matrix_flops("cpu", 2048) / flop_per_token(network)


if __name__ == "__main__":
    with plain_errors():
        main()
