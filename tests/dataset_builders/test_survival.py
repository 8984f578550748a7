"""Builds and publishers that are killed, meet one another, or meet a Hub in trouble: what was whole stays whole."""

import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from huggingface_hub import constants

from common.publishing import Destination
from dataset_builders.dataset_files import write_checksums
from dataset_builders.publish import assemble, read_dataset
from tests import raw
from tests.commits import commit_folder
from tests.hub import ALICE, Hub

WARM = ("dataset_builders.build", "dataset_builders.engine", "dataset_builders.publish", "dataset_builders.recipes.retrieval")
LIBRARIES = ("duckdb", "huggingface_hub.hf_api", "ibis.backends.duckdb", "matplotlib.backends.backend_agg", "matplotlib.figure")
LIBRARIES += ("orjson", "pyarrow.parquet", "rich.progress", "rich.table", "yaml")

Files = dict[str, bytes]


def files(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(module: str, *arguments: object, **settings: object) -> BaseProcess:
    """`python -m module arguments` in a process of its own, forked off one that has the imports behind it."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*WARM, *LIBRARIES])
    process = context.Process(target=run, args=(module, [str(each) for each in arguments]), kwargs=settings)
    process.start()
    return process


def run(
    module: str,
    arguments: list[str],
    said: str = os.devnull,
    endpoint: str = "",
    kill_after_rename: int = 0,
    kill_after: float = 0,
    used: str = "",
) -> None:
    """What the process does; its output goes to the file `said`, and the processor seconds that it took to the file `used`.

    The kernel kills it after `kill_after` processor seconds, wherever it is, and it kills itself after so many renames.
    """
    if kill_after:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, kill_after)
    output = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if endpoint:
        constants.ENDPOINT, constants.HF_HUB_DISABLE_XET, os.environ["HF_TOKEN"] = endpoint, True, ALICE
    if kill_after_rename:
        rename, number = Path.rename, 0

        def deadly(path: Path, target: Path) -> Path:
            nonlocal number
            renamed, number = rename(path, target), number + 1
            if number == kill_after_rename:
                os.kill(os.getpid(), signal.SIGKILL)
            return renamed

        Path.rename = deadly
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # runpy warns of a module that is there already
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    if used:
        Path(used).write_text(str(time.process_time()))


def finished(process: BaseProcess, seconds: float = 120) -> int | None:
    process.join(seconds)
    assert process.exitcode is not None, "it does not end"
    return process.exitcode


# Builds.


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw.write(tmp_path_factory.mktemp("small"), raw.amazon_reviews("Mugs"))


def build(small: Path, out: Path, seed: int, **settings: object) -> BaseProcess:
    tasks = ("--tasks", "review_rating", "--threads", 1)
    return start("dataset_builders.build", "--raw", small, "--out", out, "--seed", seed, *tasks, **settings)


@pytest.fixture(scope="module")
def whole(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files]:
    """What seed 0 and what seed 1 give."""
    folder = tmp_path_factory.mktemp("whole")
    for seed in (0, 1):
        assert finished(build(small, folder / str(seed), seed)) == 0
        read_dataset(folder / str(seed))
    found = files(folder / "0"), files(folder / "1")
    assert found[0] != found[1]
    return found


def test_a_build_killed_at_any_moment_leaves_a_whole_dataset_and_the_next_run_ends_well(
    tmp_path: Path, small: Path, whole: tuple[Files, Files], thorough: bool
) -> None:
    out, used, draw = tmp_path / "out", tmp_path / "used", random.Random(0)
    kills, killed = 20 if thorough else 3, 0
    assert finished(build(small, out, seed=0, used=str(used))) == 0
    for turn in range(kills):
        old, new = turn % 2, (turn + 1) % 2
        moment = float(used.read_text()) * (turn + draw.random()) / kills
        killed += finished(build(small, out, seed=new, kill_after=moment)) == -signal.SIGPROF
        aside = tmp_path / ".out.old"
        assert files(out if out.exists() else aside) in (whole[old], whole[new])
        assert finished(build(small, out, seed=new, used=str(used))) == 0
        assert files(out) == whole[new]
        assert entries(tmp_path) == ["out", "used"]
    assert killed >= kills / 2  # a build may take less than the one before it


@pytest.mark.parametrize(("renames", "new"), [(1, ".out.new"), (2, "out")], ids=["between_the_renames", "after_both"])
def test_a_build_killed_in_the_swap_loses_nothing(
    tmp_path: Path, small: Path, whole: tuple[Files, Files], renames: int, new: str
) -> None:
    out = tmp_path / "out"
    assert finished(build(small, out, seed=0)) == 0
    assert finished(build(small, out, seed=1, kill_after_rename=renames)) == -signal.SIGKILL
    assert entries(tmp_path) == sorted([".out.old", new])
    assert (files(tmp_path / ".out.old"), files(tmp_path / new)) == whole
    # A run that fails gives back what there was: the old dataset, or the new one where the swap was done.
    assert finished(start("dataset_builders.build", "--raw", tmp_path / "absent", "--out", out)) == 2
    assert files(out) == whole[renames - 1]
    assert entries(tmp_path) == ["out"]


def test_a_second_build_into_the_same_folder_is_refused_and_harms_neither(
    tmp_path: Path, small: Path, whole: tuple[Files, Files]
) -> None:
    out, said = tmp_path / "out", tmp_path / "said"
    assert finished(build(small, out, seed=0)) == 0
    first = build(small, out, seed=1)
    while not (tmp_path / ".out.new" / "staged").exists():
        assert first.is_alive()
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGSTOP)
    second = finished(build(small, out, seed=0, said=str(said)))
    between = files(out)
    os.kill(first.pid, signal.SIGCONT)
    assert second == 2
    assert said.read_text() == f"error: another run is writing to {out}; wait for it, or give another --out.\n"
    assert between == whole[0]
    assert finished(first) == 0
    assert files(out) == whole[1]
    assert entries(tmp_path) == ["out", "said"]


# Publishers.


REQUESTS = {
    "create": "POST /api/repos/create",
    "card": "POST /api/validate-yaml",
    "info": "GET /api/datasets/{}/revision/main",
    "preupload": "POST .*{}/preupload/main",
    "batch": "POST .*{}.git/info/lfs/objects/batch",
    "upload": "PUT /_lfs/",
    "commit": "POST .*{}/commit/main",
}


def changed(dataset: Path, folder: Path, number: int) -> Path:
    """The dataset with data files of other bytes, so that the Hub has none of them yet."""
    import pyarrow.parquet as pq

    shutil.copytree(dataset, folder)
    for path in folder.glob("data/*/*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata({"number": str(number)}), path)
    write_checksums(folder, [path for kind in ("data", "images") for path in (folder / kind).rglob("*") if path.is_file()])
    return folder


@pytest.fixture(scope="module")
def built(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "dataset"
    assert finished(build(small, out, seed=0)) == 0
    return out


def publish(folder: Path, repo_id: str, hub: Hub) -> BaseProcess:
    return start("dataset_builders.publish", "--data", folder, "--repo-id", repo_id, endpoint=hub.endpoint)


def published(folder: Path, repo_id: str) -> Files:
    """What the Hub holds once the folder is published: its files, the card with the repository's name, and eval.yaml."""
    with tempfile.TemporaryDirectory() as scratch:
        upload = assemble(Path(scratch), Destination(repo_id, dry_run=True), read_dataset(folder))
        return {path: (upload.folder / path).read_bytes() for path in upload.files}


@pytest.mark.parametrize("served", [False, True], ids=["before", "after"])
def test_a_publisher_killed_at_any_request_leaves_the_old_commit_or_the_new(
    tmp_path: Path, built: Path, hub: Hub, served: bool
) -> None:
    """The Hub changes with requests alone: the process dies as the Hub has received one, or has carried it out."""
    repo_id = f"org/survival-{served}".lower()
    assert finished(publish(built, repo_id, hub)) == 0
    before = published(built, repo_id)
    assert hub.files(repo_id, "dataset") == before
    for turn, pattern in enumerate(REQUESTS.values()):
        folder = changed(built, tmp_path / str(turn), 2 * turn + served)
        after = published(folder, repo_id)
        with hub.hold(pattern.format(repo_id), after=served) as held:
            process = publish(folder, repo_id, hub)
            held.wait_for(1)
            process.kill()
            assert finished(process) == -signal.SIGKILL
        assert hub.files(repo_id, "dataset") in (before, after)
        assert finished(publish(folder, repo_id, hub)) == 0
        assert hub.files(repo_id, "dataset") == after
        before = after
    assert len(hub.commits(repo_id, "dataset")) == 1 + len(REQUESTS)


def test_four_publishers_at_once_each_get_their_commit(tmp_path: Path, built: Path, hub: Hub) -> None:
    repo_id = "org/crowd"
    assert finished(publish(built, repo_id, hub)) == 0
    folders = [changed(built, tmp_path / str(number), 100 + number) for number in range(4)]
    with hub.hold(f"POST .*{repo_id}/commit/main") as held:
        processes = [publish(folder, repo_id, hub) for folder in folders]
        held.wait_for(len(folders))
        held.release()
        assert [finished(process) for process in processes] == [0, 0, 0, 0]
    assert len(hub.commits(repo_id, "dataset")) == 1 + len(folders)
    assert hub.files(repo_id, "dataset") in [published(folder, repo_id) for folder in folders]


@pytest.mark.parametrize("trouble", ["429", "500", "502", "cut before", "cut after"])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_one_moment_of_trouble_at_any_request_costs_nothing(
    tmp_path: Path, hub_client: Hub, request_name: str, trouble: str
) -> None:
    repo_id = f"org/trouble-{request_name}-{trouble.replace(' ', '-')}"
    content = {"README.md": b"# Rows\n", "data.bin": repo_id.encode()}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    pattern = REQUESTS[request_name].format(repo_id)
    fault = (
        hub_client.fail(pattern, int(trouble), times=1)
        if trouble.isdecimal()
        else hub_client.cut(pattern, after="after" in trouble)
    )
    with fault as struck:
        assert commit_folder(tmp_path, repo_id, "dataset", "rows").changed
    assert struck.hits == 1
    assert hub_client.commits(repo_id, "dataset") == ["rows"]
    assert hub_client.files(repo_id, "dataset") == content
