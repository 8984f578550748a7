"""What a run survives on its own machine: kills, signals, a full disk, numbers that are none; and how it goes on after.

Every comparison is exact: on a CPU with one thread, a run that was resumed ends with the bytes of the adapter, and logs the
losses and gradient norms, of one that was never interrupted.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.training.runs import PADDED, ROOT, Fault, FinishedRun, Runs, steps_on_disk, words
from training.checkpoints import last_whole, read_mark

MODES = {
    "padded": PADDED,
    # Three steps an epoch, the last one of one batch only; checkpoints before and after the ends of epochs, and at one.
    "tokens": words({"tokens_per_batch": 220, "num_train_epochs": 3}),
    "curriculum": words({"tokens_per_batch": 220, "num_train_epochs": 3, "curriculum": 0.6}),
    "validated": [
        *PADDED,
        *words({"validation_samples": 3, "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": "true"}),
    ],
}
LAST = ("--resume_from_checkpoint", "last")


@pytest.fixture(scope="module")
def uninterrupted(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedRun]:
    """Of each mode, the run that nothing happens to."""
    home = tmp_path_factory.mktemp("whole")
    return {mode: runs.done(home / mode, *options) for mode, options in MODES.items()}


def same(resumed: FinishedRun, uninterrupted: FinishedRun) -> None:
    assert resumed.log == uninterrupted.log
    assert resumed.adapter == uninterrupted.adapter


def good_checkpoint(folder: Path) -> int:
    """Step of the one that `last` means."""
    found = last_whole(folder)
    assert found is not None
    return int(found.name.removeprefix("checkpoint-"))


def test_the_runs_that_nothing_happens_to_are_what_these_tests_take_them_for(uninterrupted: dict[str, FinishedRun]) -> None:
    assert {mode: sorted(ended.log) for mode, ended in uninterrupted.items()} == {
        "padded": [*range(1, 9)],
        "tokens": [*range(1, 10)],
        "curriculum": [*range(1, 10)],
        "validated": [*range(1, 9)],
    }
    assert uninterrupted["tokens"].log[3]["epoch"] == 1.0
    assert uninterrupted["tokens"].log[1]["epoch"] == pytest.approx(0.4), "two batches of five: the third step has one only"
    losses = [log["loss"] for log in uninterrupted["padded"].log.values()]
    assert len(set(losses)) == len(losses), "so that another order of rows would show"


# kill -9


@pytest.mark.parametrize(
    ("mode", "micro_batch", "goes_on_after"),
    [
        ("padded", 6, 2),  # within the third step, after its first batch
        ("padded", 9, 4),  # the first batch of the second epoch; the checkpoint is at the end of the first
        ("tokens", 5, 2),  # the last batch of an epoch
        ("tokens", 10, 4),  # within the second epoch
        ("tokens", 11, 6),  # just after it, where a checkpoint is at its end
        ("curriculum", 5, 2),  # after the last batch whose rows are easier
        ("curriculum", 10, 4),  # in the second epoch, which has an order of its own
        ("validated", 10, 4),
    ],
)
def test_a_run_killed_in_a_step_goes_on_as_if_nothing_had_happened(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path, mode: str, micro_batch: int, goes_on_after: int
) -> None:
    killed = runs(tmp_path, *MODES[mode], faults=[("kill_in_micro_batch", micro_batch)])
    assert killed.code == -signal.SIGKILL
    assert good_checkpoint(tmp_path) == goes_on_after
    resumed = runs.done(tmp_path, *MODES[mode], *LAST)
    assert resumed.summary["resumed_from_step"] == goes_on_after
    same(resumed, uninterrupted[mode])


@pytest.mark.parametrize(
    "fault",
    [
        ("kill_writing", "adapter_model.safetensors", 2),
        ("kill_writing", "optimizer.pt", 2),
        ("kill_writing", "trainer_state.json", 2),
        ("kill_marking", 2),
    ],
    ids=["adapter", "optimizer", "state", "mark"],
)
def test_a_run_killed_in_its_second_checkpoint_goes_on_from_its_first(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path, fault: Fault
) -> None:
    killed = runs(tmp_path, *PADDED, faults=[fault])
    assert killed.code == -signal.SIGKILL
    assert steps_on_disk(tmp_path) == [2, 4], "the older one is there until the newer one is whole"
    assert read_mark(tmp_path / "checkpoint-4") is None
    resumed = runs.done(tmp_path, *PADDED, *LAST)
    assert resumed.summary["resumed_from_step"] == 2
    assert steps_on_disk(tmp_path) == [8]
    same(resumed, uninterrupted["padded"])


def test_a_run_killed_while_the_old_checkpoint_is_removed_goes_on_from_the_new_one(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path
) -> None:
    killed = runs(tmp_path, *PADDED, faults=[("kill_removing_a_checkpoint", 1)])
    assert killed.code == -signal.SIGKILL
    assert good_checkpoint(tmp_path) == 4
    assert read_mark(tmp_path / "checkpoint-2") is None
    same(runs.done(tmp_path, *PADDED, *LAST), uninterrupted["padded"])


def test_a_run_killed_while_its_results_are_put_in_place_is_finished_without_another_step(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path
) -> None:
    limits = [*PADDED, "--max_steps", 6, "--lr_scheduler_type", "constant"]  # within an epoch, with a rate that would do harm
    killed = runs(tmp_path, *limits, faults=[("kill_moving_results", 2)])
    assert killed.code == -signal.SIGKILL
    resumed = runs.done(tmp_path, *limits, *LAST)
    assert resumed.summary["steps"] == 6
    assert sorted(resumed.log) == [*range(1, 7)]
    assert resumed.adapter == (tmp_path / "checkpoint-6" / "adapter_model.safetensors").read_bytes()


def test_where_there_is_only_a_half_written_checkpoint_resuming_is_refused(runs: Runs, tmp_path: Path) -> None:
    killed = runs(tmp_path, *PADDED, faults=[("kill_writing", "optimizer.pt", 1)])
    assert killed.code == -signal.SIGKILL
    assert steps_on_disk(tmp_path) == [2]
    for wanted in ("last", tmp_path, tmp_path / "checkpoint-2"):
        refused = runs(tmp_path, *PADDED, "--resume_from_checkpoint", wanted)
        assert refused.code == 2
        assert refused.error.startswith("error: there is no whole checkpoint to resume from in")


def test_a_checkpoint_of_an_earlier_run_in_the_same_folder_does_not_crowd_out_a_new_one(runs: Runs, tmp_path: Path) -> None:
    runs.done(tmp_path, *PADDED)
    killed = runs(tmp_path, *PADDED, faults=[("kill_in_micro_batch", 6)])
    assert killed.code == -signal.SIGKILL
    assert good_checkpoint(tmp_path) == 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--seed", 1], "other seed (0, now 1)"),
        (["--tasks", "also_buy"], "other rows"),
        (["--per_device_train_batch_size", 4], "other batches a step (4, now 8)"),
        (["--tokens_per_batch", 300], "other tokens per batch (0, now 300)"),
    ],
    ids=["seed", "rows", "batch", "tokens"],
)
def test_resuming_with_other_data_is_refused(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path, options: list[object], what: str
) -> None:
    checkpoint = uninterrupted["padded"].folder / "checkpoint-8"
    refused = runs(tmp_path, *PADDED, *options, "--resume_from_checkpoint", checkpoint)
    assert refused.code == 2
    assert refused.error == (
        f"error: {checkpoint} is of a run with {what}; resume with the same dataset, tasks, weights, seed and batch, "
        "or leave --resume_from_checkpoint out"
    )


# SIGTERM, Ctrl-C


@pytest.mark.parametrize(
    ("name", "code", "mode", "micro_batch", "step"),
    [
        ("SIGTERM", 143, "padded", 5, 3),  # the first of two batches: the step is finished first
        ("SIGINT", 130, "padded", 8, 4),  # at the epoch's end
        ("SIGTERM", 143, "tokens", 7, 4),
        ("SIGINT", 130, "validated", 11, 6),  # where there is a checkpoint in any case: another one might be the best
    ],
)
def test_a_signal_ends_a_run_after_a_checkpoint_that_goes_on_as_if_nothing_had_happened(
    runs: Runs,
    uninterrupted: dict[str, FinishedRun],
    tmp_path: Path,
    name: str,
    code: int,
    mode: str,
    micro_batch: int,
    step: int,
) -> None:
    stopped = runs(tmp_path, *MODES[mode], faults=[("signal_in_micro_batch", micro_batch, name)])
    assert stopped.code == code
    assert f"stopped after step {step}, which is saved; --resume_from_checkpoint last goes on from there\n" in stopped.stdout
    assert f"{name}: saving after this step; once more ends at once\n" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert good_checkpoint(tmp_path) == step
    assert not (tmp_path / "adapter_model.safetensors").exists(), "it is not the adapter of a whole run"
    same(runs.done(tmp_path, *MODES[mode], *LAST), uninterrupted[mode])


def test_a_signal_in_the_last_step_leaves_no_step_to_do(runs: Runs, tmp_path: Path) -> None:
    limits = [*PADDED, "--max_steps", 6, "--lr_scheduler_type", "constant"]
    stopped = runs(tmp_path, *limits, faults=[("signal_in_micro_batch", 12, "SIGTERM")])
    assert stopped.code == 143
    assert runs.done(tmp_path, *limits, *LAST).summary["steps"] == 6


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_second_signal_ends_a_run_at_once(runs: Runs, tmp_path: Path, name: str, code: int) -> None:
    ended = runs(tmp_path, *PADDED, faults=[("signal_in_micro_batch", 7, name, 2)])
    assert ended.code == code
    assert "Traceback" not in ended.stderr
    assert steps_on_disk(tmp_path) == [2]


def test_a_signal_from_outside_reaches_the_launched_command(runs: Runs, launch: list[str], hub: Hub, tmp_path: Path) -> None:
    """`accelerate launch` ends with 1 for whatever its process ends with."""
    command = [*launch, "--config_file", "training/accelerate/cpu.yaml", "training/sft.py"]
    started = subprocess.Popen(
        [*command, *runs.common, *PADDED, "--num_train_epochs", "2000", "--output_dir", tmp_path / "out"],
        cwd=ROOT,
        env=hub.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: bool(steps_on_disk(tmp_path / "out")), started)
    os.killpg(started.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    stdout, _ = started.communicate(timeout=300)
    assert started.returncode != 0
    step = good_checkpoint(tmp_path / "out")
    assert f"stopped after step {step}, which is saved" in stdout


def wait_until(done: object, process: "subprocess.Popen[str]", seconds: float = 300) -> None:
    assert callable(done)
    deadline = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Numbers that are none


def finite(checkpoint: Path) -> bool:
    from safetensors.torch import load_file

    return all(tensor.isfinite().all() for tensor in load_file(checkpoint / "adapter_model.safetensors").values())


def test_a_loss_that_is_no_number_ends_a_run_before_it_reaches_the_weights(runs: Runs, tmp_path: Path) -> None:
    ended = runs(tmp_path, *PADDED, "--lr_scheduler_type", "constant", faults=[("poison_base", 11)])
    assert ended.code == 2
    assert ended.error == (
        "error: the gradient of step 6 is not a finite number (learning rate 1.0e-02); lower --learning_rate or check the "
        f"rows. --resume_from_checkpoint {tmp_path / 'checkpoint-4'} goes on from the last good checkpoint"
    )
    assert steps_on_disk(tmp_path) == [4]
    assert finite(tmp_path / "checkpoint-4")


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ("1e30", "the gradient of step 2 is not a finite number"),  # the weights of step 1 are numbers still
        ("1e39", "the weights after step 1 are not finite numbers"),
    ],
)
def test_a_learning_rate_beyond_all_numbers_ends_a_run_without_a_checkpoint_to_go_on_from(
    runs: Runs, tmp_path: Path, rate: str, said: str
) -> None:
    ended = runs(tmp_path, *PADDED, "--learning_rate", rate, "--lr_scheduler_type", "constant", "--save_steps", 1)
    assert ended.code == 2
    assert ended.error.startswith(f"error: {said} (learning rate {float(rate):.1e}); lower --learning_rate")
    assert "There is no checkpoint" in ended.error
    assert all(finite(tmp_path / f"checkpoint-{step}") for step in steps_on_disk(tmp_path))


def test_a_checkpoint_whose_own_weights_gave_a_gradient_that_is_none_is_not_named(runs: Runs, tmp_path: Path) -> None:
    ended = runs(tmp_path, *PADDED, "--save_total_limit", 2, faults=[("poison_base", 9)])
    assert ended.code == 2
    assert steps_on_disk(tmp_path) == [2, 4]
    assert f"--resume_from_checkpoint {tmp_path / 'checkpoint-2'} goes on from the last good checkpoint" in ended.error


def test_a_lower_learning_rate_counts_when_a_run_is_resumed(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path
) -> None:
    runs(tmp_path, *PADDED, faults=[("kill_in_micro_batch", 6)])
    resumed = runs.done(tmp_path, *PADDED, *LAST, "--learning_rate", 0.001)
    before = uninterrupted["padded"].log
    assert {step: log["learning_rate"] / before[step]["learning_rate"] for step, log in resumed.log.items() if step > 2} == {
        step: pytest.approx(0.1) for step in range(3, 9)
    }
    assert resumed.log[3]["loss"] == before[3]["loss"]
    assert resumed.log[8]["loss"] != before[8]["loss"]


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [("cosine_with_min_lr", '{"min_lr": 0.0005}', ""), ("reduce_lr_on_plateau", "{}", "the learning rate goes on at 1.0e-02")],
)
def test_a_new_learning_rate_counts_for_any_schedule_or_it_is_said_that_it_does_not(
    runs: Runs, kind: str, arguments: str, said: str, tmp_path: Path
) -> None:
    schedule = ["--lr_scheduler_type", kind, "--lr_scheduler_kwargs", arguments, "--max_steps", 4, "--validation_samples", 3]
    options = [*PADDED, *schedule, "--eval_strategy", "steps", "--eval_steps", 1]
    runs(tmp_path / "resumed", *options, faults=[("signal_in_micro_batch", 3, "SIGTERM")])
    resumed = runs.done(tmp_path / "resumed", *options, *LAST, "--learning_rate", 0.001)
    assert said in resumed.stderr
    if not said:
        whole = runs.done(tmp_path / "whole", *options, "--learning_rate", 0.001)
        rates = [{step: log["learning_rate"] for step, log in one.log.items() if step > 2} for one in (resumed, whole)]
        assert rates[0] == pytest.approx(rates[1])


# A full disk


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_one_before_whole(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path
) -> None:
    # Adapter 135 kB, optimizer 286 kB, scheduler and generators below 15 kB.
    for size in (100_000, 200_000):
        folder = tmp_path / str(size)
        ended = runs(folder, *PADDED, faults=[("limit_files", "_save_checkpoint", 2, size)])
        assert ended.code == 2
        assert ended.error.startswith(f"error: cannot write {folder / 'checkpoint-4'}: ")
        assert ended.error.endswith(
            f"; make room on the disk. --resume_from_checkpoint {folder / 'checkpoint-2'} goes on from the last good checkpoint"
        )
        assert steps_on_disk(folder) == [2]
    same(runs.done(folder, *PADDED, *LAST), uninterrupted["padded"])


def test_results_that_do_not_fit_on_the_disk_are_told_and_can_be_had_again(
    runs: Runs, uninterrupted: dict[str, FinishedRun], tmp_path: Path
) -> None:
    ended = runs(tmp_path, *PADDED, faults=[("limit_files", "write_run", 1, 100_000)])
    assert ended.code == 2
    assert ended.error.startswith(f"error: cannot write the results into {tmp_path}: ")
    assert ended.error.endswith(f"--resume_from_checkpoint {tmp_path / 'checkpoint-8'} goes on from the last good checkpoint")
    assert not (tmp_path / "adapter_model.safetensors").exists()
    same(runs.done(tmp_path, *PADDED, *LAST), uninterrupted["padded"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds one checkpoint of the tiny model (0.45 MB) and not two."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_disk_that_is_full_ends_a_run_with_its_last_checkpoint_whole(runs: Runs, small_disk: Path) -> None:
    ended = runs(small_disk / "out", *PADDED)
    assert ended.code == 2
    assert "No space left on device" in ended.error or "make room on the disk" in ended.error
    assert steps_on_disk(small_disk / "out") == [2]
    assert good_checkpoint(small_disk / "out") == 2
