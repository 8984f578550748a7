"""TRL's trainer with checkpoints that are whole or not there, and a stop before a number that is none reaches the weights."""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from trl import SFTTrainer

from common.errors import UserError, first_line
from training.batches import Batches
from training.callbacks import any_process
from training.checkpoints import last_whole, mark_complete, rotate
from training.curriculum import EasierFirst

WRITING_FAILED = ("PytorchStreamWriter", "unexpected pos", "file write failed")
"""How torch.save says that the disk is full."""


def why_not_written(error: Exception) -> str:
    """The reason of an error in writing files, in words. Raises the error again if it is another one."""
    if isinstance(error, OSError | SafetensorError):
        return first_line(error)
    if any(words in str(error) for words in WRITING_FAILED):
        return "the disk took only a part of a file"
    raise error


class SafeTrainer(SFTTrainer):
    """`facts` go into each checkpoint's mark; a run that goes on from it must share them. `rows` are those of an epoch,
    `order` is that of its batches where it is not a random one (curriculum.py)."""

    facts: dict[str, Any]
    rows: int
    order: EasierFirst | None = None

    @property
    def rows_per_step(self) -> float:
        """Rows of an optimiser step on average, of all processes."""
        batches = self.args.gradient_accumulation_steps * self.args.world_size * self.args.per_device_train_batch_size
        return min(self.rows, self.rows / len(self.train_dataset) * batches)

    @property
    def tokens_seen(self) -> int:
        """Tokens trained on so far in this process's life, of all processes, padding not counted."""
        return int(self._total_train_tokens)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *options: Any, **more: Any) -> Any:
        if self.model.training and isinstance(self.train_dataset, Batches) and self.train_dataset.share:
            # TRL counts what is computed; a prefix that rows share is a part of each of them.
            rows = len(inputs["cu_seq_lens_q"]) - 2
            spared = torch.tensor(inputs.get("shared_prefix", 0) * (rows - 1), device=self.args.device)
            self._total_train_tokens += int(self.accelerator.gather_for_metrics(spared).sum())
        return super().compute_loss(model, inputs, *options, **more)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order

    def _run_epoch(self, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # resumed after the last step; transformers would do one more
            self.control.should_training_stop = True
            return
        if self.order is not None:  # accelerate does not reach it through what skips batches on several processes
            self.order.set_epoch(kwargs["epoch"])
        super()._run_epoch(**kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not hasattr(self.lr_scheduler, "base_lrs"):
            return
        # Both bring the learning rate of the run before along; the one that is asked for now counts.
        before, self.lr_scheduler.base_lrs = (
            self.lr_scheduler.base_lrs,
            [self.args.learning_rate] * len(self.lr_scheduler.base_lrs),
        )
        for group, rate in zip(self.optimizer.param_groups, before, strict=True):
            if rate not in (0, self.args.learning_rate):
                group["initial_lr"] = self.args.learning_rate
                group["lr"] *= self.args.learning_rate / rate
        self.lr_scheduler._last_lr = [group["lr"] for group in self.optimizer.param_groups]  # what is logged

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        broken = any(not torch.isfinite(local(weight)).all() for weight in self.model.parameters() if weight.requires_grad)
        if any_process(broken, self.args):
            raise UserError(
                f"the weights after step {self.state.global_step} are not finite numbers (learning rate "
                f"{self._get_learning_rate():.1e}); lower --learning_rate. {self.go_on()}"
            )
        output = Path(self.args.output_dir)
        folder = output / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        self.accelerator.wait_for_everyone()
        # Older ones go only once this one is marked; transformers would remove them before.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                mark_complete(folder, self.facts)
                rotate(output, limit, self.state.best_model_checkpoint)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = why_not_written(error)
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"cannot write {folder}: {reason}; make room on the disk. {self.go_on()}") from None
        finally:
            self.args.save_total_limit = limit

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        # A loss that is no number gives gradients that are none. In float16 infinite ones are usual, and scaled away.
        if self.accelerator.scaler is None and not torch.isfinite(torch.as_tensor(norm)):
            raise UserError(
                f"the gradient of step {self.state.global_step + 1} is not a finite number (learning rate "
                f"{self._get_learning_rate():.1e}); lower --learning_rate or check the rows. {self.go_on(blamed=True)}"
            )
        return norm

    def go_on(self, blamed: bool = False) -> str:
        """Where to go on from; with `blamed` not from the very weights that the last step left."""
        folder = last_whole(Path(self.args.output_dir), before=self.state.global_step if blamed else None)
        if folder is None:
            return "There is no checkpoint of an earlier step" if blamed else "There is no checkpoint yet"
        return f"--resume_from_checkpoint {folder} goes on from the last good checkpoint"


def local(weight: torch.Tensor) -> torch.Tensor:
    """This process's part of a weight that is sharded, else the weight."""
    part: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return part.detach()
