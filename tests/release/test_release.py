"""`python -m release` with the loopback Hub: a whole run, its order, its links, interruptions and refusals."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import HfApi

from release.__main__ import main
from tests.hub import ALICE, Finished, Hub, run_main
from tests.hub_links import links_to_nowhere
from tests.run_folder import BASE, TASKS, write_adapter, write_all_results

ROOT = Path(__file__).parents[2]
LOAD = """
import json
import evaluate
import torch
from datasets import load_dataset
from huggingface_hub import ModelCard, model_info
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("org/oneshot-lora")
tokens = tokenizer("Which of these products fits the query best?", return_tensors="pt")
base = AutoModelForCausalLM.from_pretrained("{base}")
with torch.no_grad():
    alone = base(**tokens).logits
    tuned = AutoPeftModelForCausalLM.from_pretrained("org/oneshot-lora")(**tokens).logits
    again = PeftModel.from_pretrained(base, "org/oneshot-lora")(**tokens).logits
metric = evaluate.load("org/oneshot_score")
right = dict(predictions=["4"], references=["4"], tasks="review_rating")
card = ModelCard.load("org/oneshot-lora")
print(json.dumps({{
    "rows": load_dataset("org/oneshot-instructions", "review_rating", split="test").to_list(),
    "answers": load_dataset("org/oneshot-results", "shop_review_rating_0", split="latest").num_rows,
    "changed": bool((alone - tuned).abs().max() > 0.01),
    "same": bool(torch.equal(tuned, again)),
    "logits": tuned.flatten()[:50].tolist(),
    "score": metric.compute(**right)["overall"],
    "index": [[one.dataset_type, one.dataset_config, one.dataset_revision, one.metric_value] for one in card.data.eval_results],
    "entries": [vars(one) for one in model_info("org/oneshot-lora", expand=["evalResults"]).eval_results],
}}, default=str))
"""
STAGES = {
    "dataset": "POST .*/datasets/org/{}-instructions/commit/",
    "adapter": "POST .*/models/org/{}-lora/commit/",
    "results": "POST .*/datasets/org/{}-results/commit/",
    "metric": "POST .*/spaces/org/{}_score/commit/",
    "card and scores": "POST .*/models/org/{}-lora/commit/",
    "Space": "POST .*/spaces/org/{}-demo/commit/",
    "Collection": "POST .*/api/collections/.*/items",
}
"""Stage -> the request in which it fails."""


def publish(run: Path, name: str, *options: str, org: str = "org") -> Finished:
    return run_main(main, "--run", run, "--org", org, "--name", name, *options)


@pytest.fixture(scope="module", autouse=True)
def _base_on_the_hub(hub_client: Hub, run_folder: Path) -> None:
    """The model that the run's base says it is a copy of."""
    upload_base(BASE, run_folder)


def upload_base(repo_id: str, run_folder: Path) -> None:
    HfApi().create_repo(repo_id)
    HfApi().upload_folder(repo_id=repo_id, folder_path=run_folder / "base")


def repos(name: str) -> list[tuple[str, str]]:
    """Ids and types in the order of their first commits."""
    return [
        (f"org/{name}-instructions", "dataset"),
        (f"org/{name}-lora", "model"),
        (f"org/{name}-results", "dataset"),
        (f"org/{name}_score", "space"),
        (f"org/{name}-demo", "space"),
    ]


def heads(hub: Hub, name: str) -> dict[str, str]:
    return {repo_id: hub.head(repo_id, repo_type) for repo_id, repo_type in repos(name)}


def collection(hub: Hub, name: str) -> dict[str, Any]:
    (found,) = [one for one in hub.collections("org") if one["title"].startswith(f"{name}:")]
    return found


@pytest.fixture(scope="module")
def published(run_folder: Path) -> Finished:
    done = publish(run_folder, "oneshot")
    assert done.returncode == 0, done.stderr
    return done


# --- What is there then ---


def test_everything_goes_up_in_the_order_of_its_links(hub: Hub, published: Finished) -> None:
    ids = {repo_id for repo_id, _ in repos("oneshot")}
    assert [(repo.id, commit.title) for repo, commit in hub.all_commits() if repo.id in ids] == [
        ("org/oneshot-instructions", hub.commits("org/oneshot-instructions", "dataset")[0]),
        ("org/oneshot-lora", "Adapter"),
        ("org/oneshot-results", "Results of org/oneshot-lora"),
        ("org/oneshot_score", "Publish the metric"),
        ("org/oneshot-lora", "Model card and scores"),
        ("org/oneshot-demo", "Publish the demo"),
    ]
    assert links_to_nowhere(hub, ids, "org") == []


