"""`python -m training.publish`: a finished adapter on the loopback Hub, and what stays here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file

from common.errors import UserError
from tests.hub import Finished, Hub, run_main
from tests.training.conftest import TrainingRun
from training.publish import adapter_files, base_on_hub, main

pytestmark = pytest.mark.usefixtures("hub_client")
BASE = "org/published-base"


def publish(adapter: Path, repo_id: str, *options: str) -> Finished:
    done = run_main(main, "--adapter", adapter, "--repo-id", repo_id, "--base-model", BASE, *options)
    assert done.returncode == 0, done.stderr
    return done


def upload(repo_id: str, path: str, text: str) -> None:
    HfApi().upload_file(path_or_fileobj=text.encode(), path_in_repo=path, repo_id=repo_id)


@pytest.fixture
def adapter(run: TrainingRun, tmp_path: Path) -> Path:
    """What a real training left, to be changed."""
    return Path(shutil.copytree(run.folder, tmp_path / "adapter"))


@pytest.fixture(scope="module")
def published(run: TrainingRun, hub_client: Hub, tiny_llama: Path) -> str:
    HfApi().create_repo(BASE)
    HfApi().upload_folder(repo_id=BASE, folder_path=tiny_llama)
    done = publish(run.folder, "org/published", "--dataset", "org/rows")
    assert done.stdout == f"published: {hub_client.endpoint}/org/published\n"
    return "org/published"


def test_what_others_need_goes_up_in_one_commit_and_the_rest_stays(hub: Hub, published: str, run: TrainingRun) -> None:
    assert hub.commits(published) == ["Adapter"]
    files = hub.files(published)
    assert set(files) == {
        *("README.md", "adapter_model.safetensors", "adapter_config.json", "training_summary.json", "training_log.jsonl"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "loss.png"),
    }
    assert any(run.folder.glob("checkpoint-*"))  # so they could have gone up
    same = ("adapter_model.safetensors", "tokenizer.json", "training_log.jsonl", "loss.png")
    assert all(files[name] == (run.folder / name).read_bytes() for name in same)


def test_ids_of_the_hub_stand_in_place_of_folders_and_all_else_is_as_it_was(hub: Hub, published: str, run: TrainingRun) -> None:
    files = hub.files(published)
    for name, told in {
        "adapter_config.json": {"base_model_name_or_path": BASE},
        "training_summary.json": {"base_model": BASE, "dataset_name": "org/rows"},
    }.items():
        former = json.loads((run.folder / name).read_text())
        assert json.loads(files[name]) == former | told != former
    for content in files.values():
        assert str(run.folder.parent).encode() not in content
    assert b"base_model: org/published-base\n" in files["README.md"]
    assert b"datasets: org/rows\n" in files["README.md"]


def test_it_loads_by_its_name_alone_and_answers_as_it_did_here(
    hub: Hub, published: str, run: TrainingRun, tiny_llama: Path
) -> None:
    code = """
import json, sys, torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

def logits(model, adapter):
    tokens = AutoTokenizer.from_pretrained(adapter)("a steel bottle, 750 ml", return_tensors="pt")
    with torch.no_grad():
        return model(**tokens).logits

