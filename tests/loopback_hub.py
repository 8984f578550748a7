"""A Hub on the loopback address: the part of the Hub's HTTP surface that huggingface_hub, datasets and transformers use.

Repositories and collections are kept in memory, file contents in a folder. It answers as read from those clients' sources; the
real Hub's upload and permission rules are a reading of the client. A request can be made to fail, see `Fault`.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from tests import loopback_collections
from tests.hub_metadata import metadata_errors
from tests.loopback_repos import (
    HubError,
    Repo,
    StoredCommit,
    StoredFile,
    card_data,
    eval_results,
    git_oid,
    now,
    repo_info,
    tree_entries,
)

LFS_SUFFIXES = (".arrow", ".bin", ".gguf", ".gz", ".jpg", ".npz", ".parquet", ".png", ".pt", ".safetensors", ".zip")
LFS_SIZE = 10 * 1024 * 1024
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


@dataclass
class Fault:
    """What happens to requests whose "METHOD path" the pattern is found in, `times` times (None: always).

    A status is answered in place of the request; without one the connection is cut, before the request is served or,
    with `after`, once it is. A fault with `gate` serves the request, or with `after` answers it, only when the gate is open.
    """

    pattern: str
    status: int | None = None
    times: int | None = None
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    gate: asyncio.Event | None = None
    hits: int = 0
    waiting: int = 0
    """Requests that have come to the gate."""

    def strikes(self, request_line: str) -> bool:
        if re.search(self.pattern, request_line) is None or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    async def wait(self) -> None:
        assert self.gate is not None
        self.waiting += 1
        await self.gate.wait()


class LoopbackHub:
    """The ASGI application. `users` maps tokens to names, `organisations` a name to its members."""

    def __init__(self, folder: Path, users: dict[str, str], organisations: dict[str, set[str]], read_tokens: set[str]) -> None:
        self.blobs = folder
        self.users = users
        self.organisations = organisations
        self.read_tokens = read_tokens
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: list[loopback_collections.StoredCollection] = []
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int]] = []
        self._secret = secrets.token_bytes(16)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = scope["raw_path"].decode().split("?")[0]  # still quoted: a revision may hold %2F
        line = f"{request.method} {path}"
        fault = next((fault for fault in self.faults if fault.strikes(line)), None)
        if fault and fault.gate and not fault.after:
            await fault.wait()
        if fault and fault.status:
            await request.body()
            response: Response = Response(fault.body, fault.status, headers=fault.headers)
        elif fault and not fault.gate and not fault.after:
            response = _cut()
        else:
            try:
                response = await self._answer(request, path)
            except ClientDisconnect:
                return
            if fault and fault.after and not fault.gate:
                response = _cut()
        if fault and fault.gate and fault.after:
            await fault.wait()
        self.log.append((request.method, path, response.status_code))
        await response(scope, receive, send)

    async def _answer(self, request: Request, path: str) -> Response:
        try:
            for methods, pattern, handler in ROUTES:
                if request.method in methods and (match := pattern.fullmatch(path)):
                    answer = await handler(self, request, *(unquote(group) for group in match.groups()))
                    return answer if isinstance(answer, Response) else JSONResponse(answer)
            raise HubError(404, f"no route for {request.method} {path}")
        except HubError as error:
            return JSONResponse(error.body, error.status, headers=error.headers)

    # Storage

    def blob_path(self, name: str) -> Path:
        return self.blobs / name

    def store(self, content: bytes) -> StoredFile:
        oid = git_oid(content)
        self.blob_path(oid).write_bytes(content)
        return StoredFile(oid, len(content))

    def read(self, file: StoredFile) -> bytes:
        return self.blob_path(file.blob).read_bytes()

    # Who may do what

    def user(self, request: Request) -> str | None:
        header = request.headers.get("authorization", "")
        if not header:
            return None
        if (user := self.users.get(header.removeprefix("Bearer ").strip())) is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return user

    def writer(self, request: Request, namespace: str) -> str:
        if (user := self.user(request)) is None:
            raise HubError(401, "Invalid username or password.")
        if request.headers["authorization"].removeprefix("Bearer ") in self.read_tokens or not self.is_member(user, namespace):
            raise HubError(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        return user

    def is_member(self, user: str | None, namespace: str) -> bool:
        return user is not None and (user == namespace or user in self.organisations.get(namespace, ()))

    def can_see(self, user: str | None, repo_type: str, repo_id: str) -> bool:
        repo = self.repos.get((f"{repo_type}s", repo_id))
        return repo is not None and (not repo.private or self.is_member(user, repo.namespace))

    def repo(self, request: Request, kind: str, repo_id: str, write: bool = False) -> Repo:
        user = self.user(request)
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and not self.is_member(user, repo.namespace)):
            raise HubError(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if write:
            self.writer(request, repo.namespace)
        return repo

    # Accounts and repositories

    async def whoami(self, request: Request) -> Any:
        if (user := self.user(request)) is None:
            raise HubError(401, "Invalid username or password.")
        organisations = [
            {"type": "org", "name": name, "roleInOrg": "write"}
            for name, members in self.organisations.items()
            if user in members
        ]
        role = "read" if request.headers["authorization"].removeprefix("Bearer ") in self.read_tokens else "write"
        token = {"displayName": "test", "role": role, "createdAt": now()}
        auth = {"type": "access_token", "accessToken": token}
        return {"type": "user", "id": user, "name": user, "fullname": user, "isPro": False, "orgs": organisations, "auth": auth}

    async def validate_yaml(self, request: Request) -> Any:
        body = await request.json()
        try:
            wrong = metadata_errors(body.get("repoType") or "model", card_data(body["content"]))
        except yaml.YAMLError as error:
            wrong = [str(error)]
        if wrong:
            raise HubError(400, "Invalid metadata", errors=[{"message": sentence} for sentence in wrong], warnings=[])
        return {"errors": [], "warnings": []}

    async def create_repo(self, request: Request) -> Any:
        body = await request.json()
        kind = (body.get("type") or "model") + "s"
        namespace = body.get("organization") or self.user(request)
        if namespace not in {*self.users.values(), *self.organisations}:
            raise HubError(404, f"{namespace} does not exist")
        user = self.writer(request, namespace)
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repo = Repo(f"{namespace}/{body['name']}", kind, private, body.get("sdk"), now())
        url = f"{base_url(request)}{repo.web_path}"
        if (kind, repo.id) in self.repos:
            raise HubError(409, f"You already created this {kind[:-1]} repo: {repo.id}", url=url)
        files = {".gitattributes": self.store(GIT_ATTRIBUTES)}
        repo.branches["main"] = repo.add_commit(None, files, "initial commit", "", user)
        self.repos[kind, repo.id] = repo
        return {"url": url, "name": repo.id, "id": repo.id}

    async def delete_repo(self, request: Request) -> Any:
        body = await request.json()
        kind, repo_id = (body.get("type") or "model") + "s", f"{body.get('organization') or self.user(request)}/{body['name']}"
        self.repo(request, kind, repo_id, write=True)
        del self.repos[kind, repo_id]
        return {}

    async def settings(self, request: Request, kind: str, repo_id: str) -> Any:
        repo, body = self.repo(request, kind, repo_id, write=True), await request.json()
        if "visibility" in body or "private" in body:
            repo.private = body.get("visibility") == "private" or bool(body.get("private"))
        repo.gated = body.get("gated", repo.gated)
        return {"private": repo.private}

    async def space_variables(self, request: Request, repo_id: str) -> Any:
        repo = self.repo(request, "spaces", repo_id, write=request.method != "GET")
        if request.method != "GET":
            body = await request.json()
            repo.variables.pop(body["key"], None)
            if request.method == "POST":
                repo.variables[body["key"]] = {"key": body["key"], "value": body["value"], "updatedAt": now()}
        return repo.variables

    async def branch(self, request: Request, kind: str, repo_id: str, name: str) -> Any:
        repo = self.repo(request, kind, repo_id, write=True)
        if request.method == "DELETE":
            return {"deleted": repo.branches.pop(name, None)}
        if name in repo.branches:
            raise HubError(409, f"Reference already exists: refs/heads/{name}")
        start = json.loads(await request.body() or b"{}").get("startingPoint") or "main"
        repo.branches[name] = repo.resolve(start).oid
        return {}

    async def tag(self, request: Request, kind: str, repo_id: str, name: str) -> Any:
        repo = self.repo(request, kind, repo_id, write=True)
        if request.method == "DELETE":
            return {"deleted": repo.tags.pop(name, None)}
        tag = (await request.json())["tag"]
        if tag in repo.tags:
            raise HubError(409, f"Tag {tag} already exists")
        repo.tags[tag] = repo.resolve(name).oid
        return {}

    # Reading

    async def info(self, request: Request, kind: str, repo_id: str, revision: str = "main") -> Any:
        repo = self.repo(request, kind, repo_id)
        commit = repo.resolve(revision)
        described = self.describe(repo, commit, "blobs" in request.query_params)
        if "evalResults" in request.query_params.getlist("expand"):
            described["evalResults"] = [
                entry
                for path, file in sorted(commit.files.items())
                if re.fullmatch(r"\.eval_results/[^/]+\.yaml", path)
                for entry in eval_results(path, self.read(file).decode())
            ]
        return described

    async def listing(self, request: Request, kind: str) -> Any:
        user, query = self.user(request), request.query_params
        return [
            self.describe(repo, repo.resolve("main"))
            for repo in self.repos.values()
            if repo.kind == kind
            and (not repo.private or self.is_member(user, repo.namespace))
            and query.get("author", repo.namespace) == repo.namespace
            and query.get("search", "").lower() in repo.id.lower()
        ]

    def describe(self, repo: Repo, commit: StoredCommit, blobs: bool = False) -> dict[str, Any]:
        readme = commit.files.get("README.md")
        return repo_info(repo, commit, self.read(readme).decode("utf-8", "replace") if readme else "", blobs)

    async def tree(self, request: Request, kind: str, repo_id: str, revision: str, folder: str = "") -> Any:
        commit, query = self.repo(request, kind, repo_id).resolve(revision), request.query_params
        prefix = folder.strip("/") + "/" if folder.strip("/") else ""
        found = [entry for entry in tree_entries(commit) if entry["path"].startswith(prefix)]
        if prefix and not found:
            raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        if query.get("recursive", "").lower() not in ("true", "1"):
            found = [entry for entry in found if "/" not in entry["path"].removeprefix(prefix)]
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", 1000))
        following = request.url.include_query_params(cursor=start + limit)
        more = {"Link": f'<{following}>; rel="next"'} if start + limit < len(found) else None
        return JSONResponse(found[start : start + limit], headers=more)

    async def paths_info(self, request: Request, kind: str, repo_id: str, revision: str) -> Any:
        commit, body = self.repo(request, kind, repo_id).resolve(revision), await request.body()
        is_json = "json" in request.headers.get("content-type", "")
        paths = json.loads(body)["paths"] if is_json else parse_qs(body.decode()).get("paths", [])
        wanted = {path.strip("/") for path in paths}
        return [entry for entry in tree_entries(commit) if entry["path"] in wanted]

    async def references(self, request: Request, kind: str, repo_id: str) -> Any:
        repo = self.repo(request, kind, repo_id)

        def listed(references: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": prefix + name, "targetCommit": oid} for name, oid in references.items()]

        branches, tags = listed(repo.branches, "refs/heads/"), listed(repo.tags, "refs/tags/")
        return {"branches": branches, "tags": tags, "converts": [], "pullRequests": listed(repo.pulls, "")}

    async def commits(self, request: Request, kind: str, repo_id: str, revision: str) -> Any:
        return [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.message,
                "date": commit.date,
                "authors": [{"user": commit.user}],
            }
            for commit in self.repo(request, kind, repo_id).history(revision)
        ]

    async def file(self, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Any:
        repo = self.repo(request, kind.strip("/") or "models", repo_id)
        if repo.gated and not self.is_member(self.user(request), repo.namespace):
            raise HubError(403, f"Access to {repo.id} is restricted.", "GatedRepo")
        commit = repo.resolve(revision)
        headers = {"X-Repo-Commit": commit.oid}
        if (file := commit.files.get(path)) is None:
            missing = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return JSONResponse({"error": "Entry not found"}, 404, headers=headers | missing)
        headers["ETag"] = f'"{file.blob}"'
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        return FileResponse(self.blob_path(file.blob), headers=headers, media_type="application/octet-stream")

    # Writing

    async def preupload(self, request: Request, kind: str, repo_id: str, revision: str) -> Any:
        files, answer = self.repo(request, kind, repo_id, write=True).resolve(revision).files, []
        for file in (await request.json())["files"]:
            sample = base64.b64decode(file.get("sample", ""))
            is_lfs = file["path"].lower().endswith(LFS_SUFFIXES) or file["size"] > LFS_SIZE or b"\0" in sample
            entry = {"path": file["path"], "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
            if present := files.get(file["path"]):
                entry["oid"] = present.blob
            answer.append(entry)
        return {"files": answer}

    async def lfs_batch(self, request: Request, kind: str, repo_id: str) -> Any:
        body = await request.json()
        uploads = body["operation"] == "upload"
        self.repo(request, kind.strip("/") or "models", repo_id, write=uploads)
        objects = []
        for wanted in body["objects"]:
            url = f"{base_url(request)}/_lfs/{wanted['oid']}?signature={self.signature(wanted['oid'])}"
            entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if not uploads:
                entry["actions"] = {"download": {"href": url}}
            elif not self.blob_path(wanted["oid"]).exists():
                entry["actions"] = {"upload": {"href": url}}
            objects.append(entry)
        return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")

    def signature(self, oid: str) -> str:
        return hmac.new(self._secret, oid.encode(), "sha256").hexdigest()

    async def lfs_object(self, request: Request, oid: str) -> Any:
        """Its address is signed, since the client sends no Authorization here."""
        if not hmac.compare_digest(request.query_params.get("signature", ""), self.signature(oid)):
            raise HubError(403, "bad signature")
        if request.method == "GET":
            return FileResponse(self.blob_path(oid))
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != oid:
            raise HubError(400, "the content does not have this sha256")
        self.blob_path(oid).write_bytes(content)
        return Response()

    async def commit(self, request: Request, kind: str, repo_id: str, revision: str) -> Any:
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        # From here on nothing is awaited, so that a commit is atomic.
        repo = self.repo(request, kind, repo_id, write=True)
        references = repo.pulls if revision in repo.pulls else repo.branches
        if revision not in references:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        head, files, header = references[revision], dict(repo.resolve(revision).files), lines[0]["value"]
        if header.get("parentCommit") not in (None, head):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        for line in lines[1:]:
            self.apply(files, line["key"], line["value"])
        user = self.user(request) or ""
        oid = repo.add_commit(head, files, header["summary"], header.get("description", ""), user)
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{base_url(request)}{repo.web_path}/commit/{oid}"}
        if request.query_params.get("create_pr"):
            number = next(number for number in count(1) if f"refs/pr/{number}" not in repo.pulls)
            repo.pulls[f"refs/pr/{number}"] = oid
            return answer | {"pullRequestUrl": f"{base_url(request)}{repo.web_path}/discussions/{number}"}
        references[revision] = oid
        return answer

    def apply(self, files: dict[str, StoredFile], operation: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if operation == "file":
            files[path] = self.store(base64.b64decode(value["content"]))
        elif operation == "lfsFile":
            if not self.blob_path(value["oid"]).exists():
                raise HubError(400, f"Your push was rejected: the LFS object of {path} was not uploaded")
            size = self.blob_path(value["oid"]).stat().st_size
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize {size}\n"
            files[path] = StoredFile(git_oid(pointer.encode()), size, value["oid"])
        elif operation == "deletedFile":
            if files.pop(path, None) is None:
                raise HubError(404, f"{path} does not exist", "EntryNotFound")
        elif operation == "deletedFolder":
            for inside in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
                del files[inside]


def base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _cut() -> Response:
    """An answer shorter than it says: the server then drops the connection."""
    return Response(b"x", headers={"Content-Length": "1000"})


_API = r"/api/(models|datasets|spaces)"
_ID = r"([^/]+/[^/]+)"
_WEB = r"/(datasets/|spaces/|)([^/]+/[^/]+)"
ROUTES = [
    (methods.split(), re.compile(pattern + "/?"), getattr(LoopbackHub, handler) if isinstance(handler, str) else handler)
    for methods, pattern, handler in (
        ("GET", "/api/whoami-v2", "whoami"),
        ("POST", "/api/validate-yaml", "validate_yaml"),
        ("POST", "/api/repos/create", "create_repo"),
        ("DELETE", "/api/repos/delete", "delete_repo"),
        ("GET HEAD", _API, "listing"),
        ("GET HEAD", f"{_API}/{_ID}", "info"),
        ("GET HEAD", f"{_API}/{_ID}/revision/([^/]+)", "info"),
        ("PUT", f"{_API}/{_ID}/settings", "settings"),
        ("GET POST DELETE", f"/api/spaces/{_ID}/variables", "space_variables"),
        ("GET", f"{_API}/{_ID}/tree/([^/]+)", "tree"),
        ("GET", f"{_API}/{_ID}/tree/([^/]+)/(.+)", "tree"),
        ("POST", f"{_API}/{_ID}/paths-info/([^/]+)", "paths_info"),
        ("GET", f"{_API}/{_ID}/refs", "references"),
        ("GET", f"{_API}/{_ID}/commits/([^/]+)", "commits"),
        ("POST DELETE", f"{_API}/{_ID}/branch/([^/]+)", "branch"),
        ("POST DELETE", f"{_API}/{_ID}/tag/([^/]+)", "tag"),
        ("POST", f"{_API}/{_ID}/preupload/([^/]+)", "preupload"),
        ("POST", f"{_API}/{_ID}/commit/([^/]+)", "commit"),
        ("GET PUT", "/_lfs/([0-9a-f]{64})", "lfs_object"),
        ("POST", rf"{_WEB}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("GET HEAD", f"{_WEB}/resolve/([^/]+)/(.+)", "file"),
        *loopback_collections.ROUTES,
    )
]
