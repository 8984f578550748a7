"""training/jobs and eval_tasks/jobs: scripts that a rented machine runs, fetched from the loopback Hub and started by uv."""

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_tasks.jobs import evaluate
from tests.hub import ALICE, Hub
from tests.training.conftest import ROOT
from tests.training.runs import SHORT, words
from training.jobs import sft

SCRIPTS = {"training": ROOT / "training" / "jobs" / "sft.py", "evaluation": ROOT / "eval_tasks" / "jobs" / "evaluate.py"}
UV = ROOT / ".venv" / "bin" / "uv"


def header(path: Path) -> dict[str, Any]:
    """The script's table, as PEP 723 has it be read."""
    found = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", path.read_text())
    assert found
    return tomllib.loads("".join(line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines(True)))


def pins(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.partition("#")[0].strip() for line in lines} - {""}


def test_a_script_s_dependencies_are_those_of_the_project() -> None:
    assert set(header(SCRIPTS["training"])["dependencies"]) <= pins("requirements.txt")
    evaluation = set(header(SCRIPTS["evaluation"])["dependencies"])
    assert evaluation - {"vllm==0.32.0"} == pins("eval_tasks/requirements-vllm.txt")
    assert "VLLM=vllm==0.32.0" in (ROOT / "eval_tasks" / "requirements-vllm.txt").read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_job_is_not_ended_after_half_an_hour_and_has_the_token(name: str) -> None:
    jobs = header(SCRIPTS[name])["tool"]["hf-jobs"]
    assert jobs["timeout"].endswith("h")
    assert jobs["secrets"] == ["HF_TOKEN"]
    assert jobs["flavor"] != "cpu-basic"


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_hub_s_own_command_takes_what_the_script_says(name: str) -> None:
    """Without submitting anything; what follows the script is handed on, but for a lone --."""
    hf = Path(sys.executable).with_name("hf")
    options = ["--code", "org/code", "--", "--config", "recipe.yaml"]
    done = subprocess.run(
        [hf, "jobs", "uv", "run", "--dry-run", SCRIPTS[name], *options], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert re.search(r"timeout\s+\dh \(from script\)", done.stdout)
    assert re.search(r"secrets\s+HF_TOKEN", done.stdout)
    assert "--code org/code --config recipe.yaml" in done.stdout


def test_both_scripts_fetch_the_code_alike() -> None:
    for function in ("fetch", "option", "fail"):
        assert inspect.getsource(getattr(sft, function)) == inspect.getsource(getattr(evaluate, function))


@pytest.fixture
def code(hub_client: Hub, tmp_path: Path) -> str:
    """This repository's files in a model repository of the loopback Hub."""
    from huggingface_hub import HfApi

    name = "org/shop-code"
    if not hub_client.exists(name):
        for folder in ("common", "training"):
            shutil.copytree(ROOT / folder, tmp_path / "code" / folder, ignore=shutil.ignore_patterns("__pycache__"))
        api = HfApi(endpoint=hub_client.endpoint, token=ALICE)
        api.create_repo(name)
        api.upload_folder(repo_id=name, folder_path=tmp_path / "code")
        api.create_tag(name, tag="v1")
    return name


def run_job(script: Path, home: Path, hub: Hub, *options: object, token: str = ALICE) -> "subprocess.CompletedProcess[str]":
    """The script as `uv run` starts it, in this environment in place of one of its own, which would take minutes to install."""
    lines = script.read_text().splitlines(keepends=True)
    start, stop = lines.index("# dependencies = [\n"), lines.index("# ]\n")
    copy = home / "job.py"
    copy.write_text("".join([*lines[:start], "# dependencies = []\n", *lines[stop + 1 :]]))
    packages = sysconfig.get_path("purelib")
    env = hub.env(token=token, home=home / "hf", PYTHONPATH=packages, UV_CACHE_DIR=str(home / "uv"), OMP_NUM_THREADS="1")
    started = [UV, "run", "--offline", "--quiet", "--python", sys.executable, copy, *map(str, options)]
    return subprocess.run(started, cwd=home, env=env, capture_output=True, text=True, check=False)


def test_uv_runs_the_script_and_it_prints_what_would_be_started(hub: Hub, code: str, tmp_path: Path) -> None:
    options = ("--code", code, "--code-revision", "v1", "--dry-run", "--", "--config", "training/recipes/llama-3-8b-lora.yaml")
    done = run_job(SCRIPTS["training"], tmp_path, hub, *options, "--hub_model_id", "org/not-there-yet", token="")
    assert done.returncode == 0, done.stderr
    first, command = done.stdout.splitlines()
    found = json.loads(first)
    assert (found["code"], found["code_revision"]) == (code, "v1")
    assert (Path(found["folder"]) / "training" / "sft.py").read_bytes() == (ROOT / "training" / "sft.py").read_bytes()
    started = shlex.split(command)
    assert started[1:4] == ["-m", "accelerate.commands.launch", "--quiet"]
    assert started[-6:] == ["--hub_model_id", "org/not-there-yet", "--push_to_hub", "true", "--hub_strategy", "checkpoint"]
    shutil.rmtree(found["folder"])


def test_a_job_trains_pushes_and_goes_on_where_an_earlier_one_was_ended(
    hub: Hub, code: str, launch: list[str], tiny_llama: Path, shop_rows: Path, tmp_path: Path
) -> None:
    repo = "org/job-adapter"
    rows = words({**SHORT, "model_name_or_path": tiny_llama, "dataset_name": shop_rows, "report_to": "none"})
    recipe = ("--config", "training/recipes/smollm2-135m-lora.yaml", "--hub_model_id", repo, "--output_dir", "out")
    job = ("--code", code, "--machine", "cpu", *recipe, *rows, "--tokens_per_batch", 0, "--per_device_train_batch_size", 2)
    first = run_job(SCRIPTS["training"], tmp_path, hub, *job, "--num_train_epochs", 1)
    assert first.returncode == 0, first.stderr
    assert "last-checkpoint/complete.json" in hub.files(repo)
    second = run_job(SCRIPTS["training"], tmp_path, hub, *job, "--num_train_epochs", 2)
    assert second.returncode == 0, second.stderr
    assert f"--resume_from_checkpoint {repo}" in second.stdout
    assert json.loads(hub.files(repo)["training_summary.json"])["resumed_from_step"] == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--code", "org/shop-code"), "give --hub_model_id org/name, since the machine's disk is deleted with the job"),
        (
            ("--code", "org/no-code", "--hub_model_id", "org/a", "--dry-run"),
            "the code org/no-code cannot be fetched at main (40",
        ),
        (
            ("--code", ".", "--code-revision", "no-such", "--hub_model_id", "org/a", "--dry-run"),
            "the code . cannot be fetched at no-such",
        ),
        (("--code", "org/shop-code", "--hub_model_id", "org/a"), "there is no HF_TOKEN; start the job with --secrets HF_TOKEN"),
        (
            ("--code", "org/shop-code", "--hub_model_id", "org/a", "--machine", "mainframe", "--dry-run"),
            "there is no mainframe.yaml in training/accelerate; give another --machine",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    hub_client: Hub,
    code: str,
    options: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(sft, "has_checkpoint", lambda repo: False)
    with pytest.raises(SystemExit) as ended:
        sft.main(options)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {sentence}")


def test_the_code_may_come_from_git(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "training").mkdir(parents=True)
    (repo / "training" / "sft.py").write_text("first")
    author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=repo, check=True, env=os.environ | author)
    (repo / "training" / "sft.py").write_text("second")
    subprocess.run(["git", "commit", "-qam", "two"], cwd=repo, check=True, env=os.environ | author)
    for revision, text in (("v1", "first"), ("HEAD", "second")):
        folder = sft.fetch(f"file://{repo}", revision)
        assert (folder / "training" / "sft.py").read_text() == text
        shutil.rmtree(folder)


def test_the_evaluation_prints_what_would_be_started(hub_client: Hub, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--code", code, "--repo-id", "org/results", "--private", "--dry-run"]
    evaluate.main([*options, "--model", "org/base", "--revision", "v2", "--data", "org/rows", "--adapter", "org/a"])
    first, run, publish = capsys.readouterr().out.splitlines()
    assert json.loads(first)["code"] == code
    assert shlex.split(run)[1:] == [
        *("-m", "eval_tasks.run", "--model", "org/base", "--revision", "v2", "--data", "org/rows", "--adapter", "org/a"),
        *("--backend", "vllm", "--out", "results"),
    ]
    assert shlex.split(publish)[1:3] == ["-m", "eval_tasks.publish"]
    assert shlex.split(publish)[-3:] == ["--repo-id", "org/results", "--private"]
    from eval_tasks.run import parse_arguments

    parse_arguments(shlex.split(run)[3:])
    shutil.rmtree(json.loads(first)["folder"])


def test_the_files_for_two_machines_can_be_read() -> None:
    jobs = ROOT / "training" / "jobs"
    subprocess.run(["bash", "-n", jobs / "two_nodes.sbatch"], check=True)
    sky = yaml.safe_load((jobs / "two_nodes.sky.yaml").read_text())
    subprocess.run(["bash", "-n"], input=sky["run"], text=True, check=True)
    for text in (sky["run"], (jobs / "two_nodes.sbatch").read_text()):
        assert "training/accelerate/two_nodes.yaml" in text
    assert sky["num_nodes"] == 2
    assert sky["envs"]["RECIPE"] in {f"training/recipes/{path.name}" for path in (ROOT / "training" / "recipes").glob("*.yaml")}
