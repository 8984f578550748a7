"""What happens beside the training steps: the progress bar, a stop by signal, and the pushes to the Hub."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback

from common.commits import commit_folder
from common.errors import UserError, first_line
from common.files import folder_files
from training.checkpoints import ON_THE_HUB, pack

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState
    from trl import SFTConfig

ADAPTER = ("adapter_model.safetensors", "adapter_config.json", "model.safetensors", "config.json", "generation_config.json")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.model")
LOG = "training_log.jsonl"
KEPT_HERE = ("checkpoint-*", "README.md", "*.bin", "*.pt", "*.pth", "runs/*", "trackio/*")
"""What an output folder holds that is not pushed; hidden files neither."""
CARD = """---
{base}library_name: peft
pipeline_tag: text-generation
---

# An adapter in training

It has not been measured yet. `python -m model_card.build --push` puts the card with its scores in place of this one.
"""


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
    """SIGTERM or Ctrl-C: the step is finished, a checkpoint saved, and the training ends. A second one ends it at once."""

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

    def on_step_end(self, args: "SFTConfig", state: "TrainerState", control: "TrainerControl", **kwargs: Any) -> None:
        if any_process(self.received is not None, args):
            self.stopped = control.should_save = control.should_training_stop = True


def any_process(flag: bool, args: "SFTConfig") -> bool:
    """Whether the flag is set on any process: all must stop at the same step, though a signal may reach only one."""
    if args.world_size == 1:
        return flag
    import torch

    tensor = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return bool(tensor.item())


class HubPush(TrainerCallback):
    """Pushes adapter, tokenizer and training log at every checkpoint, one commit each, while the training goes on.

    A push that has not ended when the next checkpoint comes is not waited for; that checkpoint is then skipped. One that
    fails is told, and the training goes on. The Hub holds the state before or after a push, never half of one.
    """

    def __init__(self, repo: str, args: "SFTConfig") -> None:
        self.repo, self.strategy = repo, args.hub_strategy
        self.staging = Path(args.output_dir, ".pushing")
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="push")
        self.push: Future[None] | None = None

    def on_save(self, args: "SFTConfig", state: "TrainerState", control: "TrainerControl", **kwargs: Any) -> None:
        if self.strategy == "end" or not state.is_world_process_zero or (self.push and not self.push.done()):
            return
        message = f"Step {state.global_step}"
        try:
            self._stage(Path(args.output_dir, f"checkpoint-{state.global_step}"), state)
        except (OSError, SafetensorError) as error:
            tell(f"{message}: cannot be pushed: {first_line(error)}; the training goes on")
        else:
            self.push = self.pool.submit(self._upload, message)

    def _stage(self, checkpoint: Path, state: "TrainerState") -> None:
        """A copy for the push, since an old checkpoint is removed when new ones come."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        for name in (*ADAPTER, *TOKENIZER):
            if (checkpoint / name).is_file():
                shutil.copy(checkpoint / name, self.staging / name)
        write_log(state.log_history, self.staging / LOG)
        if self.strategy == "checkpoint":
            pack(checkpoint, self.staging / ON_THE_HUB)

    def _upload(self, message: str) -> None:
        try:
            upload(self.repo, self.staging, message, replaced=[f"{ON_THE_HUB}/*"])
        except Exception as error:
            tell(f"{message}: {first_line(error)}; the training goes on")

    def wait(self) -> None:
        """Returns when no push is under way any more; Ctrl-C ends the process at once."""
        try:
            self.pool.shutdown(wait=True)
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)  # an exit would wait for the push too
        shutil.rmtree(self.staging, ignore_errors=True)


def tell(sentence: str) -> None:
    """On a line of its own, whatever the progress bar has on the last one."""
    print(f"\n{sentence}", file=sys.stderr, flush=True)


def write_log(history: list[dict[str, Any]], path: Path) -> None:
    """What was logged, as JSON lines."""
    path.write_text("".join(json.dumps(log) + "\n" for log in history), encoding="utf-8")


def create_repo(args: "SFTConfig", base: str) -> str:
    """Makes the model repository before the training, so that a missing token is not found out after it."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    name = args.hub_model_id or Path(args.output_dir).name
    if args.hub_strategy == "all_checkpoints":
        raise UserError(
            "--hub_strategy all_checkpoints is not offered; checkpoint pushes each one as a commit of its own, and "
            "--resume_from_checkpoint org/name@commit takes any of them"
        )
    api = HfApi(token=args.hub_token)
    try:
        repo: str = api.create_repo(name, private=args.hub_private_repo, exist_ok=True).repo_id
        if not api.file_exists(repo, "README.md"):
            card = CARD.format(base=f"base_model: {base}\n" if "/" in base and not Path(base).exists() else "")
            api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, commit_message="Card")
    except (OSError, HTTPError, HFValidationError) as error:
        raise UserError(
            f"cannot make the Hub repository {name}: {first_line(error)}; run hf auth login, or check --hub_model_id"
        ) from None
    return repo


def upload(repo: str, folder: Path, message: str, replaced: Sequence[str] = ()) -> str:
    """One commit with the folder's files; `replaced` are files of the repository that go where the folder has none of them.

    A Hub that fails for a moment is asked again. Returns the repository's address. Raises UserError.
    """
    files = [path for path in folder_files(folder) if not any(fnmatchcase(path, pattern) for pattern in KEPT_HERE)]
    return commit_folder(folder, repo, "model", message, files=files, stale_patterns=replaced).url
