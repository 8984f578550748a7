"""`publishing.commit` against the loopback Hub with the real client."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from common.errors import UserError
from common.files import folder_files
from common.hub import CONFLICT_STATUSES, RepoType
from common.publishing import BranchHead
from common.retry import ATTEMPTS, TRANSIENT_STATUSES
from tests.commits import commit_folder
from tests.hub import ALICE, BOB, READER, Hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "folder", {"README.md": b"# Notes\n", "weights.safetensors": b"\0" * 1000, "data/a.txt": b"a\n"})


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_a_folder_becomes_one_commit_of_a_new_repository(hub_client: Hub, folder: Path, repo_type: RepoType) -> None:
    done = commit_folder(folder, "org/first", repo_type, "first")
    assert hub_client.commits("org/first", repo_type) == ["first"]
    assert hub_client.files("org/first", repo_type) == {path: (folder / path).read_bytes() for path in folder_files(folder)}
    assert done.changed
    assert done.oid == hub_client.head("org/first", repo_type)
    assert done.url == hub_client.endpoint + {"model": "", "dataset": "/datasets", "space": "/spaces"}[repo_type] + "/org/first"
    assert hub_client.repo("org/first", repo_type).sdk == ("gradio" if repo_type == "space" else None)


def test_the_same_folder_again_makes_no_commit(hub_client: Hub, folder: Path) -> None:
    first = commit_folder(folder, "org/again", "model", "first")
    second = commit_folder(folder, "org/again", "model", "second")
    assert (second.changed, second.oid) == (False, first.oid)
    assert hub_client.commits("org/again") == ["first"]


def test_a_content_made_of_what_is_there_is_made_anew_on_a_new_head(hub_client: Hub, folder: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs", {"data/a.txt": b"theirs\n"})
    seen = []

    def with_a_line(head: BranchHead) -> bytes:
        seen.append(list(head.paths))
        if len(seen) == 1:  # someone else commits at this moment
            commit_folder(theirs, "org/made", "model", "theirs")
        former = head.read("data/a.txt") if "data/a.txt" in head.paths else b""
        return former if b"mine" in former else former + b"mine\n"

    contents = {"data/a.txt": with_a_line}
    commit_folder(folder, "org/made", "model", "mine", contents=contents)
    assert ["data/a.txt" in paths for paths in seen] == [False, True]
    assert hub_client.files("org/made")["data/a.txt"] == b"theirs\nmine\n"
    assert not commit_folder(folder, "org/made", "model", "again", contents=contents).changed


def test_stale_files_go_in_the_same_commit_and_others_stay(hub_client: Hub, folder: Path, tmp_path: Path) -> None:
    commit_folder(folder, "org/stale", "model", "first")
    commit_folder(write(tmp_path / "theirs", {"theirs/a.txt": b"t", "data/b.bin": b"b"}), "org/stale", "model", "theirs")
    new = write(tmp_path / "new", {"README.md": b"# New\n", "data/c.txt": b"c"})
    commit_folder(new, "org/stale", "model", "second", stale_patterns=["data/*.txt"])
    assert list(hub_client.files("org/stale")) == [
        "README.md",
        "data/b.bin",
        "data/c.txt",
        "theirs/a.txt",
        "weights.safetensors",
    ]
    assert hub_client.commits("org/stale") == ["second", "theirs", "first"]


def test_a_branch_is_made_from_main_and_main_stays(hub_client: Hub, folder: Path, tmp_path: Path) -> None:
    commit_folder(folder, "org/branch", "dataset", "first")
    commit_folder(write(tmp_path / "more", {"more.txt": b"m"}), "org/branch", "dataset", "second", revision="v2/try")
    assert "more.txt" not in hub_client.files("org/branch", "dataset")
    assert set(hub_client.files("org/branch", "dataset", "v2/try")) == {*folder_files(folder), "more.txt"}


def test_a_tag_is_no_branch_to_commit_to(hub_client: Hub, folder: Path) -> None:
    commit_folder(folder, "org/tagged", "model", "first")
    HfApi().create_tag("org/tagged", tag="v1")
    (folder / "new.txt").write_text("new")
    with pytest.raises(UserError, match="a tag or a commit is not one"):
        commit_folder(folder, "org/tagged", "model", "second", revision="v1")


def test_hidden_files_and_caches_are_not_uploaded(tmp_path: Path) -> None:
    names = ["b.txt", "a/c.txt", ".env", ".git/config", "a/.hidden/x", "a/__pycache__/c.pyc"]
    assert folder_files(write(tmp_path, dict.fromkeys(names, b"x"))) == ["a/c.txt", "b.txt"]


def test_files_and_contents_choose_what_is_uploaded(hub_client: Hub, folder: Path) -> None:
    commit_folder(folder, "org/chosen", "model", "first", files=["README.md", "data/a.txt"], contents={"data/a.txt": b"other"})
    assert hub_client.files("org/chosen") == {"README.md": b"# Notes\n", "data/a.txt": b"other"}


def test_private_is_private_and_a_public_repository_does_not_take_private_data(hub_client: Hub, folder: Path) -> None:
    commit_folder(folder, "org/secret", "dataset", "first", private=True)
    assert hub_client.repo("org/secret", "dataset").private
    commit_folder(folder, "org/open", "dataset", "first")
    (folder / "new.txt").write_text("new")
    with pytest.raises(UserError, match="org/open exists and is public"):
        commit_folder(folder, "org/open", "dataset", "second", private=True)
    assert hub_client.commits("org/open", "dataset") == ["first"]


def test_dry_run_lists_the_files_and_asks_the_hub_nothing(
    hub_client: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(hub_client.requests)
    done = commit_folder(folder, "org/dry", "model", "first", private=True, dry_run=True)
    assert (len(hub_client.requests), done.oid, done.changed) == (before, None, False)
    assert capsys.readouterr().out.splitlines() == [
        f"would upload 3 files, 1.0 kB, to {hub_client.endpoint}/org/dry (branch main, private):",
        "  README.md  0.0 kB",
        "  data/a.txt  0.0 kB",
        "  weights.safetensors  1.0 kB",
    ]


PASSING = {
    "create answers 500": ("POST /api/repos/create", 500),
    "the card's check answers a web page": ("POST /api/validate-yaml", 503),
    "info answers 502": ("GET /api/models/org/.*/revision/main", 502),
    "preupload answers 504": ("POST .*/preupload/main", 504),
    "the upload's batch answers 503": ("POST .*/objects/batch", 503),
    "the upload answers 500": ("PUT /_lfs/", 500),
    "the commit answers 503": ("POST .*/commit/main", 503),
    "the commit answers 429": ("POST .*/commit/main", 429),
    "the commit answers 412": ("POST .*/commit/main", 412),
}


@pytest.mark.parametrize(("pattern", "status"), PASSING.values(), ids=PASSING.keys())
def test_a_hub_that_fails_for_a_moment_is_asked_again(hub_client: Hub, folder: Path, pattern: str, status: int) -> None:
    repo_id = f"org/passing-{status}-{re.sub('[^a-z]', '', pattern)}"
    (folder / "weights.safetensors").write_text(repo_id)  # else the Hub has this content from another test
    with hub_client.fail(pattern, status, times=1) as fault:
        assert commit_folder(folder, repo_id, "model", "first").changed
    assert fault.hits == 1
    assert hub_client.commits(repo_id) == ["first"]


@pytest.mark.parametrize("path", ["/api/repos/create", "/commit/main"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut_connection_costs_no_second_commit(hub_client: Hub, folder: Path, path: str, after: bool) -> None:
    repo_id = f"org/cut-{after}-{path.rsplit('/', maxsplit=1)[-1]}"
    with hub_client.cut(f"POST .*{path}", after=after) as fault:
        assert commit_folder(folder, repo_id, "model", "first").changed
    assert fault.hits == 1
    assert hub_client.commits(repo_id) == ["first"]


def test_the_wait_that_the_hub_asks_for_is_kept(hub_client: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hub_client.fail("POST .*/commit/main", 429, times=1, retry_after=1):
        commit_folder(folder, "org/retry-after", "model", "first")
    assert "the Hub answered 429; trying again in 1 s" in capsys.readouterr().err


def test_a_wait_beyond_bounds_is_not_kept(hub_client: Hub, folder: Path) -> None:
    with (
        hub_client.fail("POST .*/commit/main", 429, retry_after=3600) as fault,
        pytest.raises(UserError, match="wait some minutes"),
    ):
        commit_folder(folder, "org/long-wait", "model", "first")
    assert fault.hits == 1


def test_two_who_commit_at_once_lose_nothing(hub_client: Hub, folder: Path, tmp_path: Path) -> None:
    commit_folder(folder, "org/both", "model", "first")
    folders = [write(tmp_path / name, {f"{name}.txt": name.encode()}) for name in ("one", "two")]
    threads = [threading.Thread(target=commit_folder, args=(each, "org/both", "model", each.name)) for each in folders]
    with hub_client.hold("POST .*/org/both/commit/main") as held:
        for thread in threads:
            thread.start()
        held.wait_for(2)  # both have planned on the same head
        held.release()
        for thread in threads:
            thread.join()
    assert set(hub_client.files("org/both")) == {*folder_files(folder), "one.txt", "two.txt"}
    assert sorted(hub_client.commits("org/both")) == ["first", "one", "two"]
    assert [status for _, path, status in hub_client.requests if path.endswith("/org/both/commit/main")].count(412) == 1


def test_a_publisher_killed_in_the_middle_leaves_the_old_head(hub_client: Hub, folder: Path) -> None:
    commit_folder(folder, "org/killed", "model", "first")
    before = hub_client.head("org/killed")
    (folder / "weights.safetensors").write_bytes(b"\1" * 1000)
    call = f"commit_folder({str(folder)!r}, 'org/killed', 'model', 'second')"
    code = f"from tests.commits import commit_folder; {call}"
    with hub_client.hold("PUT /_lfs/") as held:
        process = subprocess.Popen([sys.executable, "-c", code], env=hub_client.env())
        held.wait_for(1)
        process.kill()
        process.wait()
    assert hub_client.head("org/killed") == before
    assert commit_folder(folder, "org/killed", "model", "third").changed
    assert hub_client.files("org/killed")["weights.safetensors"] == b"\1" * 1000


LASTING = {
    "commit 412": ("POST .*/commit/main", 412, None, "others keep committing to org/lasting"),
    "commit 409": ("POST .*/commit/main", 409, None, "others keep committing to org/lasting"),
    "commit 429": ("POST .*/commit/main", 429, None, "asks for fewer requests"),
    "commit 500": ("POST .*/commit/main", 500, None, "is in trouble (500); what it holds is whole"),
    "commit 413": ("POST .*/commit/main", 413, None, "refuses with 413"),
    "info 401": ("GET .*/revision/main", 401, None, "does not accept the token; log in with `hf auth login`"),
    "info 403": ("GET .*/revision/main", 403, None, "the token may not write to org/lasting"),
    "info 403 gated": ("GET .*/revision/main", 403, "GatedRepo", "access to org/lasting is restricted"),
    "info 404": ("GET .*/revision/main", 404, "RepoNotFound", "org/lasting is not on http"),
    "branch 404": ("POST .*/commit/main", 404, "RevisionNotFound", "no branch of that name"),
    "create 503": ("POST /api/repos/create", 503, None, "is in trouble (503)"),
    "card's check 500": ("POST /api/validate-yaml", 500, None, "does not answer as a Hub does"),
}


@pytest.mark.parametrize(("pattern", "status", "code", "sentence"), LASTING.values(), ids=LASTING.keys())
def test_a_hub_that_keeps_failing_is_explained(
    hub_client: Hub, folder: Path, pattern: str, status: int, code: str | None, sentence: str
) -> None:
    with hub_client.fail(pattern, status, code=code) as fault, pytest.raises(UserError) as raised:
        commit_folder(folder, "org/lasting", "model", "first")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert fault.hits == (ATTEMPTS if status in TRANSIENT_STATUSES | CONFLICT_STATUSES else 1)


def test_a_connection_that_keeps_breaking_is_explained(hub_client: Hub, folder: Path) -> None:
    with (
        hub_client.cut("POST .*/commit/main", times=None),
        pytest.raises(UserError, match="cannot be reached; check the network"),
    ):
        commit_folder(folder, "org/lasting", "model", "first")


SETTINGS = {
    "unknown token": ({"HF_TOKEN": "hf_unknown"}, "org/new", "does not accept the token"),
    "token that only reads": ({"HF_TOKEN": READER}, "org/new", "the token may not write to org/new"),
    "someone else's namespace": ({"HF_TOKEN": BOB}, "org/new", "use one with write access to org"),
    "namespace that is not there": ({}, "nobody/new", "nobody/new is not on http"),
    "token with a control character": ({"HF_TOKEN": "hf_a\x0bb"}, "org/new", "characters that no token has"),
    "token beyond ASCII": ({"HF_TOKEN": "hf_ä€"}, "org/new", "characters that no token has"),
    "no namespace": ({}, "new", "must be named namespace/name"),
    "too many parts": ({}, "a/b/c", "must be named namespace/name"),
    "a name that cannot be": ({}, "org/a b", "is not a repo id"),
}


@pytest.mark.parametrize(("environment", "repo_id", "sentence"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_wrong_token_or_name_is_explained(
    hub_client: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], repo_id: str, sentence: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as raised:
        commit_folder(folder, repo_id, "model", "first")
    assert sentence in str(raised.value)
    assert environment.get("HF_TOKEN", ALICE) not in str(raised.value)
    assert not hub_client.exists("org/new")


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("localhost:1", "start it with https://"),
        ("http://127.0.0.1:1", "cannot be reached"),
        ("http://host:port", "is not a URL"),
    ],
)
def test_a_wrong_endpoint_is_explained(
    hub_client: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, sentence: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(UserError, match=sentence):
        commit_folder(folder, "org/new", "model", "first")


def test_a_card_that_the_hub_refuses_is_explained(hub_client: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: [mit\n---\n")
    with pytest.raises(UserError, match="the Hub refuses README"):
        commit_folder(folder, "org/bad-card", "model", "first")
    assert hub_client.commits("org/bad-card") == []


def test_a_folder_that_is_not_there_or_holds_nothing_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        commit_folder(tmp_path / "absent", "org/x", "model", "first")
    with pytest.raises(UserError, match="holds no file"):
        commit_folder(tmp_path, "org/x", "model", "first")
    with pytest.raises(UserError, match=r"has no file absent\.txt"):
        commit_folder(tmp_path, "org/x", "model", "first", files=["absent.txt"])
