"""Assembling the Space's tree and putting it on the Hub."""

import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import metadata_load

from space.publish import FILES
from tests.space.conftest import REPO, run_publish, write_rows

LOCAL_MODULES = {path.stem for path in (REPO / "space").glob("*.py")} - {"__init__", "publish", "publish_all"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_tree_holds_what_the_space_needs_as_real_files_and_nothing_more(tree: Path) -> None:
    assert sorted(path.name for path in tree.iterdir()) == sorted(FILES)
    assert not any(path.is_symlink() for path in tree.iterdir())
    assert {Path(name).stem for name in FILES if name.endswith(".py")} == LOCAL_MODULES
    assert (tree / "tasks.py").read_bytes() == (REPO / "dataset_builders" / "tasks.py").read_bytes()


def test_the_header_and_the_requirements_name_the_gradio_that_is_tested(tree: Path) -> None:
    header: dict[str, Any] = metadata_load(tree / "README.md") or {}
    version = importlib.metadata.version("gradio")
    assert header["sdk"] == "gradio"
    assert str(header["sdk_version"]) == version
    assert f"gradio=={version}" in (tree / "requirements.txt").read_text().splitlines()
    assert (tree / header["app_file"]).is_file()
    assert header["license"] == "apache-2.0"
    assert not {"models", "datasets"} & set(header)


def test_examples_come_from_the_test_rows_of_a_dataset_and_the_own_ones_fill_in(tmp_path: Path) -> None:
    rows = [(f"Review: number {number}\nAnswer: ", "4") for number in range(9)] + [("long " * 2000, "1")]
    data = write_rows(tmp_path / "data", "review_rating", rows)
    done = run_publish("--out", tmp_path / "tree", "--data", data, "--examples", "3", "--dry-run")
    assert done.returncode == 0, done.stderr
    examples = json.loads((tmp_path / "tree" / "examples.json").read_text())
    ratings = [row for row in examples if row["task"] == "review_rating"]
    assert [(row["prompt"], row["answer"]) for row in ratings] == rows[:3]
    assert {row["origin"] for row in ratings} == {"test split of the dataset"}
    assert str(tmp_path) not in json.dumps(examples)
    assert len({row["task"] for row in examples}) == 12


def test_assembling_again_replaces_the_tree_and_leaves_nothing_beside_it(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "tree"
    shutil.copytree(tree, out)
    (out / "stale.py").write_text("")
    assert run_publish("--out", out, "--dry-run").returncode == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say where to: --repo-id org/name"),
        (["--repo-id", "name_alone", "--dry-run"], "namespace/name"),
        (["--out", "{}/new", "--dry-run", "--data", "{}/empty"], "holds no data/<task>/test-*.parquet"),
        (["--out", "{}/new", "--dry-run", "--data", "{}/torn"], "cannot be read as dataset rows"),
        (["--out", "{}/new", "--dry-run", "--examples", "0"], "--examples must be at least 1"),
        (["--out", "{}/new", "--dry-run", "--adapter", "{}/empty"], "must be a Hub id"),
        (["--out", "{}/full", "--dry-run"], "holds something else"),
        (["--out", "{}/full/file", "--dry-run"], "is a file"),
        (["--out", "{}/full/file/below", "--dry-run"], "cannot be written"),
    ],
)
def test_a_bad_argument_is_told_in_a_sentence_and_writes_nothing(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    torn = tmp_path / "torn" / "data" / "review_rating" / "test-00000-of-00001.parquet"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"PAR1")
    before = contents(tmp_path)
    done = run_publish(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path) == before


def test_what_is_on_the_hub_is_the_assembled_tree_and_publishing_twice_changes_nothing(tmp_path: Path, hub: Any) -> None:
    out = tmp_path / "tree"
    arguments = ("--repo-id", "org/space_publish", "--out", out, "--adapter", "org/adapter", "--dataset", "org/data")
    for times in (1, 2):
        done = run_publish(*arguments, env=hub.env())
        assert done.returncode == 0, done.stderr
        assert hub.files("org/space_publish", "space") == contents(out)
        assert len(hub.commits("org/space_publish", "space")) == 1, times
    header = metadata_load(out / "README.md") or {}
    assert header["models"] == ["HuggingFaceTB/SmolLM2-135M-Instruct", "org/adapter"]
    assert header["datasets"] == ["org/data"]
    assert json.loads((out / "settings.json").read_text())["adapter"] == "org/adapter"


def test_a_hub_that_refuses_is_told_in_a_sentence(hub: Any) -> None:
    done = run_publish("--repo-id", "org/space_refused", env=hub.env(token=""))
    assert done.returncode == 2
    assert "HF_TOKEN" in done.stderr
    assert not hub.exists("org/space_refused", "space")
