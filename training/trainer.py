"""TRL's SFTTrainer with complete checkpoints and a stop before a NaN reaches the weights, and how it is made."""

import logging
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from trl import SFTTrainer, get_peft_config

from common.errors import UserError, first_line
from training import patches
from training.arguments import DataArguments, output_folder
from training.batches import PrefixCollator, TokenBatches
from training.callbacks import any_process
from training.checkpoints import last_whole, mark_complete, rotate
from training.curriculum import CurriculumSampler, easier
from training.plan import TrainingPlan, apply_plan
from training.rows import say
from training.template_check import hint_at_end_of_turn, template_error

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, SFTConfig

DISK_FULL = ("PytorchStreamWriter", "unexpected pos", "file write failed")
"""Parts of torch.save's messages when the disk is full."""


def write_failure(error: Exception) -> str:
    """Why files could not be written, in words. Raises the error again if it has another cause."""
    if isinstance(error, OSError | SafetensorError):
        return first_line(error)
    if any(words in str(error) for words in DISK_FULL):
        return "the disk took only a part of a file"
    raise error


class SafeTrainer(SFTTrainer):
    """TRL's trainer with complete checkpoints, a stop before a NaN reaches the weights, and token counts of shared prefixes.

    It overrides `compute_loss` and five private methods of transformers' Trainer, which may change with any release:
    `_get_train_sampler`, `_run_epoch`, `_load_optimizer_and_scheduler`, `_save_checkpoint`, `_get_grad_norm`. It also adds to
    TRL's private `_total_train_tokens`. tests/training/test_overrides.py fails when one of them changes.
    """

    # Typed by transformers as optional, or for other kinds of models.
    model: Any
    optimizer: Any
    lr_scheduler: Any
    train_dataset: Any
    eval_dataset: Any
    identity: Mapping[str, Any]
    """What a run that resumes from a checkpoint of this one must share; written into each checkpoint's mark."""
    epoch_rows: int
    validation_rows: int = 0
    sampler: CurriculumSampler | None = None
    """The order of an epoch's batches; None for transformers' random one."""

    @property
    def rows_per_step(self) -> float:
        """Rows of an optimiser step on average, of all processes."""
        batches = self.args.gradient_accumulation_steps * self.args.world_size * self.args.per_device_train_batch_size
        rows: float = self.epoch_rows / len(self.train_dataset) * batches
        return min(float(self.epoch_rows), rows)

    @property
    def tokens_seen(self) -> int:
        """Tokens trained on so far in this process's life, of all processes, padding not counted."""
        return int(self._total_train_tokens)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *options: Any, **more: Any) -> Any:
        if self.model.training and isinstance(self.train_dataset, TokenBatches) and self.train_dataset.share:
            # TRL counts what is computed; a prefix that rows share counts for each of them.
            rows = len(inputs["cu_seq_lens_q"]) - 2
            spared = torch.tensor(inputs.get("shared_prefix", 0) * (rows - 1), device=self.args.device)
            self._total_train_tokens += int(self.accelerator.gather_for_metrics(spared).sum())

        def forward(**inputs: Any) -> Any:
            outputs = model(**inputs)
            if outputs.get("log_probs") is not None:  # FSDP2 hands them out in bfloat16, in which their sum has three digits
                outputs.log_probs = outputs.log_probs.float()
            return outputs

        return super().compute_loss(forward, inputs, *options, **more)  # type: ignore[no-untyped-call]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self.sampler is None else self.sampler

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # resumed after the last step; transformers would do one more
            self.control.should_training_stop = True
            return
        if self.sampler is not None:  # accelerate does not reach it through what skips batches on several processes
            self.sampler.set_epoch(kwargs["epoch"])
        super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if not hasattr(self.lr_scheduler, "base_lrs"):  # reduce_lr_on_plateau
            if (rate := self._get_learning_rate()) != self.args.learning_rate:
                say(f"the learning rate goes on at {rate:.1e}, where {self.args.lr_scheduler_type} had brought it")
            return
        # Both states hold the learning rate of the earlier run; the one given now counts.
        before = self.lr_scheduler.base_lrs
        self.lr_scheduler.base_lrs = [self.args.learning_rate] * len(before)
        shares: Any = getattr(self.lr_scheduler, "lr_lambdas", None)
        for number, (group, rate) in enumerate(zip(self.optimizer.param_groups, before, strict=True)):
            if rate not in (0, self.args.learning_rate):
                group["initial_lr"] = self.args.learning_rate
                share = shares[number](self.lr_scheduler.last_epoch) if shares else group["lr"] / rate
                group["lr"] = self.args.learning_rate * share
        self.lr_scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]  # what is logged

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        broken = any(not torch.isfinite(local(weight)).all() for weight in self.model.parameters() if weight.requires_grad)
        if any_process(broken, self.args):
            raise UserError(
                f"the weights after step {self.state.global_step} are not finite numbers (learning rate "
                f"{self._get_learning_rate():.1e}); lower --learning_rate. {self.resume_hint()}"
            )
        output = output_folder(self.args)
        folder = output / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        self.accelerator.wait_for_everyone()
        # Older ones go only once this one is marked; transformers would remove them before.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                mark_complete(folder, self.identity)
                rotate(output, limit, self.state.best_model_checkpoint)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = write_failure(error)
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"cannot write {folder}: {reason}; make room on the disk. {self.resume_hint()}") from None
        finally:
            self.args.save_total_limit = limit

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        # A NaN loss gives NaN gradients. In float16 infinite ones are usual, and the scaler skips their step.
        if self.accelerator.scaler is None and not torch.isfinite(torch.as_tensor(norm)):
            raise UserError(
                f"the gradient of step {self.state.global_step + 1} is not a finite number (learning rate "
                f"{self._get_learning_rate():.1e}); lower --learning_rate or check the rows. {self.resume_hint(earlier=True)}"
            )
        return norm

    def resume_hint(self, earlier: bool = False) -> str:
        """Which checkpoint to resume from; with `earlier` not the one with the weights that failed in this step."""
        folder = last_whole(output_folder(self.args), before=self.state.global_step if earlier else None)
        if folder is None:
            return "There is no checkpoint of an earlier step" if earlier else "There is no checkpoint yet"
        return f"--resume_from_checkpoint {folder} goes on from the last good checkpoint"


