"""`python -m dataset_builders.download` against a loopback web server and the loopback Hub, and what a build then finds."""

import errno
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import UserError
from dataset_builders.download import CHECKSUMS, choose, fetch_from_addresses, main
from dataset_builders.remote_corpora import CATEGORIES, RemoteCorpus, RemoteFile, remote_corpora
from dataset_builders.samples.files import SAMPLE_MARKER
from dataset_builders.sources import corpus_modules as sources
from tests import raw
from tests.file_server import Cut, FileServer, Status, serving
from tests.hub import BOB, Hub
from tests.loopback_repos import Repo, StoredFile, git_oid, now

ROOT = Path(__file__).parents[2]
AMAZON = ("--corpora", "amazon_reviews_2018", "--categories", "Gift_Cards")
MERREC_PATH = "20230501/000000000000.parquet"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Tiny corpora by their paths in the folder that a download makes."""
    folder = raw.write(tmp_path_factory.mktemp("tiny"), {**raw.corpora(), **raw.amazon_reviews("Gift_Cards")})
    places = {
        "amazon/Gift_Cards_5.json.gz": "amazon_reviews_2018/Gift_Cards_5.json.gz",
        "amazon/meta_Gift_Cards.json.gz": "amazon_reviews_2018/meta_Gift_Cards.json.gz",
        "merrec/20230501/part-0.parquet": f"merrec/{MERREC_PATH}",
    }
    paths = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    tiny = {places.get(path, path): (folder / path).read_bytes() for path in paths}
    newer = raw.write(tmp_path_factory.mktemp("newer"), raw.amazon_reviews_2023("Gift_Cards"))
    for name, kind in (("Gift_Cards.jsonl", "review"), ("meta_Gift_Cards.jsonl", "meta")):
        tiny[f"amazon_reviews_2023/raw/{kind}_categories/{name}"] = (newer / name).read_bytes()
    return tiny | {"amazonqa/val-qar.jsonl": tiny["amazonqa/train-qar.jsonl"]}


@pytest.fixture
def server(tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A mirror: a web folder laid out as the one that a download makes. It is asked again without waiting."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with serving() as server:
        server.files = dict(tiny)
        yield server


def put(hub: Hub, repo_id: str, *revisions: dict[str, bytes]) -> Repo:
    """Puts a dataset repository on the Hub; the branch `main` has the first contents, `other` the second."""
    app, repo = hub._app, Repo(repo_id, "datasets", False, None, now())
    for branch, contents in zip(("main", "other"), revisions, strict=False):
        files = {}
        for path, content in contents.items():
            oid, sha256 = git_oid(content), hashlib.sha256(content).hexdigest()
            is_lfs = path.endswith(".parquet")
            app.blob_path(sha256 if is_lfs else oid).write_bytes(content)
            files[path] = StoredFile(oid, len(content), sha256 if is_lfs else None)
        repo.branches[branch] = repo.add_commit(None, files, "Raw files", "", "alice")
    app.repos["datasets", repo_id] = repo
    return repo


@pytest.fixture
def raw_hub(hub: Hub, tiny: dict[str, bytes]) -> Iterator[Hub]:
    """The Hub with the corpora that are there as their authors hold them."""
    merrec = tiny[f"merrec/{MERREC_PATH}"]
    months = {f"{month}/{part:012}.parquet": merrec + b"%d" % part for month in (20230501, 20230601) for part in range(1, 3)}
    put(hub, "mercari-us/merrec", {"README.md": b"# MerRec", MERREC_PATH: merrec, **months}, {MERREC_PATH: merrec[::-1]})
    put(hub, "NingLab/ECInstruct", {"README.md": b"# ECInstruct", "ECInstruct.json": tiny["ecinstruct/ECInstruct.json"]})
    newer = {path.removeprefix("amazon_reviews_2023/"): tiny[path] for path in tiny if path.startswith("amazon_reviews_2023/")}
    others = {"README.md": b"# Amazon Reviews 2023", "raw/review_categories/All_Beauty.jsonl": b"{}"}
    put(hub, "McAuley-Lab/Amazon-Reviews-2023", {**others, **newer})
    yield hub
    for repo_id in ("mercari-us/merrec", "NingLab/ECInstruct", "McAuley-Lab/Amazon-Reviews-2023"):
        hub._app.repos.pop(("datasets", repo_id), None)


def run(out: Path, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which huggingface_hub needs to see its environment."""
    command = [sys.executable, "-m", "dataset_builders.download", "--out", str(out), *options]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def call(out: Path, *options: str) -> int:
    """The exit code of the command in this process."""
    try:
        main(["--out", str(out), *options])
    except SystemExit as exit:
        return exit.code
    return 0


