"""`python -m dataset_builders.download` against a loopback web server and the loopback Hub, and what a build then finds."""

import hashlib
import json
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.errors import UserError
from dataset_builders.addresses import CATEGORIES, Corpus, RemoteFile, corpora
from dataset_builders.download import CHECKSUMS, choose, download, main
from dataset_builders.sources import corpora as sources
from dataset_builders.staging import SAMPLE_MARKER
from tests import raw
from tests.file_server import Cut, FileServer, serving
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
    return tiny | {"amazonqa/val-qar.jsonl": tiny["amazonqa/train-qar.jsonl"]}


@pytest.fixture
def server(tiny: dict[str, bytes]) -> Iterator[FileServer]:
    """A mirror: a web folder laid out as the one that a download makes."""
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
    """The Hub with both corpora as their authors hold them there."""
    merrec = tiny[f"merrec/{MERREC_PATH}"]
    months = {f"{month}/{part:012}.parquet": merrec + b"%d" % part for month in (20230501, 20230601) for part in range(1, 3)}
    put(hub, "mercari-us/merrec", {"README.md": b"# MerRec", MERREC_PATH: merrec, **months}, {MERREC_PATH: merrec[::-1]})
    put(hub, "NingLab/ECInstruct", {"README.md": b"# ECInstruct", "ECInstruct.json": tiny["ecinstruct/ECInstruct.json"]})
    yield hub
    for repo_id in ("mercari-us/merrec", "NingLab/ECInstruct"):
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