def local(weight: torch.Tensor) -> torch.Tensor:
    """This process's part of a weight that is sharded, else the weight."""
    part: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return part.detach()


def end_with_turn(row: dict[str, list[int]], end: int) -> dict[str, list[int]]:
    """A tokenised row without what the chat template writes after the end-of-turn token (ChatML: a newline)."""
    labels = row["labels"]
    length = next((index for index in range(len(labels), 0, -1) if labels[index - 1] == end), len(labels))
    return {"input_ids": row["input_ids"][:length], "labels": labels[:length]}


def drop_long_rows(rows: "Dataset", count: int, limit: int | None) -> "list[Dataset]":
    """Each version of the rows, `count` rows a version, without those whose first version has more than `limit` tokens."""
    versions = [rows.select(range(start, start + count)) for start in range(0, len(rows), count)]
    short = [number for number, ids in enumerate(versions[0]["input_ids"]) if limit is None or len(ids) <= limit]
    return [version.select(short) for version in versions]


def make_trainer(
    args: "SFTConfig",
    model: "ModelConfig",
    base: Any,
    tokenizer: "PreTrainedTokenizerBase",
    train: "Dataset",
    validation: "Dataset | None",
    data: DataArguments,
    plan: TrainingPlan,
) -> SafeTrainer:
    """The trainer over tokenised rows: prompt, completion and end-of-turn token, the last two supervised.

    `base` has the adapter that a training goes on from, if it does.
    """
    from datasets import concatenate_datasets

    # It warns that one row a batch is few, and of prompts that begin no row, which template_check.py has looked at.
    logging.getLogger("trl.trainer.sft_trainer").setLevel(logging.ERROR)
    apply_plan(plan, args, model)
    if torch.device(args.device).type == "cpu":
        patches.score_supervised_positions_only()
    max_length = args.max_length
    if not args.packing:
        args.max_length = None  # a row that is too long is left out below; TRL would cut its completion off
    columns = [name for name in ("prompt", "completion", "chat_template_kwargs") if name in train.column_names]
    versions = train.select_columns(columns)
    if data.curriculum:
        versions = concatenate_datasets([versions, train.map(easier, desc="Easier rows").select_columns(columns)])
    try:
        trainer = SafeTrainer(
            model=base,
            args=args,
            train_dataset=versions,
            eval_dataset=validation.select_columns(columns) if validation else None,
            processing_class=tokenizer,
            peft_config=None if data.adapter else get_peft_config(model),
        )
    except (OSError, SafetensorError, ValueError, ImportError, TemplateError) as error:
        refused = isinstance(error, TemplateError)
        raise (template_error(error) if refused else UserError(f"cannot start the training: {first_line(error)}")) from None
    hint_at_end_of_turn(tokenizer, trainer.train_dataset)
    if args.bf16 or args.fp16:
        patches.compute_adapters_in_half(trainer.model)
    if not args.packing:

        def prepared(rows: "Dataset", count: int) -> "list[Dataset]":
            rows = rows.map(
                end_with_turn,
                fn_kwargs={"end": tokenizer.eos_token_id},
                num_proc=args.dataset_num_proc,
                desc="Ending rows at the end of the turn",
            )
            return drop_long_rows(rows, count, max_length)

        trainer.train_dataset, *easier_rows = prepared(trainer.train_dataset, len(train))
        if validation:
            [trainer.eval_dataset] = prepared(trainer.eval_dataset, len(validation))
    args.max_length = max_length
    if not len(trainer.train_dataset):
        raise UserError(f"every row is longer than --max_length {max_length} tokens; raise it")
    if validation and not len(trainer.eval_dataset):
        raise UserError(f"every row held out for validation is longer than --max_length {max_length} tokens; raise it")
    trainer.epoch_rows = len(train) if args.packing else len(trainer.train_dataset)
    trainer.validation_rows = len(trainer.eval_dataset) if validation else 0
    if plan.tokens_per_batch:
        pack(trainer, plan, data, *easier_rows)
    return trainer


def pack(trainer: SafeTrainer, plan: TrainingPlan, data: DataArguments, *easier_rows: "Dataset") -> None:
    """Has the trainer take micro-batches that are a sequence of whole rows, in training and validation."""
    args, budget, share = trainer.args, plan.tokens_per_batch, plan.shares_prefix
    if trainer.eval_dataset:
        trainer.eval_dataset = TokenBatches(trainer.eval_dataset, budget, args.seed, share)
        args.per_device_eval_batch_size = 1
    versions = next(iter(easier_rows), None)
    trainer.train_dataset = TokenBatches(trainer.train_dataset, budget, args.seed, share, versions, data.group_wordings)
    if data.curriculum:
        trainer.sampler = CurriculumSampler(len(trainer.train_dataset), data.curriculum, args.seed)
    trainer.data_collator = PrefixCollator(trainer.data_collator)
    args.remove_unused_columns = False  # else transformers hands the collator no column that TRL does not know
