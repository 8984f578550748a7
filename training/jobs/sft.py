# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "transformers>=5.16,<5.24",
#     "trl==1.16.*",
#     "peft==0.21.*",
#     "accelerate==1.15.*",
#     "bitsandbytes==0.50.*",
#     "trackio==0.43.*",
#     "datasets==5.2.*",
#     "huggingface_hub>=1.31,<2",
#     "httpx>=0.28,<1",
#     "matplotlib>=3.10,<4",
#     "rich>=14,<16",
#     "nltk>=3.9,<4",
#     "rapidfuzz>=3.14,<4",
# ]
#
# [tool.hf-jobs]
# flavor = "a100-large"
# timeout = "8h"
# secrets = ["HF_TOKEN"]
# ///
"""A training on a rented machine: fetches this repository at a revision and starts training/sft.py with all other options.

    hf jobs uv run training/jobs/sft.py --code org/shop-code --code-revision v1 \\
        --config training/recipes/llama-3-8b-lora-80gb.yaml --dataset_name org/rows --hub_model_id org/adapter

On Hugging Face Jobs, hardware, time-out (by default a job is ended after 30 minutes) and the token come from the table above;
`--flavor`, `--timeout` and `--secrets` before the script override it. Anywhere else it is `uv run training/jobs/sft.py ...`.
--code is a model repository of the Hub that holds this repository's files (`hf upload org/shop-code . --exclude ".venv*/*"
--exclude "outputs/*"`), or anything that git fetches from; a revision is a branch, a tag or a whole commit id.

A job's disk is deleted with it, so every checkpoint is pushed to --hub_model_id, optimizer state included, and the same command
goes on from the last one that is there.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="training/jobs/sft.py", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("--code", required=True, metavar="REPO", help="org/name on the Hub, or what git clones")
    parser.add_argument("--code-revision", default="main", help="branch, tag or commit (default: %(default)s)")
    parser.add_argument("--machine", help="a file of training/accelerate without .yaml (default: by the number of GPUs)")
    parser.add_argument("--processes", type=int, metavar="N", help="(default: the number of GPUs)")
    parser.add_argument("--dry-run", action="store_true", help="fetch the code, print what would be started, and end")
    arguments, training = parser.parse_known_args(argv)
    training = [word for word in training if word != "--"]  # which `hf jobs` hands on or not, by where it stands
    if not (repo := option(training, "hub_model_id")):
        fail("give --hub_model_id org/name, since the machine's disk is deleted with the job")
    if not os.environ.get("HF_TOKEN") and not arguments.dry_run:
        fail("there is no HF_TOKEN; start the job with --secrets HF_TOKEN")
    code = fetch(arguments.code, arguments.code_revision)
    gpus = number_of_gpus()
    machine = arguments.machine or ("cpu" if not gpus else "one_gpu" if gpus == 1 else "ddp")
    command = launch(code, machine, arguments.processes or max(1, gpus), training, has_checkpoint(str(repo)))
    print(json.dumps({"code": arguments.code, "code_revision": arguments.code_revision, "folder": str(code), "gpus": gpus}))
    print(shlex.join(command), flush=True)
    if not arguments.dry_run:
        sys.exit(subprocess.run(command, cwd=code, check=False).returncode)


def fail(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def option(words: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line, as `--name value` or `--name=value`."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word == f"--{name}":
            return after
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None


def launch(code: Path, machine: str, processes: int, training: Sequence[str], resume: bool) -> list[str]:
    """The command line of the training, with what keeps its checkpoints. Ends with code 2 where a file is not there."""
    file = code / "training" / "accelerate" / f"{machine}.yaml"
    if not file.is_file():
        fail(f"there is no {machine}.yaml in training/accelerate; give another --machine")
    kept = {"push_to_hub": "true", "hub_strategy": "checkpoint"}
    more = [word for name, value in kept.items() if option(training, name) is None for word in (f"--{name}", value)]
    if resume and option(training, "resume_from_checkpoint") is None:
        more += ["--resume_from_checkpoint", str(option(training, "hub_model_id"))]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file", str(file)]
    return [*launcher, "--num_processes", str(processes), str(code / "training" / "sft.py"), *training, *more]


def number_of_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def has_checkpoint(repo: str) -> bool:
    """Whether an earlier job of this training left one. Ends with code 2 where the Hub cannot be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return HfApi().file_exists(repo, "last-checkpoint/complete.json")
    except RepositoryNotFoundError:
        return False
    except Exception as error:
        fail(f"{repo} cannot be looked up ({str(error).splitlines()[0]}); check --hub_model_id, the token and the network")
        raise


def fetch(code: str, revision: str) -> Path:
    """A folder with the repository's files at a revision. Ends with code 2 where they cannot be had."""
    folder = Path(tempfile.mkdtemp(prefix="shop-code-"))
    try:
        if "://" in code or code.startswith("git@") or Path(code).exists():
            for words in (("init", "-q"), ("fetch", "-q", "--depth", "1", code, revision), ("checkout", "-q", "FETCH_HEAD")):
                subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
        else:
            from huggingface_hub import snapshot_download

            snapshot_download(code, revision=revision, local_dir=folder)
    except Exception as error:
        said = getattr(error, "stderr", None) or str(error) or type(error).__name__
        said = said.strip().splitlines()[0]
        fail(f"the code {code} cannot be fetched at {revision} ({said}); check --code and --code-revision")
    if not (folder / "training" / "sft.py").is_file():
        fail(f"{code} at {revision} holds no training/sft.py; give this repository as --code")
    return folder


if __name__ == "__main__":
    main()