base, adapter, local_base, local_adapter = sys.argv[1:]
here = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(local_base), local_adapter), local_adapter)
there = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter), adapter)
alone = logits(AutoPeftModelForCausalLM.from_pretrained(adapter), adapter)
print(torch.equal(here, there), torch.equal(here, alone), here.abs().max() > 0)
"""
    command = [sys.executable, "-c", code, BASE, published, str(tiny_llama), str(run.folder)]
    done = subprocess.run(command, env=hub.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True", "True", "tensor(True)"]


MEASURED = "---\nlibrary_name: peft\n---\nMeasured.\n"


def test_a_second_time_nothing_changes_and_the_card_that_is_there_stays(hub: Hub, adapter: Path) -> None:
    def again() -> str:
        return publish(adapter, "org/published-twice").stdout.partition(":")[0]

    assert again() == "published"
    upload("org/published-twice", "README.md", MEASURED)
    upload("org/published-twice", ".eval_results/org--rows.yaml", "[]")
    head = hub.head("org/published-twice")
    assert again() == "nothing to do, it is all there"
    assert hub.head("org/published-twice") == head
    (adapter / "loss.png").unlink()
    (adapter / "training_log.jsonl").write_text('{"loss": 1.0, "step": 1}\n')
    assert again() == "published"
    files = hub.files("org/published-twice")
    assert files["README.md"].endswith(b"Measured.\n")
    assert ".eval_results/org--rows.yaml" in files
    assert "loss.png" not in files


def test_new_weights_take_card_and_scores_of_the_former_ones_away(hub: Hub, adapter: Path) -> None:
    publish(adapter, "org/published-anew")
    upload("org/published-anew", "README.md", MEASURED)
    upload("org/published-anew", ".eval_results/org--rows.yaml", "[]")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, adapter / "adapter_model.safetensors")
    publish(adapter, "org/published-anew")
    files = hub.files("org/published-anew")
    assert b"It has not been measured yet" in files["README.md"]
    assert ".eval_results/org--rows.yaml" not in files
    assert hub.commits("org/published-anew")[0] == "Adapter"


def test_a_dry_run_lists_the_files(hub: Hub, run: TrainingRun) -> None:
    before = len(hub.requests)
    done = publish(run.folder, "org/published-dry", "--dry-run")
    assert re.search(r"would upload 9 files, .*, to .*/org/published-dry", done.stdout)
    assert len(hub.requests) == before


# --- The base ---


def with_base(adapter: Path, name: str | Path | None) -> Path:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": name and str(name)}))
    return adapter


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        ("---\nbase_model: some-lab/Tiny-1M\n---\n# A copy\n", "some-lab/Tiny-1M"),
        ("---\nbase_model:\n- some-lab/Tiny-1M\n- another/one\n---\n", "some-lab/Tiny-1M"),
        ("---\nlicense: mit\n---\n", None),
        ("# No metadata\n", None),
        ("---\nbase_model: [\n---\n", None),
        (None, None),
    ],
)
def test_a_folder_is_the_model_that_it_says_it_is_a_copy_of(
    adapter: Path, tmp_path: Path, readme: str | None, found: str | None
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    if readme is not None:
        (base / "README.md").write_text(readme)
    if found:
        assert base_on_hub(with_base(adapter, base)) == found
    else:
        with pytest.raises(UserError, match="is a folder that names no model of the Hub; publish that model and give its name"):
            base_on_hub(with_base(adapter, base))


def test_a_merged_model_is_not_what_it_was_merged_from(adapter: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nbase_model: some-lab/Tiny-1M\n---\n")
    (base / "merge.json").write_text("{}")
    with pytest.raises(UserError, match="is a merged model, which the Hub does not have; publish that model"):
        base_on_hub(with_base(adapter, base))


def test_an_id_is_taken_and_a_folder_that_is_gone_is_told(adapter: Path) -> None:
    assert base_on_hub(with_base(adapter, "some-lab/Tiny-1M")) == "some-lab/Tiny-1M"
    for gone in ("outputs/demo/no-base", "/no/such/base"):
        with pytest.raises(UserError, match=f"the adapter's base {gone} is a folder that is not here; publish that model"):
            base_on_hub(with_base(adapter, gone))


# --- Folders that are no finished adapter ---


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "tokenizer_config.json", "training_summary.json"])
def test_an_unfinished_training_is_not_published(hub: Hub, adapter: Path, name: str) -> None:
    (adapter / name).unlink()
    done = run_main(main, "--adapter", adapter, "--repo-id", "org/published-part", "--base-model", BASE)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {adapter} is not a finished adapter, it has no {name}; train it to the end with training/sft.py\n",
    )
    assert not hub.exists("org/published-part")


def test_what_is_no_folder_or_no_json_is_told(adapter: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; give the output folder"):
        adapter_files(adapter / "none")
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"adapter_config\.json holds no JSON object; train the adapter again"):
        base_on_hub(adapter)
