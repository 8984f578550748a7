"""Pushes to the Hub while a run trains, what the Hub holds if they fail, and going on from what was pushed."""

import io
import json
import pickletools
import signal
import zipfile
from pathlib import Path

import pytest

from common.retry import ATTEMPTS
from tests.hub import Hub
from tests.training.runs import PADDED, FinishedRun, Runs, read_log, steps_on_disk, words

ALL_STEPS = ["Adapter", "Step 8", "Step 6", "Step 4", "Step 2", "Card"]
WAITED_FOR = ("wait_for_pushes",)
COMMIT = "POST .*/commit/"


def pushing(repo: str, strategy: str = "checkpoint") -> list[object]:
    return [*PADDED, "--push_to_hub", "--hub_model_id", repo, "--hub_strategy", strategy]


@pytest.fixture(scope="module")
def pushed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run that pushed each of its four checkpoints to org/pushed, and then its adapter; its curves are in a folder."""
    options = [*pushing("org/pushed"), "--report_to", "trackio"]
    return runs.done(tmp_path_factory.mktemp("pushed") / "out", *options, faults=[WAITED_FOR])


def commit_of(hub: Hub, repo: str, title: str) -> str:
    return next(commit.oid for commit in hub.repo(repo).history("main") if commit.title == title)


def step_on_the_hub(hub: Hub, repo: str, revision: str = "main") -> int:
    """The step of the checkpoint there; the test fails if some of its files, or the log, are of another step."""
    files = hub.files(repo, revision=revision)
    state = json.loads(files["last-checkpoint/trainer_state.json"])
    step: int = state["global_step"]
    assert files["last-checkpoint/adapter_model.safetensors"] == files["adapter_model.safetensors"]
    assert max(read_log(files["training_log.jsonl"].decode())) == step
    return step


STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


def is_pickled(content: bytes) -> bool:
    if zipfile.is_zipfile(io.BytesIO(content)) or content[:2] == b"PK":
        return True
    try:
        return content[:1] == b"\x80" and bool(list(pickletools.genops(content)))
    except ValueError:
        return False


def test_each_checkpoint_is_a_commit_and_the_adapter_the_last_one(pushed: FinishedRun, hub: Hub) -> None:
    assert hub.commits("org/pushed") == ALL_STEPS
    for step in (2, 4, 6, 8):
        assert step_on_the_hub(hub, "org/pushed", commit_of(hub, "org/pushed", f"Step {step}")) == step
    files = hub.files("org/pushed")
    assert files["adapter_model.safetensors"] == pushed.adapter
    assert {"adapter_config.json", "tokenizer.json", "training_log.jsonl", "training_summary.json", "loss.png"} <= set(files)
    assert "pushed to " in pushed.stdout


def test_the_hub_holds_no_pickle_but_torch_s_states_which_load_as_tensors_and_plain_values(
    pushed: FinishedRun, hub: Hub
) -> None:
    import torch
    from transformers.trainer_pt_utils import safe_globals

    found = set()
    for commit in hub.repo("org/pushed").history("main"):
        for path, content in hub.files("org/pushed", revision=commit.oid).items():
            if is_pickled(content):
                found.add(path)
                with safe_globals():
                    assert torch.load(io.BytesIO(content), weights_only=True)
            assert not path.endswith((".bin", ".pkl"))
    assert found == {f"last-checkpoint/{name}" for name in STATES}


def test_a_checkpoint_on_the_hub_names_no_path_of_the_machine(pushed: FinishedRun, hub: Hub) -> None:
    for path, content in hub.files("org/pushed").items():
        if path.startswith("last-checkpoint/") and not path.endswith("adapter_config.json"):  # PEFT's, with the base's folder
            assert str(pushed.folder.parent).encode() not in content, path
            assert b"/tmp/" not in content, path


def test_a_push_makes_no_space_of_the_curves(pushed: FinishedRun, hub: Hub) -> None:
    """transformers would: a public one, whose name is the project's with -static- behind it."""
    assert list((pushed.folder / "trackio").glob("*.db"))
    assert pushed.summary["trackio_space_id"] is None
    assert not [path for _, path, _ in hub.requests if "-static-" in path or "/buckets/" in path]


@pytest.mark.parametrize("step", [2, 4, 6, None])
def test_a_run_goes_on_from_the_hub_in_a_fresh_folder(
    runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path, step: int | None
) -> None:
    wanted = f"org/pushed@{commit_of(hub, 'org/pushed', f'Step {step}')}" if step else "org/pushed"
    resumed = runs.done(tmp_path, *PADDED, "--resume_from_checkpoint", wanted)
    assert resumed.summary["resumed_from_step"] == (step or 8)
    assert resumed.adapter == pushed.adapter
    assert resumed.log == pushed.log


