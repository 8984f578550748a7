"""`python -m dataset_builders.publish` against the loopback Hub, and what `load_dataset` then finds there."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi

from common import publishing
from common.dataset import data_file, data_pattern
from common.errors import UserError
from common.publishing import Destination
from dataset_builders.dataset_files import write_checksums
from dataset_builders.publish import assemble, main, read_dataset
from tests.hub import BOB, Finished, Hub, run_main

pytestmark = pytest.mark.usefixtures("hub_client")
TURN = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXTS = ("task", "family", "answer", "source", "licence", "group", "sample_id")
SCHEMA = pa.schema([("prompt", TURN), ("completion", TURN), *((name, pa.string()) for name in TEXTS)])


def row(task: str, family: str, number: int, answer: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"{task}, question {number}: schön, 日本語, 👍?"}],
        "completion": [{"role": "assistant", "content": str(answer)}],
        "task": task,
        "family": family,
        "answer": json.dumps(answer),
        "source": "made_here",
        "licence": "Apache-2.0",
        "group": f"product-{number}",
        "sample_id": f"{task}-{number}",
    }


def write_dataset(folder: Path, train: int = 20, test: int = 4, tasks: tuple[str, ...] = ("review_rating", "also_buy")) -> Path:
    """A folder as a build leaves it: data, picture, card, manifest and checksums; an earlier one goes."""
    shutil.rmtree(folder, ignore_errors=True)
    answers = {"review_rating": ("multiple_choice", "4"), "also_buy": ("retrieval", [2, 7])}
    configs = {"default": tasks} | {answers[task][0]: (task,) for task in tasks} | {task: (task,) for task in tasks}
    for task in tasks:
        for split, number in (("train", train), ("test", test)):
            path = folder / data_file(task, split)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [row(task, answers[task][0], each, answers[task][1]) for each in range(number)]
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "rows.png").write_bytes(b"a picture")
    card = [
        {"config_name": config, "data_files": [data_files(split, members) for split in ("train", "test")]}
        for config, members in configs.items()
    ]
    block = yaml.safe_dump({"license": "apache-2.0", "configs": card})
    (folder / "README.md").write_text(f'---\n{block}---\n\n# Rows\n\n    load_dataset("org/name", "review_rating")\n')
    counts = {
        config: {"train": train * len(members), "test": test * len(members), "fingerprint": "0"}
        for config, members in configs.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"configs": counts, "rejects": {}, "seed": 0}))
    return with_checksums(folder)


def with_checksums(folder: Path) -> Path:
    write_checksums(folder, [path for path in folder.glob("*/**/*") if path.is_file()])
    return folder


BESIDE = ("README.md", "manifest.json", "checksums.txt", "images/rows.png")
DOUBLED = {"default": 60, "multiple_choice": 40, "review_rating": 40}
"""Train rows of the configs with `review_rating`, if its rows are there twice."""


def data_files(split: str, tasks: tuple[str, ...]) -> dict[str, Any]:
    return {"split": split, "path": [data_pattern(task, split) for task in tasks]}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


def publish(folder: Path, repo_id: str, *options: str) -> Finished:
    done = run_main(main, "--data", folder, "--repo-id", repo_id, *options)
    assert done.returncode == 0, done.stderr
    return done


def run_python(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=False)


def load(code: str, env: dict[str, str]) -> Any:
    """What `code` is, through JSON, in a fresh process that has `load_dataset`."""
    done = run_python(f"import json; from datasets import load_dataset; print(json.dumps({code}))", env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_published_dataset_loads_elsewhere_as_it_is_here(hub: Hub, dataset: Path) -> None:
    for name in ("rejects/made_here.jsonl", "images/draft.png"):
        (dataset / name).parent.mkdir(exist_ok=True)
        (dataset / name).write_text('{"reviewer": "not for the Hub"}')
    with_checksums(dataset)
    done = publish(dataset, "org/rows")
    assert hub.commits("org/rows", "dataset") == ["Publish 48 rows of 2 tasks"]
    assert set(hub.files("org/rows", "dataset")) == {
        *BESIDE,
        "eval.yaml",
        *(data_file(task, split) for task in ("review_rating", "also_buy") for split in ("train", "test")),
    }
    assert b'load_dataset("org/rows", "review_rating")' in hub.files("org/rows", "dataset")["README.md"]
    assert done.stdout.splitlines()[-2:] == [
        f"published: {hub.endpoint}/datasets/org/rows",
        'load_dataset("org/rows", "review_rating")',
    ]
    code = """{
        "rows": load_dataset("org/rows", "review_rating", split="train").to_list(),
        "all": {split: len(rows) for split, rows in load_dataset("org/rows").items()},
        "streamed": next(iter(load_dataset("org/rows", "retrieval", split="test", streaming=True))),
    }"""
    loaded = load(code, hub.env())
    assert loaded["rows"] == pq.read_table(dataset / data_file("review_rating", "train")).to_pylist()
    assert loaded["all"] == {"train": 40, "test": 8}
    assert loaded["streamed"] == row("also_buy", "retrieval", 0, [2, 7])


def test_a_private_dataset_loads_for_its_organisation_only(hub: Hub, dataset: Path) -> None:
    publish(dataset, "org/private", "--private")
    assert load('len(load_dataset("org/private", split="test"))', hub.env()) == 8
    refused = run_python('from datasets import load_dataset; load_dataset("org/private")', hub.env(token=BOB))
    assert "DatasetNotFoundError" in refused.stderr


def test_publishing_twice_changes_nothing(hub: Hub, dataset: Path) -> None:
    publish(dataset, "org/twice")
    head = hub.head("org/twice", "dataset")
    again = publish(dataset, "org/twice")
    assert f"nothing to do, it is all there: {hub.endpoint}/datasets/org/twice" in again.stdout
    assert hub.head("org/twice", "dataset") == head


def test_a_changed_dataset_replaces_the_old_one_and_leaves_what_others_put_there(hub: Hub, tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "dataset")
    # An earlier build of so many rows that they needed two files.
    train = first / data_file("review_rating", "train")
    shutil.copy(train, first / data_file("review_rating", "train", 1, 2))
    train.rename(first / data_file("review_rating", "train", 0, 2))
    edit_manifest(lambda configs: [configs[name].update(train=rows) for name, rows in DOUBLED.items()])(first)
    publish(with_checksums(first), "org/changed")
    assert data_file("review_rating", "train", 1, 2) in hub.files("org/changed", "dataset")
    theirs = "data/theirs/train-00000-of-00001.parquet"
    HfApi().upload_file(path_or_fileobj=b"x", path_in_repo=theirs, repo_id="org/changed", repo_type="dataset")
    publish(write_dataset(tmp_path / "dataset", train=30, tasks=("review_rating",)), "org/changed")
    assert set(hub.files("org/changed", "dataset")) == {
        *BESIDE,
        "eval.yaml",
        theirs,
        data_file("review_rating", "train"),
        data_file("review_rating", "test"),
    }
    assert len(hub.commits("org/changed", "dataset")) == 3
    assert load('len(load_dataset("org/changed", split="train"))', hub.env()) == 30


def test_a_branch_is_published_beside_main(hub: Hub, dataset: Path) -> None:
    done = publish(dataset, "org/branched", "--revision", "v2")
    assert done.stdout.splitlines()[-1] == 'load_dataset("org/branched", "review_rating", revision="v2")'
    assert hub.files("org/branched", "dataset") == {}
    assert "manifest.json" in hub.files("org/branched", "dataset", "v2")


def test_a_dry_run_lists_the_dataset(hub: Hub, dataset: Path) -> None:
    before = len(hub.requests)
    done = publish(dataset, "org/dry", "--dry-run")
    assert "would upload 9 files, " in done.stdout
    assert f"to {hub.endpoint}/datasets/org/dry (branch main):" in done.stdout
    assert len(hub.requests) == before


def test_two_publishers_at_once_leave_one_of_the_two_datasets_whole(hub: Hub, tmp_path: Path) -> None:
    folders = [write_dataset(tmp_path / str(train), train=train) for train in (5, 6)]
    publishers = [
        threading.Thread(
            target=publishing.publish, args=(partial(assemble, dataset=read_dataset(folder)), Destination("org/race"))
        )
        for folder in folders
    ]
    with hub.hold("POST .*/org/race/commit/main") as held:
        for publisher in publishers:
            publisher.start()
        held.wait_for(2)
        held.release()
        for publisher in publishers:
            publisher.join()
    assert len(hub.commits("org/race", "dataset")) == 2
    published = hub.files("org/race", "dataset")
    for written in ("README.md", "eval.yaml"):
        del published[written]
    local = [{path: (folder / path).read_bytes() for path in published} for folder in folders]
    assert published in local


def edit_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest["configs"])
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return damage


def write_card(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "README.md").write_text(text)

    return damage


def flip_a_byte(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 3] ^= 0xFF
        (folder / name).write_bytes(content)

    return damage


def no_parquet(folder: Path) -> None:
    (folder / TRAIN).write_bytes(b"no Parquet")
    with_checksums(folder)


def left_out_of_the_checksums(folder: Path) -> None:
    (folder / TRAIN).unlink()
    with_checksums(folder)


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


TRAIN = data_file("review_rating", "train")
DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "is not a folder; make it with python -m dataset_builders.build"),
    "an empty folder": (empty_folder, "is not a built dataset, it has no README.md and no manifest.json"),
    "no checksums": (lambda folder: (folder / "checksums.txt").unlink(), "it has no checksums.txt; build it again"),
    "no card": (lambda folder: (folder / "README.md").unlink(), "it has no README.md; build it again"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "it has no manifest.json; build it again"),
    "a card without a block": (write_card("# Rows\n"), "does not begin with a YAML block"),
    "a card without configs": (write_card("---\nlicense: mit\n---\n"), "does not begin with a YAML block"),
    "a card that is no YAML": (write_card("---\nconfigs: [\n---\n"), "does not begin with a YAML block"),
    "configs of another shape": (write_card("---\nconfigs: [{config_name: a, data_files: x}]\n---\n"), "does not begin with"),
    "a card that is no text": (lambda folder: (folder / "README.md").write_bytes(b"\xff\xfe"), "does not begin with"),
    "a manifest cut short": (lambda folder: (folder / "manifest.json").write_text('{"configs": {'), "not what a build writes"),
    "a manifest of nothing": (lambda folder: (folder / "manifest.json").write_text("[]"), "not what a build writes"),
    "a manifest without counts": (edit_manifest(lambda configs: configs["default"].pop("train")), "not what a build writes"),
    "counts that are no numbers": (edit_manifest(lambda configs: configs["default"].update(train="5")), "not what a build"),
    "other configs": (edit_manifest(lambda configs: configs.pop("also_buy")), "do not name the same configs (also_buy)"),
    "other counts": (
        edit_manifest(lambda configs: configs["review_rating"].update(test=5)),
        "review_rating has 4 test rows, but 5 in manifest.json",
    ),
    "a missing file": (
        lambda folder: (folder / TRAIN).unlink(),
        f"half a dataset: checksums.txt names {TRAIN}",
    ),
    "a missing picture": (lambda folder: (folder / "images/rows.png").unlink(), "checksums.txt names images/rows.png"),
    "a split without a file": (left_out_of_the_checksums, "config default names data/review_rating/train-*-of-*.parquet"),
    "a file that is no Parquet": (no_parquet, f"{TRAIN} cannot be read as Parquet"),
    "an empty file": (lambda folder: (folder / TRAIN).write_bytes(b""), f"{TRAIN} is damaged"),
    "a file cut short": (
        lambda folder: (folder / TRAIN).write_bytes((folder / TRAIN).read_bytes()[:-100]),
        f"{TRAIN} is damaged",
    ),
    "a flipped byte": (flip_a_byte(TRAIN), f"{TRAIN} is damaged, its sha256 is not that in checksums.txt"),
    "a flipped byte of a picture": (flip_a_byte("images/rows.png"), "images/rows.png is damaged"),
    "checksums that are none": (lambda folder: (folder / "checksums.txt").write_text("x\n"), "not what a build writes"),
    "a split without rows": (
        lambda folder: write_dataset(folder, test=0),
        "review_rating/test-00000-of-00001.parquet has no rows; build it again",
    ),
    "no rows": (lambda folder: write_dataset(folder, train=0, test=0), "dataset has no rows"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_folder_that_is_no_whole_build_is_refused(dataset: Path, damage: Callable[[Path], Any], sentence: str) -> None:
    damage(dataset)
    with pytest.raises(UserError) as raised:
        read_dataset(dataset)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_folder_reaches_no_hub(hub: Hub, dataset: Path) -> None:
    (dataset / TRAIN).unlink()
    before = len(hub.requests)
    done = run_main(main, "--data", dataset, "--repo-id", "org/damaged")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(hub.requests) == before
