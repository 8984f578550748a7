"""The `hub` fixture: a loopback Hub that real clients create repositories on, publish to and load from.

run_main(main, "--repo-id", "org/name")                               # with `hub_client`: in this process, as alice
subprocess.run([sys.executable, "-m", ...], env=hub.env())            # a new process, as alice, who may write to `org`
with hub.fail("POST .*/commit/", 503, times=2): ...                   # two answers with 503, then as usual
"""

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from common import retry
from tests.loopback_collections import described
from tests.loopback_hub import Fault, LoopbackHub
from tests.loopback_repos import Repo, StoredCommit, StoredFile

ALICE = "hf_alice"
"""Token of a user who may write to her own namespace and to `org`."""
READER = "hf_alice_read_only"
BOB = "hf_bob"
"""Token of a user who may not write to `org`."""


REDIRECT = """
import os, httpx
send = httpx.Client.send
def redirected(self, request, **options):
    if request.url.host == "huggingface.co":
        hub = httpx.URL(os.environ["HF_ENDPOINT"])
        request.url = request.url.copy_with(scheme=hub.scheme, host=hub.host, port=hub.port)
    return send(self, request, **options)
httpx.Client.send = redirected
"""
"""As a process's sitecustomize.py: huggingface_hub checks a card at the public Hub's own address, whatever HF_ENDPOINT is."""


class HeldRequests:
    """Requests that wait at the Hub's door; see `Hub.hold`."""

    def __init__(self, fault: Fault, gate: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        self._fault, self._gate, self._loop = fault, gate, loop

    def wait_for(self, number: int, seconds: float = 300) -> None:
        """Returns when `number` requests wait; fails the test if they do not come."""
        deadline = time.monotonic() + seconds
        while self._fault.waiting < number:
            assert time.monotonic() < deadline, f"{self._fault.waiting} of {number} requests came for {self._fault.pattern}"
            time.sleep(0.02)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._gate.set)


class Hub:
    """A running loopback Hub as a test sees it. `repo_type` is model, dataset or space, as in huggingface_hub."""

    def __init__(self, app: LoopbackHub, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._app, self._loop = app, loop

    def env(self, token: str = ALICE, home: str | Path | None = None, **more: str) -> dict[str, str]:
        """Environment for a process that takes this for the Hub; an empty token is none, `home` a fresh folder by default."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        return kept | {
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(home or tempfile.mkdtemp(dir=self._app.blobs.parent)),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            **more,
        }

    def repo(self, repo_id: str, repo_type: str = "model") -> Repo:
        """The stored repository; KeyError if there is none."""
        return self._app.repos[f"{repo_type}s", repo_id]

    def exists(self, repo_id: str, repo_type: str = "model") -> bool:
        return (f"{repo_type}s", repo_id) in self._app.repos

    def head(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> str:
        return self.repo(repo_id, repo_type).resolve(revision).oid

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Path -> content, without the `.gitattributes` that every new repository has."""
        files = self.repo(repo_id, repo_type).resolve(revision).files
        return {path: self._app.read(file) for path, file in sorted(files.items()) if path != ".gitattributes"}

    def read(self, file: StoredFile) -> bytes:
        return self._app.read(file)

    def commits(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[str]:
        """Titles, newest first, without the initial commit."""
        return [commit.title for commit in self.repo(repo_id, repo_type).history(revision)][:-1]

    def all_commits(self) -> list[tuple[Repo, StoredCommit]]:
        """Of all repositories in the order of time, without the initial ones."""
        found = [(repo, commit) for repo in self._app.repos.values() for commit in repo.commits.values() if commit.parent]
        return sorted(found, key=lambda one: one[1].number)

    def collections(self, namespace: str, user: str | None = "alice") -> list[dict[str, Any]]:
        """The namespace's collections as the API gives them, with all items; None is somebody without a token."""
        found = [one for one in self._app.collections if one.namespace == namespace]
        return [described(self._app, one, user) for one in found if not one.private or self._app.is_member(user, namespace)]

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """(method, quoted path, status) of every request so far."""
        return self._app.log

    @contextmanager
    def fail(
        self,
        pattern: str,
        status: int,
        *,
        times: int | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        body: str | None = None,
    ) -> Iterator[Fault]:
        """Answers `status` to requests whose "METHOD path" `pattern` is found in, `times` times or for the whole block.

        `code` is the Hub's X-Error-Code. By default the body is a web page, as a gateway in front of the Hub gives it.
        """
        headers = {"Content-Type": "text/html"}
        if code:
            headers["X-Error-Code"] = code
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        fault = Fault(pattern, status, times, headers=headers, body=body or f"<html><body>{status}</body></html>")
        with self._during(fault):
            yield fault

    @contextmanager
    def cut(self, pattern: str, *, times: int | None = 1, after: bool = False) -> Iterator[Fault]:
        """Drops the connection of such requests, before they are served or, with `after`, once they are."""
        with self._during(Fault(pattern, times=times, after=after)) as fault:
            yield fault

    @contextmanager
    def hold(self, pattern: str, *, after: bool = False) -> Iterator[HeldRequests]:
        """Keeps such requests waiting until `release()` or the end of the block, then serves them.

        With `after` they are served at once, and their answers wait.
        """
        gate = asyncio.Event()
        with self._during(Fault(pattern, after=after, gate=gate)) as fault:
            held = HeldRequests(fault, gate, self._loop)
            try:
                yield held
            finally:
                held.release()

    @contextmanager
    def _during(self, fault: Fault) -> Iterator[Fault]:
        self._app.faults.append(fault)
        try:
            yield fault
        finally:
            self._app.faults.remove(fault)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One loopback Hub for all tests: name a repository after the test that makes it."""
    blobs = tmp_path_factory.mktemp("hub") / "blobs"
    blobs.mkdir()
    users = {ALICE: "alice", READER: "alice", BOB: "bob"}
    app = LoopbackHub(blobs, users, organisations={"org": {"alice"}}, read_tokens={READER})
    # Named TCP, without which asyncio leaves Nagle's algorithm on: 40 ms a request.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve([listener])), daemon=True)
    thread.start()
    yield Hub(app, listener.getsockname()[1], loop)
    server.should_exit = server.force_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def hub_client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub, as this process's huggingface_hub uses it: as alice, with an empty cache and no waiting between retries."""
    from huggingface_hub import constants

    files = "/{repo_id}/resolve/{revision}/{filename}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + files)
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub_client")))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(retry, "FIRST_WAIT", 0.0)
        patch.setenv("HF_TOKEN", ALICE)
        patch.setenv("COLUMNS", "200")
        yield hub


@dataclass(frozen=True)
class Finished:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run_main(main: Callable[[Sequence[str]], None], *words: object) -> Finished:
    """Runs a command's `main` in this process."""
    code, out, err = 0, StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
    return Finished(code, out.getvalue(), err.getvalue())