def test_the_collection_holds_all_of_it(hub: Hub, published: Finished) -> None:
    found = collection(hub, "oneshot")
    assert [(item["id"], item["type"]) for item in found["items"]] == [
        ("org/oneshot-demo", "space"),
        ("org/oneshot-lora", "model"),
        ("org/oneshot-instructions", "dataset"),
        ("org/oneshot-results", "dataset"),
        ("org/oneshot_score", "space"),
    ]
    assert found["items"][1]["note"]["text"] == f"The LoRA adapter of {BASE}, with its scores."
    assert (found["title"], found["private"]) == ("oneshot: one model for an online shop", False)
    assert f"{hub.endpoint}/collections/{found['slug']}" in published.stdout


def test_everything_loads_with_the_clients_that_it_is_for(
    hub: Hub, published: Finished, run_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LOAD.format(base=BASE)]
    done = subprocess.run(command, env=hub.env(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = json.loads(done.stdout.splitlines()[-1])
    files = sorted((run_folder / "dataset" / "data" / "review_rating").glob("test-*.parquet"))
    assert loaded["rows"] == [row for file in files for row in pq.read_table(file).to_pylist()]
    assert loaded["answers"] == len(loaded["rows"])
    assert (loaded["changed"], loaded["same"], loaded["score"]) == (True, True, 1.0)
    assert loaded["logits"] == pytest.approx(tuned_logits(run_folder), abs=1e-5)
    commit = hub.head("org/oneshot-instructions", "dataset")
    measured = [("org/oneshot-instructions", task, commit, 1.0) for task in TASKS]
    assert [tuple(one) for one in loaded["index"]] == measured
    entries = [(one["dataset_id"], one["task_id"], one["dataset_revision"], one["value"]) for one in loaded["entries"]]
    assert entries == [one for one in measured if one[1] in benchmark_tasks(hub, "org/oneshot-instructions")] != []
    assert {one["source_url"] for one in loaded["entries"]} == {f"{hub.endpoint}/datasets/org/oneshot-results"}


def benchmark_tasks(hub: Hub, dataset: str) -> list[str]:
    """Ids in the dataset's eval.yaml: the Hub has a leaderboard for these alone."""
    return [task["id"] for task in yaml.safe_load(hub.files(dataset, "dataset")["eval.yaml"])["tasks"]]


def tuned_logits(run_folder: Path) -> list[float]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(run_folder / "adapter")(
        "Which of these products fits the query best?", return_tensors="pt"
    )
    base = AutoModelForCausalLM.from_pretrained(run_folder / "base")
    with torch.no_grad():
        logits = PeftModel.from_pretrained(base, run_folder / "adapter")(**tokens).logits
    return list(logits.flatten()[:50].tolist())


def test_the_space_shows_what_was_published_with_it(hub: Hub, published: Finished) -> None:
    files = hub.files("org/oneshot-demo", "space")
    settings = {"base_model": BASE, "adapter": "org/oneshot-lora", "dataset": "org/oneshot-instructions"}
    assert json.loads(files["settings.json"]).items() >= settings.items()
    examples = json.loads(files["examples.json"])
    assert {row["origin"] for row in examples if row["task"] in TASKS} == {"test split of org/oneshot-instructions"}


def test_nothing_of_this_machine_and_nothing_that_is_of_no_use_to_others_goes_up(
    hub: Hub, published: Finished, run_folder: Path
) -> None:
    assert set(hub.files("org/oneshot-lora")) == {
        *("README.md", "scores.png", "notebook.ipynb", ".eval_results/org--oneshot-instructions.yaml"),
        *("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        *("training_summary.json", "training_log.jsonl", "loss.png"),
    }
    for repo_id, repo_type in repos("oneshot"):
        for path, content in hub.files(repo_id, repo_type).items():
            for private in (str(run_folder.parent), str(ROOT), f"{Path.home()}/", ALICE):
                assert private.encode() not in content, (repo_id, path)
    summary = json.loads(hub.files("org/oneshot-lora")["training_summary.json"])
    assert (summary["base_model"], summary["dataset_name"], summary["steps"]) == (BASE, "org/oneshot-instructions", 4)


# --- Again ---


def test_a_second_time_nothing_changes_anywhere(hub: Hub, published: Finished, run_folder: Path) -> None:
    before, collected, requests = heads(hub, "oneshot"), collection(hub, "oneshot"), len(hub.requests)
    again = publish(run_folder, "oneshot")
    assert again.returncode == 0, again.stderr
    assert (again.stdout.count("nothing to do"), again.stdout.count("published")) == (len(STAGES), 0)
    assert heads(hub, "oneshot") == before
    assert collection(hub, "oneshot") == collected
    written = [path for method, path, _ in hub.requests[requests:] if method not in ("GET", "HEAD")]
    assert not [path for path in written if "/commit/" in path or "/collections" in path or path.startswith("/_lfs")]


def copied(run_folder: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run_folder, folder / "run"))


def test_a_changed_artifact_changes_its_own_repository_and_those_that_cite_its_commit(
    hub: Hub, run_folder: Path, tmp_path: Path
) -> None:
    run = copied(run_folder, tmp_path)
    assert publish(run, "changed").returncode == 0

    def changed() -> set[str]:
        before = heads(hub, "changed")
        done = publish(run, "changed")
        assert done.returncode == 0, done.stderr
        return {repo_id for repo_id, head in heads(hub, "changed").items() if head != before[repo_id]}

    with (run / "adapter" / "training_log.jsonl").open("a") as log:
        log.write('{"loss": 2.0, "step": 2}\n')
    assert changed() == {"org/changed-lora"}
    assert hub.commits("org/changed-lora")[:2] == ["Adapter", "Model card and scores"]  # the card stays
    with (run / "dataset" / "README.md").open("a") as card:
        card.write("\nOne more sentence.\n")
    assert changed() == {"org/changed-instructions", "org/changed-lora"}
    assert f"revision: {hub.head('org/changed-instructions', 'dataset')}".encode() in hub.files("org/changed-lora")["README.md"]


def test_new_weights_never_stand_beside_the_scores_of_others(hub: Hub, run_folder: Path, tmp_path: Path) -> None:
    run = copied(run_folder, tmp_path)
    assert publish(run, "retrained").returncode == 0
    shutil.rmtree(run / "adapter")
    write_adapter(run / "adapter", run_folder / "base", run / "dataset", seed=2)
    write_all_results(run)
    with hub.fail("POST .*/datasets/org/retrained-results/commit/", 403):
        assert publish(run, "retrained").returncode == 2
    files = hub.files("org/retrained-lora")
    assert files["adapter_model.safetensors"] == (run / "adapter" / "adapter_model.safetensors").read_bytes()
    assert b"It has not been measured yet" in files["README.md"]
    assert not any(path.startswith(".eval_results") for path in files)
    assert publish(run, "retrained").returncode == 0
    assert hub.commits("org/retrained-lora") == ["Model card and scores", "Adapter"] * 2
    assert b"It has not been measured yet" not in hub.files("org/retrained-lora")["README.md"]
    assert links_to_nowhere(hub, {repo_id for repo_id, _ in repos("retrained")}, "org") == []


def alike(hub: Hub, name: str) -> dict[str, dict[str, str]]:
    """What readable files the repositories hold, their names and the dataset's commit replaced."""
    commit = hub.head(f"org/{name}-instructions", "dataset")
    return {
        repo_id.replace(name, "NAME"): {
            path.replace(name, "NAME"): content.decode("utf-8", "replace").replace(name, "NAME").replace(commit, "COMMIT")
            for path, content in hub.files(repo_id, repo_type).items()
            if not path.endswith((".png", ".parquet", ".safetensors"))
        }
        | {path: "" for path in hub.files(repo_id, repo_type) if path.endswith((".png", ".parquet", ".safetensors"))}
        for repo_id, repo_type in repos(name)
    }


def test_what_was_interrupted_at_every_stage_ends_as_what_was_not(hub: Hub, published: Finished, run_folder: Path) -> None:
    stages = list(STAGES)
    for number, pattern in enumerate(STAGES.values()):
        with hub.fail(pattern.format("halted"), 403) as fault:
            done = publish(run_folder, "halted")
        assert (done.returncode, fault.hits > 0, "Traceback" in done.stderr) == (2, True, False), done.stderr
        assert f"on the Hub, and whole: {', '.join(stages[:number]) or 'nothing yet'}\n" in done.stderr
        assert f"left to do: {', '.join(stages[number:])}; the same command goes on from there\n" in done.stderr
        assert "error: the token may not write to org/" in done.stderr
    assert publish(run_folder, "halted").returncode == 0
    assert alike(hub, "halted") == alike(hub, "oneshot")
    assert len(hub.commits("org/halted-lora")) == 2
    assert links_to_nowhere(hub, {repo_id for repo_id, _ in repos("halted")}, "org") == []
    assert notes(hub, "halted") == notes(hub, "oneshot")


def notes(hub: Hub, name: str) -> list[tuple[str, str]]:
    return [(item["id"].replace(name, "NAME"), item["note"]["text"]) for item in collection(hub, name)["items"]]


def test_privately_everything_is_private(hub: Hub, run_folder: Path) -> None:
    done = publish(run_folder, "hidden", "--private")
    assert done.returncode == 0, done.stderr
    assert all(hub.repo(repo_id, repo_type).private for repo_id, repo_type in repos("hidden"))
    assert collection(hub, "hidden")["private"]
    assert len(collection(hub, "hidden")["items"]) == 5


def test_a_base_that_is_on_the_hub_can_be_named(hub: Hub, run_folder: Path, tmp_path: Path) -> None:
    """Where the folder of the base says nothing of the Hub, or it is no copy of what it says."""
    upload_base("org/own-base", run_folder)
    done = publish(run_folder, "named", "--base-model", "org/own-base")
    assert done.returncode == 0, done.stderr
    files = hub.files("org/named-lora")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "org/own-base"
    assert b"base_model: org/own-base\n" in files["README.md"]
    assert b"The base was a local copy" not in files["README.md"]
    assert BASE.encode() not in files["README.md"]


# --- What is refused, before anything is sent ---


def test_a_dry_run_tells_the_plan_without_a_token_or_a_network(hub: Hub, run_folder: Path) -> None:
    before = len(hub.requests)
    options = ("--run", str(run_folder), "--org", "org", "--name", "dry", "--dry-run")
    command = [sys.executable, "-m", "release", *options]
    env = hub.env(token="", COLUMNS="160", OMP_NUM_THREADS="1")
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == before
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert [line.split("│")[2].strip() for line in lines] == list(STAGES)
    assert [line.split("│")[3].strip() for line in lines[:2]] == ["org/dry-instructions", "org/dry-lora"]
    assert all("B │" in line for line in lines[:-1])
    assert f"nothing was sent; the adapter's base is {BASE}, which must be on the Hub" in done.stdout


def refused(hub: Hub, run: Path, *options: str, org: str = "org") -> str:
    """What is said where nothing was sent."""
    before = len(hub.requests)
    done = publish(run, "refused", *options, org=org)
    assert done.returncode == 2, done.stderr
    assert [line for line in hub.requests[before:] if line[0] not in ("GET", "HEAD")] == []
    (said,) = done.stderr.splitlines()
    return said


@pytest.mark.parametrize(
    ("org", "said"),
    [
        ("nowhere", "may not write to nowhere; publish to one of alice, org"),
        ("no org", "error: --org 'no org' is not a valid name of an organisation or user on the Hub"),
    ],
)
def test_an_organisation_that_cannot_be_published_to(hub: Hub, run_folder: Path, org: str, said: str) -> None:
    assert said in refused(hub, run_folder, org=org)


def test_a_base_that_nobody_else_can_load(hub: Hub, run_folder: Path) -> None:
    assert "org/no-such-base is not on http" in refused(hub, run_folder, "--base-model", "org/no-such-base")
    folder = str(run_folder / "base")
    assert "is not an id on the Hub; publish that model and give --base-model" in refused(
        hub, run_folder, "--base-model", folder
    )
    hub.repo(BASE).private = True
    try:
        assert f"error: the base model {BASE} is private; make it public" in refused(hub, run_folder)
    finally:
        hub.repo(BASE).private = False


def test_public_and_private_repositories_do_not_mix(hub: Hub, run_folder: Path) -> None:
    with hub.fail("POST .*/datasets/org/mixed-results/commit/", 403):
        assert publish(run_folder, "mixed").returncode == 2
    done = publish(run_folder, "mixed", "--private")
    assert "error: org/mixed-instructions exists and is public; make it private in its settings" in done.stderr
    hub.repo("org/mixed-lora").private = True
    assert "error: org/mixed-lora is private, and public ones would link to it" in publish(run_folder, "mixed").stderr


def test_a_token_in_a_file_does_not_leave_the_machine(hub: Hub, run_folder: Path, tmp_path: Path) -> None:
    run = copied(run_folder, tmp_path)
    log = run / "adapter" / "training_log.jsonl"
    log.write_text(json.dumps({"note": "hf_" + "a" * 34}))
    assert refused(hub, run).startswith("error: training_log.jsonl holds what looks like a token")
    log.write_text(json.dumps({"note": str(run_folder / "base")}))
    assert refused(hub, run).startswith("error: training_log.jsonl names a folder of this machine")


@pytest.mark.parametrize("name", ["1st", "a b", "ü", "x" * 50])
def test_a_name_that_the_hub_or_evaluate_would_not_take(hub: Hub, run_folder: Path, name: str) -> None:
    done = publish(run_folder, name)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --name ")


def test_make_publish_is_this_command(run_folder: Path) -> None:
    # As from a shell: under `make test`, make would tell of folders it enters.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}

    def recipe(*options: str) -> str:
        command = ["make", "--dry-run", "publish", *options]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()[-1].strip() if done.returncode == 0 else done.stderr

    command = ".venv/bin/python -m release --run outputs/demo --org me"
    assert recipe("ORG=me") == recipe("ORG=me", "DRY_RUN=0") == command
    assert recipe("ORG=me", "DRY_RUN=1", "PRIVATE=1") == f"{command} --private --dry-run"
    assert recipe("ORG=me", "BASE_MODEL=a/b", "REPO_PREFIX=mine") == f"{command} --name mine --base-model a/b"
    assert recipe("ORG=me", "OUT=other") == ".venv/bin/python -m release --run other --org me"
