"""Faults at an exact place of a run: a kill, a signal, a full disk, a NaN.

Each function is called in the process of the run before it starts (`Runs.start(..., faults=[("name", argument), ...])`).
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def before(owner: Any, name: str, number: int, act: Callable[..., None]) -> None:
    """Has `act` called, with the same arguments, before the number-th call of a function."""
    original, calls = getattr(owner, name), iter(range(1, 1_000_000))

    def replacement(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            act(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, replacement)


def kill(*args: Any, **kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_micro_batch(number: int) -> None:
    from trl import SFTTrainer

    before(SFTTrainer, "training_step", number, kill)


def signal_in_micro_batch(number: int, name: str, times: int = 1, rank: int | None = None) -> None:
    """The process sends itself the signal; with `rank`, only that one of several does."""
    from trl import SFTTrainer

    def send(*args: Any, **kwargs: Any) -> None:
        for _ in range(times):
            os.kill(os.getpid(), getattr(signal, name))

    if rank is None or rank == int(os.environ["RANK"]):
        before(SFTTrainer, "training_step", number, send)


def kill_writing(name: str, number: int) -> None:
    """Half of the number-th file of that name is on the disk when the run dies."""
    import peft.peft_model
    import torch
    from transformers import TrainerState

    seen = iter(range(1, 1_000_000))

    def halve(path: str | Path) -> None:
        if Path(path).name == name and next(seen) == number:
            os.truncate(path, Path(path).stat().st_size // 2)
            kill()

    def halved(write: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(value: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            done = write(value, path, *args, **kwargs)
            halve(path)
            return done

        return replacement

    torch.save = halved(torch.save)
    peft.peft_model.safe_save_file = halved(peft.peft_model.safe_save_file)
    TrainerState.save_to_json = halved(TrainerState.save_to_json)  # type: ignore[method-assign]


def kill_marking(number: int) -> None:
    """All of the number-th checkpoint is on the disk but its mark."""
    from training import trainer

    before(trainer, "mark_complete", number, kill)


def kill_removing_a_checkpoint(number: int) -> None:
    """Before the number-th time that an old checkpoint is removed, with half of its files gone."""
    import shutil

    remove, seen = shutil.rmtree, iter(range(1, 1_000_000))

    def replacement(path: Any, *args: Any, **kwargs: Any) -> None:
        folder = Path(path)
        if folder.is_dir() and folder.name.startswith("checkpoint-") and next(seen) == number:
            for file in sorted(folder.iterdir())[::2]:
                file.unlink()
            kill()
        remove(path, *args, **kwargs)

    shutil.rmtree = replacement  # type: ignore[assignment]


def kill_moving_results(number: int) -> None:
    """When so many files of the finished run are in their place."""
    from training import summary

    def patched(original: Callable[..., None]) -> Callable[..., None]:
        def replacement(*args: Any, **kwargs: Any) -> None:
            before(Path, "replace", number + 1, kill)
            original(*args, **kwargs)

        return replacement

    summary.write_run = patched(summary.write_run)


def limit_files(place: str, number: int, size: int) -> None:
    """No file can grow over so many bytes from the number-th checkpoint (or, as `write_run`, the end of the run) on."""
    import resource

    from training import summary
    from training.trainer import SafeTrainer

    def limit(*args: Any, **kwargs: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    before(*((summary, "write_run") if place == "write_run" else (SafeTrainer, place)), number, limit)


def poison_base(number: int) -> None:
    """A weight of the base is NaN from the number-th micro-batch on."""
    import torch
    from trl import SFTTrainer

    def poison(trainer: Any, *args: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            next(weight for weight in trainer.model.parameters() if not weight.requires_grad).fill_(float("nan"))

    before(SFTTrainer, "training_step", number, poison)


def wait_for_pushes() -> None:
    """Each push is through before the next step, so that none is skipped."""
    from training.hub_push import HubPush

    on_save = HubPush.on_save

    def replacement(self: Any, *args: Any, **kwargs: Any) -> None:
        on_save(self, *args, **kwargs)
        if self.push:
            self.push.result()

    HubPush.on_save = replacement  # type: ignore[method-assign]


def pause_in_micro_batch(number: int, marker: str) -> None:
    """Writes the marker file and waits there for a signal or for the marker to go."""
    import time

    from trl import SFTTrainer

    def wait(*args: Any, **kwargs: Any) -> None:
        Path(marker).write_text(str(os.getpid()))
        while Path(marker).exists():
            time.sleep(0.02)

    before(SFTTrainer, "training_step", number, wait)


def mark_waiting(marker: str) -> None:
    """Writes the marker file when the training is through and the push under way is waited for."""
    from training.hub_push import HubPush

    wait = HubPush.wait

    def replacement(self: Any) -> None:
        # Within `wait`, which takes a Ctrl-C from here on, however soon it comes.
        before(self.pool, "shutdown", 1, lambda **_: Path(marker).write_text(""))
        wait(self)

    HubPush.wait = replacement  # type: ignore[method-assign]


def impatient() -> None:
    """Retries without long waits."""
    from common import retry

    retry.FIRST_WAIT = 0.01


def fail_in_micro_batch(number: int, kind: str, rank: int) -> None:
    """One process of several fails: with a UserError or out of memory."""
    import torch
    from trl import SFTTrainer

    from common.errors import UserError

    def fail(*args: Any, **kwargs: Any) -> None:
        raise UserError("it is the user's turn") if kind == "user" else torch.OutOfMemoryError("CUDA out of memory")

    if rank == int(os.environ["RANK"]):
        before(SFTTrainer, "training_step", number, fail)


def shard_on_cpu() -> None:
    """accelerate shards with FSDP on GPUs only: here processes on a CPU look to it like processes with a GPU each."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    prepare = PartialState.__init__

    def replacement(self: Any, *args: Any, **kwargs: Any) -> None:
        prepare(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = replacement  # type: ignore[method-assign]
    count_sharded()


def count_sharded() -> None:
    """Prints in the first micro-batch how many weights FSDP2 or ZeRO-3 has sharded, of how many."""
    from torch.distributed.tensor import DTensor
    from trl import SFTTrainer

    def count(trainer: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        weights = [isinstance(weight, DTensor) or hasattr(weight, "ds_tensor") for weight in model.parameters()]
        print(f"{sum(weights)} of {len(weights)} weights are sharded")

    before(SFTTrainer, "training_step", 1, count)


def gloo_alone() -> None:
    """DeepSpeed compiles an operation of its own for processes on one CPU; without it they take gloo, and no compiler."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
