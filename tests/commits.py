"""A folder as one commit on the loopback Hub."""

from pathlib import Path
from typing import Any

from common.files import folder_files
from common.hub import RepoType
from common.publishing import Commit, Destination, Upload, commit


def commit_folder(folder: str | Path, repo_id: str, repo_type: RepoType, message: str, **options: Any) -> Commit:
    """`options`: fields of Upload and of Destination; `files` are all but hidden ones by default."""
    folder = Path(folder)
    own = {name: options.pop(name) for name in ("files", "contents", "stale_patterns") if name in options}
    own.setdefault("files", folder_files(folder))
    return commit(Upload(folder, repo_type, message, **own), Destination(repo_id, **options), quiet=True)