def files(folder: Path) -> dict[str, bytes]:
    """Path -> content, without hidden ones."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in found if not any(part.startswith(".") for part in path.parts)}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetched(hub: Hub) -> list[str]:
    """Paths of the files that the Hub was asked for."""
    return [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_build_finds_what_was_downloaded_and_a_second_run_fetches_nothing(
    raw_hub: Hub, server: FileServer, tiny: dict[str, bytes], tmp_path: Path, run_build: Callable[..., int]
) -> None:
    out, before = tmp_path / "raw", len(fetched(raw_hub))
    names = "amazon_reviews_2018,amazonqa,merrec,ecinstruct"
    done = run(out, "--corpora", names, "--mirror", f"{server.url}/", env=raw_hub.env(token=""))
    assert done.returncode == 0, done.stderr
    present = files(out)
    checksums = json.loads(present.pop(CHECKSUMS))
    expected = {
        "amazon_reviews_2018/Gift_Cards_5.json.gz",
        "amazon_reviews_2018/meta_Gift_Cards.json.gz",
        "amazonqa/train-qar.jsonl",
        "amazonqa/val-qar.jsonl",
        "ecinstruct/ECInstruct.json",
        f"merrec/{MERREC_PATH}",
    }
    assert present == {path: tiny[path] for path in expected}
    plain = [path for path in expected if path.startswith("amazon")]
    assert checksums == {path: sha256(present[path]) for path in plain}
    assert done.stdout.count("  fetched\n") == 6
    assert done.stdout.count("already there") == 0
    assert len(fetched(raw_hub)) - before == 2

    asked = len(server.requests), len(fetched(raw_hub))
    again = run(out, "--corpora", names, "--mirror", server.url, env=raw_hub.env(token=""))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("  already there\n") == 6
    assert (len(server.requests), len(fetched(raw_hub))) == asked

    built = tmp_path / "dataset"
    tasks = "review_rating,answerability,next_title_merrec,query_product_relation"
    assert run_build("--raw", out, "--out", built, "--tasks", tasks) == 0
    manifest = json.loads((built / "manifest.json").read_text())
    assert set(manifest["sources"]) == set(names.split(","))
    assert all(source["used"] for source in manifest["sources"].values())
    assert manifest["unclaimed_files"] == [CHECKSUMS]


def test_a_category_of_amazon_reviews_2023_comes_from_the_hub(
    raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path, run_build: Callable[..., int]
) -> None:
    out = tmp_path / "raw"
    done = run(out, "--corpora", "amazon_reviews_2023", env=raw_hub.env(token=""))
    assert done.returncode == 0, done.stderr
    assert files(out) == {path: content for path, content in tiny.items() if path.startswith("amazon_reviews_2023/")}
    assert "amazon_reviews_2023: its authors state no licence; read https://huggingface.co/datasets/McAuley-Lab" in done.stdout
    assert run_build("--raw", out, "--out", tmp_path / "dataset", "--tasks", "also_buy") == 0
    assert set(json.loads((tmp_path / "dataset" / "manifest.json").read_text())["sources"]) == {"amazon_reviews_2023"}


def test_half_a_category_on_the_hub_is_told(raw_hub: Hub, tmp_path: Path) -> None:
    options = ("--corpora", "amazon_reviews_2023", "--categories", "All_Beauty")
    done = run(tmp_path, *options, env=raw_hub.env(token=""))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert (
        "McAuley-Lab/Amazon-Reviews-2023 has no file raw/meta_categories/meta_All_Beauty.jsonl; it has 4 files" in done.stderr
    )


def test_a_dry_run_lists_sizes_and_addresses_and_writes_nothing(raw_hub: Hub, tmp_path: Path) -> None:
    before = len(fetched(raw_hub))
    done = run(tmp_path / "raw", "--dry-run", "--merrec-files", "2023050?/*", env=raw_hub.env(token=""))
    assert done.returncode == 0, done.stderr
    assert "esci: 2 files, 1,160.1 MB, licence: Apache-2.0" in done.stdout
    assert "https://media.githubusercontent.com/media/amazon-science/esci-data/" in done.stdout
    assert "merrec: 3 files" in done.stdout
    assert f"{raw_hub.endpoint}/datasets/mercari-us/merrec/resolve/" in done.stdout
    assert "ecinstruct: 1 files" in done.stdout
    assert "amazon" not in done.stdout.replace("amazon-science", "")
    assert not (tmp_path / "raw").exists()
    assert len(fetched(raw_hub)) == before


def test_a_damaged_file_of_the_hub_is_fetched_again(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    options, env = ("--corpora", "merrec,ecinstruct", "--merrec-files", "20230501/*"), raw_hub.env(token="")
    assert run(tmp_path, *options, env=env).returncode == 0
    path = tmp_path / "ecinstruct" / "ECInstruct.json"
    path.write_bytes(b"[" + path.read_bytes()[1:-1] + b"}")
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 60))  # huggingface_hub goes by a file's time
    before = len(fetched(raw_hub))
    done = run(tmp_path, *options, env=env)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == tiny["ecinstruct/ECInstruct.json"]
    assert len(fetched(raw_hub)) - before == 1


def test_what_the_hub_sends_wrong_is_deleted(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    content, options = tiny[f"merrec/{MERREC_PATH}"], ("--corpora", "merrec")
    blob = raw_hub._app.blob_path(sha256(content))
    blob.write_bytes(content[::-1])
    done = run(tmp_path, *options, env=raw_hub.env(token=""))
    assert done.returncode == 2, done.stdout
    assert f"merrec/{MERREC_PATH} from the Hub has the sha256 {sha256(content[::-1])} and not" in done.stderr
    assert files(tmp_path) == {}
    blob.write_bytes(content)
    assert run(tmp_path, *options, env=raw_hub.env(token="")).returncode == 0
    assert files(tmp_path)[f"merrec/{MERREC_PATH}"] == content


def test_a_cut_connection_to_the_hub_is_resumed(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    with raw_hub.cut("GET /datasets/NingLab/"):
        first = run(tmp_path, "--corpora", "ecinstruct", env=raw_hub.env(token=""))
    assert "Traceback" not in first.stderr
    done = run(tmp_path, "--corpora", "ecinstruct", env=raw_hub.env(token=""))
    assert done.returncode == 0, done.stderr
    assert files(tmp_path)["ecinstruct/ECInstruct.json"] == tiny["ecinstruct/ECInstruct.json"]


@pytest.mark.parametrize("request_line", ["GET /api/datasets/NingLab/", "HEAD /datasets/NingLab/"])
def test_a_hub_in_trouble_is_told(raw_hub: Hub, tmp_path: Path, request_line: str) -> None:
    with raw_hub.fail(request_line, 503, times=None):
        done = run(tmp_path, "--corpora", "ecinstruct", env=raw_hub.env(token=""))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "error: NingLab/ECInstruct is no folder here, and cannot be had from the Hub" in done.stderr


def test_another_revision_takes_the_place_of_the_first(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    env = raw_hub.env(token="")
    assert run(tmp_path, "--corpora", "merrec", env=env).returncode == 0
    done = run(tmp_path, "--corpora", "merrec", "--revision", "other", env=env)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path)[f"merrec/{MERREC_PATH}"] == tiny[f"merrec/{MERREC_PATH}"][::-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--revision", "nowhere"), "mercari-us/merrec has no revision nowhere; give a branch, a tag or a commit of it"),
        (("--merrec-files", "2024*"), "mercari-us/merrec has no file 2024*; it has 6 files, such as 20230501/"),
    ],
)
def test_what_the_hub_does_not_have_is_told(raw_hub: Hub, tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    done = run(tmp_path, "--corpora", "merrec", *options, env=raw_hub.env(token=""))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr


@pytest.mark.parametrize(
    ("token", "gated", "sentence"),
    [
        ("", None, "mercari-us/merrec is no folder here and no dataset on"),
        (BOB, None, "mercari-us/merrec is no folder here and no dataset on"),
        ("hf_nobody", False, "mercari-us/merrec may not be read with the token in use"),
        (BOB, "manual", "mercari-us/merrec is gated; accept its terms at"),
    ],
)
def test_a_repository_that_may_not_be_read_is_told(
    raw_hub: Hub, tmp_path: Path, token: str, gated: str | None, sentence: str
) -> None:
    if gated is None:
        del raw_hub._app.repos["datasets", "mercari-us/merrec"]
    else:
        raw_hub.repo("mercari-us/merrec", "dataset").gated = gated
    done = run(tmp_path, "--corpora", "merrec", env=raw_hub.env(token=token))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr
    assert files(tmp_path) == {}


def test_offline_mode_is_told(raw_hub: Hub, tmp_path: Path) -> None:
    done = run(tmp_path, "--corpora", "merrec", env=raw_hub.env(HF_HUB_OFFLINE="1"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "offline mode is on; unset HF_HUB_OFFLINE" in done.stderr


def test_a_cut_connection_is_tried_again_and_leaves_no_half_file(
    server: FileServer, tiny: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "amazon_reviews_2018/Gift_Cards_5.json.gz"
    server.plan += [Cut(10), Status(503), Cut(0)]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0
    assert files(tmp_path)[name] == tiny[name]
    assert [path for path, _ in server.requests].count(name) == 4

    (tmp_path / name).unlink()
    server.plan += [Cut(10)] * 4
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    said = capsys.readouterr().err
    assert f"{server.url}/{name} cannot be fetched (" in said
    assert "check the network and try again, or see https://cseweb.ucsd.edu" in said
    assert {path.name for path in (tmp_path / "amazon_reviews_2018").iterdir()} == {"meta_Gift_Cards.json.gz"}


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "is not open to everyone"), (403, "is not open"), (404, "is not there"), (451, "refuses")]
)
def test_a_refusal_is_told_at_once_with_what_to_do(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, sentence: str
) -> None:
    server.plan += [Status(status)]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    said = capsys.readouterr().err
    assert f"{sentence} ({status}); see https://" in said or f"{sentence} to everyone ({status}); see https://" in said
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_told_without_a_password(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as gone:
        port = gone.url.rpartition(":")[2]
    assert call(tmp_path, *AMAZON, "--mirror", f"http://me:secret@127.0.0.1:{port}") == 2
    said = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}/amazon_reviews_2018/Gift_Cards_5.json.gz cannot be fetched" in said
    assert "secret" not in said


def test_a_redirect_is_followed_and_one_without_end_is_told(
    server: FileServer, tiny: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "amazon_reviews_2018/Gift_Cards_5.json.gz"
    there = Status(302, {"Location": f"/{name}"})
    server.plan += [there]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0
    (tmp_path / name).unlink()
    server.plan += [there] * 200
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    assert "Exceeded 30 redirects" in capsys.readouterr().err


def test_a_full_disk_is_told(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    assert f"the disk of {tmp_path} is full; make room and run the command again" in capsys.readouterr().err
    assert files(tmp_path) == {}


WHOLE_GZIP = gzip.compress(b'{"asin": "B1"}\n' * 1000, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("Gift_Cards_5.json.gz", b"<html>Please fill in the form</html>", "is not a whole gzip file"),
        ("Gift_Cards_5.json.gz", WHOLE_GZIP[:-20], "is not a whole gzip file"),
        ("Gift_Cards_5.json.gz", WHOLE_GZIP[:40] + b"\0\0\0\0" + WHOLE_GZIP[44:], "is not a whole gzip file"),
        ("Gift_Cards_5.json.gz", WHOLE_GZIP[:10] + b"\xff" + WHOLE_GZIP[11:], "is not a whole gzip file"),
        ("Gift_Cards_5.json.gz", b"", "is empty"),
        ("train-qar.jsonl", b"<html>Please fill in the form</html>", "is not JSON lines"),
    ],
    ids=["web page", "torn", "other bytes", "no deflate", "empty", "web page for JSON lines"],
)
def test_without_a_checksum_the_format_tells_a_web_page_or_a_torn_file(
    server: FileServer, tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    server.files[name] = content
    corpus = RemoteCorpus("some", "none", "https://example.org", files=(RemoteFile(name, f"{server.url}/{name}"),))
    with pytest.raises(UserError, match=rf"{name} sent {fault}; see https://example.org"):
        fetch_from_addresses(corpus, corpus.files, tmp_path)
    assert files(tmp_path) == {}
    assert len(server.requests) == 1


def test_gzip_stays_as_it_is_even_if_the_server_calls_it_an_encoding(server: FileServer, tmp_path: Path) -> None:
    server.files["a.json.gz"], server.headers = WHOLE_GZIP, {"Content-Encoding": "gzip"}
    corpus = RemoteCorpus("some", "none", "https://example.org", files=(RemoteFile("a.json.gz", f"{server.url}/a.json.gz"),))
    fetch_from_addresses(corpus, corpus.files, tmp_path)
    assert (tmp_path / "a.json.gz").read_bytes() == WHOLE_GZIP


def test_a_lost_file_must_come_back_as_it_first_was(
    server: FileServer, tiny: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0
    name = "amazon_reviews_2018/meta_Gift_Cards.json.gz"
    server.files[name] = tiny["amazon_reviews_2018/Gift_Cards_5.json.gz"]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0  # what is there is not asked for
    (tmp_path / name).write_bytes(b"damaged")
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    told = capsys.readouterr().err
    assert f"and not {sha256(tiny[name])}; see https://" in told
    assert f"take its line out of {tmp_path / CHECKSUMS}" in told
    assert (tmp_path / name).read_bytes() == b"damaged"

    server.files[name] = tiny[name]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0
    assert (tmp_path / name).read_bytes() == tiny[name]


@pytest.mark.parametrize("cut", [0, 20])
def test_a_file_put_there_by_hand_is_taken_if_it_is_whole(
    server: FileServer, tiny: dict[str, bytes], tmp_path: Path, cut: int
) -> None:
    name, other = "amazon_reviews_2018/Gift_Cards_5.json.gz", "amazon_reviews_2018/meta_Gift_Cards.json.gz"
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(tiny[name][: len(tiny[name]) - cut])
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 0
    assert [path for path, _ in server.requests] == ([name, other] if cut else [other])
    assert json.loads((tmp_path / CHECKSUMS).read_text())[name] == sha256(tiny[name])


def test_what_came_before_an_error_is_kept(server: FileServer, tiny: dict[str, bytes], tmp_path: Path) -> None:
    del server.files["amazon_reviews_2018/meta_Gift_Cards.json.gz"]
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    name = "amazon_reviews_2018/Gift_Cards_5.json.gz"
    assert json.loads(files(tmp_path).pop(CHECKSUMS)) == {name: sha256(tiny[name])}


def test_a_corpus_with_published_checksums_is_held_to_them(server: FileServer, tiny: dict[str, bytes], tmp_path: Path) -> None:
    name = "esci/shopping_queries_dataset_examples.parquet"
    content = tiny[name]
    file = RemoteFile(name, f"{server.url}/{name}", len(content), sha256(content))
    corpus = RemoteCorpus("esci", "Apache-2.0", "https://example.org", files=(file,))
    for _ in range(2):
        fetch_from_addresses(corpus, corpus.files, tmp_path)
        assert files(tmp_path) == {name: content}
    assert len(server.requests) == 1
    (tmp_path / name).write_bytes(content[:-1] + b"x")
    fetch_from_addresses(corpus, corpus.files, tmp_path)
    assert files(tmp_path) == {name: content}


def test_a_mirror_of_another_esci_is_refused(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--corpora", "esci", "--mirror", server.url) == 2
    assert "and not 4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a" in capsys.readouterr().err
    assert files(tmp_path) == {}


def test_corpora_without_a_licence_are_fetched_only_by_name_and_with_a_word(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [corpus.name for corpus in choose(None, "Gift_Cards", "*")] == ["esci", "merrec", "ecinstruct"]
    assert [corpus.name for corpus in choose("amazonqa, esci,esci", "Gift_Cards", "*")] == ["amazonqa", "esci"]
    assert call(tmp_path, "--corpora", "amazonqa", "--mirror", server.url) == 0
    told = capsys.readouterr().out
    assert "amazonqa: its authors state no licence; read https://github.com/amazonqa/amazonqa" in told
    assert "Save them as test-qar.jsonl" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--corpora", "esci,amazon"), "--corpora knows no amazon. The corpora are esci, merrec, ecinstruct,"),
        (("--corpora", ","), "--corpora knows no empty list"),
        (("--categories", "Gift_Cards,../../etc"), "--categories knows no ../../etc. The categories are AMAZON_FASHION, "),
        (("--categories", ""), "--categories is empty"),
        (
            ("--corpora", "amazon_reviews_2018", "--categories", "Gift_Cards,Baby_Products"),
            "amazon_reviews_2018 has no category Baby_Products. It has AMAZON_FASHION, ",
        ),
        (
            ("--corpora", "amazon_reviews_2023", "--categories", "Prime_Pantry"),
            "amazon_reviews_2023 has no category Prime_Pantry. It has All_Beauty, ",
        ),
        (("--mirror", "corpora.example.org"), "--mirror corpora.example.org is no web address"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], sentence: str) -> None:
    assert call(tmp_path / "raw", *options) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def test_real_corpora_do_not_go_into_a_folder_of_sample_corpora(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / SAMPLE_MARKER).write_text("{}")
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    assert "holds sample corpora" in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("not JSON", "cannot be read as JSON"),
        ("[]", "holds no JSON object; write it again"),
        ('{"a": 1}', "holds no checksums; write it again, or delete it"),
    ],
)
def test_checksums_that_cannot_be_read_are_told(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, sentence: str
) -> None:
    (tmp_path / CHECKSUMS).write_text(content)
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / CHECKSUMS).read_text() == content


def test_an_out_that_is_a_file_is_told(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").write_text("")
    assert call(tmp_path / "raw", *AMAZON, "--mirror", server.url) == 2
    assert "cannot be read or written: File exists" in capsys.readouterr().err


def test_every_file_at_an_address_is_one_that_its_corpus_claims(tmp_path: Path) -> None:
    modules = {module.NAME: module for module in sources()}
    known = remote_corpora(CATEGORIES)
    assert known.keys() == modules.keys() - {"amazon_reviews_2014"}
    for corpus in known.values():
        assert corpus.licence == modules[corpus.name].LICENCE
        for file in corpus.files:
            path = tmp_path / file.path
            path.parent.mkdir(exist_ok=True)
            path.touch()
            assert [name for name, module in modules.items() if module.claims(path)] == [corpus.name], file.path
            assert file.url.startswith("https://")
            assert file.url.endswith(path.name)


def test_an_unknown_category_is_a_user_error() -> None:
    with pytest.raises(UserError, match="Gift_Card"):
        remote_corpora(["Gift_Card"])
