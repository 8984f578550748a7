"""Puts a folder on the Hugging Face Hub in one commit, and says in a sentence what to do when the Hub says no."""

import json
import logging
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from common.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["model", "dataset", "space"]
T = TypeVar("T")

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try, unless the Hub names its own."""

LONGEST_WAIT = 300
"""Seconds; the Hub's rate limits count over windows of five minutes."""

TRANSIENT = {408, 429, 500, 502, 503, 504}
CONFLICT = {409, 412}
"""Someone else committed since the head was read."""


@dataclass(frozen=True)
class Commit:
    """`url` is the repository's page, `oid` its head afterwards (None in a dry run), `changed` False if nothing was to do."""

    url: str
    oid: str | None
    changed: bool

    @property
    def told(self) -> str:
        """What came of it, in a line."""
        return f"{'published' if self.changed else 'nothing to do, it is all there'}: {self.url}"


@dataclass(frozen=True)
class Head:
    """What a branch holds at the moment that a commit is planned on top of it."""

    paths: Sequence[str]
    read: Callable[[str], bytes]
    """Path -> content, from the Hub."""

    def text(self, path: str) -> str:
        """The content as text; empty where there is no such file."""
        return self.read(path).decode("utf-8", "replace") if path in self.paths else ""


Content = bytes | Callable[[Head], bytes]
"""What to upload, or what makes it of what is there already; the latter may be asked more than once."""


@dataclass(frozen=True)
class _Upload:
    folder: Path
    paths: Sequence[str]
    contents: Mapping[str, Content]
    repo_id: str
    repo_type: RepoType
    branch: str
    message: str
    private: bool
    stale_patterns: Sequence[str]
    space_sdk: str | None


def commit_folder(
    folder: str | Path,
    repo_id: str,
    repo_type: RepoType,
    message: str,
    *,
    private: bool = False,
    revision: str | None = None,
    files: Iterable[str] | None = None,
    contents: Mapping[str, Content] | None = None,
    stale_patterns: Sequence[str] = (),
    space_sdk: str = "gradio",
    dry_run: bool = False,
) -> Commit:
    """Makes the repository if there is none and uploads the folder in one commit on top of the head that it has now.

    If someone commits meanwhile, the Hub refuses and the whole is planned again on the new head, so nobody's work is lost;
    a Hub that fails for a moment is asked again, a bounded number of times. Nothing is committed where the Hub holds it all.

    files: paths in `folder` to upload; by default all but hidden ones and Python's caches.
    contents: path -> what to upload in place of what the file holds, or a function that makes it of the head.
    stale_patterns: a file on the Hub that matches one of these (`*` matches `/` too) and is not uploaded is deleted.
    revision: a branch, made from `main` if there is none.
    dry_run: only lists the files on standard output, with no token and no network.
    Raises UserError with what to do if the folder, the token, the repository or the Hub is not as it must be.
    """
    folder = Path(folder)
    paths = sorted(files) if files is not None else folder_files(folder)
    if absent := [path for path in paths if not (folder / path).is_file()]:
        raise UserError(f"{folder} has no file {absent[0]}")
    if not paths:
        raise UserError(f"{folder} holds no file to upload")
    sdk = space_sdk if repo_type == "space" else None
    branch = revision or "main"
    upload = _Upload(folder, paths, contents or {}, repo_id, repo_type, branch, message, private, stale_patterns, sdk)
    with hub_errors(repo_id):
        _check_repo_id(repo_id)
        url = repo_url(repo_id, repo_type)
        if dry_run:
            _list_upload(upload, url)
            return Commit(url, None, changed=False)
        api = signed_in()
        retried(lambda: _create(api, upload))
        heads: list[str | None] = []
        oid = retried(lambda: _commit(api, upload, heads))
    # Compared with the first head: a commit whose answer was lost is found done on the next try.
    return Commit(url, oid, changed=oid != heads[0])


