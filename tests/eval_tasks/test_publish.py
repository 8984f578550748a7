"""`python -m eval_tasks.publish` against the loopback Hub: what is there then, what reads it, and what never goes there."""

import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi, ModelCard

from common import publishing
from common.publishing import Destination
from eval_tasks.publish import assemble, main
from eval_tasks.reporting.details import read_details
from eval_tasks.reporting.hub_dataset import read_runs
from eval_tasks.reporting.results import read_run
from tests.eval_tasks.conftest import REPOSITORY, Lighteval
from tests.eval_tasks.questions import make_row
from tests.eval_tasks.runs import said, write_run
from tests.hub import REDIRECT, Finished, Hub, run_main
from tests.small_dataset import write_small_dataset

pytestmark = pytest.mark.usefixtures("hub_client")
TASKS = ("answerability", "also_buy", "query_generation", "query_product_ranking")


def publish(results: Path, repo_id: str, *options: str) -> Finished:
    done = run_main(main, "--results", results, "--repo-id", repo_id, *options)
    assert done.returncode == 0, done.stderr
    return done


def python(code: str, env: dict[str, str]) -> Any:
    """What `code` is, through JSON, in a fresh process."""
    code = f"import json, huggingface_hub as hub, datasets; print(json.dumps({code}))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def run_time(results: Path) -> str:
    (file,) = results.rglob("results_*.json")
    return file.stem.removeprefix("results_")


