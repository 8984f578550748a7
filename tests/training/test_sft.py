"""training/sft.py: a real run of two steps, what is supervised, and what a user's mistakes lead to."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub import Hub
from tests.training.conftest import COMPLETIONS, RECIPE, ROOT, ROWS, Run, make_row
from training import sft

SUMMARY_KEYS = {
    "base_model",
    "dataset_name",
    "dataset_config",
    "dataset_fingerprint",
    "train_rows",
    "validation_rows",
    "epochs",
    "steps",
    "tokens",
    "seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "train_loss",
    "validation_loss",
    "seed",
    "hardware",
    "lora",
    "versions",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests' rows out of the user's datasets cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def prepared(tiny_llama: Path, shop_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A trainer over the rows, as main makes it, not yet trained."""
    import trl.trainer.utils as trl_utils

    monkeypatch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)  # put back after the test
    options = {"model_name_or_path": tiny_llama, "dataset_name": shop_rows, "output_dir": tmp_path, "bf16": "false"}
    argv = ["--config", str(RECIPE), *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
    script, args, model, data = sft.parse_arguments([*argv, "--dtype", "float32"])
    train, validation = sft.split_validation(sft.load_rows(script, data), 5, seed=0)
    return sft.make_trainer(args, model, sft.load_tokenizer(model, args), train, validation)


def test_a_run_writes_a_changed_adapter_and_no_pickles(run: Run) -> None:
    from safetensors.torch import load_file

    weights = load_file(run.folder / "adapter_model.safetensors")
    changed = [name for name, tensor in weights.items() if "lora_B" in name and tensor.abs().sum() > 0]  # B starts at zero
    assert len(changed) == 2 * 7, "both layers' attention and MLP projections are trained"
    names = {path.name for path in run.folder.iterdir()}
    assert {"adapter_config.json", "tokenizer.json", "chat_template.jinja", "training_summary.json", "loss.png"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert ".saving" not in names


def test_a_run_leaves_the_base_as_it_was(run: Run, tiny_llama: Path, tmp_path: Path) -> None:
    from tests.tiny_llama import build_tiny_llama

    again = build_tiny_llama(tmp_path / "model")
    assert (again / "model.safetensors").read_bytes() == (tiny_llama / "model.safetensors").read_bytes()


def test_the_summary_says_what_was_done(run: Run, tiny_llama: Path) -> None:
    summary = json.loads((run.folder / "training_summary.json").read_text())
    assert set(summary) >= SUMMARY_KEYS
    assert summary["base_model"] == str(tiny_llama)
    assert summary["dataset_fingerprint"] == "all of them"
    assert summary["steps"] == 2
    assert summary["train_rows"] + summary["validation_rows"] == ROWS * len(COMPLETIONS)
    assert summary["validation_rows"] == 4, "groups of two rows stay whole, so of five at most four are held out"
    assert sum(summary["tasks"].values()) == summary["train_rows"]
    assert summary["train_loss"] > 0
    assert summary["validation_loss"] > 0
    assert summary["tokens"] > 16 * 10
    assert summary["lora"]["r"] == 16


def test_a_run_shows_the_composition_the_loss_and_the_result(run: Run) -> None:
    assert all(task in run.printed.partition("An epoch")[2] for task in COMPLETIONS)
    assert "loss=" in run.printed
    assert "validation loss" in run.printed


def test_a_pushed_adapter_is_one_commit_and_loads_in_a_fresh_process(run: Run, hub: Hub, tiny_llama: Path) -> None:
    assert len(hub.commits(run.repo_id)) == 1
    files = hub.files(run.repo_id)
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "training_summary.json"} <= set(files)
    assert not [path for path in files if "checkpoint" in path or path.endswith((".bin", ".pt"))]
    code = (
        "import sys, torch; from peft import PeftModel; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "base = AutoModelForCausalLM.from_pretrained(sys.argv[1]); ids = torch.arange(9)[None]\n"
        "plain = base(ids).logits; tuned = PeftModel.from_pretrained(base, sys.argv[2])(ids).logits\n"
        "print((plain - tuned).abs().max().item(), AutoTokenizer.from_pretrained(sys.argv[2]).eos_token)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_llama, run.repo_id], env=hub.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    difference, end = done.stdout.split()
    assert float(difference) > 0
    assert end == "<|im_end|>"


def test_a_run_goes_on_from_its_last_checkpoint(run: Run, tiny_llama: Path, shop_rows: Path, call: Callable[..., str]) -> None:
    checkpoint = run.folder / "checkpoint-2"
    options = ["--config", RECIPE, "--model_name_or_path", tiny_llama, "--dataset_name", shop_rows, "--cpu_threads", "1"]
    folder = run.folder.with_name("resumed")
    call(*options, "--output_dir", folder, "--max_steps", 3, "--resume_from_checkpoint", checkpoint)
    summary = json.loads((folder / "training_summary.json").read_text())
    assert summary["steps"] == 3
    assert summary["tokens"] > 0


def test_supervised_tokens_are_the_completion_and_the_end_of_turn(prepared: Any) -> None:
    tokenizer, dataset = prepared.processing_class, prepared.train_dataset
    expected = {completion + "<|im_end|>" for _, _, completion in COMPLETIONS.values()}
    batch = prepared.data_collator([dataset[index] for index in range(len(dataset))])
    supervised = {
        tokenizer.decode(ids[labels != -100]) for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    }
    assert supervised == expected
    assert all(row["labels"][-1] == tokenizer.eos_token_id for row in prepared.eval_dataset)


def test_prompt_and_completion_are_what_the_chat_template_makes_of_them(prepared: Any) -> None:
    text = prepared.processing_class.decode(prepared.train_dataset[0]["input_ids"])
    assert text.startswith("<|im_start|>user\n")
    assert text.count("<|im_start|>assistant\n") == 1


def test_scoring_supervised_positions_only_gives_the_same_loss_and_gradients(
    prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import trl.trainer.utils as trl_utils
    from trl.kernels.chunked_logprob import _use_triton

    scored = []
    project = trl_utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        trl_utils._ChunkedLogProbFunction, "apply", lambda *args: scored.append(len(args[0])) or project(*args), raising=True
    )
    batch = prepared.data_collator([prepared.train_dataset[index] for index in (0, 15, 30)])
    losses, gradients = [], []
    for switch in (trl_utils._use_triton, _use_triton):  # the patched one, TRL's own
        monkeypatch.setattr(trl_utils, "_use_triton", switch)
        prepared.model.zero_grad()
        loss = prepared.compute_loss(prepared.model, dict(batch))
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in prepared.model.parameters() if p.grad is not None])
    assert scored[0] == int((batch["labels"] != -100).sum())
    assert scored[1] > scored[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("samples", [1, 2, 7, 24, 1000])
def test_a_group_is_on_one_side_of_the_validation_split(samples: int) -> None:
    from datasets import Dataset

    rows = Dataset.from_dict({"group": [f"g{index % 9}" for index in range(40)], "row": list(range(40))})
    train, validation = sft.split_validation(rows, samples, seed=3)
    held = validation["row"][:] if validation else []
    assert sorted(train["row"][:] + held) == list(range(40))
    assert len(held) <= samples
    assert len(train) > 0
    assert not {row % 9 for row in train["row"]} & {row % 9 for row in held}
    assert bool(held) == (samples >= 4), "the smallest group has four rows"


def test_the_validation_split_follows_the_seed_and_not_the_order_of_rows() -> None:
    from datasets import Dataset

    groups = [f"g{index}" for index in range(50)]
    rows, backwards = Dataset.from_dict({"group": groups}), Dataset.from_dict({"group": groups[::-1]})

    def held(dataset: Dataset, seed: int) -> set[str]:
        return set(sft.split_validation(dataset, 10, seed)[1]["group"])

    assert held(rows, 1) == held(backwards, 1)
    assert held(rows, 1) != held(rows, 2)


def test_a_cap_on_rows_per_task_keeps_the_same_rows_in_any_order() -> None:
    from datasets import Dataset

    rows = [make_row(task, number) for task in ("also_buy", "review_rating") for number in range(20)]
    rows = rows[:23]  # three rows of the second task
    capped = sft.cap_tasks(Dataset.from_list(rows), 5, seed=0)
    assert sft.task_counts(capped) == {"also_buy": 5, "review_rating": 3}
    assert capped["sample_id"][:] == sorted(capped["sample_id"], key=[row["sample_id"] for row in rows].index)
    assert set(capped["sample_id"]) == set(sft.cap_tasks(Dataset.from_list(rows[::-1]), 5, seed=0)["sample_id"])
    assert set(capped["sample_id"]) != set(sft.cap_tasks(Dataset.from_list(rows), 5, seed=1)["sample_id"])
    assert len(sft.cap_tasks(Dataset.from_list(rows), 0, seed=0)) == 23


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    size=st.integers(1, 8),
    seed=st.integers(0, 3),
)
def test_batches_by_length_hold_every_row_once_and_no_more_padding_than_sorted_rows(
    lengths: list[int], size: int, seed: int
) -> None:
    order = sft.batches_by_length(lengths, size, seed)
    assert sorted(order) == list(range(len(lengths)))

    def padded(indices: list[int]) -> int:
        batches = [indices[start : start + size] for start in range(0, len(indices), size)]
        return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)

    longest_first = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    assert padded(order) == padded(longest_first)


