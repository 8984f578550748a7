"""Folders that appear whole or not at all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset_builders.errors import UserError


@contextmanager
def replaced(out: Path, marker: str) -> Iterator[Path]:
    """A new folder beside `out` to write into; it takes the place of `out` when the block ends well, else it goes.

    An `out` that exists is replaced only if it is empty or holds the file `marker`, which says that it came from here.
    Where `out` is a link, what it points to is replaced. A process killed between the two renames leaves the old folder
    beside it, and the next run puts it back.
    """
    given, out = out, out.resolve()
    if out in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"{given} is the folder that you are in, or one around it. Give another.")
    missing = [parent for parent in out.parents if not parent.exists()]
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    try:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)
        if out.exists() and not out.is_dir():
            raise UserError(f"{given} is a file. Give a folder.")
        if out.is_dir() and any(out.iterdir()) and not (out / marker).exists():
            raise UserError(f"{given} exists and holds something else. Give an empty or a new folder.")
        new.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{given} cannot be written: {error.strerror}. Give a folder that you may write to.") from None
    try:
        yield new
        _swap(out, new, old)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{given} cannot be written: {error.strerror}. Make room, or give a folder on another disk.") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if not out.exists():
            with suppress(OSError):  # another's file may have come into one of them
                for parent in missing:
                    parent.rmdir()


def _swap(out: Path, new: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