def test_a_run_that_goes_on_from_the_hub_ends_with_the_best_weights_of_before(runs: Runs, hub: Hub, tmp_path: Path) -> None:
    validated = words({"validation_samples": 3, "eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": "true"})
    first = runs.done(tmp_path / "first", *pushing("org/best-1"), *validated, faults=[WAITED_FOR])
    step_4 = commit_of(hub, "org/best-1", "Step 4")
    assert first.log[4]["eval_loss"] < first.log[2]["eval_loss"]
    best = hub.files("org/best-1", revision=step_4)["adapter_model.safetensors"]

    # Then everything gets worse, so that step 4 is the best of a run that goes on from it, and of one that goes on from that.
    spoilt = [*validated, "--learning_rate", 1]
    second = runs.done(
        tmp_path / "second",
        *pushing("org/best-2"),
        *spoilt,
        *("--resume_from_checkpoint", f"org/best-1@{step_4}"),
        faults=[WAITED_FOR],
    )
    assert second.log[6]["eval_loss"] > first.log[4]["eval_loss"]
    assert second.adapter == best
    step_6 = commit_of(hub, "org/best-2", "Step 6")
    third = runs.done(tmp_path / "third", *PADDED, *spoilt, "--resume_from_checkpoint", f"org/best-2@{step_6}")
    assert third.summary["best_checkpoint_step"] == 4
    assert third.adapter == best


def test_a_repository_without_a_checkpoint_is_told(runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path) -> None:
    card = commit_of(hub, "org/pushed", "Card")
    for wanted, said in {
        f"org/pushed@{card}": "org/pushed holds no last-checkpoint",
        "org/pushed@no-such-branch": "cannot fetch the checkpoint of org/pushed",
        "org/no-such-run": "cannot fetch the checkpoint of org/no-such-run",
    }.items():
        refused = runs(tmp_path, *PADDED, "--resume_from_checkpoint", wanted)
        assert refused.code == 2
        assert refused.error.startswith(f"error: {said}")
        assert steps_on_disk(tmp_path) == []


