"""Publishing to the Hugging Face Hub: the options of every publishing command, an assembled folder, and the one commit of it.

A commit is planned again where someone else committed meanwhile.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.files import readable_size
from common.hub import RepoType, check_repo_id, hub_errors, repo_url, retried, signed_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub and how to publish to it. An empty `repo_id` means: assemble into `out` only.

    `revision` is a branch, made from `main` if there is none. With `dry_run` the files are only listed, with no token and no
    network.
    """

    repo_id: str
    private: bool = False
    revision: str | None = None
    dry_run: bool = False
    out: Path | None = None


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
class Upload:
    """A folder that was assembled for one commit, and the paths in it that are uploaded.

    contents: path -> what to upload in place of the file's content.
    stale_patterns: a file on the Hub that matches one of these (`*` matches `/` too) and is not uploaded is deleted.
    """

    folder: Path
    repo_type: RepoType
    message: str
    files: Sequence[str]
    contents: Mapping[str, Content] = field(default_factory=dict)
    stale_patterns: Sequence[str] = ()


@dataclass(frozen=True)
class Commit:
    """`url` is the repository's page, `oid` its head afterwards (None in a dry run), `changed` False if nothing differed."""

    url: str
    oid: str | None
    changed: bool

    @property
    def summary(self) -> str:
        return f"{'published' if self.changed else 'nothing to do, it is all there'}: {self.url}"


# --- Commands ---

Assemble = Callable[[Path, Destination], Upload]
"""Writes into an empty folder what is to be published. With `dry_run` it needs neither a token nor a network."""


def add_options(parser: argparse.ArgumentParser, kind: str, *, revision: bool = True, out: bool = False) -> None:
    """The options of a Destination; `kind` is what the repository is, such as "dataset"."""
    parser.add_argument("--repo-id", required=not out, metavar="ORG/NAME", help=f"{kind} on the Hub; created if it is missing")
    if out:
        parser.add_argument("--out", type=Path, metavar="DIR", help="keep the assembled folder here")
    if revision:
        parser.add_argument("--revision", dest="branch", metavar="BRANCH", help="branch to publish to (default: main)")
    parser.add_argument("--private", action="store_true", help="visible only to you and your organisation")
    parser.add_argument("--dry-run", action="store_true", help="list the files and upload nothing; needs no token, no network")


def destination_of(arguments: argparse.Namespace) -> Destination:
    """What the options of `add_options` say. Raises UserError."""
    out = getattr(arguments, "out", None)
    if arguments.repo_id is None and not (arguments.dry_run and out):
        raise UserError("say where to: --repo-id org/name, or --out DIR --dry-run to assemble the folder only")
    branch = getattr(arguments, "branch", None)
    return Destination(arguments.repo_id or "", arguments.private, branch, arguments.dry_run, out)


def publish(assemble: Assemble, destination: Destination, quiet: bool = False) -> Commit | None:
    """Assembles and commits; None where the destination is a folder only. Raises UserError."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "files"
        folder.mkdir()
        upload = assemble(destination.out or folder, destination)
        if destination.out:
            print(f"assembled: {destination.out}")
        return commit(upload, destination, quiet) if destination.repo_id else None


# --- The commit ---


def commit(upload: Upload, destination: Destination, quiet: bool = False) -> Commit:
    """Creates the repository if there is none and uploads the folder in one commit on top of its present head.

    If someone commits meanwhile, the Hub refuses and the commit is planned again on the new head, so nobody's work is lost.
    Transient failures are retried. Nothing is committed where the Hub has it all. Prints the result unless `quiet`; a dry run
    lists the files. Raises UserError with what to do.
    """
    if absent := [path for path in upload.files if not (upload.folder / path).is_file()]:
        raise UserError(f"{upload.folder} has no file {absent[0]}")
    if not upload.files:
        raise UserError(f"{upload.folder} holds no file to upload")
    with hub_errors(destination.repo_id):
        check_repo_id(destination.repo_id)
        url = repo_url(destination.repo_id, upload.repo_type)
        if destination.dry_run:
            _list_upload(upload, destination, url)
            return Commit(url, None, changed=False)
        api = signed_in()
        retried(lambda: _create(api, upload, destination))
        heads: list[str | None] = []
        oid = retried(lambda: _commit(api, upload, destination, heads))
    # Compared with the first head: a commit whose answer was lost is found done on the next try.
    done = Commit(url, oid, changed=oid != heads[0])
    if not quiet:
        print(done.summary)
    return done


def _list_upload(upload: Upload, destination: Destination, url: str) -> None:
    sizes = {path: (upload.folder / path).stat().st_size for path in sorted(upload.files)}
    place = f"{url} (branch {destination.revision or 'main'}{', private' if destination.private else ''})"
    print(f"would upload {len(sizes)} files, {readable_size(sum(sizes.values()))}, to {place}:")
    for path, size in sizes.items():
        print(f"  {path}  {readable_size(size)}")


def _create(api: "HfApi", upload: Upload, destination: Destination) -> None:
    api.create_repo(
        destination.repo_id,
        repo_type=upload.repo_type,
        private=destination.private or None,  # None: what the organisation has as its default
        space_sdk="gradio" if upload.repo_type == "space" else None,
        exist_ok=True,
    )


def _commit(api: "HfApi", upload: Upload, destination: Destination, heads: list[str | None]) -> str:
    """One attempt; returns the head afterwards and appends the head before to `heads`."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import RevisionNotFoundError

    repo_id, repo_type, branch = destination.repo_id, upload.repo_type, destination.revision or "main"
    try:
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=branch, repo_type=repo_type, exist_ok=True)
        info = api.repo_info(repo_id, repo_type=repo_type, revision=branch)
    if destination.private and not info.private:
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
        path for path in present if path not in upload.files and any(fnmatchcase(path, each) for each in upload.stale_patterns)
    ]
    # huggingface_hub leaves out what the Hub already has, and makes no commit if nothing remains.
    made = api.create_commit(
        repo_id,
        [
            *(CommitOperationAdd(path, content(path)) for path in sorted(upload.files)),
            *(CommitOperationDelete(path) for path in stale),
        ],
        commit_message=upload.message,
        repo_type=repo_type,
        revision=branch,
        parent_commit=info.sha,
    )
    return made.oid
