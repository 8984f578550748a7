"""The whole way, once: corpora, dataset, adapter (killed, resumed), scores, card, Space, Hub; each made of the one before."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.tasks import TASKS as ALL
from tests.hub import ALICE, Hub
from tests.hub_links import links_to_nowhere
from tests.space.conftest import Served, serve
from tests.space.test_pages import compare, go_to, opened
from tests.whole_way import BASE, NAMES, ROOT, TASKS, WholeWay


@pytest.fixture(scope="module")
def served(whole_way: WholeWay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The Space on the run's own base, adapter and dataset."""
    models = {"BASE_MODEL": str(whole_way.base), "ADAPTER": str(whole_way.adapter), "DATASET": str(whole_way.dataset)}
    with serve(whole_way.space, tmp_path_factory.mktemp("whole_way_space") / "log", **models) as running:
        yield running


@pytest.fixture
def page(served: Served, browser: Any) -> Iterator[Any]:
    page = opened(browser, served.url)
    yield page
    page.context.close()


def test_training_went_on_from_the_checkpoint_that_the_kill_left(whole_way: WholeWay) -> None:
    from safetensors.torch import load_file

    summary, configs = whole_way.read("adapter/training_summary.json"), whole_way.read("dataset/manifest.json")["configs"]
    assert (summary["steps"], summary["resumed_from_step"]) == (2, 1)
    assert summary["dataset_fingerprint"] == configs["default"]["fingerprint"]
    assert set(summary["tasks"]) == set(TASKS)
    steps = [json.loads(line)["step"] for line in (whole_way.adapter / "training_log.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2]
    weights = load_file(whole_way.adapter / "adapter_model.safetensors")
    assert all(tensor.abs().sum() > 0 for name, tensor in weights.items() if "lora_B" in name), "B starts at zero"


def test_base_adapter_and_baseline_are_scored_on_every_test_row(whole_way: WholeWay) -> None:
    scores, configs = whole_way.read("results/report/scores.json"), whole_way.read("dataset/manifest.json")["configs"]
    assert scores["names"] == list(NAMES)
    rows = {task["task"].removeprefix("shop:"): task["rows"] for task in scores["tasks"]}
    counts = {name: configs[name]["test"] for name in TASKS}
    assert {task: found["tuned"] for task, found in rows.items()} == counts
    assert {task: found["base"] for task, found in rows.items()} == counts
    printed = (whole_way.folder / "evaluation.txt").read_text(encoding="utf-8")
    assert all(task in printed for task in TASKS)
    assert (whole_way.results / "report" / "report.html").stat().st_size > 10_000


def test_the_card_tells_the_datas_fingerprint_and_the_reports_scores(whole_way: WholeWay) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(whole_way.adapter / "README.md")
    scores = {
        task["task"].removeprefix("shop:"): task["scores"]["tuned"]
        for task in whole_way.read("results/report/scores.json")["tasks"]
    }
    assert {one.dataset_config: one.metric_value for one in card.data.eval_results} == pytest.approx(scores, abs=5.1e-5)
    assert all(ALL[task].title in card.text for task in TASKS)
    assert whole_way.read("dataset/manifest.json")["configs"]["default"]["fingerprint"][:12] in card.text
    assert str(whole_way.folder) not in card.content


def test_the_space_has_the_datasets_rows_and_the_reports_scores(whole_way: WholeWay) -> None:
    prompts = {task: {row["prompt"][0]["content"] for row in whole_way.test_rows(task)} for task in TASKS}
    examples = [one for one in whole_way.read("space/examples.json") if one["task"] in TASKS]
    assert {one["task"] for one in examples} == set(TASKS)
    assert all(one["prompt"] in prompts[one["task"]] for one in examples)
    assert whole_way.read("space/evaluation.json") == whole_way.read("results/report/scores.json")


def test_a_view_opens_with_a_row_of_the_dataset_and_both_models_answer_it(page: Any, served: Served, screenshots: Path) -> None:
    for name in TASKS:
        panel = go_to(page, ALL[name])
        compare(panel)
        for who in ("Base", "Tuned"):
            assert panel.get_by_role("region", name=who).locator(".mark").is_visible()
        if ALL[name].family != "retrieval":  # which marks the right ones among its candidates
            assert panel.get_by_role("region", name="Right answer").is_visible()
    page.screenshot(path=screenshots / "whole_way.png", full_page=True)
    assert "Traceback" not in served.log.read_text()


def test_the_evaluation_shows_the_reports_figures(page: Any, whole_way: WholeWay) -> None:
    page.get_by_role("tab", name="Evaluation").click()
    page.locator("table.scores").first.wait_for()
    for name in NAMES:
        assert page.get_by_role("columnheader", name=name).first.is_visible()
    for task in whole_way.read("results/report/scores.json")["tasks"]:
        title = ALL[task["task"].removeprefix("shop:")].title
        row = page.get_by_role("row").filter(has_text=title).first
        assert f"{task['scores']['tuned']:.3f}" in row.inner_text()


def test_the_data_tab_shows_the_datasets_rows(page: Any, whole_way: WholeWay) -> None:
    page.get_by_role("tab", name="Data").click()
    train = whole_way.read("dataset/manifest.json")["configs"]["review_rating"]["train"]
    page.locator("#tab-data .caption .hint").filter(has_text=f"of {train} in the dataset.").wait_for()
    page.locator("details.row").first.click()
    assert page.get_by_role("group", name="Prompt of row 1").inner_text()


def test_all_of_it_goes_to_the_hub_and_links_to_what_is_there(whole_way: WholeWay, hub: Hub, tmp_path: Path) -> None:
    env = hub.env(home=tmp_path / "hf", OMP_NUM_THREADS="1", COLUMNS="200")
    upload = [Path(sys.executable).parent / "hf", "upload", BASE, whole_way.base]
    subprocess.run(upload, env=env, check=True, capture_output=True)
    command = [sys.executable, "-m", "release", "--run", whole_way.folder, "--org", "org", "--name", "whole"]
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    repos = {
        "org/whole-instructions": "dataset",
        "org/whole-lora": "model",
        "org/whole-results": "dataset",
        "org/whole_score": "space",
        "org/whole-demo": "space",
    }
    assert links_to_nowhere(hub, set(repos), "org") == []
    (collection,) = [one for one in hub.collections("org") if one["title"].startswith("whole:")]
    assert {item["id"] for item in collection["items"]} == set(repos)
    adapter = hub.files("org/whole-lora")
    assert adapter["adapter_model.safetensors"] == (whole_way.adapter / "adapter_model.safetensors").read_bytes()
    for task in TASKS:
        path = f"data/{task}/test-00000-of-00001.parquet"
        assert hub.files("org/whole-instructions", "dataset")[path] == (whole_way.dataset / path).read_bytes()
    for repo_id, repo_type in repos.items():
        for path, content in hub.files(repo_id, repo_type).items():
            for private in (str(whole_way.folder), str(ROOT), ALICE):
                assert private.encode() not in content, (repo_id, path)
