"""common/dataset.py: a dataset or model by folder or Hub id, its manifest and its rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.dataset import (
    ConfigInfo,
    Manifest,
    SourceInfo,
    commit_of,
    data_file,
    find_file,
    find_folder,
    load_dataset,
    looks_like_path,
    parse_manifest,
    read_manifest,
    read_split,
    split_revision,
)
from common.errors import UserError
from tests.eval_tasks.rows import write_dataset
from tests.hub import Hub

ROOT = Path(__file__).parents[2]

# Names


@pytest.mark.parametrize(
    ("name", "path"), [("org/name", False), ("name", False), ("./name", True), ("/a/b", True), ("a/b/c", True), ("../a", True)]
)
def test_what_cannot_be_a_hub_id_is_a_path(name: str, path: bool) -> None:
    assert looks_like_path(name) == path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("org/name@v1", ("org/name", "v1")),
        ("org/name@refs/pr/1", ("org/name", "refs/pr/1")),
        ("org/name", ("org/name", None)),
        ("/home/me@work/adapter", ("/home/me@work/adapter", None)),
        ("outputs/demo/adapter", ("outputs/demo/adapter", None)),
    ],
)
def test_a_revision_follows_the_name_of_a_hub_repository(name: str, parts: tuple[str, str | None]) -> None:
    assert split_revision(name) == parts


def test_a_folder_with_an_at_sign_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name@v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert split_revision("org/name@v1") == ("org/name@v1", None)


def test_a_revision_given_twice_must_be_the_same() -> None:
    with pytest.raises(UserError, match="--data org/name has the revision v1 behind its @, and v2 is given too; give one"):
        find_file("org/name@v1", "manifest.json", "v2")


# Manifest


def test_a_manifest_is_read_as_far_as_it_goes() -> None:
    manifest = parse_manifest(
        {
            "configs": {"default": {"train": 3, "test": "many", "fingerprint": 5}, "broken": 7},
            "sources": {"esci": {"licence": "Apache-2.0", "read": 9, "used": 4}},
            "licences": {"merrec": ["CC-BY-NC-4.0"]},
            "rejects": {"esci": {"no title": 3, "no query": 2}},
            "locales": ["us", "jp"],
            "synthetic": True,
        }
    )
    assert manifest == Manifest(
        hub_id=None,
        revision=None,
        configs={"default": ConfigInfo(3, None, None)},
        sources={"esci": SourceInfo("Apache-2.0", 9, 4, 5), "merrec": SourceInfo("CC-BY-NC-4.0", None, None, 0)},
        locales=("us", "jp"),
        synthetic=True,
    )
    assert manifest.languages == ["en", "ja"]
    assert parse_manifest({}) == Manifest(None, None, {}, {}, (), False)
    assert parse_manifest({}).languages == ["en"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds no manifest.json; give the --out of python -m dataset_builders.build, or its Hub id"),
        ("{", "manifest.json cannot be read as JSON"),
        ("[]", "manifest.json holds no JSON object; write it again"),
    ],
)
def test_a_folder_without_a_sound_manifest_is_refused(content: str | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError) as refused:
        read_manifest(str(tmp_path), option="SHOP_DATASET")
    assert str(refused.value).startswith(f"SHOP_DATASET={tmp_path}")
    assert sentence in str(refused.value)


# Rows


def test_rows_are_those_of_the_split_and_the_tasks(tmp_path: Path) -> None:
    dataset = str(write_dataset(tmp_path / "dataset", ["also_buy", "answerability"], rows=2))
    found = read_split(dataset, "test")
    assert {task: table.num_rows for task, table in found.items()} == {"answerability": 2, "also_buy": 2}
    assert list(read_split(dataset, "train", ["also_buy", "next_query"])) == ["also_buy"]
    assert found["also_buy"].to_pylist() == load_dataset(dataset, "also_buy", "test").to_list()


def test_damaged_rows_are_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["also_buy"])
    (dataset / data_file("also_buy", "test")).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"^--data .* its test rows cannot be read \(.*\); build it again$"):
        read_split(str(dataset), "test")


# The Hub

SCRIPT = """
import sys
from common.dataset import *
from common.errors import UserError
try:
    print(eval(sys.argv[1]))
except UserError as error:
    print(error)
"""


def hub_says(hub: Hub, home: Path, expression: str, **more: str) -> str:
    environment = hub.env(home=home, **more)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, expression], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_dataset_on_the_hub_is_read_at_its_revision_and_from_the_cache(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for rows in (4, 6):
        dataset = write_dataset(tmp_path / f"dataset{rows}", ["also_buy"], rows=rows)
        command = [Path(sys.executable).parent / "hf", "upload", "org/opened", dataset, "--repo-type", "dataset"]
        subprocess.run(command, env=hub.env(home=home), check=True, capture_output=True)
        if rows == 4:
            first = hub.head("org/opened", "dataset")
    second = hub.head("org/opened", "dataset")

    facts = "(lambda found: (found.hub_id, found.revision, found.configs['also_buy'].test))(read_manifest({!r}))"
    assert hub_says(hub, home, facts.format(f"org/opened@{first}")) == str(("org/opened", first, 4))
    assert hub_says(hub, home, facts.format("org/opened")) == str(("org/opened", second, 6))
    assert hub_says(hub, home, facts.format("org/opened"), HF_HUB_OFFLINE="1") == str(("org/opened", second, 6))
    rows_at = "read_split({!r}, 'test')['also_buy'].num_rows"
    assert [hub_says(hub, home, rows_at.format(name)) for name in (f"org/opened@{first}", "org/opened")] == ["4", "6"]


def test_what_the_hub_does_not_have_is_refused_in_one_sentence(hub: Hub, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", ["also_buy"], rows=1)
    command = [Path(sys.executable).parent / "hf", "upload", "org/there", dataset, "--repo-type", "dataset"]
    subprocess.run(command, env=hub.env(home=tmp_path / "home"), check=True, capture_output=True)
    expected = {
        "find_file('org/nothing', 'manifest.json')": "--data org/nothing is no folder here and no dataset on http://",
        "find_folder('org/nothing', ['*.json'], kind='model', option='--base')": "--base org/nothing is no folder here and no "
        "model on http://",
        "load_dataset('org/nothing')": "--dataset_name org/nothing cannot be loaded: Dataset 'org/nothing' doesn't exist on "
        "the Hub or cannot be accessed; check the name, the config and the split, or run: hf auth login",
        "read_manifest('org/there', 'v7')": "--data org/there has no revision v7; give a branch, a tag or a commit of it",
        "load_dataset('org/there@v7')": "--dataset_name org/there cannot be loaded: Revision 'v7' doesn't exist for dataset",
        "find_file('org/there', 'other.json')": "--data org/there holds no other.json; give the --out of",
    }
    for expression, sentence in expected.items():
        said = hub_says(hub, tmp_path / "home", expression)
        assert said.startswith(sentence), expression
        assert "\n" not in said


def test_without_a_network_the_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for find in (lambda: find_file("org/none", "manifest.json", "v1"), lambda: find_folder("org/none", ["*"], "v1")):
        with pytest.raises(
            UserError, match=r"^--data org/none is no folder here, and cannot be had from the Hub at revision v1"
        ):
            find()


def test_a_file_of_a_folder_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "manifest.json") is None
    assert commit_of(Path(f"/cache/models--a--b/snapshots/{'0a' * 20}/config.json")) == "0a" * 20
