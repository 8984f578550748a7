"""Replies on disk: what goes in comes out, by one process at a time, and no kill tears it."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.labelling import reply_store as replies_module
from dataset_builders.labelling.reply_store import FILE, ReplyStore
from dataset_builders.labelling.requests import NO_ANSWER, LabelReply, LabelRequest

REPOSITORY = Path(__file__).parents[3]

keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
replies = st.builds(LabelReply, texts, texts, st.integers(0, 10**6), st.integers(0, 10**6))


def label_requests(count: int) -> list[LabelRequest]:
    return [LabelRequest((("user", f"Rate product {number}."),), 8) for number in range(count)]


@settings(max_examples=25)  # each opens a file several times
@given(st.lists(st.dictionaries(keys, replies, max_size=5), max_size=4))
def test_the_last_reply_of_a_key_is_read_back_also_later(rounds: list[dict[str, LabelReply]]) -> None:
    expected: dict[str, LabelReply] = {}
    with TemporaryDirectory() as folder:
        for found in rounds:
            with ReplyStore(Path(folder)) as store:
                store.put(found)
                expected |= found
                assert {key: store.get(key) for key in expected} == expected
        with ReplyStore(Path(folder)) as store:
            assert {key: store.get(key) for key in expected} == expected
            assert store.get("ff" * 31 + "00") == expected.get("ff" * 31 + "00")


def test_missing_are_those_without_a_reply_for_this_model_each_once_in_order(tmp_path: Path) -> None:
    requests = label_requests(6)
    with ReplyStore(tmp_path / "new" / "folder") as store:
        store.put({requests[1].key("m"): LabelReply("3"), requests[2].key("m"): LabelReply("", "too long")})
        store.put(
            {requests[3].key("m"): LabelReply("", f"{NO_ANSWER} in 9 tries: 500"), requests[4].key("other"): LabelReply("1")}
        )
        assert list(store.missing([*requests, *requests], "m")) == [requests[0], *requests[3:]]


def test_asks_are_taken_one_by_one_and_replies_that_came_meanwhile_are_seen(tmp_path: Path) -> None:
    requests, taken = label_requests(4), 0

    def counted() -> Iterator[LabelRequest]:
        nonlocal taken
        for taken, request in enumerate(requests, 1):  # noqa: B007
            yield request

    with ReplyStore(tmp_path) as store:
        missing = store.missing(counted(), "m")
        assert taken == 0
        assert next(missing) == requests[0]
        assert taken == 1
        store.put({requests[1].key("m"): LabelReply("3")})
        assert next(missing) == requests[2]


def test_the_log_does_not_grow_while_asks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies_module, "LOG_PAGES", 500)
    requests = label_requests(300)
    with ReplyStore(tmp_path) as store:
        for request in store.missing(iter(requests), "m"):
            store.put({request.key("m"): LabelReply("x" * 40_000)})
        grown = (tmp_path / f"{FILE}-wal").stat().st_size
    assert grown < 300 * 40_000 / 2


def test_one_process_has_a_folder_and_another_one_is_told(tmp_path: Path) -> None:
    with ReplyStore(tmp_path):
        script = (
            "import sys\nfrom pathlib import Path\nfrom dataset_builders.labelling.reply_store import ReplyStore\n"
            "from common.errors import plain_errors\n"
            "with plain_errors(), ReplyStore(Path(sys.argv[1])):\n    print('opened')\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert second.stderr == f"error: another run is using {tmp_path}; wait for it to end, or give another folder\n"
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout == "opened\n"


WRITER = """
import sys
from pathlib import Path
from dataset_builders.labelling import reply_store as replies_module
from dataset_builders.labelling.requests import LabelReply
from dataset_builders.labelling.reply_store import ReplyStore
replies_module.LOG_PAGES = 10**6  # else a writer that is killed late has begun its log anew
with ReplyStore(Path(sys.argv[1])) as store:
    for number in range(100_000):
        store.put({f"{number:064x}": LabelReply("x" * 100), f"{number + 500_000:064x}": LabelReply("", "too long")})
        print(number, flush=True)
"""


def written(store: ReplyStore) -> int:
    """How many pairs are there; they are put in order and both at once."""
    number = 0
    while store.get(f"{number:064x}"):
        number += 1
    assert store.get(f"{number + 500_000 - 1:064x}")
    assert not store.get(f"{number + 500_000:064x}")
    return number


def test_what_was_put_outlasts_a_kill_and_nothing_is_there_by_half(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) == 40:
                os.kill(process.pid, signal.SIGKILL)
                break
        told = 41 + sum(1 for _ in process.stdout)
    shutil.copytree(tmp_path / "out", tmp_path / "torn")
    with ReplyStore(tmp_path / "out") as store:
        whole = written(store)
        assert told <= whole <= told + 1

    # A power cut may tear the log. Its half is well before what the killed process was writing, so whole replies are lost.
    log = tmp_path / "torn" / f"{FILE}-wal"
    os.truncate(log, log.stat().st_size // 2)
    (tmp_path / "torn" / f"{FILE}-shm").unlink()
    with ReplyStore(tmp_path / "torn") as store:
        assert 0 < written(store) < whole
        store.put({"00" * 32: LabelReply("4")})
        assert store.get("00" * 32) == LabelReply("4")


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 10, b"SQLite format 3\0" * 50])
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=rf"the replies in .*{FILE} cannot be read or written"), ReplyStore(tmp_path):
        pass
    assert (tmp_path / FILE).read_bytes() == content


def test_a_database_that_is_damaged_inside_is_told(tmp_path: Path) -> None:
    requests = label_requests(200)
    with ReplyStore(tmp_path) as store:
        store.put({request.key("m"): LabelReply("x" * 200) for request in requests})
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(0).randbytes((tmp_path / FILE).stat().st_size - 4096))
    with pytest.raises(UserError, match="cannot be read or written"), ReplyStore(tmp_path) as store:
        list(store.missing(requests, "m"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"file/out cannot be used .*; give another folder"),
        ReplyStore(tmp_path / "file" / "out"),
    ):
        pass


def test_the_file_is_plain_sqlite(tmp_path: Path) -> None:
    with ReplyStore(tmp_path) as store:
        store.put({"ab" * 32: LabelReply("größer\x00als", "", 7, 2)})
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("SELECT hex(key), text, prompt_tokens FROM replies").fetchall() == [
            ("AB" * 32, "größer\x00als", 7)
        ]
    connection.close()


def test_replies_are_put_on_the_disk_itself_by_another_thread_while_more_are_put(tmp_path: Path) -> None:
    with ReplyStore(tmp_path) as store, ThreadPoolExecutor(1) as pool:
        store.sync()
        synchronised = []
        for number in range(20):
            synchronised.append(pool.submit(store.sync))
            store.put({f"{number:064x}": LabelReply("3")})
        assert [one.result() for one in synchronised] == [None] * 20
        assert all(store.get(f"{number:064x}") for number in range(20))


def test_a_first_try_is_kept_beside_replies(tmp_path: Path) -> None:
    with ReplyStore(tmp_path) as store:
        assert store.first_try("ab" * 32) is None
        store.put_first_try("ab" * 32, "three", "it is no JSON")
        store.put_first_try("ab" * 32, "four", "it is no JSON either")
        assert store.get("ab" * 32) is None
    with ReplyStore(tmp_path) as store:
        assert store.first_try("ab" * 32) == ("three", "it is no JSON")