def later(results: Path, folder: Path, time: str) -> Path:
    """The same run as if it had been made at another time."""
    former = run_time(results)
    shutil.copytree(results, folder)
    for path in sorted(folder.rglob(f"*{former}*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.replace(former, time)))
    return folder


def texts_of(files: dict[str, bytes], folder: Path) -> str:
    """Everything that can be read in the files, the values of Parquet ones included."""
    found = []
    for path, content in files.items():
        found.append(path + content.decode("utf-8", "replace"))
        if path.endswith(".parquet"):
            (folder / "one.parquet").write_bytes(content)
            table = pq.read_table(folder / "one.parquet")
            found.append(str(table.schema.metadata) + json.dumps(table.to_pylist()))
    return "\n".join(found)


@pytest.fixture(scope="module")
def published(hub_client: Hub, shop_run: Path) -> Finished:
    return publish(shop_run, "org/tiny-results")


# --- The dataset of results ---


def test_a_run_is_laid_out_as_lighteval_does_in_one_commit(hub: Hub, shop_run: Path, published: Any) -> None:
    time = run_time(shop_run)
    assert hub.commits("org/tiny-results", "dataset") == ["Results of model"]
    assert set(hub.files("org/tiny-results", "dataset")) == {
        "README.md",
        f"results_{time}.json",
        f"results_{time}.parquet",
        *(f"{time}/details_shop:{task}|0_{time}.parquet" for task in TASKS),
    }
    assert f"published: {hub.endpoint}/datasets/org/tiny-results" in published.stdout


def test_nothing_of_this_machine_goes_up(hub: Hub, shop_run: Path, published: Any, tmp_path: Path) -> None:
    (file,) = shop_run.rglob("results_*.json")
    local = file.read_text(encoding="utf-8")
    text = texts_of(hub.files("org/tiny-results", "dataset"), tmp_path)
    for path in (shop_run.parent, shop_run.parent.parent, REPOSITORY, Path.home() / "x", Path("/tmp")):
        assert str(path) not in text
    assert str(shop_run.parent) in local  # so it could have
    document = json.loads(hub.files("org/tiny-results", "dataset")[f"results_{run_time(shop_run)}.json"])
    assert document["config_general"]["model_name"] == document["config_general"]["model_config"]["model_name"] == "model"
    assert {config["hf_repo"] for config in document["config_tasks"].values()} == {"dataset"}
    assert document["results"] == json.loads(local)["results"]


def test_answers_and_scores_load_by_task_and_by_run(hub: Hub, shop_run: Path, published: Any) -> None:
    time = run_time(shop_run)
    split = time.replace("-", "_")
    code = f"""{{
        "latest": datasets.load_dataset("org/tiny-results", "shop_also_buy_0", split="latest").to_list(),
        "by_time": len(datasets.load_dataset("org/tiny-results", "shop_also_buy_0", split="{split}")),
        "scores": json.loads(datasets.load_dataset("org/tiny-results", "results", split="latest")[0]["results"]),
        "configs": datasets.get_dataset_config_names("org/tiny-results"),
    }}"""
    loaded = python(code, hub.env())
    (file,) = shop_run.rglob("details_shop:also_buy|0_*.parquet")
    assert loaded["latest"] == json.loads(json.dumps(pq.read_table(file).to_pylist()))
    assert loaded["by_time"] == 3
    assert loaded["scores"]["shop:also_buy|0"].keys() >= {"hit_rate", "unparsable"}
    assert set(loaded["configs"]) == {"results", *(f"shop_{task}_0" for task in TASKS)}


def test_a_downloaded_repository_is_read_as_a_run(hub: Hub, shop_run: Path, published: Any, tmp_path: Path) -> None:
    for path, content in hub.files("org/tiny-results", "dataset").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert read_run(tmp_path).scores == read_run(shop_run).scores
    assert read_details(tmp_path) == read_details(shop_run)


def test_publishing_twice_changes_nothing(hub: Hub, shop_run: Path, published: Any) -> None:
    head = hub.head("org/tiny-results", "dataset")
    again = publish(shop_run, "org/tiny-results")
    assert f"nothing to do, it is all there: {hub.endpoint}/datasets/org/tiny-results" in again.stdout
    assert hub.head("org/tiny-results", "dataset") == head


def test_a_later_run_stands_beside_the_earlier_one(hub: Hub, shop_run: Path, tmp_path: Path) -> None:
    second = later(shop_run, tmp_path / "later", "2999-01-01T00-00-00.000000")
    for results in (second, shop_run, second):  # in whatever order they come
        publish(results, "org/two-runs")
    assert len(hub.commits("org/two-runs", "dataset")) == 2
    card = hub.files("org/two-runs", "dataset")["README.md"].decode()
    (config,) = [entry for entry in card_configs(card) if entry["config_name"] == "shop_also_buy_0"]
    newest = "2999-01-01T00-00-00.000000/details_shop:also_buy|0_2999-01-01T00-00-00.000000.parquet"
    assert [entry["split"] for entry in config["data_files"]] == [
        run_time(shop_run).replace("-", "_"),
        "2999_01_01T00_00_00.000000",
        "latest",
    ]
    assert config["data_files"][-1]["path"] == [newest]


def card_configs(card: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(card.split("---\n")[1])["configs"])


def test_two_publishers_at_once_leave_both_runs_on_the_card(hub: Hub, shop_run: Path, tmp_path: Path) -> None:
    runs = [later(shop_run, tmp_path / year, f"{year}-01-01T00-00-00.000000") for year in ("2998", "2999")]
    publishers = [
        threading.Thread(
            target=publishing.publish,
            args=(partial(assemble, runs=read_runs([run]), model="model"), Destination("org/race-results")),
        )
        for run in runs
    ]
    with hub.hold("POST .*/org/race-results/commit/main") as held:
        for publisher in publishers:
            publisher.start()
        held.wait_for(2)
        held.release()
        for publisher in publishers:
            publisher.join()
    splits = {
        entry["split"]
        for config in card_configs(hub.files("org/race-results", "dataset")["README.md"].decode())
        for entry in config["data_files"]
    }
    assert splits == {"2998_01_01T00_00_00.000000", "2999_01_01T00_00_00.000000", "latest"}


def test_runs_of_several_suites_go_together_and_one_without_details_is_told(hub: Hub, tmp_path: Path) -> None:
    shop = write_run(tmp_path / "shop", {"shop:review_rating": said(1.0, 0.0)}, time="2026-01-02T10-00-00.000001")
    bench = write_run(
        tmp_path / "bench",
        {"shopbench:task4": said([1, 0, 1])},
        time="2026-01-03T10-00-00.000001",
        metric="micro f1",
        details=False,
    )
    done = publish(shop, "org/suites", "--results", str(bench), "--private")
    assert "no answers of 2026-01-03T10-00-00.000001: evaluate with --save-details to publish them too" in done.stderr
    assert hub.repo("org/suites", "dataset").private
    card = hub.files("org/suites", "dataset")["README.md"].decode()
    assert "| shop:review_rating | accuracy | 0.5000 | 0.0100 | 2 | 0.0% |" in card
    assert "| shopbench:task4 | micro f1 | 0.6667 |  | 1 | 0.0% |" in card
    assert [config["config_name"] for config in card_configs(card)] == ["results", "shop_review_rating_0"]


def test_the_model_can_be_called_by_its_name_on_the_hub_and_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"shop:review_rating": said(1.0)}, model="adapter")
    publish(run, "org/called-results", "--model", "org/called")
    files = hub.files("org/called-results", "dataset")
    assert b"# Evaluation of org/called\n" in files["README.md"]
    document = json.loads(next(content for path, content in files.items() if path.endswith(".json")))
    assert document["config_general"]["model_name"] == "org/called"
    assert not hub.exists("org/called")