def folder_files(folder: Path) -> list[str]:
    """Paths of the folder's files, sorted, without hidden ones and Python's caches."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    return [path for path in every_file(folder) if not any(part.startswith((".", "__pycache__")) for part in path.split("/"))]


def every_file(folder: Path) -> list[str]:
    """Paths of all of the folder's files, sorted, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def repo_url(repo_id: str, repo_type: RepoType) -> str:
    """The repository's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'' if repo_type == 'model' else repo_type + 's/'}{repo_id}"


def readable_size(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _check_repo_id(repo_id: str) -> None:
    from huggingface_hub.utils import validate_repo_id

    if repo_id.count("/") != 1:
        raise UserError(f"the repository {repo_id!r} must be named namespace/name, as in my-shop/instructions")
    validate_repo_id(repo_id)


def _list_upload(upload: _Upload, url: str) -> None:
    sizes = [(upload.folder / path).stat().st_size for path in upload.paths]
    place = f"{url} (branch {upload.branch}{', private' if upload.private else ''})"
    print(f"would upload {len(sizes)} files, {readable_size(sum(sizes))}, to {place}:")
    for path, size in zip(upload.paths, sizes, strict=True):
        print(f"  {path}  {readable_size(size)}")


def signed_in() -> "HfApi":
    """The Hub's client with the token at hand. Raises UserError where there is none."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its notes on retries hold signed addresses
    if get_token() is None:
        raise UserError("publishing needs a token; log in with `hf auth login` or set HF_TOKEN to one with write access")
    return HfApi()


def _create(api: "HfApi", upload: _Upload) -> None:
    api.create_repo(
        upload.repo_id,
        repo_type=upload.repo_type,
        private=upload.private or None,  # None: what the organisation has as its default
        space_sdk=upload.space_sdk,
        exist_ok=True,
    )


