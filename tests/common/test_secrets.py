"""What is found in files that are about to be published, and what is no secret."""

import re
from pathlib import Path

import pytest

from common.errors import UserError
from common.secrets import check_nothing_private

TOKEN = b"hf_" + b"AbCdEfGhIjKlMnOpQrStUvWxYz012345"
"""In two pieces, as one that is written out looks like one that was lost."""


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's home, the folder of a checkout, and a token in use that looks like no other."""
    for name in ("home/somebody", "checkout/here", "run/adapter"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "somebody"))
    monkeypatch.setenv("HF_TOKEN", "of another shape")
    monkeypatch.chdir(tmp_path / "checkout" / "here")


def check(folder: Path, content: bytes, name: str = "file.json") -> None:
    (folder / name).write_bytes(content)
    check_nothing_private(folder, [name], [folder / "run" / "adapter"])


@pytest.mark.parametrize(
    "content",
    [
        b'{"token": "' + TOKEN + b'"}',
        b"OPENAI_API_KEY=sk-proj-" + b"a1" * 20,
        b"\0\0\xff binary " + TOKEN + b" \0",
        b"a file with of another shape in it",
    ],
)
def test_a_token_is_found_wherever_it_stands(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"^file\.json holds what looks like a token; take it out"):
        check(tmp_path, content)


@pytest.mark.parametrize("place", ["home/somebody/models/x", "checkout/here/outputs", "run/adapter"])
def test_a_place_of_this_machine_is_found(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match=r"^file\.json names a folder of this machine"):
        check(tmp_path, f'{{"base": "{tmp_path / place}"}}'.encode())


def test_a_place_behind_a_link_is_found_under_both_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run" / "adapter")
    for place in (tmp_path / "link", tmp_path / "run" / "adapter"):
        (tmp_path / "file").write_text(str(place))
        with pytest.raises(UserError, match=re.escape("file names a folder of this machine")):
            check_nothing_private(tmp_path, ["file"], [tmp_path / "link"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"sk-hynix-platinum-p41-nvme-solid-state-drive-2tb-with-heatsink",
        b"hf_hub_download, hf_transfer and HF_TOKEN",
        b"POST /v1/chat/completions, see https://huggingface.co/home/somebody",
        b"usr/bin and home/somebody",
    ],
)
def test_what_only_looks_like_one_goes_through(tmp_path: Path, content: bytes) -> None:
    check(tmp_path, content)


def test_without_a_token_there_is_none_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    check(tmp_path, b"anything")
