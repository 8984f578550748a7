"""training/checkpoints.py: which checkpoints are whole, which one a run resumes from, and the way to the Hub and back."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from training.checkpoints import (
    BEST,
    MARK,
    ON_THE_HUB,
    STATE,
    check_same_run,
    checkpoints,
    copy_for_hub,
    fetch,
    last_whole,
    mark_complete,
    read_mark,
    resolve,
    rotate,
    step_of,
)

FACTS = {"rows": "abc", "seed": 0, "tokens per batch": 1024}


def make(output: Path, step: int, saved_at: float | None = None, mark: bool = True) -> Path:
    """A checkpoint of a step, as far as this module looks into it."""
    folder = output / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    state = {"global_step": step, "best_model_checkpoint": str(folder), "best_metric": 1.5, "best_global_step": step}
    (folder / STATE).write_text(json.dumps(state))
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * step)
    (folder / "deep" / "shard").write_bytes(b"shard")
    if mark:
        mark_complete(folder, FACTS)
    if saved_at is not None:
        written = json.loads((folder / MARK).read_text())
        (folder / MARK).write_text(json.dumps(written | {"saved_at": saved_at}))
    return folder


# The mark


def test_a_marked_checkpoint_is_whole_and_tells_of_what_run_it_is(tmp_path: Path) -> None:
    mark = read_mark(make(tmp_path, 3))
    assert mark is not None
    assert mark["run"] == FACTS
    assert mark["files"].keys() == {STATE, "adapter_model.safetensors", "deep/shard"}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "not marked": lambda folder: (folder / MARK).unlink(),
    "a missing file": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "a missing file further down": lambda folder: (folder / "deep" / "shard").unlink(),
    "a missing folder": lambda folder: shutil.rmtree(folder / "deep"),
    "a truncated file": lambda folder: os.truncate(folder / "adapter_model.safetensors", 5),
    "an empty file": lambda folder: (folder / STATE).write_bytes(b""),
    "a grown file": lambda folder: (folder / "deep" / "shard").write_bytes(b"shards"),
    "a truncated mark": lambda folder: os.truncate(folder / MARK, 20),
    "an empty mark": lambda folder: (folder / MARK).write_bytes(b""),
    "a mark that is no mapping": lambda folder: (folder / MARK).write_text("[]"),
    "a mark of other content": lambda folder: (folder / MARK).write_text('{"files": 3}'),
    "a mark that is no text": lambda folder: (folder / MARK).write_bytes(b"\xff\xfe"),
    "a mark without the trainer's state": lambda folder: (folder / MARK).write_text('{"files": {}, "run": {}}'),
    "no folder": lambda folder: shutil.rmtree(folder),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_not_whole_and_not_gone_on_from(damage: Callable[[Path], object], tmp_path: Path) -> None:
    good, folder = make(tmp_path, 3), make(tmp_path, 4)
    assert last_whole(tmp_path) == folder
    damage(folder)
    assert read_mark(folder) is None
    assert last_whole(tmp_path) == good


def test_a_file_that_came_later_leaves_a_checkpoint_whole(tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    (folder / "notes").write_text("mine")
    assert read_mark(folder)


def test_marking_removes_the_pickled_arguments_and_can_be_done_again(tmp_path: Path) -> None:
    folder = make(tmp_path, 3, mark=False)
    (folder / "training_args.bin").write_bytes(b"\x80")
    (folder / f".{MARK}").write_text("of a run that was killed while it marked")
    for _ in range(2):
        mark_complete(folder, FACTS)
        mark = read_mark(folder)
        assert mark is not None
        assert mark["files"].keys() == {STATE, "adapter_model.safetensors", "deep/shard"}
    assert {path.name for path in folder.iterdir()} == {STATE, "adapter_model.safetensors", "deep", MARK}


# Which one


def test_checkpoints_are_told_by_name_and_ordered_by_step(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        make(tmp_path, step, mark=False)
    for name in ("checkpoint-best", "checkpoint-", "my-checkpoint-3", "checkpoint-3.old", "trackio"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-7").write_text("a file")
    assert [step_of(folder) for folder in checkpoints(tmp_path)] == [9, 10, 100]
    assert checkpoints(tmp_path / "none") == []
    assert step_of(Path("last-checkpoint")) == -1


def test_the_last_one_is_the_one_saved_last_whatever_its_step(tmp_path: Path) -> None:
    make(tmp_path, 900, saved_at=1000.0)
    make(tmp_path, 20, saved_at=2000.0)
    make(tmp_path, 10, saved_at=1999.0)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-20"
    make(tmp_path, 30, mark=False)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-20"


def test_of_those_saved_at_the_same_time_the_last_is_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        make(tmp_path, step, saved_at=5.0)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-100"


def test_where_nothing_is_whole_there_is_no_last_one(tmp_path: Path) -> None:
    make(tmp_path, 3, mark=False)
    assert last_whole(tmp_path) is None
    assert last_whole(tmp_path / "none") is None


def test_a_last_one_of_an_earlier_step_can_be_asked_for(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        make(tmp_path, step, saved_at=float(step))
    assert last_whole(tmp_path, before=6) == tmp_path / "checkpoint-4"
    assert last_whole(tmp_path, before=2) is None


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (None, None, {1, 2, 3, 4}),
        (0, None, {1, 2, 3, 4}),
        (3, None, {1, 2, 3}),
        (2, None, {1, 2}),
        (1, None, {1}),
        (2, "checkpoint-3", {1, 3}),
        (1, "checkpoint-3", {1, 3}),
        (1, "checkpoint-1", {1}),
    ],
)
def test_rotation_leaves_those_saved_last_and_the_best(
    keep: int | None, best: str | None, left: set[int], tmp_path: Path
) -> None:
    """Step 1 is of a run that began anew in the folder; step 4 was never finished."""
    for step, saved_at in ((3, 1.0), (2, 2.0), (1, 3.0)):
        make(tmp_path, step, saved_at=saved_at)
    make(tmp_path, 4, mark=False)
    rotate(tmp_path, keep, best and f"/elsewhere/{best}")
    assert {step_of(folder) for folder in checkpoints(tmp_path)} == left


@pytest.mark.parametrize("wanted", [None, "", "false", "False"])
def test_without_a_wish_a_run_begins_anew(wanted: str | None, tmp_path: Path) -> None:
    make(tmp_path, 3)
    assert resolve(wanted, tmp_path) is None


@pytest.mark.parametrize("wanted", ["last", "Last", "true", "True"])
def test_the_last_whole_one_of_the_output_folder_is_found(wanted: str, tmp_path: Path) -> None:
    make(tmp_path, 3)
    make(tmp_path, 4, mark=False)
    assert resolve(wanted, tmp_path) == tmp_path / "checkpoint-3"


def test_a_checkpoint_or_the_last_whole_one_of_a_run_can_be_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make(run, 3)
    make(run, 4)
    make(run, 5, mark=False)
    assert resolve(str(run / "checkpoint-3"), tmp_path / "out") == run / "checkpoint-3"
    assert resolve(str(run), tmp_path / "out") == run / "checkpoint-4"


@pytest.mark.parametrize("wanted", ["last", "{output}", "{output}/checkpoint-4", "{output}/checkpoint-9", "./none/x", "none"])
def test_a_wish_that_cannot_be_met_is_refused_and_not_taken_for_a_fresh_start(wanted: str, tmp_path: Path) -> None:
    make(tmp_path, 4, mark=False)
    wanted = wanted.format(output=tmp_path)
    with pytest.raises(UserError) as refused:
        resolve(wanted, tmp_path)
    place = tmp_path if wanted == "last" else wanted
    assert str(refused.value) == (f"there is no whole checkpoint to resume from in {place}; leave --resume_from_checkpoint out")


def test_a_run_of_the_same_rows_and_steps_may_go_on(tmp_path: Path) -> None:
    check_same_run(make(tmp_path, 3), FACTS)
    check_same_run(tmp_path / "checkpoint-3", FACTS | {"something newer": 1})
    check_same_run(tmp_path / "checkpoint-3", {})


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"rows": "abd"}, "rows"),
        ({"seed": 1}, "seed (0, now 1)"),
        ({"tokens per batch": 512}, "tokens per batch (1024, now 512)"),
    ],
)
def test_a_run_of_other_rows_or_steps_is_refused(changed: dict[str, Any], shown: str, tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    with pytest.raises(UserError) as refused:
        check_same_run(folder, FACTS | changed)
    assert str(refused.value) == (
        f"{folder} is of a run with other {shown}; resume with the same dataset, tasks, weights, seed and batch, "
        "or leave --resume_from_checkpoint out"
    )


# To the Hub and back


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with states of a real optimizer, scheduler and the generators, saved as transformers does it."""
    import numpy as np
    import torch
    from transformers import get_cosine_schedule_with_warmup

    folder = make(tmp_path / "run", 3, mark=False)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2).bfloat16().float())
    groups = [{"params": model[0].parameters(), "weight_decay": 0.1}, {"params": model[1].parameters(), "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.95))
    scheduler = get_cosine_schedule_with_warmup(optimizer, 2, 10)
    for _ in range(3):
        model(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    generators = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    torch.save(generators, folder / "rng_state.pth")
    (folder / "training_args.bin").write_bytes(b"\x80")
    (folder / "adapter_config.json").write_text("{}")
    mark_complete(folder, FACTS)
    return folder


def load_state(path: Path) -> Any:
    """As transformers loads it: tensors and plain values only."""
    import torch
    from transformers.trainer_pt_utils import safe_globals

    with safe_globals():
        return torch.load(path, weights_only=True)


Fetch = Callable[..., Path]


@pytest.fixture
def fetch_from(monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Fetches the checkpoint that a folder holds as a repository would, into an output folder."""

    def fetched(repository: Path, output: Path, commit: str = "commit") -> Path:
        snapshot = repository.with_name(commit)
        if snapshot != repository:
            shutil.copytree(repository, snapshot, dirs_exist_ok=True)
        monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **options: str(snapshot))
        output.mkdir(parents=True, exist_ok=True)
        return fetch("org/name", "", output, None)

    return fetched


def push(checkpoint: Path, repository: Path) -> Path:
    copy_for_hub(checkpoint, repository / ON_THE_HUB)
    return repository / ON_THE_HUB


def test_what_is_pushed_is_transformers_own_files_and_no_path_of_this_machine(saved: Path, tmp_path: Path) -> None:
    (saved / "pytorch_model.bin").write_bytes(b"\x80")
    (saved / "training_args.bin").write_bytes(b"\x80")
    pushed = push(saved, tmp_path / "hub")
    assert {path.name for path in pushed.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt"),
        *(STATE, MARK),
    }
    assert not [path.name for path in pushed.iterdir() if str(tmp_path).encode() in path.read_bytes()]
    assert json.loads((pushed / STATE).read_text())["global_step"] == 3
    mark = read_mark(pushed)
    assert mark is not None
    assert mark["run"] == FACTS


def test_every_state_is_loaded_without_unpickling_more_than_tensors_and_plain_values(saved: Path, tmp_path: Path) -> None:
    pushed = push(saved, tmp_path / "hub")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        assert load_state(pushed / name).keys() == load_state(saved / name).keys()


def best_of(folder: Path) -> tuple[str | None, float | None]:
    state = json.loads((folder / STATE).read_text())
    return state["best_model_checkpoint"], state["best_metric"]


def with_best(checkpoint: Path, best: str | Path | None) -> None:
    state = json.loads((checkpoint / STATE).read_text()) | {"best_model_checkpoint": best and str(best)}
    (checkpoint / STATE).write_text(json.dumps(state))
    mark_complete(checkpoint, FACTS)


def test_the_best_checkpoint_stays_the_best_where_it_is_the_one_that_is_pushed(
    saved: Path, tmp_path: Path, fetch_from: Fetch
) -> None:
    assert best_of(push(saved, tmp_path / "hub")) == (".", 1.5)
    assert best_of(fetch_from(tmp_path / "hub", tmp_path / "there")) == (str(tmp_path / "there" / "checkpoint-3"), 1.5)


def test_the_weights_of_an_earlier_best_checkpoint_go_along_again_and_again(
    saved: Path, tmp_path: Path, fetch_from: Fetch
) -> None:
    best = make(tmp_path / "run", 2)
    (best / "adapter_model.safetensors").write_bytes(b"the best weights")
    (best / "optimizer.pt").write_bytes(b"\x80")
    with_best(saved, best)
    for place in ("one", "other"):
        repository = tmp_path / f"hub of {place}"
        assert best_of(push(saved, repository)) == (BEST, 1.5)
        saved = fetch_from(repository, tmp_path / place, commit=f"commit of {place}")
        assert read_mark(saved)
        kept = tmp_path / place / f".best-of-commit of {place}"
        assert best_of(saved) == (str(kept), 1.5)
        assert (kept / "adapter_model.safetensors").read_bytes() == b"the best weights"
        assert not (kept / "optimizer.pt").exists()
        assert checkpoints(tmp_path / place) == [saved], "the best weights alone are no checkpoint to resume from"


def test_of_two_fetched_into_one_folder_each_keeps_its_own_best_weights(saved: Path, tmp_path: Path, fetch_from: Fetch) -> None:
    best = make(tmp_path / "run", 2)
    for step in (3, 5):
        (best / "adapter_model.safetensors").write_bytes(f"best before {step}".encode())
        state = json.loads((saved / STATE).read_text()) | {"global_step": step}
        (saved / STATE).write_text(json.dumps(state))
        with_best(saved, best)
        push(saved, tmp_path / f"hub {step}")
        fetch_from(tmp_path / f"hub {step}", tmp_path / "out", commit=f"commit {step}")
    for step in (3, 5):
        kept, _ = best_of(tmp_path / "out" / f"checkpoint-{step}")
        assert kept is not None
        assert (Path(kept) / "adapter_model.safetensors").read_bytes() == f"best before {step}".encode()


def test_transformers_takes_the_best_weights_for_no_second_adapter(saved: Path, tmp_path: Path, fetch_from: Fetch) -> None:
    """It loads each direct subfolder of a checkpoint that holds an adapter."""
    with_best(saved, make(tmp_path / "run", 2))
    push(saved, tmp_path / "hub")
    folder = fetch_from(tmp_path / "hub", tmp_path / "out")
    assert list(folder.rglob("adapter_model.safetensors")) == [folder / "adapter_model.safetensors"]


@pytest.mark.parametrize("best", [None, "checkpoint-2"])
def test_without_the_best_checkpoint_its_loss_is_forgotten_too(
    saved: Path, tmp_path: Path, fetch_from: Fetch, best: str | None
) -> None:
    """Else no later one could become the best."""
    with_best(saved, best and tmp_path / best)
    assert best_of(push(saved, tmp_path / "hub")) == (None, None)
    assert best_of(fetch_from(tmp_path / "hub", tmp_path / "out")) == (None, None)


@pytest.mark.parametrize("written", [BEST, "../../elsewhere", "/etc"])
def test_a_best_checkpoint_that_is_not_there_or_elsewhere_is_none(
    saved: Path, tmp_path: Path, fetch_from: Fetch, written: str
) -> None:
    with_best(push(saved, tmp_path / "hub"), written)
    assert best_of(fetch_from(tmp_path / "hub", tmp_path / "out")) == (None, None)


def test_a_fetched_checkpoint_is_whole_and_its_states_are_the_same(saved: Path, tmp_path: Path, fetch_from: Fetch) -> None:
    push(saved, tmp_path / "hub")
    back = fetch_from(tmp_path / "hub", tmp_path / "out")
    mark = read_mark(back)
    assert mark is not None
    assert mark["run"] == FACTS
    assert mark["source"] == "org/name@commit"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", "adapter_config.json"):
        assert (back / name).read_bytes() == (saved / name).read_bytes()
    assert {path.name for path in back.iterdir()} == {path.name for path in saved.iterdir()} - {"deep"}
    assert left_in(tmp_path / "out") == {back.name}, "nothing half-fetched is left"


def left_in(output: Path) -> set[str]:
    """What a fetch leaves beside the lock, which stays since another process may wait for it."""
    return {path.name for path in output.iterdir()} - {".fetching.lock"}


def test_what_was_fetched_is_taken_by_optimizer_scheduler_and_generators(
    saved: Path, tmp_path: Path, fetch_from: Fetch
) -> None:
    import numpy as np
    import torch
    from transformers import get_cosine_schedule_with_warmup

    push(saved, tmp_path / "hub")
    drawn = []
    for folder in (saved, fetch_from(tmp_path / "hub", tmp_path / "out")):
        states = load_state(folder / "rng_state.pth")
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        torch.random.set_rng_state(states["cpu"])
        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        groups = [{"params": layer.parameters()} for layer in model]
        optimizer = torch.optim.AdamW(groups)
        scheduler = get_cosine_schedule_with_warmup(optimizer, 2, 10)
        optimizer.load_state_dict(load_state(folder / "optimizer.pt"))
        scheduler.load_state_dict(load_state(folder / "scheduler.pt"))
        model(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
        scheduler.step()
        weights = [weight.tolist() for weight in model.parameters()]
        drawn.append((random.random(), np.random.rand(), scheduler.get_last_lr(), weights))
    assert drawn[0] == drawn[1]


def test_a_checkpoint_is_fetched_once_by_the_processes_of_a_run(saved: Path, tmp_path: Path, fetch_from: Fetch) -> None:
    push(saved, tmp_path / "hub")
    first = fetch_from(tmp_path / "hub", tmp_path / "out")
    (first / "notes").write_text("of the first process")
    assert fetch_from(tmp_path / "hub", tmp_path / "out") == first
    assert (first / "notes").exists()
    assert fetch_from(tmp_path / "hub", tmp_path / "out", commit="another") == first
    assert not (first / "notes").exists(), "another commit takes its place"


def test_of_two_processes_that_fetch_at_once_the_first_one_s_copy_stays(
    saved: Path, tmp_path: Path, fetch_from: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(saved, tmp_path / "hub")
    other = fetch_from(tmp_path / "hub", tmp_path / "other") / MARK
    copy = Path.rename

    def rename_after_another(self: Path, target: Path) -> Path:
        if target.name == "checkpoint-3":
            monkeypatch.undo()
            shutil.copytree(other.parent, target)
            (target / "notes").write_text("of the first process")
        return copy(self, target)

    monkeypatch.setattr(Path, "rename", rename_after_another)
    folder = fetch_from(tmp_path / "hub", tmp_path / "out")
    assert (folder / "notes").exists()
    assert read_mark(folder)


def test_files_that_someone_else_put_beside_a_checkpoint_are_left_there(saved: Path, tmp_path: Path, fetch_from: Fetch) -> None:
    pushed = push(saved, tmp_path / "hub")
    names = {"scheduler2.pt", "adapter_model.bin", "optimizer.bin", "training_args.bin", ".metadata"}
    for name in names:
        (pushed / name).write_bytes(b"\x80\x04.")
    assert not names & {path.name for path in fetch_from(tmp_path / "hub", tmp_path / "out").iterdir()}


class CodeInAPickle:
    """Unpickled in full, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_1.pth", "scaler.pt"])
@pytest.mark.parametrize("damage", ["code", "truncated", "no archive"])
def test_a_state_that_is_more_than_tensors_or_broken_is_neither_fetched_nor_resumed_from(
    saved: Path, tmp_path: Path, fetch_from: Fetch, name: str, damage: str
) -> None:
    import torch

    ran = tmp_path / "ran"
    if damage == "code":
        torch.save({"state": CodeInAPickle(ran)}, saved / name)
    elif damage == "truncated":
        torch.save({"state": torch.ones(1000)}, saved / name)
        os.truncate(saved / name, 2000)
    else:
        (saved / name).write_bytes(b"\x80\x04.")
    mark_complete(saved, FACTS)
    pushed = push(saved, tmp_path / "hub")
    with pytest.raises(UserError, match=f"{name} cannot be loaded safely: .*; resume from another checkpoint"):
        fetch_from(tmp_path / "hub", tmp_path / "out")
    with pytest.raises(UserError, match=f"{name} cannot be loaded safely"):
        resolve(str(pushed), tmp_path / "out")
    assert not left_in(tmp_path / "out")
    assert not ran.exists()


@pytest.mark.parametrize("lost", [STATE, MARK, "optimizer.pt"])
def test_a_checkpoint_on_the_hub_that_is_not_whole_is_refused(
    saved: Path, tmp_path: Path, fetch_from: Fetch, lost: str
) -> None:
    (push(saved, tmp_path / "hub") / lost).unlink()
    with pytest.raises(UserError) as refused:
        fetch_from(tmp_path / "hub", tmp_path / "out")
    assert str(refused.value) == (
        "org/name holds no last-checkpoint that is complete; --push_to_hub --hub_strategy checkpoint pushes one"
    )


def test_a_sharded_checkpoint_is_not_pushed_without_its_shards(tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    (folder / "optimizer_0").mkdir()
    with pytest.raises(OSError, match="checkpoint-3 has its optimizer's state in no single file; give --hub_strategy every_s"):
        copy_for_hub(folder, tmp_path / "pushed")
    assert not (tmp_path / "pushed").exists()
