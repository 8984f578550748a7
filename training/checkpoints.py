"""Checkpoints that are whole or not there: marked when complete, found again, and carried to the Hub and back.

transformers writes a checkpoint file by file, so a killed run leaves a half-written one. Here the last file of each is
`complete.json`, with the sizes of all others and the identity of the run: what a run must share that resumes from it.

The Hub holds transformers' own files. Weights are safetensors; states of optimizer, scheduler and random generators are files
of torch.save, which transformers and this module load with weights_only=True: tensors and plain values, never code. The pickled
`training_args.bin` is removed before the mark is written, and nothing loads it.
"""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from common.errors import UserError, first_line

MARK = "complete.json"
STATE = "trainer_state.json"
ON_THE_HUB = "last-checkpoint"
"""Folder of a model repository that holds the newest checkpoint, as transformers' `hub_strategy: checkpoint` has it."""
BEST = "best"
"""Folder in a checkpoint on the Hub with the weights of the best one so far, where that is another."""
STATES = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth")
"""Files of torch.save that a run needs to resume."""
WEIGHTS = ("*.safetensors", "adapter_config.json", "model.safetensors.index.json")
CARRIED = (*STATES, "*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""The files of a checkpoint that are pushed and fetched; no other is."""


def mark_complete(folder: Path, identity: Mapping[str, Any], source: str | None = None) -> None:
    """Records that all files of the checkpoint are on the disk.

    `identity` is what `check_same_run` compares, `source` the commit that the checkpoint was fetched from.
    """
    (folder / "training_args.bin").unlink(missing_ok=True)
    temporary = folder / f".{MARK}"
    sizes = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (MARK, temporary.name)):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[str(path.relative_to(folder))] = path.stat().st_size
    mark = {"files": sizes, "run": dict(identity), "saved_at": time.time(), "source": source}
    temporary.write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MARK)