def test_two_models_do_not_share_a_repository(hub: Hub, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", {"shop:review_rating": said(1.0)}, model="org/one")
    other = write_run(tmp_path / "other", {"shop:review_rating": said(1.0)}, model="org/other")
    done = run_main(main, "--results", one, "--results", other, "--repo-id", "org/both")
    assert done.returncode == 2
    assert "error: org/one and org/other are two models; publish the results of each to a repository of its own" in done.stderr
    assert not hub.exists("org/both", "dataset")


def test_a_dry_run_lists_both_repositories(hub: Hub, shop_run: Path) -> None:
    before = len(hub.requests)
    options = ("--model-repo", "org/any", "--data", "org/scored-rows", "--dry-run")
    done = publish(shop_run, "org/dry", *options)
    assert "would upload 7 files, " in done.stdout
    assert ".eval_results/org--scored-rows.yaml" in done.stdout
    assert len(hub.requests) == before


# --- The model's repository ---

README = """---
license: apache-2.0
model-index:
- name: Shop
  results:
  - task:
      type: text-generation
    dataset:
      name: another
      type: their/benchmark
    metrics:
    - type: accuracy
      value: 0.25
  - task:
      type: text-generation
      name: What else will this customer buy?
    dataset:
      name: a local build
      type: local
      config: also_buy
    metrics:
    - type: hit_rate
      value: 0.1
---

# Ours

Written by hand.
"""


@pytest.fixture(scope="module")
def rows(hub_client: Hub, shop_run: Path) -> str:
    """The Hub id of the dataset that `shop_run` was evaluated on."""
    repo_id = "org/scored-rows"
    HfApi().create_repo(repo_id, repo_type="dataset")
    HfApi().upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=shop_run.parent / "dataset")
    return repo_id


def make_model(repo_id: str) -> None:
    HfApi().create_repo(repo_id)
    HfApi().upload_file(path_or_fileobj=README.encode(), path_in_repo="README.md", repo_id=repo_id)


def test_scores_are_read_from_the_model_by_both_of_the_hubs_forms(hub: Hub, shop_run: Path, rows: str) -> None:
    make_model("org/scored")
    publish(shop_run, "org/scored-results", "--model-repo", "org/scored", "--data", rows)
    entries = [vars(entry) for entry in HfApi().model_info("org/scored", expand=["evalResults"]).eval_results or ()]
    index = [vars(result) for result in ModelCard.load("org/scored").data.eval_results or ()]
    scores = read_run(shop_run).scores
    assert {entry["task_id"]: entry["value"] for entry in entries} == {
        "answerability": round(scores["shop:answerability"].value, 4)  # eval.yaml has no other of these tasks
    }
    commit, time = hub.head(rows, "dataset"), run_time(shop_run)
    for entry in entries:
        assert (entry["dataset_id"], entry["dataset_revision"]) == (rows, commit)
        assert entry["source_url"] == f"{hub.endpoint}/datasets/org/scored-results"
        assert entry["date"] == f"{time[:11]}{time[11:19].replace('-', ':')}"
        assert "of 3 test rows, 0 examples in the prompt" in entry["notes"]
    by_dataset = {(result["dataset_type"], result["dataset_config"]): result for result in index}
    assert set(by_dataset) == {("their/benchmark", None), *((rows, task) for task in TASKS)}
    ours = by_dataset[rows, "also_buy"]
    assert (ours["metric_type"], ours["metric_value"]) == ("hit_rate", round(scores["shop:also_buy"].value, 4))
    assert (ours["dataset_split"], ours["dataset_revision"]) == ("test", commit)
    card = hub.files("org/scored")["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nmodel-index:\n- name: Shop\n")
    assert card.endswith("\n\n# Ours\n\nWritten by hand.\n")
    assert hub.commits("org/scored")[0] == "Scores on org/scored-rows"
    document = json.loads(hub.files("org/scored-results", "dataset")[f"results_{time}.json"])
    assert document["config_general"]["model_name"] == "org/scored"


