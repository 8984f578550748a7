"""The scorer as an evaluate metric: what is in its folder, that nothing else is needed, and how it is loaded from the Hub."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluate.loading import get_imports
from huggingface_hub import HfApi, metadata_load

from common.answers import gold, render_completion
from common.publishing import Destination
from common.tasks import TASKS
from eval_tasks.publish_metric import MODULES, assemble, main
from eval_tasks.suites.shopbench_scoring import score
from tests.eval_tasks.rows import answer_of, shopbench_records
from tests.eval_tasks.suites.test_shopbench_scoring import rows_of
from tests.hub import Hub, run_main

REPOSITORY = Path(__file__).parents[2]
LOAD = """
import json, pathlib, sys
import evaluate
for call in json.loads(sys.stdin.read()):
    for file, old, new in call["changes"]:
        path = pathlib.Path(file)
        path.write_text(path.read_text().replace(old, new))
    metric = evaluate.load(call["path"], revision=call["revision"])
    result = metric.compute(**call["rows"])
    print(json.dumps(result | {"hash": type(metric).__module__.split(".")[-2]}))
assert not any(name.partition(".")[0] in ("common", "eval_tasks") for name in sys.modules)
"""
"""A process that knows nothing of this repository: loads a metric and scores rows, once for each call."""

ROWS: dict[str, Any] = {
    "predictions": ["4 stars", "2,1,3,4,5", "red shoes", "brass, lamp"],
    "references": ["4", [0.1, 1.0, 0.0, 0.0, 0.0], "red running shoes", ["brass"]],
    "tasks": ["review_rating", "query_product_ranking", "query_generation", "micro f1"],
}
RIGHT = {"predictions": ["4"], "references": ["4"], "tasks": "review_rating"}
CHANGE = ("float(parsed == str(answer))", "0.25")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("metric") / "shop_score"
    return assemble(out, Destination("")).folder


def call(path: str | Path, rows: dict[str, Any], revision: str | None = None, *changes: tuple[str, ...]) -> dict[str, Any]:
    return {"path": str(path), "rows": rows, "revision": revision, "changes": changes}


def compute(cwd: Path, environment: dict[str, str], *calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What a metric says to each of the calls."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps(calls),
        cwd=cwd,
        env={key: value for key, value in environment.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def offline(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "SENTENCE_MODEL"))}
    return kept | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


# --- The folder ---


def test_the_script_imports_every_module_itself_since_evaluate_looks_no_further(folder: Path) -> None:
    local = {name for kind, name, *_ in get_imports(str(folder / "shop_score.py")) if kind == "internal"}

    assert local == {path.stem for path in folder.glob("*.py")} - {"shop_score", "app"}
    assert local == {Path(module).stem for module in MODULES}


def test_no_module_needs_the_repository_and_each_is_the_repositorys_but_for_that(folder: Path) -> None:
    for path in folder.glob("*.py"):
        assert not re.search(r"^\s*(?:from|import) (?:common|eval_tasks)\b", path.read_text(), re.MULTILINE), path
    for module in MODULES:
        ours = (REPOSITORY / module).read_text()
        flat = re.sub(r"^from (?:common|eval_tasks)[\w.]*\.(\w+) import", r"from .\1 import", ours, flags=re.MULTILINE)
        assert (folder / Path(module).name).read_text() == flat


def test_requirements_name_every_package_that_is_imported_and_the_gradio_that_is_tested(folder: Path) -> None:
    lines = (folder / "requirements.txt").read_text().splitlines()
    required = {re.split(r"[\[<>=]", line)[0].replace("-", "_") for line in lines}
    imported = {
        name.partition(".")[0]
        for path in folder.glob("*.py")
        for name in re.findall(r"^\s*(?:from|import) ([a-z_]\w*)", path.read_text(), re.MULTILINE)
    }

    # torch comes with sentence-transformers
    assert imported - set(sys.stdlib_module_names) - {"torch"} <= required
    assert f"gradio=={importlib.metadata.version('gradio')}" in lines


def test_the_header_is_that_of_a_metric_on_the_hub(folder: Path) -> None:
    header: dict[str, Any] = metadata_load(folder / "README.md") or {}

    assert header["sdk"] == "gradio"
    assert str(header["sdk_version"]) == importlib.metadata.version("gradio")
    assert header["tags"] == ["evaluate", "metric"]
    assert (folder / header["app_file"]).is_file()
    assert len(header["short_description"]) <= 60


def test_the_readme_shows_what_its_example_gives(folder: Path, tmp_path: Path) -> None:
    code, shown = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(
        code.replace('"org/shop_score"', repr(str(folder))).replace("shop_score.compute", "result = shop_score.compute"), names
    )

    assert names["result"] == eval(shown)


def test_every_task_is_in_the_readme(folder: Path) -> None:
    text = (folder / "README.md").read_text()

    assert all(f"`{name}`" in text for name in TASKS)


# --- In a process of its own ---


def test_a_folder_is_all_that_is_needed_and_a_changed_one_is_loaded_anew(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "shop_score"))
    change = (str(copy / "scoring.py"), *CHANGE)
    result, before, after = compute(
        tmp_path,
        offline(tmp_path / "home"),
        call(copy, ROWS | {"intervals": True, "groups": ["a", "a", "b", "c"]}),
        call(copy, RIGHT),
        call(copy, RIGHT, None, change),
    )

    assert {name: task["score"] for name, task in result["tasks"].items()} == {
        "review_rating": 1.0,
        "query_product_ranking": 1.0,
        "query_generation": pytest.approx(0.8),
        "micro f1": pytest.approx(2 / 3),
    }
    assert result["overall"] == pytest.approx((2 + 0.8 + 2 / 3) / 4)
    assert result["low"] == result["high"] == pytest.approx(result["overall"])
    assert result["unparsable"] == 0
    assert (before["overall"], after["overall"]) == (1.0, 0.25)
    assert result["hash"] == before["hash"] != after["hash"]


# --- From the Hub ---


@pytest.mark.usefixtures("hub_client")
def test_a_published_metric_is_loaded_by_its_name_also_offline_and_anew_after_a_change(hub: Hub, tmp_path: Path) -> None:
    repo_id = "org/a_metric_of_ours"
    done = run_main(main, "--repo-id", repo_id)
    assert done.returncode == 0, done.stderr
    assert f"published: {hub.endpoint}/spaces/{repo_id}" in done.stdout
    assert "a_metric_of_ours.py" in hub.files(repo_id, "space")
    assert "shop_score.py" not in hub.files(repo_id, "space")

    environment = hub.env(token="", home=tmp_path / "home", OMP_NUM_THREADS="1")
    without_network = environment | {"HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    (first,) = compute(tmp_path, environment, call(repo_id, RIGHT))
    (again,) = compute(tmp_path, without_network, call(repo_id, RIGHT))
    published = hub.head(repo_id, "space")
    unchanged = run_main(main, "--repo-id", repo_id)
    assert unchanged.stdout.strip().endswith(f"nothing to do, it is all there: {hub.endpoint}/spaces/{repo_id}")
    changed = hub.files(repo_id, "space")["scoring.py"].replace(*(text.encode() for text in CHANGE))
    HfApi().upload_file(path_or_fileobj=changed, path_in_repo="scoring.py", repo_id=repo_id, repo_type="space")
    second, pinned = compute(tmp_path, environment, call(repo_id, RIGHT), call(repo_id, RIGHT, published))

    assert [result["overall"] for result in (first, again, second, pinned)] == [1.0, 1.0, 0.25, 1.0]
    assert first["hash"] == again["hash"] == pinned["hash"] != second["hash"]


def test_a_dry_run_names_the_script_after_the_repository(tmp_path: Path) -> None:
    done = run_main(main, "--repo-id", "org/name", "--out", tmp_path / "out", "--dry-run")

    assert "name.py" in done.stdout
    assert 'evaluate.load("org/name")' in (tmp_path / "out" / "README.md").read_text()
    assert '"name.py"' in (tmp_path / "out" / "app.py").read_text()


@pytest.mark.parametrize(
    ("repo_id", "sentence"),
    [
        ("name", "must be org/name"),
        ("org/4 you", "must be org/name"),
        ("org/scoring", "already has a file scoring.py"),
    ],
)
def test_a_name_that_evaluate_could_not_import_is_refused(repo_id: str, sentence: str) -> None:
    done = run_main(main, "--repo-id", repo_id, "--dry-run")

    assert done.returncode == 2
    assert sentence in done.stderr


# --- What it computes ---


@pytest.fixture(scope="module")
def metric() -> Any:
    import eval_tasks.shop_score.shop_score as script

    return script.ShopScore(keep_in_memory=True)


def test_gold_scores_1_on_all_twelve_tasks_with_answers_as_the_dataset_has_them(metric: Any) -> None:
    answers = {name: answer_of(task, 3) for name, task in TASKS.items()}
    result = metric.compute(
        predictions=[render_completion(TASKS[name], gold(TASKS[name], answer)) for name, answer in answers.items()],
        references=[json.dumps(answer) for answer in answers.values()],
        tasks=list(answers),
    )

    assert {name: task["score"] for name, task in result["tasks"].items()} == dict.fromkeys(TASKS, 1.0)
    assert [result["tasks"][name]["metric"] for name in TASKS] == [task.metric for task in TASKS.values()]


def test_shopbench_scores_are_those_of_the_scorer(metric: Any) -> None:
    records = shopbench_records()
    texts = ["1", "x", "1, 6, 2", "brass, lamp", "a, b", "warm white bulb", "2,1,5,4,3", "Messing", ""]
    official = score(rows_of([record | {"task_name": record["metric"]} for record in records]), texts)

    result = metric.compute(
        predictions=texts,
        references=[record["output_field"] for record in records],
        tasks=[record["metric"] for record in records],
    )

    assert result["overall"] == official["overall"]
    for name, task in official["tasks"].items():
        assert result["tasks"][name]["score"] == task["score"]
        assert result["tasks"][name]["unparsable"] == task["unparsable"]
    assert result["unparsable"] == pytest.approx(2 / 9)


def test_batches_add_up_to_one_call(metric: Any) -> None:
    for row in range(4):
        metric.add_batch(**{name: column[row : row + 1] for name, column in ROWS.items()})

    assert metric.compute() == metric.compute(**ROWS)


def test_intervals_widen_with_groups_that_are_alike(metric: Any) -> None:
    rows = {"predictions": ["1"] * 60, "references": ["1", "1", "1", "2", "2", "2"] * 10, "tasks": "review_rating"}

    own = metric.compute(**rows, intervals=True)
    grouped = metric.compute(**rows, intervals=True, groups=[row // 3 for row in range(60)])

    assert own["low"] < own["overall"] == 0.5 < own["high"]
    assert grouped["high"] - grouped["low"] > 1.4 * (own["high"] - own["low"])
    assert own["tasks"]["review_rating"]["low"] == own["low"]


def test_a_task_whose_model_is_missing_is_told_and_does_not_count(metric: Any, tmp_path: Path) -> None:
    result = metric.compute(
        predictions=["a lamp", "1"],
        references=["a lamp", 1],
        tasks=["sent-transformer", "accuracy"],
        sentence_model=str(tmp_path / "nowhere"),
        intervals=True,
    )

    assert result["tasks"]["sent-transformer"]["score"] is None
    assert "nowhere" in result["tasks"]["sent-transformer"]["reason"]
    assert result["overall"] == 1.0


def test_texts_that_are_json_of_something_else_are_texts(metric: Any) -> None:
    result = metric.compute(predictions=["5", '"quoted"'], references=["5", '"quoted"'], tasks=["rougel", "query_generation"])

    assert result["overall"] == 1.0


def test_hostile_answers_are_scored_like_any(metric: Any) -> None:
    texts = ["", "\0\x1b[2J", "\ud83d", "1," * 50_000, "word " * 20_000]
    kinds = {"review_rating": "4", "also_buy": [1], "answer_generation": "a lamp", "micro f1": ["a"], "jp-bleu": "ランプ"}

    for name, truth in kinds.items():
        result = metric.compute(predictions=texts, references=[truth] * 5, tasks=name)
        assert 0 <= result["overall"] <= 1
        assert result["unparsable"] >= 0.2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"predictions": ["1"], "references": ["1"], "tasks": ["rating"]}, "'rating'; known are review_rating"),
        ({"predictions": ["1"], "references": ["6"], "tasks": ["review_rating"]}, "needs one of its labels"),
        ({"predictions": ["1"], "references": [[1.0]], "tasks": ["query_product_ranking"]}, "a list of 5 weights"),
        ({"predictions": ["1"], "references": ["[]"], "tasks": ["also_buy"]}, "a list of numbers, at least one"),
        ({"predictions": ["1"], "references": ["one"], "tasks": ["accuracy"]}, "needs a number"),
        ({"predictions": ["1", "2"], "references": ["1"], "tasks": ["accuracy"]}, "2 predictions, 1 references and 1 tasks"),
        ({"predictions": ["1"], "references": ["1"], "tasks": "accuracy", "groups": []}, "0 groups for 1 rows"),
    ],
)
def test_wrong_rows_are_named(metric: Any, rows: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        metric.compute(**rows)


def test_the_page_scores_its_own_examples(folder: Path, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import app\n"
        "print(app.compute([*app.EXAMPLES, [None, '', '']], True)[0]); print(app.compute([['1', '1', 'rating']], False)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=offline(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    scores, told = done.stdout.rsplit("}\n", 1)
    assert json.loads(scores + "}")["tasks"]["also_buy"]["score"] == 0.5
    assert "'rating'; known are" in told
