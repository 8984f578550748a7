"""What every publishing command shares: its options, an assembled folder, and the commit of it."""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.commits import Commit, Content, commit_folder
from common.errors import UserError
from common.hub import RepoType


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub and how to publish to it. An empty `repo_id` means: assemble into `out` only."""

    repo_id: str
    private: bool = False
    revision: str | None = None
    dry_run: bool = False
    out: Path | None = None


@dataclass(frozen=True)
class Upload:
    """A folder that was assembled for one commit; `contents` and `stale_patterns` as in `commit_folder`."""

    folder: Path
    repo_type: RepoType
    message: str
    files: Sequence[str]
    contents: Mapping[str, Content] = field(default_factory=dict)
    stale_patterns: Sequence[str] = ()


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


def commit(upload: Upload, destination: Destination, quiet: bool = False) -> Commit:
    """One commit, none where the Hub holds all of it; prints the result unless `quiet`. A dry run lists the files."""
    done = commit_folder(
        upload.folder,
        destination.repo_id,
        upload.repo_type,
        upload.message,
        private=destination.private,
        revision=destination.revision,
        files=upload.files,
        contents=upload.contents,
        stale_patterns=upload.stale_patterns,
        dry_run=destination.dry_run,
    )
    if not quiet and not destination.dry_run:
        print(done.summary)
    return done
