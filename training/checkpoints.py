"""Checkpoints that are whole or not there: marked when complete, found again, and carried to the Hub and back.

transformers writes a checkpoint file by file, so a killed run leaves a half-written one behind. Here the last file of each
is `complete.json`, with the size of all others and what the run must share that goes on from it.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError, first_line

MARK = "complete.json"
ON_THE_HUB = "last-checkpoint"
"""Folder of a model repository that holds the newest checkpoint, as transformers' `hub_strategy: checkpoint` has it."""
BEST = "best"
"""Folder in a checkpoint on the Hub with the weights of the best one so far, where that is another."""
STATE = "trainer_state.json"
PICKLED = (".pt", ".pth")
"""Files of torch.save that `pack` writes as safetensors."""


def mark_complete(folder: Path, facts: Mapping[str, Any], source: str | None = None) -> None:
    """Says that all files of the checkpoint are on the disk.

    `facts` is what `check_same_run` compares, `source` the commit that the checkpoint was fetched from.
    """
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing reads
    temporary = folder / f".{MARK}"
    sizes = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (MARK, temporary.name)):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[str(path.relative_to(folder))] = path.stat().st_size
    mark = {"files": sizes, "run": dict(facts), "saved_at": time.time(), "source": source}
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

    Never the one that was saved last, nor `best`. transformers' own goes by the number of the step where files are younger
    than a second, and then removes the new checkpoint if an earlier run in the same folder came further.
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
    """What --resume_from_checkpoint means: "last", a checkpoint's folder, a run's folder, or `org/name[@revision]`.

    One on the Hub is fetched into `output` first. None where nothing is asked for. Raises UserError.
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
    return folder


def check_same_run(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raises UserError if the checkpoint is of other rows or other steps, so that its place in the data would be wrong."""
    mark = read_mark(folder)
    theirs = mark["run"] if mark else {}
    for name, value in facts.items():
        if name in theirs and theirs[name] != value:
            shown = "" if name == "rows" else f" ({theirs[name]}, now {value})"
            raise UserError(
                f"{folder} is of a run with other {name.replace('_', ' ')}{shown}; resume with the same dataset, tasks, "
                "weights, seed and batch, or leave --resume_from_checkpoint out"
            )


# To the Hub and back: no pickle leaves this machine or is read from another.


