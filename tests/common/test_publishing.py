"""The options and the commit that all publishing commands share, and what a user is told when the Hub refuses."""

import argparse
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import constants

from common import publishing
from common.errors import plain_errors
from common.publishing import Destination, Upload
from tests.hub import ALICE, BOB, READER, Finished, Hub, run_main


def assemble(folder: Path, destination: Destination) -> Upload:
    (folder / "file.txt").write_text(f"of {destination.repo_id}\n")
    (folder / "not_published.txt").write_text("")
    return Upload(folder, "dataset", "A file", ["file.txt"])


def command(words: list[str], *, out: bool) -> None:
    parser = argparse.ArgumentParser()
    publishing.add_options(parser, "dataset", out=out)
    arguments = parser.parse_args(words)
    with plain_errors():
        publishing.publish(assemble, publishing.destination_of(arguments))


def run(*words: object, out: bool = False) -> Finished:
    return run_main(partial(command, out=out), *words)


def test_the_assembled_files_become_one_commit_and_a_second_time_none(hub_client: Hub) -> None:
    url = f"{hub_client.endpoint}/datasets/org/publishing"
    assert run("--repo-id", "org/publishing").stdout == f"published: {url}\n"
    assert hub_client.files("org/publishing", "dataset") == {"file.txt": b"of org/publishing\n"}
    assert run("--repo-id", "org/publishing").stdout == f"nothing to do, it is all there: {url}\n"
    assert hub_client.commits("org/publishing", "dataset") == ["A file"]


def test_options_reach_the_repository(hub_client: Hub) -> None:
    assert run("--repo-id", "org/publishing-hidden", "--private", "--revision", "v2").returncode == 0
    assert hub_client.repo("org/publishing-hidden", "dataset").private
    assert hub_client.files("org/publishing-hidden", "dataset") == {}
    assert "file.txt" in hub_client.files("org/publishing-hidden", "dataset", "v2")


def test_a_dry_run_needs_no_token_and_no_hub(hub_client: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub_client.requests)
    done = run("--repo-id", "org/publishing-dry", "--dry-run")
    assert done.stdout.startswith(f"would upload 1 files, 0.0 kB, to {hub_client.endpoint}/datasets/org/publishing-dry")
    done = run("--out", tmp_path, "--dry-run", out=True)
    assert done.stdout == f"assembled: {tmp_path}\n"
    assert (tmp_path / "file.txt").read_text() == "of \n"
    assert len(hub_client.requests) == before


REFUSALS = {
    "no token": ({"HF_TOKEN": ""}, "org/new", "publishing needs a token; log in with `hf auth login` or set HF_TOKEN"),
    "unknown token": ({"HF_TOKEN": "hf_unknown"}, "org/new", "does not accept the token; log in with `hf auth login`"),
    "a token that may only read": ({"HF_TOKEN": READER}, "org/new", "the token may not write to org/new"),
    "someone else's namespace": ({"HF_TOKEN": BOB}, "org/new", "use one with write access to org"),
    "a name without namespace": ({}, "new", "must be named namespace/name"),
}


@pytest.mark.parametrize(("environment", "repo_id", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_one_sentence_and_exit_code_2(
    hub_client: Hub, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], repo_id: str, sentence: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refused(run("--repo-id", repo_id), sentence)
    assert not hub_client.exists("org/new", "dataset")


def refused(done: Finished, sentence: str) -> None:
    (error,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert error.startswith("error: ")
    assert sentence in error
    assert ALICE not in done.stdout + done.stderr


def test_offline_mode_is_explained(hub_client: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(run("--repo-id", "org/new"), "offline mode is on; unset HF_HUB_OFFLINE")


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--out", "x"]])
def test_without_a_repository_there_must_be_a_folder_and_a_dry_run(words: list[str]) -> None:
    refused(run(*words, out=True), "say where to: --repo-id org/name, or --out DIR --dry-run to assemble the folder only")
