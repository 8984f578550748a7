"""The pool of processes: the same results for any number, and nothing left behind when it ends early."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from common.errors import UserError
from dataset_builders import workers
from dataset_builders.workers import worker_pool
from tests import raw


def test_every_task_is_done_once_and_few_are_taken_ahead() -> None:
    taken = []
    with worker_pool(2) as run:
        results = run(abs, (taken.append(number) or -number for number in range(40)))
        first = next(results)
        assert len(taken) <= 2 * workers.TASKS_AHEAD
        assert sorted([first, *results]) == list(range(40))
    assert not active_children()


def test_one_task_is_not_worth_a_process() -> None:
    with worker_pool(2) as run:
        assert list(run(abs, [-3])) == [3]
        assert not active_children()


def test_what_a_function_raises_is_raised_here_and_no_process_is_left() -> None:
    with pytest.raises(ZeroDivisionError), worker_pool(2) as run:
        list(run(_reciprocal, [1, 0, 2, 3]))
    assert not active_children()


def _reciprocal(number: int) -> float:
    return 1 / number


def test_a_process_that_the_machine_ends_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"ended by the machine, .* Give fewer --workers"), worker_pool(2) as run:
        list(run(os._exit, [1, 1, 1]))
    assert not active_children()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions in a file of several parts."""
    folder = tmp_path_factory.mktemp("large")
    [line] = raw.amazonqa(1)["amazonqa/train-qar.jsonl"]
    (folder / "train-qar.jsonl").write_text((json.dumps(line) + "\n") * (80_000_000 // len(json.dumps(line))))
    return folder


def test_ctrl_c_while_processes_start_is_answered_by_the_build_alone(tmp_path: Path, large: Path) -> None:
    command = [sys.executable, "-m", "dataset_builders.build", "--raw", large, "--out", tmp_path / "out", "--workers", "4"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (readers := _readers(psutil.Process(running.pid))):
        assert running.poll() is None
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert psutil.wait_procs(readers, timeout=30)[1] == []
    assert list(tmp_path.iterdir()) == []


def _readers(build: psutil.Process) -> list[psutil.Process]:
    return [process for process in build.children() if "spawn_main" in " ".join(process.cmdline())]


@pytest.mark.parametrize("killed", ["everything by Ctrl-C", "a worker", "the build"])
def test_a_build_that_ends_while_it_reads_leaves_nothing(tmp_path: Path, large: Path, killed: str) -> None:
    command = [sys.executable, "-m", "dataset_builders.build", "--raw", large, "--out", tmp_path / "out", "--workers", "2"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    build = psutil.Process(running.pid)
    while not (tmp_path / ".out.new" / "staged" / "questions.parquet").exists():
        assert running.poll() is None
        time.sleep(0.01)
    processes = build.children(recursive=True)
    readers = _readers(build)
    assert len(readers) == 2
    if killed == "a worker":
        readers[0].kill()
    elif killed == "the build":
        build.kill()
    else:
        os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert psutil.wait_procs(processes, timeout=30)[1] == []
    assert "Traceback" not in said
    assert running.returncode == {"a worker": 2, "the build": -signal.SIGKILL}.get(killed, 130)
    if killed == "a worker":
        assert said.splitlines()[-1].startswith("error: A worker process was ended by the machine")
    if killed != "the build":
        assert list(tmp_path.iterdir()) == []
