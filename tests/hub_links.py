"""Links in what was pushed to the loopback Hub: each must lead somewhere at the moment of its commit."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.hub import Hub
from tests.loopback_repos import Repo, StoredCommit

TEXTS = (".md", ".yaml", ".json", ".py")
FOLDERS = {"datasets": "datasets", "spaces": "spaces", "": "models"}


@dataclass(frozen=True)
class Moment:
    """A commit, and what the Hub held by then. Repositories of other namespaces are not looked up."""

    hub: Hub
    namespace: str
    repo: Repo
    commit: StoredCommit

    def has(self, kind: str, repo_id: str, revision: str | None = None) -> bool:
        """Whether a repository has content, at that revision; one that speaks of itself has."""
        if not repo_id.startswith(f"{self.namespace}/") or ((kind, repo_id) == (self.repo.kind, self.repo.id) and not revision):
            return True
        commits = [one for repo, one in self.hub.all_commits() if (repo.kind, repo.id) == (kind, repo_id)]
        return any(one.number < self.commit.number and revision in (None, one.oid) for one in commits)


def links_to_nowhere(hub: Hub, repo_ids: set[str], namespace: str) -> list[str]:
    """A sentence for each link, in all commits of these repositories, to what the Hub did not hold by then.

    Links are addresses and names of the namespace's repositories in any text, ids in the metadata of cards, in `.eval_results`
    and adapter_config.json, with their revisions, and relative ones in a README.md.
    """
    found = []
    for repo, commit in hub.all_commits():
        if repo.id in repo_ids:
            moment = Moment(hub, namespace, repo, commit)
            found += [f"{repo.kind} {repo.id}, {commit.title}: {wrong}" for wrong in _wrong(moment)]
    return found


def _wrong(moment: Moment) -> Iterator[str]:
    files = moment.commit.files
    texts = {path: moment.hub.read(file).decode() for path, file in files.items() if path.endswith(TEXTS)}
    for path, text in texts.items():
        for repo_id in set(re.findall(rf"(?<![\w./:-]){moment.namespace}/[\w.-]*\w", text)):
            if not any(moment.has(kind, repo_id) for kind in FOLDERS.values()):
                yield f"{path} names {repo_id}"
        for kind, repo_id, revision in {*_addresses(moment, text), *_metadata(path, text)}:
            if not moment.has(kind, repo_id, revision):
                yield f"{path} links to {kind} {repo_id} {revision or ''}"
    for target in re.findall(r"\]\(([^)\s#]+)\)|<img src=\"([^\"]+)\"", texts.get("README.md", "")):
        if (place := "".join(target)) not in files and ":" not in place:
            yield f"README.md shows {place}"


Link = tuple[str, str, str | None]
"""Kind, id and revision."""


def _addresses(moment: Moment, text: str) -> Iterator[Link]:
    hosts = rf"(?:https://huggingface\.co|{re.escape(moment.hub.endpoint)})"
    for folder, repo_id in re.findall(rf"{hosts}/(?:(datasets|spaces)/)?({moment.namespace}/[\w.-]*\w)", text):
        yield FOLDERS[folder], repo_id, None


def _metadata(path: str, text: str) -> Iterator[Link]:
    if path == "adapter_config.json":
        yield "models", json.loads(text)["base_model_name_or_path"], None
    elif path.startswith(".eval_results/"):
        for entry in yaml.safe_load(text):
            yield "datasets", entry["dataset"]["id"], entry["dataset"].get("revision")
    elif path == "README.md":
        yield from _card(text)


def _card(text: str) -> Iterator[Link]:
    block = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    metadata: dict[str, Any] = (yaml.safe_load(block.group(1)) if block else None) or {}
    for key, kind in (("base_model", "models"), ("models", "models"), ("datasets", "datasets")):
        named = metadata.get(key) or []
        yield from ((kind, repo_id, None) for repo_id in ([named] if isinstance(named, str) else named))
    for model in metadata.get("model-index") or []:
        for result in model["results"]:
            if "/" in result["dataset"]["type"]:
                yield "datasets", result["dataset"]["type"], result["dataset"].get("revision")
