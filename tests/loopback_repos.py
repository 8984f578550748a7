"""What the loopback Hub keeps: repositories with their commits, and how the Hub's API describes them."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml


class HubError(Exception):
    """An answer other than 200, with the headers from which huggingface_hub takes its exception type."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        self.status = status
        self.body = {"error": message, **body}
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


@dataclass(frozen=True)
class StoredFile:
    """`oid` is git's, of the content or of the LFS pointer; `sha256` is set for LFS files only and names the content then."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def blob(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True)
class StoredCommit:
    oid: str
    parent: str | None
    files: dict[str, StoredFile]
    title: str
    message: str
    user: str
    date: str
    number: int
    """Counts the commits of all repositories in the order of time."""


_commits = count(1)


@dataclass
class Repo:
    id: str
    kind: str
    """models, datasets or spaces"""
    private: bool
    sdk: str | None
    created: str
    gated: str | bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    commits: dict[str, StoredCommit] = field(default_factory=dict)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def web_path(self) -> str:
        return f"/{self.id}" if self.kind == "models" else f"/{self.kind}/{self.id}"

    def resolve(self, revision: str) -> StoredCommit:
        name = revision.removeprefix("refs/heads/")
        for references in (self.branches, self.tags, self.pulls):
            if name in references:
                return self.commits[references[name]]
        matches = [oid for oid in self.commits if len(revision) >= 7 and oid.startswith(revision)]
        if len(matches) == 1:
            return self.commits[matches[0]]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str) -> Iterator[StoredCommit]:
        commit: StoredCommit | None = self.resolve(revision)
        while commit:
            yield commit
            commit = self.commits[commit.parent] if commit.parent else None

    def add_commit(self, parent: str | None, files: dict[str, StoredFile], title: str, message: str, user: str) -> str:
        oid = secrets.token_hex(20)
        self.commits[oid] = StoredCommit(oid, parent, files, title, message, user, now(), next(_commits))
        return oid


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def card_data(content: str) -> dict[str, Any]:
    block = re.match(r"\s*---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    return (yaml.safe_load(block.group(1)) if block else None) or {}


def eval_results(path: str, content: str) -> list[dict[str, Any]]:
    """Entries of a file in .eval_results by the rules of https://huggingface.co/docs/hub/eval-results, or what is wrong."""
    try:
        entries = yaml.safe_load(content)
        for entry in entries:
            unknown = entry.keys() - {"dataset", "value", "verifyToken", "date", "source", "evaluation_framework", "notes"}
            if unknown or not isinstance(entry["value"], int | float):
                raise ValueError(f"bad entry {entry}")
            if entry["dataset"].keys() - {"id", "task_id", "revision"} or "/" not in entry["dataset"]["id"]:
                raise ValueError(f"bad dataset {entry['dataset']}")
            if not entry["dataset"]["task_id"] or not entry.get("source", {"url": "none"})["url"]:
                raise ValueError(f"no task_id or no url in {entry}")
            datetime.fromisoformat(str(entry.get("date", "2026-01-01")))
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        return [{"filename": path, "error": str(error)}]
    return [{"filename": path, "data": json.loads(json.dumps(entry, default=str))} for entry in entries]


def tree_entry(path: str, file: StoredFile) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "sha256": file.sha256, "size": file.size, "pointerSize": 134}
    return entry


def tree_entries(commit: StoredCommit) -> list[dict[str, Any]]:
    folders = {str(folder) for path in commit.files for folder in Path(path).parents} - {"."}
    entries = [{"type": "directory", "path": path, "size": 0, "oid": git_oid(path.encode())} for path in folders]
    entries += [tree_entry(path, file) for path, file in commit.files.items()]
    return sorted(entries, key=lambda entry: entry["path"])


def repo_info(repo: Repo, commit: StoredCommit, card_text: str, blobs: bool = False) -> dict[str, Any]:
    card = json.loads(json.dumps(card_data(card_text), default=str))
    siblings = [
        {"rfilename": path} | (tree_entry(path, file) | {"blobId": file.oid} if blobs else {})
        for path, file in sorted(commit.files.items())
    ]
    info = {
        "_id": hashlib.md5(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [str(tag) for tag in card.get("tags") or []],
        "cardData": card,
        "siblings": siblings,
    }
    if repo.kind == "models":
        info |= {"modelId": repo.id, "pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name")}
    if repo.kind == "spaces":
        info |= {"sdk": repo.sdk, "runtime": {"stage": "BUILDING", "hardware": {"current": None, "requested": None}}}
    return info
