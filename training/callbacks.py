"""Callbacks of a training: the progress bar, and a stop by signal."""

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class LossBar(ProgressCallback):
    """The loss beside the progress bar, in place of a line of numbers for every log."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.3f}")

    def close(self) -> None:
        """Ends the bar's line, so that what an error says begins one of its own."""
        if self.training_bar is not None:
            self.training_bar.close()


class StopOnSignal(TrainerCallback):
    """Ends the training after SIGTERM or Ctrl-C: finishes the step and saves a checkpoint. A second signal ends it at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.stopped = False
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            os._exit(128 + number)  # not even a push under way is waited for
        self.received = signal.Signals(number)
        # Not by print, which fails if the signal came within another one.
        os.write(2, f"\n{self.received.name}: saving after this step; once more ends at once\n".encode())

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_step_end(self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any) -> None:
        if any_process(self.received is not None, args):
            self.stopped = control.should_save = control.should_training_stop = True
            args.save_total_limit = None  # with 1, transformers would remove this checkpoint for an earlier, better one


def any_process(flag: bool, args: "TrainingArguments") -> bool:
    """Whether the flag is set on any process: all must stop at the same step, though a signal may reach only one."""
    if args.world_size == 1:
        return flag
    import torch

    tensor = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return bool(tensor.item())