def test_a_second_time_no_repository_changes(hub: Hub, shop_run: Path, rows: str) -> None:
    make_model("org/scored-twice")
    options = ("org/scored-twice-results", "--model-repo", "org/scored-twice", "--data", rows)
    publish(shop_run, *options)
    heads = hub.head("org/scored-twice"), hub.head("org/scored-twice-results", "dataset")
    again = publish(shop_run, *options)
    assert again.stdout.count("nothing to do, it is all there") == 2
    assert (hub.head("org/scored-twice"), hub.head("org/scored-twice-results", "dataset")) == heads


def refused(hub: Hub, results: Path, *options: str) -> str:
    """What a refusal says; nothing was published before it."""
    done = run_main(main, "--results", results, "--repo-id", "org/refused-results", *options)
    assert done.returncode == 2
    assert not hub.exists("org/refused-results", "dataset")
    return done.stderr.splitlines()[-1]


def test_scores_on_other_rows_are_not_the_datasets(hub: Hub, shop_run: Path, rows: str, tmp_path: Path) -> None:
    make_model("org/refusing")
    changed = Path(shutil.copytree(shop_run, tmp_path / "changed"))
    (file,) = changed.rglob("results_*.json")
    document = json.loads(file.read_text())
    document["config_tasks"]["shop:also_buy|0"]["version"] += 1
    file.write_text(json.dumps(document))
    told = refused(hub, changed, "--model-repo", "org/refusing", "--data", rows)
    assert told.startswith("error: also_buy: measured on other rows than org/scored-rows holds; publish the dataset")


def test_what_the_model_cannot_be_given_is_refused_before_anything_is_published(
    hub: Hub, shop_run: Path, rows: str, tmp_path: Path
) -> None:
    model = ("--model-repo", "org/refusing")
    assert "the rows came from a folder; say with --data org/name" in refused(hub, shop_run, *model)
    assert "org/nowhere is not on the Hub" in refused(hub, shop_run, "--model-repo", "org/nowhere", "--data", rows)
    assert "is a folder; give the dataset's name on the Hub" in refused(hub, shop_run, *model, "--data", str(shop_run))
    few = write_run(tmp_path / "few", {"shop:review_rating": said(1.0)}, max_samples=1)
    assert "at most 1 rows of a task were asked, which is no score of the dataset" in refused(hub, few, *model)
    bench = write_run(tmp_path / "bench", {"shopbench:task2": said(1.0)})
    assert "there is no score of a shop: task for the model's repository" in refused(hub, bench, *model)
    assert "no such file or folder" in refused(hub, tmp_path / "none")
    assert hub.commits("org/refusing") == hub.commits("org/refusing")[-1:]


# --- lighteval's own push ---


@pytest.mark.parametrize("redirected", [True, False])
def test_lighteval_pushes_what_load_dataset_reads_once_its_card_is_checked(
    redirected: bool, hub: Hub, lighteval: Lighteval, tmp_path: Path
) -> None:
    """huggingface_hub checks a card at the public Hub's own address, whatever HF_ENDPOINT says; elsewhere that fails."""
    if redirected:
        (tmp_path / "sitecustomize.py").write_text(REDIRECT)
    rows = [make_row("also_buy", [number], product=f"lamp {number}") for number in (1, 2, 3)]
    dataset = write_small_dataset(tmp_path / "dataset", {"also_buy": {"train": rows, "test": rows}})
    done = lighteval(
        *("custom", "random", "eval_tasks/baseline_model.py", "shop:also_buy|0", "--custom-tasks", "eval_tasks/shop.py"),
        *("--output-dir", str(tmp_path / "out"), "--save-details", "--push-to-hub"),
        *("--results-org", "org" if redirected else "alice"),
        **hub.env(home=tmp_path / "home"),
        HF_HUB_OFFLINE="0",
        PYTHONPATH=str(tmp_path),
        SHOP_DATASET=str(dataset),
    )
    repo_id = f"{'org' if redirected else 'alice'}/details_random_private"
    files = hub.files(repo_id, "dataset")
    assert any(path.startswith("results_") and path.endswith(".json") for path in files)
    assert len(hub.commits(repo_id, "dataset")) == 3 + redirected
    assert str(dataset) in texts_of(files, tmp_path)  # which eval_tasks.publish does not do
    assert ("README.md" in files) == redirected
    assert (done.returncode == 0) == redirected
    if redirected:
        loaded = python(f'len(datasets.load_dataset("{repo_id}", "shop_also_buy_0", split="latest"))', hub.env())
        assert loaded == 3