def test_batches_by_length_come_in_no_order_of_length() -> None:
    lengths = [100] * 40 + [400] * 40
    first_half = [lengths[index] for index in sft.batches_by_length(lengths, 4, seed=0)[:40]]
    assert 8 <= first_half.count(100) <= 32


def test_help_is_printed_without_loading_torch() -> None:
    code = "import runpy, sys; sys.argv = ['sft.py', '--help']; runpy.run_path('training/sft.py', run_name='__main__')"
    code += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--push_to_hub" in done.stdout


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs main with a command line and returns the sentence that it ends with, empty if there is none."""
    import trl.trainer.utils as trl_utils

    monkeypatch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)

    def run_main(*argv: object) -> str:
        monkeypatch.setattr(sys, "argv", ["sft.py", *map(str, argv)])
        try:
            sft.main()
        except SystemExit as exit_:
            return str(exit_.code)
        return ""

    return run_main


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


Case = tuple[Callable[[Path, Path, Path], list[object]], str]
MISTAKES: dict[str, Case] = {
    "no dataset": (lambda base, rows, tmp: ["--model_name_or_path", base], "no dataset; give --dataset_name"),
    "no model": (lambda base, rows, tmp: ["--dataset_name", rows, "--model_name_or_path", ""], "no base model"),
    "missing dataset folder": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", tmp / "none"],
        "there is no dataset folder",
    ),
    "empty dataset folder": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", tmp],
        "cannot load the dataset",
    ),
    "unknown config": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--dataset_config", "toys"],
        "BuilderConfig 'toys' not found",
    ),
    "unknown split": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--dataset_train_split", "dev"],
        'Unknown split "dev"',
    ),
    "unknown task": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--tasks", "also_buy,chess"],
        "no task chess; it has also_buy",
    ),
    "rows without prompts": (
        lambda base, rows, tmp: [
            *["--model_name_or_path", base, "--dataset_config", "default"],
            *["--dataset_name", write(tmp / "rows.jsonl", '{"text": "a"}\n').parent],
        ],
        "has no column completion or prompt",
    ),
    "truncated Parquet": (
        lambda base, rows, tmp: [
            *["--model_name_or_path", base, "--dataset_config", "default"],
            *["--dataset_name", write(tmp / "train.parquet", "PAR1").parent],
        ],
        "cannot load the dataset",
    ),
    "missing model folder": (
        lambda base, rows, tmp: ["--model_name_or_path", tmp / "none", "--dataset_name", rows],
        "there is no model folder",
    ),
    "folder that is no model": (
        lambda base, rows, tmp: ["--model_name_or_path", tmp, "--dataset_name", rows],
        "cannot load the model",
    ),
    "unknown option": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--lerning_rate", "1"],
        "unknown field lerning_rate; did you mean learning_rate?",
    ),
    "shortened option": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_nam", rows],
        "unknown field dataset_nam; did you mean dataset_name?",
    ),
    "unknown key": (
        lambda base, rows, tmp: ["--config", write(tmp / "recipe.yaml", "lora_rank: 8\n")],
        "unknown field lora_rank",
    ),
    "no recipe": (lambda base, rows, tmp: ["--config", tmp / "none.yaml"], "cannot read the recipe"),
    "recipe without a path": (lambda base, rows, tmp: ["--config"], "--config needs the path"),
    "recipe that is no mapping": (
        lambda base, rows, tmp: ["--config", write(tmp / "recipe.yaml", "- 1\n")],
        "must contain a YAML mapping",
    ),
    "recipe that is no YAML": (
        lambda base, rows, tmp: ["--config", write(tmp / "recipe.yaml", "a: [1\n")],
        "the recipe or an option is wrong",
    ),
    "value of the wrong type": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--learning_rate", "fast"],
        "invalid float value: 'fast'",
    ),
    "nothing to resume": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--resume_from_checkpoint", "last"],
        "there is no checkpoint to resume from",
    ),
    "every row too long": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--max_length", "4"],
        "every row is longer than --max_length 4 tokens",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_sentence(
    case: Case, tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Callable[..., str]
) -> None:
    arguments, sentence = case
    place = tmp_path / "input"
    place.mkdir()
    words = arguments(tiny_llama, shop_rows, place)
    recipe = [] if "--config" in words else ["--config", RECIPE]
    said = call(*recipe, "--output_dir", tmp_path / "out", "--cpu_threads", 1, *words)
    assert said.startswith("error: ")
    assert sentence in said
    assert "\n" not in said
    assert not list((tmp_path / "out").glob("adapter*"))


def test_a_base_without_a_chat_template_is_refused(
    tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Callable[..., str]
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_llama.iterdir():
        if path.name != "chat_template.jinja":
            (base / path.name).symlink_to(path)
    said = call("--config", RECIPE, "--model_name_or_path", base, "--dataset_name", shop_rows, "--output_dir", tmp_path / "out")
    assert said == f"error: the model {base} has no chat template; take its instruct version or give --chat_template_path"


def test_an_output_folder_that_cannot_be_written_is_found_out_first(tmp_path: Path, call: Callable[..., str]) -> None:
    taken = write(tmp_path / "out", "a file")
    said = call("--config", RECIPE, "--dataset_name", tmp_path / "none", "--output_dir", taken)
    assert said == f"error: cannot write to --output_dir {taken}: File exists"


def test_what_the_hub_refuses_is_told_in_one_sentence(hub: Hub, tiny_llama: Path, shop_rows: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys; from training import sft\n"
        "for argv in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['sft.py', *argv]\n"
        "    try: sft.main()\n"
        "    except SystemExit as exit_: print('SAID', exit_.code)\n"
    )
    common = ["--config", str(RECIPE), "--output_dir", str(tmp_path), "--cpu_threads", "1"]
    base, rows = ["--model_name_or_path", str(tiny_llama)], ["--dataset_name", str(shop_rows)]
    cases = {
        "there is no dataset 'org/no-such-dataset'": [*base, "--dataset_name", "org/no-such-dataset"],
        "cannot load the model org/no-such-model": [*rows, "--model_name_or_path", "org/no-such-model"],
        "the model org/gated-model is gated": [*rows, "--model_name_or_path", "org/gated-model"],
        "cannot make the Hub repository bob/mine": [*rows, *base, "--push_to_hub", "--hub_model_id", "bob/mine"],
    }
    with hub.fail("/org/gated-model", 403, code="GatedRepo"):
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps([[*common, *case] for case in cases.values()])],
            cwd=ROOT,
            env=hub.env(),
            capture_output=True,
            text=True,
            check=False,
        )
    said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert len(said) == len(cases), done.stderr
    for sentence, answer in zip(cases, said, strict=True):
        assert answer.startswith(f"error: {sentence}")
    assert "Traceback" not in done.stderr
