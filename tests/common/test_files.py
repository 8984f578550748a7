"""A folder appears whole or not at all, whatever stood there and whenever the work stops."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.files import check_replaceable, check_writable, replaced, write_whole

MARKER = "manifest.json"


def fill(out: Path, text: str) -> None:
    with replaced(out, MARKER) as new:
        (new / MARKER).write_text(text)
        (new / "data").mkdir()


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", ["nothing", "no parent", "empty folder", "earlier one"])
def test_the_folder_takes_its_place(tmp_path: Path, before: str) -> None:
    out = tmp_path / "deep" / "out" if before == "no parent" else tmp_path / "out"
    if before == "empty folder":
        out.mkdir()
    if before == "earlier one":
        fill(out, "old")
        (out / "left over").write_text("x")
    fill(out, "new")
    assert (out / MARKER).read_text() == "new"
    assert entries(out) == ["data", MARKER]
    assert entries(out.parent) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError, SystemExit])
@pytest.mark.parametrize("before", ["nothing", "earlier one"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException], before: str) -> None:
    out = tmp_path / "out"
    if before == "earlier one":
        fill(out, "old")

    def fail() -> None:
        with replaced(out, MARKER) as new:
            (new / "half").write_text("x")
            raise error

    with pytest.raises(error):
        fail()
    assert entries(tmp_path) == (["out"] if before == "earlier one" else [])
    if before == "earlier one":
        assert (out / MARKER).read_text() == "old"


def other_things(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")


@pytest.mark.parametrize(
    ("make", "name", "sentence"),
    [
        (lambda out: out.write_text("x"), "out", "out is a file"),
        (other_things, "out", "out exists and holds something else"),
        (lambda out: out.write_text("x"), "out/below", "out/below cannot be written: "),
        (lambda out: None, "x" * 300, "cannot be written: File name too long"),
    ],
    ids=["file", "other_things", "parent_is_file", "long_name"],
)
def test_a_place_that_cannot_be_written_is_told_and_left_alone(tmp_path: Path, make: Any, name: str, sentence: str) -> None:
    make(tmp_path / "out")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=sentence):
        fill(tmp_path / name, "new")
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before
    if name == "out":
        with pytest.raises(UserError, match=sentence):
            check_replaceable(tmp_path / name, MARKER)
    assert not [name for name in entries(tmp_path) if name.startswith(".")]


def test_a_disk_of_its_own_is_not_replaced() -> None:
    if not Path("/proc").is_mount():
        pytest.skip("needs a place where something is mounted")
    with pytest.raises(UserError, match="/proc is a mount point"):
        fill(Path("/proc"), "new")


def test_a_folder_that_may_be_replaced_is_not_touched_by_the_check(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    for place in ("out", "new"):
        check_replaceable(tmp_path / place, MARKER)
    assert entries(tmp_path) == ["out"]
    assert (tmp_path / "out" / MARKER).read_text() == "old"


def test_a_folder_is_made_or_refused_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert entries(tmp_path / "a") == ["b"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write to --out .*file: File exists"):
        check_writable(tmp_path / "file")


def test_a_file_below_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)$"):
        write_whole(tmp_path / "file" / "new", lambda unfinished: unfinished.write_text("x"))


def test_where_no_folder_can_ever_be_made_the_run_ends() -> None:
    if not Path("/proc").is_mount():
        pytest.skip("needs a file system that makes no folders")
    with pytest.raises(UserError, match="/proc/shop cannot be written: No such file or directory"):
        fill(Path("/proc/shop"), "new")


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_the_folder_one_is_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(UserError, match="the working directory or one of its parents"):
        fill(Path(place), "new")


def test_a_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path / "disk" / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "real" / MARKER).read_text() == "new"
    assert entries(tmp_path / "disk") == ["real"]


def test_what_a_killed_run_left_beside_is_cleared_or_put_back(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "half").write_text("x")
    (tmp_path / ".out.new" / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("x")
    (tmp_path / ".out.new" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out").rename(tmp_path / ".out.old")  # killed between the two renames
    with pytest.raises(ZeroDivisionError, match=r"\[\]"), replaced(tmp_path / "out", MARKER) as new:
        raise ZeroDivisionError(entries(new))
    assert (tmp_path / "out" / MARKER).read_text() == "old"
    assert entries(tmp_path) == ["elsewhere", "out"]
    assert entries(tmp_path / "elsewhere") == ["kept"]


def test_a_process_killed_at_any_moment_leaves_the_old_folder_or_the_new(tmp_path: Path) -> None:
    """Folders are replaced as fast as it goes, in a process that is killed again and again; each look finds a whole one."""
    out = tmp_path / "out"
    code = """if True:
        import pathlib, sys
        from common.files import replaced
        number = 0
        print("ready", flush=True)
        while True:
            number += 1
            with replaced(pathlib.Path(sys.argv[1]), "manifest.json") as new:
                for name in "abcdefgh":
                    (new / name).write_text(str(number))
                (new / "manifest.json").write_text(str(number))
    """
    ever = False
    for turn in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.003 * turn)
        process.kill()
        process.communicate()
        whole = [folder for folder in (out, tmp_path / ".out.old") if (folder / MARKER).exists() and len(entries(folder)) == 9]
        assert whole or not ever
        ever = bool(whole)
        if out.exists():
            assert entries(out) == [*"abcdefgh", MARKER]
            assert len({path.read_text() for path in out.iterdir()}) == 1
    assert ever


def test_a_failure_leaves_no_new_folders_around(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="halfway"), replaced(tmp_path / "a" / "b" / "out", "marker"):
        raise ValueError("halfway")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("before", ["nothing", "earlier one"])
def test_a_second_run_is_refused_and_the_first_ends_well(tmp_path: Path, before: str) -> None:
    out = tmp_path / "out"
    if before == "earlier one":
        fill(out, "old")
    with replaced(out, MARKER) as new:
        (new / MARKER).write_text("first")
        with pytest.raises(UserError, match=f"another run is writing to {out}; wait for it, or give another --out"):
            fill(out, "second")
    assert (out / MARKER).read_text() == "first"
    fill(out, "second")
    assert (out / MARKER).read_text() == "second"
    assert entries(tmp_path) == ["out"]


def test_a_run_that_still_clears_up_behind_itself_is_waited_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "first")
    descriptor = os.open(out, os.O_RDONLY)  # as the first holds it: what it wrote has its last name by now
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another run is writing"):
        fill(out, "second")
    assert entries(tmp_path) == ["out"]
    os.close(descriptor)
    fill(out, "second")
    assert (out / MARKER).read_text() == "second"


def test_a_disk_that_locks_no_folders_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS says

    monkeypatch.setattr(fcntl, "flock", refuse)
    fill(tmp_path / "out", "new")
    assert (tmp_path / "out" / MARKER).read_text() == "new"


def test_processes_that_race_for_one_folder_each_write_it_whole_or_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = """if True:
        import pathlib, sys
        from common.errors import UserError
        from common.files import replaced
        wrote = refused = 0
        print("ready", flush=True)
        sys.stdin.readline()
        for turn in range(60):
            try:
                with replaced(pathlib.Path(sys.argv[1]), "manifest.json") as new:
                    for name in ("a", "b", "manifest.json"):
                        (new / name).write_text(f"{sys.argv[2]} {turn}")
                wrote += 1
            except UserError as error:
                assert "another run is writing to" in str(error), error
                refused += 1
        print(wrote, refused)
    """
    command = [sys.executable, "-c", code, str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": "."}}
    racers = [subprocess.Popen([*command, str(number)], **pipes) for number in range(4)]
    for racer in racers:  # else one could be done before the next has started
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    counts = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert sum(int(wrote) for wrote, _ in counts) > 0
    assert sum(int(refused) for _, refused in counts) > 0
    assert sum(int(wrote) + int(refused) for wrote, refused in counts) == 4 * 60
    assert len({path.read_text() for path in out.iterdir()}) == 1
    assert (entries(out), entries(tmp_path)) == (["a", "b", MARKER], ["out"])