def test_every_save_pushes_what_can_be_used_and_no_checkpoint(runs: Runs, hub: Hub, tmp_path: Path) -> None:
    runs.done(tmp_path, *pushing("org/every-save", "every_save"), faults=[WAITED_FOR])
    assert hub.commits("org/every-save") == ALL_STEPS
    files = hub.files("org/every-save", revision=commit_of(hub, "org/every-save", "Step 4"))
    assert set(files) == {
        *("README.md", "adapter_config.json", "adapter_model.safetensors"),
        *("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "training_log.jsonl"),
    }
    assert sorted(read_log(files["training_log.jsonl"].decode())) == [1, 2, 3, 4]


def test_pushes_that_fail_are_told_and_the_training_goes_on(runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path) -> None:
    repo, marker = "org/failing", tmp_path / "marker"
    faults = [("impatient",), WAITED_FOR, ("pause_in_micro_batch", 1, str(marker))]
    started = runs.start(tmp_path / "out", *pushing(repo), faults=faults)
    started.wait_for(marker)
    with hub.fail(COMMIT, 500, times=2 * ATTEMPTS):  # the pushes of two checkpoints
        marker.unlink()
        ended = started.wait()
    assert ended.code == 0, ended.stderr
    assert hub.commits(repo) == ["Adapter", "Step 8", "Step 6", "Card"]
    for step in (2, 4):
        assert f"\nStep {step}: {hub.endpoint} is in trouble (500); what it holds is whole" in ended.stderr
    assert ended.stderr.count("; the training goes on\n") == 2
    assert ended.adapter == pushed.adapter


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_connection_that_is_cut_is_tried_again(
    runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path, after: bool
) -> None:
    repo, marker = f"org/cut-{after}".lower(), tmp_path / "marker"
    faults = [("impatient",), WAITED_FOR, ("pause_in_micro_batch", 1, str(marker))]
    started = runs.start(tmp_path / "out", *pushing(repo), faults=faults)
    started.wait_for(marker)
    with hub.cut(COMMIT, times=1, after=after):
        marker.unlink()
        ended = started.wait()
    assert ended.code == 0, ended.stderr
    assert "the Hub did not answer; trying again" in ended.stderr
    assert hub.commits(repo) == ALL_STEPS
    assert hub.files(repo)["adapter_model.safetensors"] == pushed.adapter


def test_a_last_push_that_fails_leaves_the_adapter_and_can_be_had_without_another_step(
    runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path
) -> None:
    options, marker = pushing("org/last-push", "end"), tmp_path / "marker"
    started = runs.start(tmp_path / "out", *options, faults=[("impatient",), ("pause_in_micro_batch", 1, str(marker))])
    started.wait_for(marker)
    with hub.fail(COMMIT, 503):
        marker.unlink()
        ended = started.wait()
    assert ended.code == 2
    assert ended.error.endswith(
        f"; the adapter is in {ended.folder}, and --resume_from_checkpoint last pushes it without another step"
    )
    assert ended.adapter == pushed.adapter
    again = runs.done(tmp_path / "out", *options, "--resume_from_checkpoint", "last")
    assert again.summary["steps"] == 8
    assert hub.files("org/last-push")["adapter_model.safetensors"] == pushed.adapter


@pytest.mark.parametrize("request_line", [COMMIT, "PUT /_lfs/"], ids=["commit", "upload"])
def test_a_run_killed_in_a_push_leaves_the_state_of_before_and_goes_on(
    runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path, request_line: str
) -> None:
    repo = f"org/killed-in-{request_line[:3].lower()}"
    marker = tmp_path / "marker"
    # Other adapters than those of other tests, which the Hub has already.
    options = [*pushing(repo), "--weight_decay", 0.01 if request_line == COMMIT else 0.02]
    started = runs.start(tmp_path / "out", *options, faults=[WAITED_FOR, ("pause_in_micro_batch", 5, str(marker))])
    started.wait_for(marker)
    with hub.hold(request_line) as held:
        marker.unlink()
        held.wait_for(1)  # of the push of step 4
        started.send(signal.SIGKILL)
        assert started.wait().code == -signal.SIGKILL
        assert step_on_the_hub(hub, repo) == 2
    assert step_on_the_hub(hub, repo) in (2, 4)  # the Hub may yet serve the commit, or not
    resumed = runs.done(tmp_path / "out", *options, "--resume_from_checkpoint", "last", faults=[WAITED_FOR])
    assert resumed.summary["resumed_from_step"] == 4
    assert hub.commits(repo)[:3] == ["Adapter", "Step 8", "Step 6"]
    assert step_on_the_hub(hub, repo) == 8
    assert sorted(resumed.log) == [*range(1, 9)]


def test_a_push_that_takes_long_holds_up_no_step_and_the_checkpoints_meanwhile_are_left_out(
    runs: Runs, pushed: FinishedRun, hub: Hub, tmp_path: Path
) -> None:
    repo, marker, through = "org/slow", tmp_path / "marker", tmp_path / "through"
    faults = [("pause_in_micro_batch", 1, str(marker)), ("mark_waiting", str(through))]
    started = runs.start(tmp_path / "out", *pushing(repo), faults=faults)
    started.wait_for(marker)
    with hub.hold(COMMIT) as held:
        marker.unlink()
        held.wait_for(1)
        # Not only for the last checkpoint, whose push is left out a moment after it is whole.
        started.wait_for(through)
        assert (tmp_path / "out" / "checkpoint-8" / "complete.json").exists()
        assert hub.commits(repo) == ["Card"]
        held.release()
        ended = started.wait()
    assert ended.code == 0, ended.stderr
    assert hub.commits(repo) == ["Adapter", "Step 2", "Card"]
    assert ended.adapter == pushed.adapter
    assert not (tmp_path / "out" / ".pushing").exists()


def test_a_second_ctrl_c_does_not_wait_for_a_push(runs: Runs, hub: Hub, tmp_path: Path) -> None:
    begin, middle = tmp_path / "begin", tmp_path / "middle"
    faults = [("pause_in_micro_batch", 1, str(begin)), ("pause_in_micro_batch", 5, str(middle))]
    started = runs.start(tmp_path / "out", *pushing("org/impatient"), faults=faults)
    started.wait_for(begin)
    with hub.hold(COMMIT) as held:
        begin.unlink()
        held.wait_for(1)
        started.wait_for(middle)
        started.send(signal.SIGINT)
        started.wait_for_words("SIGINT: saving")  # two signals that are pending at once are one
        started.send(signal.SIGINT)
        assert started.wait(30).code == 130
    assert steps_on_disk(tmp_path / "out") == [2]


def test_ctrl_c_does_not_wait_for_a_push_when_the_training_is_through(runs: Runs, hub: Hub, tmp_path: Path) -> None:
    begin, through = tmp_path / "begin", tmp_path / "through"
    faults = [("pause_in_micro_batch", 1, str(begin)), ("mark_waiting", str(through))]
    started = runs.start(tmp_path / "out", *pushing("org/through"), faults=faults)
    started.wait_for(begin)
    with hub.hold(COMMIT) as held:
        begin.unlink()
        held.wait_for(1)
        started.wait_for(through)
        started.send(signal.SIGINT)
        assert started.wait(30).code == 130