def to_plain(value: Any, tensors: dict[str, Any]) -> Any:
    """`value` as JSON, its tensors and arrays put into `tensors` under the names that stand in their place."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor | np.ndarray):
        name = f"t{len(tensors)}"
        kind = "tensor" if isinstance(value, torch.Tensor) else f"array {value.dtype}"
        if isinstance(value, np.ndarray):
            # torch computes little in numpy's generator's uint32; int64 has the same bits and more.
            value = torch.from_numpy(np.array(value, np.int64 if value.dtype.kind == "u" else None, order="C"))
        tensors[name] = value.contiguous().cpu()
        return {"kind": kind, "name": name}
    if isinstance(value, dict):
        return {"kind": "dict", "items": [[to_plain(key, tensors), to_plain(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"kind": type(value).__name__, "items": [to_plain(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a checkpoint on the Hub")


def from_plain(value: Any, tensors: Mapping[str, Any]) -> Any:
    """The inverse of `to_plain`."""
    if not isinstance(value, dict):
        return value
    kind = value["kind"]
    if kind == "tensor":
        return tensors[value["name"]]
    if kind.startswith("array "):
        return tensors[value["name"]].numpy().astype(kind.removeprefix("array "))
    items = value["items"]
    if kind == "dict":
        return {from_plain(key, tensors): from_plain(item, tensors) for key, item in items}
    return {"list": list, "tuple": tuple}[kind](from_plain(item, tensors) for item in items)


def pack(folder: Path, out: Path) -> None:
    """A copy of the checkpoint in `out` in which torch's pickled files are safetensors, their structure in the metadata.

    Raises OSError for one without `optimizer.pt`, such as a sharded one of FSDP or DeepSpeed, whose states lie in folders:
    nothing could go on from the copy.
    """
    import torch
    from safetensors.torch import save_file
    from transformers.trainer_pt_utils import safe_globals

    if not (folder / "optimizer.pt").is_file():
        raise OSError(f"{folder.name} has its optimizer's state in no single file; give --hub_strategy every_save")
    out.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLED:
            with safe_globals():  # type: ignore[no-untyped-call]
                value = torch.load(path, map_location="cpu", weights_only=True)
            tensors: dict[str, Any] = {}
            tree = json.dumps(to_plain(value, tensors))
            save_file(tensors or {"none": torch.zeros(1)}, out / f"{path.name}.safetensors", metadata={"tree": tree})
        elif path.name == STATE:
            pack_state(path, out)
        elif path.is_file() and path.name not in (MARK, "README.md") and path.suffix != ".bin":
            shutil.copy(path, out / path.name)
    mark = read_mark(folder)
    (out / "run.json").write_text(json.dumps(mark["run"] if mark else {}), encoding="utf-8")


def pack_state(path: Path, out: Path) -> None:
    """The trainer's state in `out`, with the weights of the best checkpoint, and without its path on this machine."""
    state = json.loads(path.read_text(encoding="utf-8"))
    best = state["best_model_checkpoint"]
    if best and Path(best).name == path.parent.name:
        state["best_model_checkpoint"] = "."
    elif best and Path(best).is_dir():
        copy_weights(Path(best), out / BEST)
        state["best_model_checkpoint"] = BEST
    else:
        state |= {"best_model_checkpoint": None, "best_metric": None}
    (out / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")


def unpack_state(path: Path, out: Path) -> None:
    """The inverse of `pack_state`, for a checkpoint that is made in `out` and then moved to its own name beside it.

    An earlier best one is put beside it too, hidden: no checkpoint to go on from, it is not taken for one.
    """
    state = json.loads(path.read_text(encoding="utf-8"))
    best, step = state["best_model_checkpoint"], state["global_step"]
    if best == BEST and (path.parent / BEST).is_dir():
        kept = out.with_name(f".{BEST}-of-{step}")  # with each one its own: several may be fetched into one folder
        shutil.rmtree(kept, ignore_errors=True)
        copy_weights(path.parent / BEST, kept)
        state["best_model_checkpoint"] = str(kept)
    elif best == ".":
        state["best_model_checkpoint"] = str(out.with_name(f"checkpoint-{step}"))
    else:
        state |= {"best_model_checkpoint": None, "best_metric": None}
    (out / STATE).write_text(json.dumps(state, indent=2), encoding="utf-8")


def copy_weights(folder: Path, out: Path) -> None:
    """The weights of a checkpoint and how they are read, nothing else."""
    out.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix == ".safetensors" or path.name in ("adapter_config.json", "model.safetensors.index.json"):
            shutil.copy(path, out / path.name)


def unpack(folder: Path, out: Path, source: str | None = None) -> None:
    """The inverse of `pack`; `out` then is a whole checkpoint. Pickles that someone else put there are left behind."""
    import torch
    from safetensors import safe_open

    out.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.name.endswith(tuple(f"{suffix}.safetensors" for suffix in PICKLED)):
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
                tree = json.loads(file.metadata()["tree"])
            torch.save(from_plain(tree, tensors), out / path.name.removesuffix(".safetensors"))
        elif path.name == STATE:
            unpack_state(path, out)
        elif path.is_file() and path.name != "run.json" and path.suffix not in (*PICKLED, ".bin", ".pkl"):
            shutil.copy(path, out / path.name)
    mark_complete(out, json.loads((folder / "run.json").read_text(encoding="utf-8")), source)


def fetch(repo: str, revision: str, output: Path, token: str | None) -> Path:
    """The newest checkpoint of the repository's revision, as a folder in `output`; fetched once. Raises UserError."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from safetensors import SafetensorError

    try:
        local = Path(snapshot_download(repo, revision=revision or None, allow_patterns=[f"{ON_THE_HUB}/*"], token=token))
        packed = local / ON_THE_HUB
        if not packed.is_dir():
            raise UserError(
                f"{repo} holds no {ON_THE_HUB}; it is pushed with --push_to_hub --hub_strategy checkpoint while training"
            )
        step = int(json.loads((packed / STATE).read_text(encoding="utf-8"))["global_step"])
        folder = output / f"checkpoint-{step}"
        source = f"{repo}@{local.name}"
        if (read_mark(folder) or {}).get("source") == source:  # by the first process of a run on several
            return folder
        new = output / f".fetched-{step}"
        shutil.rmtree(new, ignore_errors=True)
        unpack(packed, new, source)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except (OSError, HTTPError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"cannot fetch the checkpoint of {repo}: {first_line(error)}; check the id and revision") from None
    return folder
