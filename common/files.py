"""Atomic writes of files and folders, checksums, JSON, and the files of a folder."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import UserError


@contextmanager
def replaced(out: Path, marker: str) -> Iterator[Path]:
    """A temporary folder beside `out`; it replaces `out` when the block succeeds, else it is deleted.

    An existing `out` is replaced only if it is empty or has the file `marker`, which shows that it was written by this project.
    Where `out` is a link, its target is replaced. A process killed between the two renames leaves the old folder beside `out`,
    and the next run restores it. While one process is in the block, any other gets a UserError.
    """
    given, out = out, out.resolve()
    _check_place(given, out)
    missing = [parent for parent in out.parents if not parent.exists()]
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    with ExitStack() as locks:
        with _plain_refusals(given):
            locks.callback(os.close, _lock(new))
        try:
            with _plain_refusals(given):
                if out.is_dir():  # under its new name, the folder of a run that is still cleaning up
                    locks.callback(os.close, _lock(out))
                _prepare(given, out, new, old, marker)
            yield new
            _swap(out, new, old)
        except BaseException as error:
            shutil.rmtree(new, ignore_errors=True)  # only here: after the swap, the next run may use the name
            if not out.exists():
                with suppress(OSError):  # another process may have written into one of them
                    for parent in missing:
                        parent.rmdir()
            if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            sentence = f"{given} cannot be written: {error.strerror}. Make room, or give a folder on another disk."
            raise UserError(sentence) from None
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(out: Path, marker: str) -> None:
    """Raises UserError where `replaced` would refuse `out` as it is: for a command that works long before it writes."""
    _check_place(out, out.resolve())
    with _plain_refusals(out):
        _check_content(out, out.resolve(), marker)


def _check_place(given: Path, out: Path) -> None:
    if out in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"{given} is the working directory or one of its parents. Give another folder.")
    if os.path.ismount(out):  # Path.is_mount raises where a name is too long
        raise UserError(f"{given} is a mount point, which cannot be replaced. Give a folder inside it.")


def _check_content(given: Path, out: Path, marker: str) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{given} is a file. Give a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / marker).exists():
        raise UserError(f"{given} exists and holds something else. Give an empty or a new folder.")


@contextmanager
def _plain_refusals(given: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise UserError(f"another run is writing to {given}; wait for it, or give another --out.") from None
    except OSError as error:
        raise UserError(f"{given} cannot be written: {error.strerror}. Give a folder that you may write to.") from None


def _lock(folder: Path) -> int:
    """Creates the folder if it is missing and locks it until the returned descriptor is closed, or the process is killed.

    Raises BlockingIOError where another process has the lock, another OSError where the folder cannot be made.
    """
    for _ in range(100):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), ExitStack() as opened:  # another run has just removed it
            with suppress(FileExistsError):
                folder.mkdir()
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            opened.callback(os.close, descriptor)
            _flock(descriptor)
            # Else another run renamed or removed it before it released the lock.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                opened.pop_all()
                return descriptor
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # of /proc and of some mounts every mkdir says so


def _flock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # some network disks cannot lock folders; there the user must avoid two runs at once


def _prepare(given: Path, out: Path, new: Path, old: Path, marker: str) -> None:
    """Cleans up after a killed run, then refuses an `out` that must not be replaced."""
    if old.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    for left in new.iterdir():  # one by one, since `new` itself is locked
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    _check_content(given, out, marker)


def _swap(out: Path, new: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise


def check_writable(folder: Path, option: str = "--out") -> None:
    """Makes the folder if it is missing. Raises UserError, before long work and not after it, if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {option} {folder}: {error.strerror}") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, atomically. Raises ValueError for NaN, which JSON does not have, and UserError."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file atomically, by `write`. Raises UserError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        write(unfinished)
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):  # where the folder is none, there is nothing to remove
            unfinished.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def read_object(path: Path, advice: str = "write it again") -> dict[str, Any]:
    """The JSON object in a file. Raises UserError, with `advice` on what to do."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); {advice}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; {advice}")
    return value


def folder_files(folder: Path) -> list[str]:
    """Sorted paths of the folder's files, without hidden ones and Python's caches."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    return [path for path in every_file(folder) if not any(part.startswith((".", "__pycache__")) for part in path.split("/"))]


def every_file(folder: Path) -> list[str]:
    """Sorted paths of all files in the folder, also hidden ones."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def readable_size(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
