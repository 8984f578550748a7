"""Uploads a folder to the Hugging Face Hub in one commit, and plans it again where someone else committed meanwhile."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.files import folder_files, readable_size
from common.hub import RepoType, check_repo_id, hub_errors, repo_url, retried, signed_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Commit:
    """`url` is the repository's page, `oid` its head afterwards (None in a dry run), `changed` False if nothing differed."""

    url: str
    oid: str | None
    changed: bool

    @property
    def summary(self) -> str:
        return f"{'published' if self.changed else 'nothing to do, it is all there'}: {self.url}"


@dataclass(frozen=True)
class BranchHead:
    """What a branch holds when a commit is planned on top of it."""

    paths: Sequence[str]
    read: Callable[[str], bytes]
    """Path -> content, from the Hub."""

    def text(self, path: str) -> str:
        """The content as text; empty where there is no such file."""
        return self.read(path).decode("utf-8", "replace") if path in self.paths else ""


Content = bytes | Callable[[BranchHead], bytes]
"""A file's new content, or a function that makes it from the branch's head; the function may be called more than once."""


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
    """Creates the repository if there is none and uploads the folder in one commit on top of its present head.

    If someone commits meanwhile, the Hub refuses and the commit is planned again on the new head, so nobody's work is lost.
    Transient failures are retried. Nothing is committed where the Hub has it all.

    files: paths in `folder` to upload; by default all but hidden ones and Python's caches.
    contents: path -> what to upload in place of the file's content.
    stale_patterns: a file on the Hub that matches one of these (`*` matches `/` too) and is not uploaded is deleted.
    revision: a branch, made from `main` if there is none.
    dry_run: only lists the files on standard output, with no token and no network.
    Raises UserError with what to do.
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
        check_repo_id(repo_id)
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


def _list_upload(upload: _Upload, url: str) -> None:
    sizes = [(upload.folder / path).stat().st_size for path in upload.paths]
    place = f"{url} (branch {upload.branch}{', private' if upload.private else ''})"
    print(f"would upload {len(sizes)} files, {readable_size(sum(sizes))}, to {place}:")
    for path, size in zip(upload.paths, sizes, strict=True):
        print(f"  {path}  {readable_size(size)}")


def _create(api: "HfApi", upload: _Upload) -> None:
    api.create_repo(
        upload.repo_id,
        repo_type=upload.repo_type,
        private=upload.private or None,  # None: what the organisation has as its default
        space_sdk=upload.space_sdk,
        exist_ok=True,
    )


def _commit(api: "HfApi", upload: _Upload, heads: list[str | None]) -> str:
    """One attempt; returns the head afterwards and appends the head before to `heads`."""
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
        return found(BranchHead(present, read)) if callable(found) else found

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
