"""One file over HTTP from a loopback server that cuts, refuses, changes its files and does not know ranges."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.fetch import fetch, new_client, require_room, shown
from tests.file_server import Cut, FileServer, Headers, Status, serving

CONTENT = bytes(number * 7 % 251 for number in range(100_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "folder/file.bin"
BY_HAND = "see the authors' page."
AT_ONCE = (0.0, 0.0, 0.0)
CLIENT = new_client()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        server.files[NAME] = CONTENT
        yield server


def get(server: FileServer, path: Path, sha256: str | None = SHA256, size: int | None = len(CONTENT), name: str = NAME) -> str:
    return fetch(CLIENT, f"{server.url}/{name}", path, size=size, sha256=sha256, by_hand=BY_HAND, waits=AT_ONCE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ranges(server: FileServer) -> list[tuple[str | None, int]]:
    return [(asked, status) for _, asked, status in server.requests]


def test_a_file_is_fetched_whole_and_nothing_is_left_beside_it(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"
    assert get(server, path) == SHA256
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]


def test_cut_connections_are_gone_on_from(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Cut(30_000), Cut(20_000), Cut(0)]
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert ranges(server) == [(None, 200), ("bytes=30000-", 206), ("bytes=50000-", 206), ("bytes=50000-", 206)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 400), max_size=3), knows_ranges=st.booleans())
def test_wherever_it_is_cut_the_file_is_whole(server: FileServer, tmp_path: Path, cuts: list[int], knows_ranges: bool) -> None:
    server.files[NAME], server.ranges, server.plan = CONTENT[:500], knows_ranges, [Cut(after) for after in cuts]
    path = tmp_path / "file.bin"
    path.unlink(missing_ok=True)
    get(server, path, sha256=None, size=None)
    assert path.read_bytes() == CONTENT[:500]


def test_a_run_goes_on_where_the_last_one_ended(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Cut(10_000), *[Cut(0)] * len(AT_ONCE)]
    with pytest.raises(UserError, match=r"cannot be reached .* what came is kept"):
        get(server, tmp_path / "file.bin")
    assert names(tmp_path) == ["file.bin.part", "file.bin.part.etag"]
    get(server, tmp_path / "file.bin")
    assert ranges(server)[-1] == ("bytes=10000-", 206)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_of_another_version_is_not_mixed_into_the_new_one(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Cut(10_000), *[Cut(0)] * len(AT_ONCE)]
    with pytest.raises(UserError):
        get(server, tmp_path / "file.bin", sha256=None, size=None)
    server.files[NAME] = CONTENT[::-1]
    get(server, tmp_path / "file.bin", sha256=None, size=None)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]
    assert ranges(server)[-1] == ("bytes=10000-", 200)


@pytest.mark.parametrize(
    ("headers", "resumes"),
    [
        ({"ETag": "", "Last-Modified": "Tue, 01 May 2018 10:00:00 GMT"}, True),
        ({"ETag": 'W/"weak"'}, False),  # says only that the two mean the same
        ({"ETag": ""}, False),
    ],
)
def test_only_what_names_the_very_bytes_lets_a_part_be_gone_on_with(
    server: FileServer, tmp_path: Path, headers: dict[str, str], resumes: bool
) -> None:
    server.headers = headers
    server.plan += [Cut(10_000)]
    get(server, tmp_path / "file.bin")
    assert ranges(server)[-1] == (("bytes=10000-", 206) if resumes else (None, 200))
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_the_whole_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.plan += [Cut(10_000)]
    get(server, tmp_path / "file.bin")
    assert ranges(server) == [(None, 200), ("bytes=10000-", 200)]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "extent", ["bytes 9999-99999/100000", "bytes 10001-99999/100000", "bytes */100000", "lines 10000-99999/100000", ""]
)
def test_a_server_that_sends_another_range_is_not_believed(server: FileServer, tmp_path: Path, extent: str) -> None:
    server.plan += [Cut(10_000), Headers({"Content-Range": extent})]
    get(server, tmp_path / "file.bin")
    assert ranges(server) == [(None, 200), ("bytes=10000-", 206), (None, 200)]


def test_a_part_longer_than_the_file_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT * 2)
    (tmp_path / "file.bin.part.etag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    get(server, tmp_path / "file.bin")
    assert ranges(server) == [("bytes=200000-", 416), (None, 200)]


def test_a_whole_part_is_only_checked(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    get(server, tmp_path / "file.bin")
    assert server.requests == []
    assert names(tmp_path) == ["file.bin"]


def test_wrong_content_is_deleted_and_an_earlier_file_stays(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"earlier")
    server.files[NAME] = b"x" * len(CONTENT)
    with pytest.raises(UserError, match=rf"has the sha256 [0-9a-f]{{64}} and not {SHA256}; it was deleted.*authors' page"):
        get(server, tmp_path / "file.bin")
    assert names(tmp_path) == ["file.bin"]
    assert (tmp_path / "file.bin").read_bytes() == b"earlier"


def test_another_size_than_the_published_one_is_refused_before_it_is_fetched(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = b"version https://git-lfs.github.com/spec/v1\n"
    with pytest.raises(UserError, match="sends 43 bytes where 100,000 are published"):
        get(server, tmp_path / "file.bin")
    assert names(tmp_path) == []


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
    with pytest.raises(UserError, match=fault):
        get(server, tmp_path / name, sha256=None, size=None, name=name)
    assert names(tmp_path) == []


def test_gzip_stays_as_it_is_even_if_the_server_calls_it_an_encoding(server: FileServer, tmp_path: Path) -> None:
    server.files["a.json.gz"], server.headers = WHOLE_GZIP, {"Content-Encoding": "gzip"}
    get(server, tmp_path / "a.json.gz", sha256=None, size=None, name="a.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == WHOLE_GZIP


def test_a_server_that_does_not_say_how_long_the_file_is(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Headers({"Content-Length": ""})]
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.plan += [Status(status, {"Retry-After": "0"}), Status(status)]
    assert get(server, tmp_path / "file.bin") == SHA256
    assert len(server.requests) == 3


def test_tries_are_bounded(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Status(503)] * 20
    with pytest.raises(UserError, match=r"file\.bin is in trouble or busy \(503\)"):
        get(server, tmp_path / "file.bin")
    assert len(server.requests) == len(AT_ONCE) + 1


def test_tries_begin_anew_when_much_has_come(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = bytes(8_000_000)
    server.plan += [Cut(1_000_000) for _ in range(7)]
    get(server, tmp_path / "file.bin", sha256=None, size=None)
    assert len(server.requests) == 8 > len(AT_ONCE) + 1


def test_tries_that_always_begin_anew_are_bounded(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = bytes(4_000_000)
    other_range = Headers({"Content-Range": "bytes 7-3999999/4000000"})
    server.plan += [event for _ in range(20) for event in (Cut(2_000_000), other_range)]
    with pytest.raises(UserError, match="cannot be reached"):
        get(server, tmp_path / "file.bin", sha256=None, size=None)
    assert len(server.requests) <= 2 * len(AT_ONCE)


def test_a_server_that_asks_for_too_long_a_wait_is_left_alone(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Status(429, {"Retry-After": "86400"})]
    with pytest.raises(UserError, match="429"):
        get(server, tmp_path / "file.bin")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "sentence"), [(401, "not open"), (403, "not open"), (404, "not there"), (410, "not there"), (451, "refuses")]
)
def test_a_refusal_is_told_at_once_with_what_to_do(server: FileServer, tmp_path: Path, status: int, sentence: str) -> None:
    server.plan += [Status(status)]
    with pytest.raises(UserError, match=rf"{sentence}.*\({status}\); see the authors' page"):
        get(server, tmp_path / "file.bin")
    assert len(server.requests) == 1


def test_redirects_are_followed_and_the_range_goes_with_them(server: FileServer, tmp_path: Path) -> None:
    there = Status(302, {"Location": f"/{NAME}"})
    server.plan += [there, Cut(10_000), there]
    fetch(CLIENT, f"{server.url}/moved", tmp_path / "file.bin", sha256=SHA256, waits=AT_ONCE)
    assert server.requests[-1] == (NAME, "bytes=10000-", 206)


def test_a_redirect_without_end_is_told(server: FileServer, tmp_path: Path) -> None:
    server.plan += [Status(302, {"Location": f"/{NAME}"})] * 40
    with pytest.raises(UserError, match="cannot be fetched"):
        get(server, tmp_path / "file.bin")


@pytest.mark.parametrize("url", ["ftp://example.org/a", "/a", "http://"])
def test_what_is_no_web_address_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="no web address"):
        fetch(CLIENT, url, tmp_path / "file.bin", waits=AT_ONCE)


def test_a_server_that_is_not_there_is_told_without_a_password(tmp_path: Path) -> None:
    with serving() as gone:
        port = gone.url.rpartition(":")[2]
    with pytest.raises(UserError, match="cannot be reached") as told:
        fetch(CLIENT, f"http://me:secret@127.0.0.1:{port}/a", tmp_path / "a", waits=(0.0,))
    assert "secret" not in str(told.value)
    assert f"http://127.0.0.1:{port}/a" in str(told.value)


def test_a_full_disk_is_told(server: FileServer, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"is full\. What came is kept; make room"):
        get(server, tmp_path / "file.bin")


def test_a_folder_that_cannot_be_is_told(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be read or written: File exists"):
        get(server, tmp_path / "file" / "file.bin")


def test_more_than_the_disk_holds_is_not_begun(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are needed"):
        require_room(tmp_path, 10**18)
    server.plan += [Headers({"Content-Length": str(10**18)})]
    with pytest.raises(UserError, match="are needed"):
        get(server, tmp_path / "file.bin", size=None)
    assert names(tmp_path) == []


def test_an_address_is_shown_without_its_user() -> None:
    assert shown("https://me:secret@example.org/a/b") == "https://example.org/a/b"
    assert shown("https://example.org/a/b") == "https://example.org/a/b"
