"""lighteval keeps generations; here real runs look for one that is taken for fresh when it is not.

Each test evaluates, changes one thing and evaluates again. What the second run says must be what it says without a cache.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from common.tasks import TASKS
from eval_tasks.backends.cache_key import BLOCKS, READ_WHOLE, folder_stamp, weights_stamp
from tests.eval_tasks.conftest import REPOSITORY
from tests.eval_tasks.rows import dataset_row, shopbench_records, write_lines
from tests.hub import Hub
from tests.small_dataset import write_small_dataset
from tests.tiny_llama import build_tiny_llama

Texts = dict[str, str]
"""Document's id -> what the model said."""

Evaluate = Callable[..., Texts]

GENERATION = "shop:query_generation|0"


@pytest.fixture(scope="module")
def app() -> Any:
    with torch.enable_grad():  # lighteval switches gradients off for the whole process
        from lighteval.__main__ import app
    return app


@pytest.fixture(scope="module")
def weights(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models that differ in nothing but the values of their weights."""
    return tiny_llama, build_tiny_llama(tmp_path_factory.mktemp("other") / "model", seed=1)


@pytest.fixture
def evaluate(app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Evaluate:
    """`lighteval accelerate` in this process; with `fresh` it has a cache of its own."""
    from typer.testing import CliRunner

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    count = iter(range(100))

    def run(model: str, task: str = GENERATION, *options: str, tasks_file: Path | None = None, fresh: bool = False) -> Texts:
        number = next(count)
        cache = tmp_path / (f"cache{number}" if fresh else "cache")
        if model.endswith(".yaml"):
            (tmp_path / f"{number}.yaml").write_text(Path(model).read_text().replace("CACHE", str(cache)))
            model = str(tmp_path / f"{number}.yaml")
        else:
            model += f",batch_size=4,cache_dir={cache}"
        file = tasks_file or REPOSITORY / "eval_tasks" / f"{task.partition(':')[0]}.py"
        out = tmp_path / f"out{number}"
        words = ["accelerate", model, task, "--custom-tasks", str(file), "--output-dir", str(out), "--save-details", *options]
        monkeypatch.setattr("sys.argv", ["lighteval", *words])
        with torch.enable_grad():
            done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output[-2000:]
        (details,) = out.rglob("details_*.parquet")
        return {row["doc"]["id"]: row["model_response"]["text"][0] for row in pq.read_table(details).to_pylist()}

    return run


@pytest.fixture
def model(weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder under a relative name, so that lighteval keeps nothing inside it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(weights[0], "model"))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_rows(tmp_path / "dataset", range(6))
    monkeypatch.setenv("SHOP_DATASET", str(folder))
    return folder


def write_rows(folder: Path, test: Sequence[int], train: Sequence[int] = range(6)) -> Path:
    splits = {
        split: [dataset_row(TASKS["query_generation"], number) for number in numbers]
        for split, numbers in (("train", train), ("test", test))
    }
    return write_small_dataset(folder, {"query_generation": splits})


def overwrite(path: Path, content: bytes) -> None:
    """Other content under the same name, size and time, as a tool that restores times leaves it."""
    stat = path.stat()
    assert len(content) == stat.st_size
    assert content != path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def substitute(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    overwrite(path, text.replace(old, new.ljust(len(old))).encode())


def test_the_same_run_again_is_answered_from_the_cache(model: Path, dataset: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    """Else none of the tests below could fail."""
    first = evaluate("model_name=model")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")}
    assert len(kept) == 1
    assert evaluate("model_name=model") == first
    shutil.copytree(model, "copy")
    shutil.rmtree(model)
    shutil.move("copy", "model")
    assert evaluate("model_name=model") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.parquet")} == kept


def assert_asked_anew(evaluate: Evaluate, before: Texts, *words: str, **options: Any) -> None:
    """What is said now is what is said without a cache, and not what was said before the change."""
    fresh = evaluate(*words, fresh=True, **options)
    assert any(fresh[number] != before[number] for number in fresh.keys() & before.keys())
    assert evaluate(*words, **options) == fresh


# --- The model ---


CHANGES: dict[str, Callable[[Path, Path], None]] = {
    "weights": lambda model, other: overwrite(model / "model.safetensors", (other / "model.safetensors").read_bytes()),
    "config": lambda model, _: substitute(model / "config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1.0'),
    "generation config": lambda model, _: substitute(
        model / "generation_config.json", '"do_sample": false,\n  "eos_token_id": 2', '"repetition_penalty": 9.0'
    ),
    "chat template": lambda model, _: substitute(model / "chat_template.jinja", "assistant", "Assistant"),
    "tokenizer": lambda model, _: substitute(model / "tokenizer.json", '"add_prefix_space": false', '"add_prefix_space": true'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_the_model_that_keeps_its_size_and_time(
    change: str, model: Path, weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate
) -> None:
    before = evaluate("model_name=model")
    CHANGES[change](model, weights[1])
    assert_asked_anew(evaluate, before, "model_name=model")


def test_large_weights_are_read_in_part(tmp_path: Path) -> None:
    """In so many places that a merge, which changes weights all over, cannot miss them. The rest is told by the time."""
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.truncate(2**30)  # takes no room on the disk
    first = folder_stamp(tmp_path)

    def write(place: int, byte: bytes, restore: bool = True) -> None:
        stat = file.stat()
        with file.open("r+b") as stream:
            stream.seek(place)
            stream.write(byte)
        if restore:
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    for place in (0, 2**30 - 1, (2**30 - READ_WHOLE // BLOCKS) * 20 // (BLOCKS - 1)):
        write(place, b"1")
        assert folder_stamp(tmp_path) != first
        write(place, bytes(1))
        assert folder_stamp(tmp_path) == first
    write(READ_WHOLE // BLOCKS, b"1")
    assert folder_stamp(tmp_path) == first
    write(READ_WHOLE // BLOCKS, b"1", restore=False)
    assert folder_stamp(tmp_path) != first


def test_a_card_written_beside_the_weights_is_no_other_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    first = folder_stamp(tmp_path)
    (tmp_path / "README.md").write_text("# Card")
    (tmp_path / "scores.png").write_bytes(b"picture")
    assert folder_stamp(tmp_path) == first
    (tmp_path / "config.json").write_text("{ }")
    assert folder_stamp(tmp_path) != first


def test_a_link_that_points_to_another_model(
    weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(weights[0])
    before = evaluate("model_name=link")
    Path("link").unlink()
    Path("link").symlink_to(weights[1])
    assert_asked_anew(evaluate, before, "model_name=link")


def test_one_relative_name_in_two_folders(
    weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in zip("ab", weights, strict=True):
        shutil.copytree(folder, tmp_path / name / "model")
    monkeypatch.chdir(tmp_path / "a")
    before = evaluate("model_name=model")
    monkeypatch.chdir(tmp_path / "b")
    assert_asked_anew(evaluate, before, "model_name=model")


def test_an_absolute_name(model: Path, weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate) -> None:
    """lighteval then keeps its answers in the model's own folder, whatever its cache_dir."""
    before = evaluate(f"model_name={model.resolve()}")
    assert evaluate(f"model_name={model.resolve()}") == before
    CHANGES["weights"](model, weights[1])
    after = evaluate(f"model_name={model.resolve()}")
    assert after == evaluate("model_name=model") != before


@pytest.mark.parametrize(
    "yaml",
    [
        "model_parameters:\n  model_name: model  # the tuned one\n  batch_size: 4\n  cache_dir: CACHE\n",
        "{'model_parameters': {'model_name': 'model', 'batch_size': 4, 'cache_dir': 'CACHE'}}",
    ],
)
def test_a_model_named_in_yaml(
    yaml: str, model: Path, weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(yaml)
    before = evaluate("config.yaml")
    CHANGES["weights"](model, weights[1])
    assert_asked_anew(evaluate, before, "config.yaml")


def test_a_tokenizer_from_elsewhere(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    shutil.copytree(model, "words")
    before = evaluate("model_name=model,tokenizer=words")
    CHANGES["tokenizer"](Path("words"), model)
    assert_asked_anew(evaluate, before, "model_name=model,tokenizer=words")


def cached_commit(cache: Path, commit: str, folder: Path) -> None:
    """A model in the Hub's local cache, as a download of `main` at that commit leaves it."""
    repo = cache / "models--org--tiny"
    shutil.copytree(folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)


def test_a_branch_of_the_hub_that_moved_on(
    weights: tuple[Path, Path], dataset: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached_commit(tmp_path / "hub", "1" * 40, weights[0])
    before = evaluate("model_name=org/tiny")
    cached_commit(tmp_path / "hub", "2" * 40, weights[1])
    assert_asked_anew(evaluate, before, "model_name=org/tiny")
    assert evaluate(f"model_name=org/tiny,revision={'1' * 40}") == before


def test_a_commit_is_the_one_that_the_hub_has_now_and_else_the_cached_one(hub: Hub, tmp_path: Path) -> None:
    def push(text: str) -> str:
        options = f'path_or_fileobj={text.encode()!r}, path_in_repo="config.json", repo_id="org/moving"'
        code = f'import huggingface_hub as h; h.create_repo("org/moving", exist_ok=True); h.upload_file({options})'
        subprocess.run([sys.executable, "-c", code], env=hub.env(), check=True)
        return hub.head("org/moving")

    def seen(**environment: str) -> list[str]:
        commits = '(hub_commit("org/moving", "config.json", name) for name in ("main", "v1", "no-such-branch"))'
        code = f"from eval_tasks.backends.cache_key import hub_commit; print(*{commits})"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=hub.env(home=tmp_path, **environment),
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        )
        return str(done.stdout).split(" ")

    first = push("{}")
    hub.repo("org/moving").branches["v1"] = first
    assert seen() == [first[:16], first[:16], "\n"]
    second = push("{ }")
    assert seen(HF_HUB_OFFLINE="1")[0] == first[:16]
    assert seen()[:2] == [second[:16], first[:16]]


def test_models_of_ones_own_keep_their_answers_themselves(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert weights_stamp(["accelerate", f"model_name={tmp_path}"])
    assert weights_stamp(["custom", f"model_name={tmp_path}"]) == ""


# --- What is asked ---


def test_generation_parameters(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    before = evaluate("model_name=model")
    assert_asked_anew(evaluate, before, "model_name=model,generation_parameters={repetition_penalty:9.0}")


def test_a_system_prompt(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    before = evaluate("model_name=model")
    assert_asked_anew(evaluate, before, "model_name=model,system_prompt=Shout")


def test_examples_in_the_prompt(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    before = evaluate("model_name=model")
    assert_asked_anew(evaluate, before, "model_name=model", GENERATION.replace("|0", "|2"))


def test_other_examples_in_the_prompt(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    task = GENERATION.replace("|0", "|2")
    before = evaluate("model_name=model", task)
    shutil.rmtree(dataset)
    write_rows(dataset, test=range(6), train=range(10, 16))
    assert_asked_anew(evaluate, before, "model_name=model", task)


@pytest.mark.parametrize("task", [GENERATION, GENERATION.replace("|0", "|2")])
def test_first_some_rows_and_then_all(task: str, model: Path, dataset: Path, evaluate: Evaluate) -> None:
    some = evaluate("model_name=model", task, "--max-samples", "2")
    every = evaluate("model_name=model", task)
    assert len(some) == 2
    assert len(every) == 6
    assert every == evaluate("model_name=model", task, fresh=True)
    assert evaluate("model_name=model", task, "--max-samples", "4").items() <= every.items()


def test_other_rows(model: Path, dataset: Path, evaluate: Evaluate) -> None:
    before = evaluate("model_name=model")
    shutil.rmtree(dataset)
    write_rows(dataset, range(20, 26))
    assert_asked_anew(evaluate, before, "model_name=model")


def test_the_same_rows_in_another_order(
    model: Path, dataset: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their fingerprint is the same, and lighteval knows a row by its number."""
    before = evaluate("model_name=model")
    kept = {name: (dataset / name).read_bytes() for name in ("manifest.json", "README.md")}
    shutil.rmtree(dataset)
    write_rows(dataset, [3, 4, 5, 0, 1, 2])
    for name, content in kept.items():
        (dataset / name).write_bytes(content)
    # `datasets` too keeps rows by their fingerprint; here it is one that has not seen the former ones.
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets elsewhere")
    assert_asked_anew(evaluate, before, "model_name=model")


def test_more_tokens_for_an_answer(model: Path, dataset: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluate("model_name=model")
    task = replace(TASKS["query_generation"], max_new_tokens=3)
    monkeypatch.setitem(TASKS, "query_generation", task)
    assert_asked_anew(evaluate, before, "model_name=model")


def test_another_prompt_of_the_same_row(model: Path, dataset: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    before = evaluate("model_name=model")
    text = (REPOSITORY / "eval_tasks" / "shop.py").read_text(encoding="utf-8")
    assert "query=text" in text
    (tmp_path / "shop.py").write_text(text.replace("query=text", 'query="Shop. " + text'), encoding="utf-8")
    assert_asked_anew(evaluate, before, "model_name=model", tasks_file=tmp_path / "shop.py")


def test_a_shopbench_file_edited_in_place(
    model: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record for record in shopbench_records() if record["task_name"] == "task6"]
    path = write_lines(tmp_path / "rows.json", records)
    monkeypatch.setenv("SHOPBENCH_DATA", str(path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    before = evaluate("model_name=model", "shopbench:task6|0")
    substitute(path, "warm light", "cold light")
    assert_asked_anew(evaluate, before, "model_name=model", "shopbench:task6|0")
