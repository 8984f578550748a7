"""One file over HTTP: it goes on where it was cut, is checked, and takes its place only when it is whole.

Ranges and validators are those of RFC 9110, https://www.rfc-editor.org/rfc/rfc9110#name-range-requests.
"""

import errno
import gzip
import random
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from common.errors import UserError
from common.files import sha256_of
from common.retry import LONGEST_RETRY_AFTER, TRANSIENT_STATUSES, retry_after

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try."""

PROGRESS = 1_000_000
"""Bytes; with as many more the count of tries begins anew."""


def new_client() -> "httpx.Client":
    """A client that follows redirects and takes proxies from the environment."""
    import httpx

    # identity: a file is kept as it lies on the server, and byte ranges count in that.
    return httpx.Client(follow_redirects=True, timeout=30, headers={"Accept-Encoding": "identity"})


def fetch(
    client: "httpx.Client",
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    by_hand: str = "",
    waits: Sequence[float] = WAITS,
) -> str:
    """Brings `url` to `path` by way of `<path>.part`, and returns its sha256 in hex. An earlier `path` stays until then.

    A part from before is gone on with if the server says that its file is still the same one, by ETag or Last-Modified.
    size, sha256: what the file must be, in bytes and in hex; where `sha256` is None, gzip's own checksum stands in for it.
    by_hand: what the user can do where the server refuses, as the end of a sentence.
    waits: seconds before each further try after a cut connection or a server in trouble, unless the server names its own.
    Raises UserError with what to do. The part stays unless its content is wrong.
    """
    part, validator = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            retried(lambda: _receive(client, url, part, validator, size), lambda: _size(part), waits)
        except UserError:
            raise
        except Exception as error:
            sentence = _explain(error, shown(url), by_hand)
            if sentence is None:
                raise
            raise UserError(sentence) from None
        digest = sha256_of(part)
        fault = f"has the sha256 {digest} and not {sha256}" if sha256 and digest != sha256 else unsound(part, path.name)
        if fault:
            part.unlink()
            validator.unlink(missing_ok=True)
            raise UserError(
                f"what {shown(url)} sent {fault}; it was deleted. Run the command again; if it is the same then, {by_hand}"
            )
        part.replace(path)
        validator.unlink(missing_ok=True)
    return digest


def _receive(client: "httpx.Client", url: str, part: Path, validator: Path, size: int | None) -> None:
    """One try: appends to the part what it lacks, or writes it anew."""
    import httpx
    from tqdm import tqdm

    have = _size(part)
    if have and have == size:
        return
    # Without a validator nobody can say that the server's file is the one that the part is of.
    known = validator.read_text() if have and validator.exists() else ""
    headers = {"Range": f"bytes={have}-", "If-Range": known} if known else {}
    with client.stream("GET", url, headers=headers) as response:
        start, total = _extent(response)
        if response.status_code == 416 or (response.is_success and start not in (0, have)):
            part.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server does not have the rest of the file")
        response.raise_for_status()
        if size and total and total != size:
            raise UserError(
                f"{shown(url)} sends {total:,} bytes where {size:,} are published: it is another file or an error page. "
                "Look at it in a browser, or give a --mirror that has the file."
            )
        require_room(part.parent, (total or 0) - start)
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            if not start:  # only now, when nothing of an older file is left in the part
                validator.write_text(_validator(response.headers))
            for chunk in response.iter_raw():
                file.write(chunk)
                bar.update(len(chunk))
    if total and _size(part) != total:
        raise httpx.RemoteProtocolError("the server sent less than it said")


def _extent(response: "httpx.Response") -> tuple[int, int | None]:
    """Where in the file the answer begins and how long the whole file is, in bytes; None where the server does not say."""
    if response.status_code == 206:
        unit, _, extent = response.headers.get("Content-Range", "").partition(" ")
        span, _, whole = extent.partition("/")
        start = span.partition("-")[0]
        if unit == "bytes" and start.isdecimal():
            return int(start), int(whole) if whole.isdecimal() else None
        return -1, None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range may name: a strong ETag, else the time of the last change, else nothing."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def retried(action: Callable[[], T], progress: Callable[[], int], waits: Sequence[float] = WAITS) -> T:
    """The action's result, tried again after what passes by itself, each time after the next of `waits` in seconds.

    progress: how many bytes there are; with PROGRESS more of them than ever the waits begin anew.
    """
    left, furthest = iter(waits), progress()
    while True:
        try:
            return action()
        except Exception as error:
            # Counted from the furthest point: a server that always begins anew and breaks off there gets no endless tries.
            if (now := progress()) - furthest >= PROGRESS:
                left, furthest = iter(waits), now
            wait = next(left, None)
            reason, pause = _pause(root(error), wait)
            if pause is None:
                raise
        print(f"{reason}; trying again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)


def _pause(error: BaseException, wait: float | None) -> tuple[str, float | None]:
    """Why another try may succeed and the seconds to wait before it; None: there is none left, or it will not."""
    import httpx

    if wait is None:
        return "", None
    pause = wait * random.uniform(0.75, 1.25)
    if response := getattr(error, "response", None):
        if response.status_code not in TRANSIENT_STATUSES:
            return "", None
        asked = retry_after(response.headers)
        pause = pause if asked is None else asked
        return f"the server answered {response.status_code}", pause if pause <= LONGEST_RETRY_AFTER else None
    if isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol):
        return f"the connection failed ({error})", pause
    return "", None


def root(error: BaseException) -> BaseException:
    """What lies under the error by which huggingface_hub says that a file is not on the disk either."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _explain(error: Exception, url: str, by_hand: str) -> str | None:
    import httpx

    later = "what came is kept; run the command again later, and it goes on from there"
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in TRANSIENT_STATUSES or status >= 500:
            return f"{url} is in trouble or busy ({status}): {later}"
        reasons = {401: "is not open to everyone", 403: "is not open to everyone", 404: "is not there", 410: "is not there"}
        return f"{url} {reasons.get(status, 'refuses')} ({status}); {by_hand}"
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return f"{url} is no web address; begin it with https://"
    if isinstance(error, httpx.TransportError):
        return f"{url} cannot be reached ({error}): check the network; {later}"
    return f"{url} cannot be fetched ({error}); {by_hand}" if isinstance(error, httpx.HTTPError) else None


def shown(url: str) -> str:
    """The address without the user and the password that may be in it."""
    import httpx

    try:
        return str(httpx.URL(url).copy_with(username=None, password=None))
    except httpx.InvalidURL:
        return "the address"


def unsound(path: Path, name: str) -> str | None:
    """What shows that the content is not whole or not what `name` says it is, as far as the format tells; else None."""
    with path.open("rb") as file:
        beginning = file.read(1)
    if name.endswith(".jsonl"):
        return None if beginning == b"{" else "is not JSON lines"
    if not name.endswith(".gz"):
        return None
    try:
        with gzip.open(path) as file:
            while file.read(2**20):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "is not a whole gzip file"
    return None if beginning else "is empty"


def require_room(folder: Path, size: int) -> None:
    """Raises UserError where the disk has no room for `size` more bytes."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f"{folder} has room for {free:,} bytes where {size:,} are needed; make room or give another --out.")


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the disk refuses into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # errors of huggingface_hub are OSErrors too
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk of {folder} is full. What came is kept; make room and run the command again, to go on from there."
            ) from None
        place = error.filename or folder
        raise UserError(f"{place} cannot be read or written: {error.strerror}. Give an --out that you may write to.") from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