def _either(runs: list["subprocess.Popen[str]"]) -> Iterator[str]:
    """Lines of the two processes' standard errors as they come."""
    with selectors.DefaultSelector() as selector:
        for process in runs:
            assert process.stderr
            selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map() and (ready := selector.select(timeout=20)):
            for key, _ in ready:
                if line := key.fileobj.readline():  # type: ignore[union-attr]
                    yield line
                else:
                    selector.unregister(key.fileobj)


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
    assert checksums == {path: sha256(content) for path, content in present.items()}
    assert "6 files" in done.stdout
    assert done.stdout.count("already there") == 0
    assert len(fetched(raw_hub)) - before == 2

    asked = len(server.requests), len(fetched(raw_hub))
    again = run(out, "--corpora", names, "--mirror", server.url, env=raw_hub.env(token=""))
    assert again.returncode == 0, again.stderr
    assert "fetched" not in again.stdout
    assert (len(server.requests), len(fetched(raw_hub))) == asked

    built = tmp_path / "dataset"
    tasks = "review_rating,answerability,next_title_merrec,query_product_relation"
    assert run_build("--raw", out, "--out", built, "--tasks", tasks) == 0
    manifest = json.loads((built / "manifest.json").read_text())
    assert set(manifest["sources"]) == set(names.split(","))
    assert all(source["used"] for source in manifest["sources"].values())
    assert manifest["unclaimed_files"] == [CHECKSUMS]


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
    before = len(fetched(raw_hub))
    done = run(tmp_path, *options, env=env)
    assert done.returncode == 0, done.stderr
    assert "ecinstruct/ECInstruct.json is there, but damaged or another version" in done.stderr
    assert path.read_bytes() == tiny["ecinstruct/ECInstruct.json"]
    assert len(fetched(raw_hub)) - before == 1

    path.unlink()
    offline = run(tmp_path, *options, env=env | {"HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 2
    assert "offline mode is on and" in offline.stderr


def test_what_the_hub_sends_wrong_is_deleted(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    content, options = tiny[f"merrec/{MERREC_PATH}"], ("--corpora", "merrec")
    blob = raw_hub._app.blob_path(sha256(content))
    blob.write_bytes(content[::-1])
    done = run(tmp_path, *options, env=raw_hub.env(token=""))
    assert done.returncode == 2, done.stdout
    assert f"what the Hub sent for merrec/{MERREC_PATH} is not what it lists; it was deleted" in done.stderr
    assert files(tmp_path) == {}
    blob.write_bytes(content)
    assert run(tmp_path, *options, env=raw_hub.env(token="")).returncode == 0
    assert files(tmp_path)[f"merrec/{MERREC_PATH}"] == content


def test_a_hub_in_trouble_is_asked_again(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    with (
        raw_hub.fail("GET /api/datasets/NingLab/", 503, times=1, retry_after=0),
        raw_hub.fail("HEAD /datasets/NingLab/", 502, times=1, retry_after=0),
        raw_hub.cut("GET /datasets/NingLab/"),
    ):
        done = run(tmp_path, "--corpora", "ecinstruct", env=raw_hub.env(token=""))
    assert done.returncode == 0, done.stderr
    assert files(tmp_path)["ecinstruct/ECInstruct.json"] == tiny["ecinstruct/ECInstruct.json"]


def test_a_hub_that_lists_files_but_does_not_give_them_is_told(raw_hub: Hub, tmp_path: Path) -> None:
    with raw_hub.fail("HEAD /datasets/NingLab/", 501):
        done = run(tmp_path, "--corpora", "ecinstruct", env=raw_hub.env(token=""))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"{raw_hub.endpoint} is in trouble (501)" in done.stderr


def test_another_revision_takes_the_place_of_the_first(raw_hub: Hub, tiny: dict[str, bytes], tmp_path: Path) -> None:
    env = raw_hub.env(token="")
    assert run(tmp_path, "--corpora", "merrec", env=env).returncode == 0
    done = run(tmp_path, "--corpora", "merrec", "--revision", "other", env=env)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path)[f"merrec/{MERREC_PATH}"] == tiny[f"merrec/{MERREC_PATH}"][::-1]
    offline = run(tmp_path, "--corpora", "merrec", env=env | {"HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert "already there" in offline.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--revision", "nowhere"), "mercari-us/merrec has no revision of that name"),
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
        ("", None, "mercari-us/merrec cannot be read (401)"),
        (BOB, None, "mercari-us/merrec cannot be read (404)"),
        ("hf_nobody", False, "mercari-us/merrec cannot be read (401)"),
        (BOB, "manual", "access to mercari-us/merrec is restricted; ask for it on its page"),
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


def test_offline_and_nothing_there_is_told(raw_hub: Hub, tmp_path: Path) -> None:
    done = run(tmp_path, "--corpora", "merrec", env=raw_hub.env(HF_HUB_OFFLINE="1"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "holds no merrec yet; unset HF_HUB_OFFLINE" in done.stderr


def test_two_runs_at_once_share_the_work(server: FileServer, tiny: dict[str, bytes], tmp_path: Path) -> None:
    server.gate = threading.Event()
    command = [sys.executable, "-m", "dataset_builders.download", "--out", str(tmp_path), *AMAZON, "--mirror", server.url]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        waiting = next((line for line in _either(runs) if "waiting for it to end" in line), "")
        assert str(tmp_path) in waiting
        server.gate.set()
        done = [process.communicate(timeout=60)[0] for process in runs]
    finally:
        for process in runs:
            process.kill()
            process.wait()
    assert [process.returncode for process in runs] == [0, 0]
    assert sorted("already there" in output for output in done) == [False, True]
    assert sorted(path for path, _, _ in server.requests) == [
        path for path in sorted(tiny) if path.startswith("amazon_reviews")
    ]


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
    assert f"and not {sha256(tiny[name])}; it was deleted" in told
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
    assert [path for path, _, _ in server.requests] == ([name, other] if cut else [other])
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
    corpus = Corpus("esci", "Apache-2.0", "https://example.org", files=(file,))
    server.plan += [Cut(100)]
    (first,) = download(corpus, tmp_path)
    assert (first.fetched, first.sha256, first.size) == (True, sha256(content), len(content))
    (second,) = download(corpus, tmp_path)
    assert not second.fetched
    (tmp_path / name).write_bytes(content[:-1] + b"x")
    (third,) = download(corpus, tmp_path)
    assert third.fetched
    assert files(tmp_path)[name] == content


def test_a_mirror_of_another_esci_is_refused(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--corpora", "esci", "--mirror", server.url) == 2
    assert "where 51,286,808 are published" in capsys.readouterr().err
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
        (("--categories", ""), "--categories names none"),
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


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"a": 1}'])
def test_checksums_that_cannot_be_read_are_told(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / CHECKSUMS).write_text(content)
    assert call(tmp_path, *AMAZON, "--mirror", server.url) == 2
    assert "is not what this command writes; mend it, or delete it" in capsys.readouterr().err
    assert (tmp_path / CHECKSUMS).read_text() == content


def test_an_out_that_is_a_file_is_told(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").write_text("")
    assert call(tmp_path / "raw", *AMAZON, "--mirror", server.url) == 2
    assert "cannot be read or written: File exists" in capsys.readouterr().err


def test_every_file_at_an_address_is_one_that_its_corpus_claims(tmp_path: Path) -> None:
    modules = {module.NAME: module for module in sources()}
    known = corpora(CATEGORIES)
    assert known.keys() == modules.keys()
    for corpus in known.values():
        assert corpus.licence == modules[corpus.name].LICENCE
        for file in corpus.files:
            path = tmp_path / file.path
            assert [name for name, module in modules.items() if module.claims(path)] == [corpus.name], file.path
            assert file.url.startswith("https://")
            assert file.url.endswith(path.name)


def test_an_unknown_category_is_a_user_error() -> None:
    with pytest.raises(UserError, match="Gift_Card"):
        corpora(["Gift_Card"])
