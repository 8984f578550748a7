"""Assembling the Space's tree and putting it on the Hub."""

import ast
import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import metadata_load

from space.publish import EVALUATION, FILES, best_lists, space_address
from tests.space.conftest import REPO, run_publish, write_rows


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def modules_needed_by(tree: Path, name: str = "app.py", found: frozenset[str] = frozenset()) -> frozenset[str]:
    """Paths of the module and of all modules in the tree that it imports, those of their packages included."""
    path = tree / name
    found |= {name}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            package = path.parent if node.level else tree
            module = package.joinpath(*(node.module or "").split("."))
            files = [module.with_suffix(".py"), module.parent / "__init__.py"]
            files += [module / f"{alias.name}.py" for alias in node.names]
            for file in files:
                if file.is_file() and (imported := file.relative_to(tree).as_posix()) not in found:
                    found = modules_needed_by(tree, imported, found)
    return found


def test_the_tree_holds_what_the_space_needs_as_real_files_and_nothing_more(tree: Path) -> None:
    modules = {path.relative_to(tree).as_posix() for path in tree.rglob("*.py")}
    assert set(contents(tree)) == {*FILES, *EVALUATION, *modules}
    assert not any(path.is_symlink() for path in tree.rglob("*"))
    assert modules == modules_needed_by(tree)
    for module in modules:
        assert (tree / module).read_bytes() == next(
            (REPO / place / module).read_bytes() for place in ("space", "") if (REPO / place / module).is_file()
        )


def test_the_header_and_the_requirements_name_the_gradio_that_is_tested(tree: Path) -> None:
    header: dict[str, Any] = metadata_load(tree / "README.md") or {}
    version = importlib.metadata.version("gradio")
    assert header["sdk"] == "gradio"
    assert str(header["sdk_version"]) == version
    required = [line.split("#")[0].strip() for line in (tree / "requirements.txt").read_text().splitlines()]
    assert f"gradio[mcp]=={version}" in required
    assert (tree / header["app_file"]).is_file()
    assert header["license"] == "apache-2.0"
    assert not {"models", "datasets"} & set(header)


def test_the_torch_that_is_asked_for_is_one_of_zero_gpus() -> None:
    """ZeroGPU builds with no other: https://huggingface.co/docs/hub/spaces-zerogpu, list of 4 September 2026."""
    versions = ["2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0"]
    readme = " ".join((REPO / "space" / "README.md").read_text(encoding="utf-8").split())
    assert f"which are {', '.join(versions[:-1])} and {versions[-1]}" in readme
    (asked,) = re.findall(r"^torch==(\S+)", (REPO / "space" / "requirements.txt").read_text(), re.MULTILINE)
    assert asked == versions[-1]
    assert f"`torch=={versions[-2]}`" in readme


@pytest.mark.parametrize(
    ("repo_id", "address"),
    [("org/shop-demo", "https://org-shop-demo.hf.space"), ("My_Org/Shop.demo_2", "https://my-org-shop-demo-2.hf.space")],
)
def test_the_address_of_a_space_is_a_host_name(repo_id: str, address: str) -> None:
    assert space_address(repo_id) == address


def test_examples_come_from_the_test_rows_of_a_dataset_and_the_own_ones_fill_in(tmp_path: Path) -> None:
    words = ("A customer wrote this review of a product in ", ". How many stars out of 5 did the customer give?\n")
    rows = [(f"{words[0]}{number}{words[1]}Good.\nAnswer with one number: ", "4") for number in range(9)]
    rows.append(("long " * 2000, "1"))
    data = write_rows(tmp_path / "data", "review_rating", rows)
    done = run_publish("--out", tmp_path / "tree", "--data", data, "--examples", "3", "--dry-run")
    assert done.returncode == 0, done.stderr
    examples = json.loads((tmp_path / "tree" / "examples.json").read_text())
    ratings = [row for row in examples if row["task"] == "review_rating"]
    assert [(row["prompt"], row["answer"]) for row in ratings] == rows[:3]
    assert {row["origin"] for row in ratings} == {"test split of the dataset"}
    assert str(tmp_path) not in json.dumps(examples)
    assert len({row["task"] for row in examples}) == 12