def read_mark(folder: Path) -> dict[str, Any] | None:
    """The mark of a checkpoint that is whole; None for any other folder."""
    try:
        mark: dict[str, Any] = json.loads((folder / MARK).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in mark["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return mark if whole and STATE in mark["files"] else None


def step_of(folder: Path) -> int:
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else -1


def checkpoints(output: Path) -> list[Path]:
    """Folders of the name of a checkpoint, whole or not, oldest first."""
    found = [path for path in output.iterdir() if path.is_dir() and step_of(path) >= 0] if output.is_dir() else []
    return sorted(found, key=step_of)


def last_whole(output: Path, before: int | None = None) -> Path | None:
    """The one that was saved last, of a step before `before`; one of an earlier run in the folder may be of a later step."""
    steps = range(sys.maxsize if before is None else before)
    marks = {folder: mark for folder in checkpoints(output) if step_of(folder) in steps and (mark := read_mark(folder))}
    return max(marks, key=lambda folder: (marks[folder].get("saved_at", 0), step_of(folder)), default=None)


def rotate(output: Path, keep: int | None, best: str | None) -> None:
    """Removes the oldest checkpoints until `keep` are left (None or 0: none), half-written ones first.

    Never the one that was saved last, nor `best`. transformers' own rotation orders by step where files are younger than a
    second, and then removes the new checkpoint if an earlier run in the same folder came further.
    """
    if not keep or keep < 0:
        return
    marks = {folder: read_mark(folder) or {} for folder in checkpoints(output)}
    by_age = sorted(marks, key=lambda folder: (marks[folder].get("saved_at", 0), step_of(folder)))
    kept = {folder for folder in by_age if folder == by_age[-1] or (best and folder.name == Path(best).name)}
    surplus = max(0, len(by_age) - max(keep, len(kept)))
    for folder in [folder for folder in by_age if folder not in kept][:surplus]:
        shutil.rmtree(folder, ignore_errors=True)


def resolve(wanted: str | None, output: Path, token: str | None = None) -> Path | None:
    """The checkpoint that --resume_from_checkpoint names: "last", a checkpoint's or a run's folder, or `org/name[@revision]`.

    One on the Hub is fetched into `output` first. None where the option is not given. Raises UserError.
    """
    if wanted is None or wanted.lower() in ("false", ""):
        return None
    if wanted.lower() in ("last", "true"):
        folder = last_whole(output)
    elif Path(wanted).is_dir():
        folder = Path(wanted) if read_mark(Path(wanted)) else last_whole(Path(wanted))
    elif re.fullmatch(r"[\w.-]+/[\w.-]+(@.+)?", wanted) and not wanted.startswith("."):
        return fetch(*wanted.partition("@")[::2], output, token)
    else:
        folder = None
    if folder is None:
        place = output if wanted.lower() in ("last", "true") else wanted
        raise UserError(f"there is no whole checkpoint to resume from in {place}; leave --resume_from_checkpoint out")
    check_states(folder)
    return folder


def check_states(folder: Path) -> None:
    """Raises UserError where a file of torch.save cannot be loaded, or not without running code."""
    import torch
    from transformers.trainer_pt_utils import safe_globals

    for path in sorted(path for pattern in STATES for path in folder.glob(pattern)):
        try:
            with safe_globals():  # type: ignore[no-untyped-call]
                torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (UnpicklingError, RuntimeError, EOFError) as error:
            reason = first_line(error).partition(". ")[0]
            raise UserError(f"{path} cannot be loaded safely: {reason}; resume from another checkpoint") from None


def check_same_run(folder: Path, identity: Mapping[str, Any]) -> None:
    """Raises UserError if the checkpoint is of other rows or other steps, so that its place in the data would be wrong."""
    mark = read_mark(folder)
    theirs = mark["run"] if mark else {}
    for name, value in identity.items():
        if name in theirs and theirs[name] != value:
            shown = "" if name == "rows" else f" ({theirs[name]}, now {value})"
            raise UserError(
                f"{folder} is of a run with other {name.replace('_', ' ')}{shown}; resume with the same dataset, tasks, "
                "weights, seed and batch, or leave --resume_from_checkpoint out"
            )


# To the Hub and back: transformers' own files.


def copy_files(folder: Path, out: Path, patterns: Sequence[str]) -> None:
    """Copies the folder's own files that match one of the patterns."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(fnmatchcase(path.name, pattern) for pattern in patterns):
            shutil.copy(path, out / path.name)


def set_best(folder: Path, best: str | None) -> None:
    """Writes where the best checkpoint so far is into the trainer's state; without one its loss is forgotten too."""
    state = json.loads((folder / STATE).read_text(encoding="utf-8")) | {"best_model_checkpoint": best}
    if best is None:
        state["best_metric"] = None  # else no later one could become the best
    (folder / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")


def copy_for_hub(folder: Path, out: Path) -> None:
    """A complete copy to push: with the weights of the best checkpoint so far, without paths of this machine.

    Raises OSError for a checkpoint without `optimizer.pt`, such as a sharded one of FSDP or DeepSpeed.
    """
    if not (folder / "optimizer.pt").is_file():
        raise OSError(f"{folder.name} has its optimizer's state in no single file; give --hub_strategy every_save")
    copy_files(folder, out, CARRIED)
    best = json.loads((folder / STATE).read_text(encoding="utf-8"))["best_model_checkpoint"]
    if best and Path(best).name == folder.name:
        set_best(out, ".")
    elif best and Path(best).is_dir():
        copy_files(Path(best), out / BEST, WEIGHTS)
        set_best(out, BEST)
    else:
        set_best(out, None)
    mark_complete(out, (read_mark(folder) or {"run": {}})["run"])


def fetch(repo: str, revision: str, output: Path, token: str | None) -> Path:
    """The checkpoint in a repository's revision, as a folder in `output`; fetched once, by one process. Raises UserError."""
    from filelock import FileLock

    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / ".fetching.lock"):
        return fetch_alone(repo, revision, output, token)


def fetch_alone(repo: str, revision: str, output: Path, token: str | None) -> Path:
    """`fetch` where no other process on this machine is at it."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download

    try:
        # `*` matches `/` too, so that this includes the best checkpoint's weights.
        wanted = [f"{ON_THE_HUB}/{pattern}" for pattern in CARRIED]
        local = Path(snapshot_download(repo, revision=revision or None, allow_patterns=wanted, token=token))
        pushed = local / ON_THE_HUB
        mark = read_mark(pushed)
        if mark is None:
            raise UserError(
                f"{repo} holds no {ON_THE_HUB} that is complete; --push_to_hub --hub_strategy checkpoint pushes one"
            )
        state = json.loads((pushed / STATE).read_text(encoding="utf-8"))
        folder = output / f"checkpoint-{int(state['global_step'])}"
        source = f"{repo}@{local.name}"
        if (read_mark(folder) or {}).get("source") == source:  # by another process of this run
            return folder
        check_states(pushed)
        with tempfile.TemporaryDirectory(prefix=".fetched-", dir=output) as scratch:
            new, best = Path(scratch, "checkpoint"), None
            copy_files(pushed, new, CARRIED)
            if state["best_model_checkpoint"] == ".":
                best = folder
            elif state["best_model_checkpoint"] == BEST and (pushed / BEST).is_dir():
                # Not inside the checkpoint, where transformers loads it as a second adapter; hidden, not to be resumed from.
                best = output / f".{BEST}-of-{local.name}"
                copy_files(pushed / BEST, Path(scratch, BEST), WEIGHTS)
                move(Path(scratch, BEST), best)
            set_best(new, str(best) if best else None)
            mark_complete(new, mark["run"], source)
            shutil.rmtree(folder, ignore_errors=True)
            move(new, folder)
    except (OSError, HTTPError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot fetch the checkpoint of {repo}: {first_line(error)}; check the id and revision") from None
    return folder


def move(new: Path, folder: Path) -> None:
    """Gives a complete folder its name, unless another process of this run has made the same one meanwhile."""
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
