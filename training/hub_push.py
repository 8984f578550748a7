"""Pushes to the Hub while a training runs: adapter, tokenizer and log at every checkpoint, each as one commit."""

import os
import shutil
import signal
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers import TrainerCallback

from common.dataset import as_hub_id
from common.errors import UserError, first_line
from common.files import every_file
from common.publishing import Destination, Upload, commit
from training.adapters import LOG, LOSS_PLOT, SUMMARY, model_files
from training.arguments import output_folder
from training.checkpoints import ON_THE_HUB, copy_for_hub
from training.publish import unmeasured_card
from training.summary import write_log

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from trl import SFTConfig


class HubPush(TrainerCallback):
    """Pushes adapter, tokenizer and training log at every checkpoint, one commit each, while the training goes on.

    A checkpoint is skipped while the push of another is under way. A push that fails is reported, and the training goes on. The
    Hub holds the state before or after a push, never half of one.
    """

    def __init__(self, repo: str, args: "TrainingArguments") -> None:
        self.repo, self.strategy = repo, args.hub_strategy
        self.staging = output_folder(args) / ".pushing"
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="push")
        self.push: Future[None] | None = None

    def on_save(self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any) -> None:
        if self.strategy == "end" or not state.is_world_process_zero or (self.push and not self.push.done()):
            return
        message = f"Step {state.global_step}"
        try:
            self._stage(output_folder(args) / f"checkpoint-{state.global_step}", state)
        except (OSError, SafetensorError) as error:
            warn(f"{message}: cannot be pushed: {first_line(error)}; the training goes on")
        else:
            self.push = self.pool.submit(self._upload, message)

    def _stage(self, checkpoint: Path, state: "TrainerState") -> None:
        """A copy for the push, since an old checkpoint is removed when new ones come."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        for name in model_files(checkpoint):
            shutil.copy(checkpoint / name, self.staging / name)
        write_log(state.log_history, self.staging / LOG)
        if self.strategy == "checkpoint":
            copy_for_hub(checkpoint, self.staging / ON_THE_HUB)

    def _upload(self, message: str) -> None:
        try:
            files = every_file(self.staging)
            upload = Upload(self.staging, "model", message, files, stale_patterns=[f"{ON_THE_HUB}/*"])
            commit(upload, Destination(self.repo), quiet=True)
        except Exception as error:
            warn(f"{message}: {first_line(error)}; the training goes on")

    def wait(self) -> None:
        """Returns when no push is under way any more; Ctrl-C ends the process at once."""
        try:
            self.pool.shutdown(wait=True)
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)  # an exit would wait for the push too
        shutil.rmtree(self.staging, ignore_errors=True)


def warn(sentence: str) -> None:
    """Prints it on a line of its own, whatever the progress bar has on the last one."""
    print(f"\n{sentence}", file=sys.stderr, flush=True)


def create_repo(args: "SFTConfig", base: str) -> str:
    """Makes the model repository before the training, so that a missing token is not found out after it."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    name = args.hub_model_id or output_folder(args).name
    if args.hub_strategy == "all_checkpoints":
        raise UserError(
            "--hub_strategy all_checkpoints is not offered; checkpoint pushes each one as a commit of its own, and "
            "--resume_from_checkpoint org/name@commit takes any of them"
        )
    api = HfApi(token=args.hub_token)
    try:
        repo: str = api.create_repo(name, private=args.hub_private_repo, exist_ok=True).repo_id
        if not api.file_exists(repo, "README.md"):
            card = unmeasured_card(as_hub_id(base))
            api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, commit_message="Card")
    except (OSError, HTTPError, HFValidationError) as error:
        raise UserError(
            f"cannot make the Hub repository {name}: {first_line(error)}; run hf auth login, or check --hub_model_id"
        ) from None
    return repo


def push_results(repo: str, folder: Path) -> str:
    """Pushes a finished run's files in one commit and returns the repository's address. Raises UserError."""
    files = [*model_files(folder), SUMMARY, LOG, LOSS_PLOT]
    return commit(Upload(folder, "model", "Adapter", files), Destination(repo), quiet=True).url