def report(lists: dict[str, str], ranking: dict[str, float], task: str = "shop:query_product_ranking") -> dict[str, Any]:
    """As far as it says how lists were scored. Of scores.json of an earlier version it says nothing."""
    return {"tasks": [{"task": "shop:review_rating", "scores": {}}, {"task": task, "scores": ranking}]} | (
        {"lists": lists} if lists else {}
    )


def test_a_space_scores_lists_as_the_model_did_that_scored_them_best() -> None:
    scores = {"tuned": 0.7, "base_scored": 0.6, "one": 0.8, "other": 0.9}
    assert best_lists(report({"base_scored": "text", "one": "words", "other": "text"}, scores)) == "text"
    assert best_lists(report({"base_scored": "text", "one": "words"}, scores)) == "words"
    assert best_lists(report({}, scores)) == "words"
    assert best_lists(report({"one": "text"}, scores, task="shop:next_query")) == "words", "which has one form only"


def test_the_settings_of_an_assembled_space_have_the_form_of_its_report(tmp_path: Path, tree: Path) -> None:
    evaluation = json.loads((tree / "evaluation.json").read_text()) | {"lists": {}}
    names = evaluation["names"]
    line = evaluation["tasks"][0] | {"task": "shop:also_buy", "scores": dict.fromkeys(names, 0.5)}
    (tmp_path / "scores.json").write_text(json.dumps(evaluation | {"tasks": [line], "lists": {names[0]: "text"}}))
    assert run_publish("--out", tmp_path / "tree", "--results", tmp_path, "--dry-run").returncode == 0
    assert json.loads((tmp_path / "tree" / "settings.json").read_text())["lists"] == "text"
    assert json.loads((tree / "settings.json").read_text())["lists"] == "words"


def test_assembling_again_replaces_the_tree_and_leaves_nothing_beside_it(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "tree"
    shutil.copytree(tree, out)
    (out / "stale.py").write_text("")
    assert run_publish("--out", out, "--dry-run").returncode == 0
    assert set(contents(out)) == set(contents(tree)) - set(EVALUATION)  # and no earlier report's scores
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say where to: --repo-id org/name"),
        (["--repo-id", "name_alone", "--dry-run"], "namespace/name"),
        (["--out", "{}/new", "--dry-run", "--data", "{}/empty"], "holds no data/<task>/<split>-*.parquet"),
        (["--out", "{}/new", "--dry-run", "--data", "{}/torn"], "cannot be read as dataset rows"),
        (["--out", "{}/new", "--dry-run", "--examples", "0"], "--examples must be at least 1"),
        (["--out", "{}/new", "--dry-run", "--adapter", "{}/empty"], "must be a Hub id"),
        (["--out", "{}/new", "--dry-run", "--results", "{}/empty"], "holds no report/scores.json"),
        (["--out", "{}/new", "--dry-run", "--results", "{}/no_report"], "is not from a report"),
        (["--out", "{}/full", "--dry-run"], "holds something else"),
        (["--out", "{}/full/file", "--dry-run"], "is a file"),
        (["--out", "{}/full/file/below", "--dry-run"], "cannot be written"),
    ],
)
def test_a_bad_argument_is_told_in_a_sentence_and_writes_nothing(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_report").mkdir()
    (tmp_path / "no_report" / "scores.json").write_text("{}")
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


def test_scores_and_picture_are_those_of_the_report_and_the_folder_itself_will_do_too(
    tree: Path, report: Path, tmp_path: Path
) -> None:
    for name, written in EVALUATION.items():
        assert (tree / name).read_bytes() == (report / written).read_bytes()
    assert run_publish("--out", tmp_path / "tree", "--results", report, "--dry-run").returncode == 0
    assert (tmp_path / "tree" / "evaluation.json").read_bytes() == (report / "scores.json").read_bytes()


def test_a_space_that_asks_an_endpoint_installs_no_models_packages(tree: Path, tmp_path: Path) -> None:
    done = run_publish("--out", tmp_path / "tree", "--backend", "endpoint", "--dry-run")
    assert done.returncode == 0, done.stderr
    required = (tmp_path / "tree" / "requirements.txt").read_text()
    assert required == (REPO / "space" / "requirements-endpoint.txt").read_text()
    assert "torch" not in required
    assert "torch" in (tree / "requirements.txt").read_text()


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