def _commit(api: "HfApi", upload: _Upload, heads: list[str | None]) -> str:
    """One try; returns the head afterwards and notes the head before in `heads`."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import RevisionNotFoundError

    repo_id, repo_type, branch = upload.repo_id, upload.repo_type, upload.branch
    try:
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    if upload.private and not info.private:
        raise UserError(
            f"{repo_id} exists and is public; make it private in its settings on the Hub, or publish without --private"
        )
    heads.append(info.sha)
    present = api.list_repo_files(repo_id, repo_type=repo_type, revision=info.sha)

    def read(path: str) -> bytes:
        return Path(api.hf_hub_download(repo_id, path, repo_type=repo_type, revision=info.sha)).read_bytes()

    def content(path: str) -> bytes | Path:
        found = upload.contents.get(path, upload.folder / path)
        return found(Head(present, read)) if callable(found) else found

    stale = [
        path for path in present if path not in upload.paths and any(fnmatchcase(path, each) for each in upload.stale_patterns)
    ]
    # huggingface_hub leaves out what the Hub already has, and makes no commit if nothing remains.
    made = api.create_commit(
        repo_id,
        [
            *(CommitOperationAdd(path, content(path)) for path in upload.paths),
            *(CommitOperationDelete(path) for path in stale),
        ],
        commit_message=upload.message,
        repo_type=repo_type,
        revision=branch,
        parent_commit=info.sha,
    )
    return made.oid


def retried(action: Callable[[], T]) -> T:
    """What `action` returns; it is done again, a bounded number of times, where that may help."""
    for wait in WAITS:
        try:
            return action()
        except Exception as error:
            reason, pause = _retry(_root(error), wait)
            if pause is None:
                raise
        print(f"{reason}; trying again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)
    return action()


def _retry(error: BaseException, wait: float) -> tuple[str, float | None]:
    """Why another try may succeed and the seconds to wait before it; None: it will not."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    # Some chance, so that two who collided do not collide again.
    pause = wait * random.uniform(0.75, 1.25)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in CONFLICT:
            return "someone else committed at the same time", pause
        if status in TRANSIENT:
            asked = _asked_wait(error.response.headers)
            pause = pause if asked is None else asked
            return f"the Hub answered {status}", pause if pause <= LONGEST_WAIT else None
    elif isinstance(error, httpx.TimeoutException | httpx.NetworkError | httpx.RemoteProtocolError):
        return "the Hub did not answer", pause
    elif isinstance(error, json.JSONDecodeError):  # a gateway's page, which the client reads before it sees the status
        return "the Hub's answer could not be read", pause
    return "", None


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _root(error: BaseException) -> BaseException:
    """What lies under the RuntimeError that huggingface_hub wraps around a failed upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turns what huggingface_hub raises over `repo_id` into a UserError that says what to do. The token is never in it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        sentence = explain(_root(error), repo_id)
        if sentence is None:
            raise
        raise UserError(_without_token(sentence)) from None


def explain(error: BaseException, repo_id: str) -> str | None:
    """What went wrong with the Hub and what to do, in a sentence; None for an error that has nothing to do with it."""
    import httpx
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    address = f"HF_ENDPOINT is {endpoint!r}, which is no web address; unset it or begin it with https://"
    token = "the Hub token holds characters that no token has; copy it again, then `hf auth login` or set HF_TOKEN"
    # The first that fits counts: some of these types are subclasses of later ones.
    sentences: tuple[tuple[type[BaseException], str], ...] = (
        (errors.OfflineModeIsEnabled, f"offline mode is on; unset HF_HUB_OFFLINE to reach {endpoint}"),
        (errors.HFValidationError, f"{repo_id!r} is no repository name; use letters, digits, - _ . as in my-shop/instructions"),
        (errors.GatedRepoError, f"access to {repo_id} is restricted; ask for it on its page under {endpoint}"),
        (errors.RevisionNotFoundError, f"{repo_id} has no branch of that name (a tag or a commit is none); name a branch"),
        (httpx.UnsupportedProtocol, address),
        (httpx.InvalidURL, address),
        (httpx.LocalProtocolError, token),
        (UnicodeEncodeError, token),
        (httpx.TransportError, f"{endpoint} cannot be reached; check the network and HF_ENDPOINT, then run the command again"),
        (json.JSONDecodeError, f"{endpoint} does not answer as a Hub does; check HF_ENDPOINT, or run the command again later"),
    )
    if found := next((sentence for kind, sentence in sentences if isinstance(error, kind)), None):
        return found
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error.response.status_code, error.server_message, repo_id, endpoint)
    if isinstance(error, ValueError) and "metadata in README.md" in str(error):
        return "the Hub refuses README.md: " + " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        return f"cannot read {error.filename}: {error.strerror}"
    return f"the upload failed ({error}); run the command again" if isinstance(error, RuntimeError) else None


def _explain_status(status: int, server_message: str | None, repo_id: str, endpoint: str) -> str:
    namespace = repo_id.split("/", maxsplit=1)[0]
    sentences = {
        401: f"{endpoint} does not accept the token; log in with `hf auth login` or set HF_TOKEN to one with write access",
        403: f"the token may not write to {repo_id}; use one with write access to {namespace}, or another repository",
        404: f"{repo_id} is not on {endpoint}, or it is private and not yours; check the name and whose token is in use",
        409: f"others keep committing to {repo_id}, and what they commit is kept; run the command again when they are done",
        429: f"{endpoint} asks for fewer requests (429); wait some minutes and run the command again",
    }
    sentences[412] = sentences[409]
    if status in TRANSIENT - {429} or status >= 500:
        return f"{endpoint} is in trouble ({status}); what it holds is whole, run the command again later"
    return (
        sentences.get(status) or f"{endpoint} refuses with {status}: {' '.join((server_message or 'no reason given').split())}"
    )


def _without_token(text: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "***") if token else text
