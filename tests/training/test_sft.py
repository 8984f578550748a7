"""training/sft.py: a real run of two steps, what is supervised, and what a user's mistakes lead to."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.hub import Hub
from tests.training.conftest import COMPLETIONS, RECIPE, ROOT, ROWS, TrainingRun, make_row
from tests.training.random_adapters import random_adapter
from tests.training.trainers import prepare_trainer
from training import sft
from training.arguments import parse_arguments
from training.mixture import load_rows, split_validation

SUMMARY_KEYS = {
    "base_model",
    "adapter",
    "dataset_name",
    "dataset_config",
    "dataset_fingerprint",
    "task_weights",
    "curriculum",
    "tasks",
    "rows_in_words",
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
    "learning_rate",
    "rows_per_step",
    "plan",
    "max_length",
    "processes",
    "resumed_from_step",
    "best_checkpoint_step",
    "hardware",
    "lora",
    "versions",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests' rows out of the user's datasets cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def unpacked(prepared: Any) -> Any:
    """The tokenised rows, whether or not they are packed."""
    return getattr(prepared, "rows", prepared)


PADDED = {"tokens_per_batch": 0, "per_device_train_batch_size": 4}
Prepare = Callable[..., Any]


@pytest.fixture
def prepare(tiny_llama: Path, shop_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Makes a trainer over the rows, as a run makes it, not yet trained."""
    import trl.trainer.utils as trl_utils

    monkeypatch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)  # put back after the test

    def make(**more: object) -> Any:
        options = {"model_name_or_path": tiny_llama, "dataset_name": shop_rows, "output_dir": tmp_path, "bf16": "false"}
        options |= {"dtype": "float32", "validation_samples": 5, "report_to": "none"} | more
        argv = ["--config", str(RECIPE), *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
        return prepare_trainer(argv)

    return make


@pytest.fixture(params=[{}, PADDED], ids=["without padding", "padded"])
def prepared(prepare: Prepare, request: pytest.FixtureRequest) -> Any:
    return prepare(**request.param)


def rows_of(batch: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Token ids and labels of each row of a collated batch."""
    import torch

    if "cu_seq_lens_q" not in batch:
        return [(ids[mask == 1], labels[mask == 1]) for ids, labels, mask in zip(*map(batch.get, COLUMNS), strict=True)]
    lengths = batch["cu_seq_lens_q"].diff().tolist()
    ids, labels = (list(batch[name][0].split(lengths)) for name in ("input_ids", "labels"))
    if batch.get("shared_prefix"):
        ids, labels = ([torch.cat([rows[0], row]) for row in rows[1:]] for rows in (ids, labels))
    return list(zip(ids, labels, strict=True))


COLUMNS = ("input_ids", "labels", "attention_mask")


@dataclass(frozen=True)
class CommandResult:
    """How a command ended: its exit code, the sentence that it ended with (empty if there is none), and all it printed."""

    code: int
    error: str
    printed: str


Call = Callable[..., CommandResult]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Runs main with a command line, in this process."""
    import trl.trainer.utils as trl_utils

    monkeypatch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # else main sets it for good

    def run_main(*argv: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["sft.py", "--report_to", "none", "--cpu_threads", "1", *map(str, argv)])
        capsys.readouterr()
        code = 0
        try:
            sft.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        printed, errors = capsys.readouterr()
        sentences = [line for line in re.split(r"[\r\n]", errors) if line.startswith("error: ")]
        assert len(sentences) == (1 if code else 0), errors
        assert "Traceback" not in errors
        return CommandResult(code, "".join(sentences), printed + errors)

    return run_main


def test_a_run_writes_a_changed_adapter_and_no_pickles(run: TrainingRun) -> None:
    from safetensors.torch import load_file

    weights = load_file(run.folder / "adapter_model.safetensors")
    changed = [name for name, tensor in weights.items() if "lora_B" in name and tensor.abs().sum() > 0]  # B starts at zero
    assert len(changed) == 2 * 7, "both layers' attention and MLP projections are trained"
    names = {path.name for path in run.folder.iterdir()}
    assert {"adapter_config.json", "tokenizer.json", "chat_template.jinja", "training_summary.json", "loss.png"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert ".saving" not in names


def test_a_run_leaves_the_base_as_it_was(run: TrainingRun, tiny_llama: Path, tmp_path: Path) -> None:
    from tests.tiny_llama import build_tiny_llama

    again = build_tiny_llama(tmp_path / "model")
    assert (again / "model.safetensors").read_bytes() == (tiny_llama / "model.safetensors").read_bytes()


def test_the_summary_says_what_was_done(run: TrainingRun, tiny_llama: Path, shop_rows: Path) -> None:
    summary = json.loads((run.folder / "training_summary.json").read_text())
    assert set(summary) >= SUMMARY_KEYS
    assert summary["base_model"] == str(tiny_llama)
    configs = json.loads((shop_rows / "manifest.json").read_text())["configs"]
    assert summary["dataset_fingerprint"] == configs["default"]["fingerprint"]
    assert summary["steps"] == 2
    assert summary["train_rows"] + summary["validation_rows"] == ROWS * len(COMPLETIONS)
    assert summary["validation_rows"] == 4, "groups of two rows stay whole, so of five at most four are held out"
    assert sum(summary["tasks"].values()) == summary["train_rows"]
    assert summary["train_loss"] > 0
    assert summary["validation_loss"] > 0
    assert summary["tokens"] > 16 * 10
    assert summary["lora"]["r"] == 16


def test_a_run_shows_the_composition_the_loss_and_the_result(run: TrainingRun) -> None:
    assert all(task in run.printed.partition("An epoch")[2] for task in COMPLETIONS)
    assert "loss=" in run.printed
    assert "validation loss" in run.printed


def test_the_log_holds_every_step_and_the_validation(run: TrainingRun) -> None:
    logs = [json.loads(line) for line in (run.folder / "training_log.jsonl").read_text().splitlines()]
    assert [log["step"] for log in logs if "loss" in log] == [1, 2]
    assert all(log["loss"] > 0 and log["grad_norm"] > 0 for log in logs if "loss" in log)
    summary = json.loads((run.folder / "training_summary.json").read_text())
    assert [log["eval_loss"] for log in logs if "eval_loss" in log] == [summary["validation_loss"]]


def test_a_run_keeps_its_last_checkpoint_whole(run: TrainingRun) -> None:
    from training.checkpoints import checkpoints, read_mark

    assert checkpoints(run.folder) == [run.folder / "checkpoint-2"]
    mark = read_mark(run.folder / "checkpoint-2")
    assert mark is not None
    assert mark["run"].keys() == {"rows", "seed", "tokens per batch", "curriculum", "grouped wordings", "batches a step"}


def test_a_run_is_pushed_while_it_goes_on_one_commit_a_checkpoint(run: TrainingRun, hub: Hub) -> None:
    newest, *steps, oldest = hub.commits(run.repo_id)
    assert (newest, oldest) == ("Adapter", "Card")
    assert steps in (["Step 2", "Step 1"], ["Step 1"]), "a checkpoint is skipped while the push of another is under way"


def test_a_pushed_run_has_its_interim_card_and_log_and_no_checkpoint(run: TrainingRun, hub: Hub, tiny_llama: Path) -> None:
    files = hub.files(run.repo_id)
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "training_summary.json"} <= set(files)
    assert files["training_log.jsonl"] == (run.folder / "training_log.jsonl").read_bytes()
    assert not [path for path in files if "checkpoint" in path or path.endswith((".bin", ".pt", ".pth"))]
    card = files["README.md"].decode()
    assert "It has not been measured yet" in card
    assert str(tiny_llama) not in card
    assert not (run.folder / "README.md").exists()


def test_a_pushed_adapter_loads_in_a_fresh_process(run: TrainingRun, hub: Hub, tiny_llama: Path) -> None:
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


def test_a_run_goes_on_from_its_last_checkpoint(run: TrainingRun, tiny_llama: Path, shop_rows: Path, call: Call) -> None:
    checkpoint = run.folder / "checkpoint-2"
    options = ["--config", RECIPE, "--model_name_or_path", tiny_llama, "--dataset_name", shop_rows]
    options += ["--validation_samples", "5", "--resume_from_checkpoint", checkpoint]
    folder = run.folder.with_name("resumed")
    assert call(*options, "--output_dir", folder, "--max_steps", 3).code == 0
    summary = json.loads((folder / "training_summary.json").read_text())
    assert summary["steps"] == 3
    assert summary["resumed_from_step"] == 2
    assert summary["tokens"] > 0
    said = call(*options, "--output_dir", folder, "--max_steps", 3, "--seed", 1)
    assert said.code == 2
    assert said.error.startswith(f"error: {checkpoint} is of a run with other seed (0, now 1); resume with the same dataset")


def test_a_run_goes_on_from_an_adapter_with_its_own_rank_and_tokenizer(
    tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Call
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    start = random_adapter(tiny_llama, tmp_path / "start", seed=0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "{# the adapter's own #}" + tokenizer.chat_template
    tokenizer.save_pretrained(start)
    options = ["--config", RECIPE, "--model_name_or_path", tiny_llama, "--dataset_name", shop_rows, "--adapter", start]
    options += ["--validation_samples", 0, "--max_steps", 1, "--bf16", "false", "--dtype", "float32"]
    for rate in (0, 0.01):
        assert call(*options, "--output_dir", tmp_path / str(rate), "--warmup_steps", 0, "--learning_rate", rate).code == 0
    before, same, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("start", "0", "0.01"))
    assert before.keys() == same.keys() == after.keys()
    assert all((before[name] == same[name]).all() for name in before)
    assert all((before[name] != after[name]).any() for name in before)
    assert (tmp_path / "0" / "chat_template.jinja").read_text().startswith("{# the adapter's own #}")
    summary = json.loads((tmp_path / "0" / "training_summary.json").read_text())
    assert summary["adapter"] == "start"
    assert (summary["lora"]["r"], summary["lora"]["alpha"]) == (4, 8)
    assert json.loads((tmp_path / "0" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_llama)


def test_supervised_tokens_are_the_completion_and_the_end_of_turn(prepared: Any) -> None:
    tokenizer, dataset = prepared.processing_class, prepared.train_dataset
    expected = {completion + "<|im_end|>" for _, _, completion in COMPLETIONS.values()}
    rows = [row for index in range(len(dataset)) for row in rows_of(prepared.data_collator([dataset[index]]))]
    assert len(rows) == prepared.epoch_rows == ROWS * len(COMPLETIONS) - 4
    assert {tokenizer.decode(ids[labels != -100]) for ids, labels in rows} == expected
    assert all(labels[-1] == tokenizer.eos_token_id for _, labels in rows)
    assert all(row["labels"][-1] == tokenizer.eos_token_id for row in unpacked(prepared.eval_dataset))


def test_an_epoch_has_every_row_once(prepared: Any) -> None:
    rows = [row for batch in prepared.get_train_dataloader() for row in rows_of(batch)]
    texts = [prepared.processing_class.decode(ids) for ids, _ in rows]
    assert len(texts) == len(set(texts)) == prepared.epoch_rows


def test_rows_without_padding_stay_within_the_budget(prepare: Prepare) -> None:
    trainer = prepare(tokens_per_batch=300)
    batches = list(trainer.get_train_dataloader())
    assert all(batch["input_ids"].shape[0] == 1 and batch["input_ids"].shape[1] <= 300 for batch in batches)
    assert all("attention_mask" not in batch for batch in batches)
    assert trainer.rows_per_step == pytest.approx(trainer.epoch_rows / len(batches) * trainer.args.gradient_accumulation_steps)


def test_a_prefix_that_rows_share_changes_neither_losses_nor_weights_nor_the_count_of_tokens(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def trained() -> tuple[Any, list[float], dict[str, Any], int]:
        trainer = prepare(tokens_per_batch=300, validation_samples=0, max_steps=4, logging_steps=1, save_strategy="no")
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        weights = {name: weight.detach() for name, weight in trainer.model.named_parameters() if weight.requires_grad}
        return trainer, losses, weights, trainer.tokens_seen

    _, losses, weights, tokens = trained()
    monkeypatch.setattr("training.batches.MIN_SHARED_PREFIX", 1)
    trainer, *again = trained()
    assert all(batch["shared_prefix"] > 0 for batch in trainer.get_train_dataloader())
    assert again[0] == pytest.approx(losses, rel=1e-4)
    for name, weight in again[1].items():
        torch.testing.assert_close(weight, weights[name], atol=1e-4, rtol=1e-3)
    assert again[2] == tokens > 0


def test_options_are_sorted_in_the_first_part_of_the_first_epoch_only(prepare: Prepare, tmp_path: Path) -> None:
    def row(number: int) -> dict[str, Any]:
        options = [f"it is {word}" for word in (("red", "blue", "green") if number % 2 else ("green", "red", "blue"))]
        listed = "".join(f"{place}. {option}\n" for place, option in enumerate(options))
        prompt = f"What colour is the tent {number}?\n{listed}Answer: "
        base = make_row("review_rating", number)
        return base | {
            "prompt": [{"role": "user", "content": prompt}],
            "completion": [{"role": "assistant", "content": str(options.index("it is red"))}],
        }

    from datasets import Dataset

    data = tmp_path / "rows"
    (data / "data").mkdir(parents=True)
    Dataset.from_list([row(number) for number in range(16)]).to_parquet(data / "data" / "train.parquet")
    trainer = prepare(dataset_name=data, tokens_per_batch=150, validation_samples=0, curriculum=0.5)
    loader = trainer.get_train_dataloader()

    def said(epoch: int) -> list[tuple[str, str]]:
        loader.set_epoch(epoch)
        rows = [row for batch in loader for row in rows_of(batch)]
        decode = trainer.processing_class.decode
        return [(decode(ids).split("?\n")[1].split("Answer")[0], decode(ids[labels != -100])) for ids, labels in rows]

    ordered = "0. it is blue\n1. it is green\n2. it is red\n"
    first, second = said(0), said(1)
    sorted_rows = sum(listed == ordered for listed, _ in first)
    assert 6 <= sorted_rows <= 10
    assert all(pair == (ordered, "2<|im_end|>") for pair in first[:sorted_rows])
    assert not any(listed == ordered for listed, _ in [*first[sorted_rows:], *second])
    assert len(first) == len(second) == 16
    assert {answer for _, answer in second} == {"0<|im_end|>", "1<|im_end|>"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--curriculum", "1.5"), "curriculum must be between 0 and 1, not 1.5"),
        (
            ("--curriculum", "0.3", "--tokens_per_batch", "0"),
            "curriculum needs packing by tokens; give --tokens_per_batch",
        ),
    ],
)
def test_a_share_of_the_curriculum_that_cannot_be_is_refused(options: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse_arguments(["--config", str(RECIPE), "--output_dir", "out", *options])


def test_validation_has_the_same_loss_with_and_without_padding(prepare: Prepare) -> None:
    losses = [prepare(**options).evaluate()["eval_loss"] for options in ({}, PADDED)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("options", [{}, PADDED], ids=["without padding", "padded"])
def test_rows_that_are_too_long_are_left_out_whole(prepare: Prepare, options: dict[str, int]) -> None:
    def texts(trainer: Any) -> dict[str, int]:
        rows = [row for batch in trainer.get_train_dataloader() for row in rows_of(batch)]
        return {trainer.processing_class.decode(ids): len(ids) for ids, _ in rows}

    lengths = texts(prepare(**options))
    limit = sorted(lengths.values())[len(lengths) // 2]
    trainer = prepare(max_length=limit, **options)
    kept = {text for text, length in lengths.items() if length <= limit}
    assert texts(trainer).keys() == kept
    assert 0 < trainer.epoch_rows == len(kept) < len(lengths)
    assert all(len(row["input_ids"]) <= limit for row in unpacked(trainer.eval_dataset))


def test_where_every_row_held_out_is_too_long_a_run_ends_before_its_first_step(
    tiny_llama: Path, tmp_path: Path, call: Call
) -> None:
    from datasets import Dataset

    rows: list[dict[str, Any]] = [make_row("also_buy", number) for number in range(ROWS)]
    validation = split_validation(Dataset.from_list(rows), 2, seed=0)[1]
    assert validation is not None
    for row in rows:
        if row["group"] in validation["group"]:
            row["prompt"][0]["content"] *= 5
    place = tmp_path / "rows"
    place.mkdir()
    write(place / "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    words = ["--config", RECIPE, "--model_name_or_path", tiny_llama, "--dataset_name", place, "--validation_samples", 2]
    ended = call(*words, "--max_length", 70, "--output_dir", tmp_path / "out")
    assert ended.error == "error: every row held out for validation is longer than --max_length 70 tokens; raise it"


def test_a_run_says_how_many_rows_it_left_out(tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Call) -> None:
    words = ["--config", RECIPE, "--model_name_or_path", tiny_llama, "--dataset_name", shop_rows]
    words += ["--output_dir", tmp_path / "out", "--max_steps", 1, "--max_length", 54, "--validation_samples", 9]
    ended = call(*words)
    assert ended.code == 0
    sides = split_validation(load_rows(str(shop_rows), None, "train", None, None), 9, seed=0)
    train, validation = (Counter(side["task"]) for side in sides if side)
    short, long = ("query_product_ranking", "review_rating"), ("also_buy", "answer_generation")
    left_out = sum(train[task] for task in long)
    assert f"{left_out} rows are left out: they are longer than --max_length 54 tokens" in ended.printed
    summary = json.loads((tmp_path / "out" / "training_summary.json").read_text())
    assert summary["train_rows"] == sum(train[task] for task in short)
    assert summary["validation_rows"] == sum(validation[task] for task in short) < validation.total()
    assert summary["max_length"] == 54


def test_prompt_and_completion_are_what_the_chat_template_makes_of_them(prepared: Any) -> None:
    text = prepared.processing_class.decode(rows_of(prepared.data_collator([prepared.train_dataset[0]]))[0][0])
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
    padded = "cu_seq_lens_q" not in prepared.data_collator([prepared.train_dataset[0]])
    batch = prepared.data_collator([prepared.train_dataset[index] for index in ((0, 15, 30) if padded else (0,))])
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


def test_help_is_printed_without_loading_torch() -> None:
    code = "import runpy, sys; sys.argv = ['sft.py', '--help']; runpy.run_path('training/sft.py', run_name='__main__')"
    code += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--push_to_hub" in done.stdout


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def adapter_of_another_base(base: Path, folder: Path) -> Path:
    """A folder whose weights have other shapes than the base's adapters."""
    from safetensors.torch import load_file, save_file

    weights = load_file(random_adapter(base, folder, seed=0) / "adapter_model.safetensors")
    save_file({name: tensor[:, :-1].contiguous() for name, tensor in weights.items()}, folder / "adapter_model.safetensors")
    return folder


def adapter_of_other_tokens(base: Path, folder: Path) -> Path:
    """A folder whose weights fit the base and whose tokenizer numbers tokens in another order."""
    random_adapter(base, folder, seed=0)
    (folder / "tokenizer_config.json").write_bytes((base / "tokenizer_config.json").read_bytes())
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokens = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    numbers = [number for token, number in tokens.items() if token not in special]
    others = iter(reversed(numbers))
    tokenizer["model"]["vocab"] = {token: number if token in special else next(others) for token, number in tokens.items()}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


Case = tuple[Callable[[Path, Path, Path], list[object]], str]
MISTAKES: dict[str, Case] = {
    "no dataset": (lambda base, rows, tmp: ["--model_name_or_path", base], "no dataset; give --dataset_name"),
    "no model": (lambda base, rows, tmp: ["--dataset_name", rows, "--model_name_or_path", ""], "no base model"),
    "missing dataset folder": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", tmp / "none"],
        "is no file or folder here, and no Hub id",
    ),
    "empty dataset folder": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", tmp],
        "cannot be loaded",
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
        "cannot be loaded",
    ),
    "missing model folder": (
        lambda base, rows, tmp: ["--model_name_or_path", tmp / "none", "--dataset_name", rows],
        "there is no model folder",
    ),
    "folder that is no model": (
        lambda base, rows, tmp: ["--model_name_or_path", tmp, "--dataset_name", rows],
        "holds no *.safetensors",
    ),
    "GGUF weights": (
        lambda base, rows, tmp: ["--model_name_or_path", write(tmp / "model.gguf", "GGUF").parent, "--dataset_name", rows],
        "holds GGUF files; give the folder or Hub id of the safetensors that they were made from",
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
        "the recipe is not YAML: while parsing a flow sequence",
    ),
    "value of the wrong type": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--learning_rate", "fast"],
        "invalid float value: 'fast'",
    ),
    "nothing to resume": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--resume_from_checkpoint", "last"],
        "there is no whole checkpoint to resume from in",
    ),
    "missing adapter": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--adapter", tmp / "none"],
        "is no file or folder here",
    ),
    "adapter of another base": (
        lambda base, rows, tmp: [
            *["--model_name_or_path", base, "--dataset_name", rows],
            *["--adapter", adapter_of_another_base(base, tmp / "adapter")],
        ],
        "give one of this base model",
    ),
    "adapter of a model with other tokens": (
        lambda base, rows, tmp: [
            *["--model_name_or_path", base, "--dataset_name", rows],
            *["--adapter", adapter_of_other_tokens(base, tmp / "adapter")],
        ],
        "give the base that it was trained on",
    ),
    "folder that is no adapter": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--adapter", tmp],
        "holds no adapter_model.safetensors",
    ),
    "negative weight": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--task_weights", "also_buy=-1"],
        "--task_weights takes proportional, uniform, temperature=2 or task=weight,task=weight",
    ),
    "number of rows in words": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--validation_samples", "ten"],
        "--validation_samples takes a number of rows such as 500 or 10k, not 'ten'",
    ),
    "streamed rows": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--dataset_streaming", "true"],
        "dataset_streaming is not supported",
    ),
    "packed batches by tokens": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--packing", "true"],
        "tokens_per_batch and packing are two ways to pack rows; leave packing out",
    ),
    "every row too long": (
        lambda base, rows, tmp: ["--model_name_or_path", base, "--dataset_name", rows, "--max_length", "4"],
        "every row is longer than --max_length 4 tokens",
    ),
}


def test_a_mistake_is_raised_as_one_that_the_user_can_mend(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no dataset; give --dataset_name with a dataset folder or a Hub id$"):
        sft.run(["--config", str(RECIPE), "--model_name_or_path", str(tiny_llama), "--output_dir", str(tmp_path)])


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_sentence(case: Case, tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Call) -> None:
    arguments, sentence = case
    place = tmp_path / "input"
    place.mkdir()
    words = arguments(tiny_llama, shop_rows, place)
    recipe = [] if "--config" in words else ["--config", RECIPE]
    ended = call(*recipe, "--output_dir", tmp_path / "out", *words)
    assert ended.code == 2
    assert sentence in ended.error
    assert not list((tmp_path / "out").glob("adapter*"))


def test_a_base_without_a_chat_template_is_refused(tiny_llama: Path, shop_rows: Path, tmp_path: Path, call: Call) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny_llama.iterdir():
        if path.name != "chat_template.jinja":
            (base / path.name).symlink_to(path)
    said = call("--config", RECIPE, "--model_name_or_path", base, "--dataset_name", shop_rows, "--output_dir", tmp_path / "out")
    assert said.code == 2
    assert said.error == f"error: the model {base} has no chat template; take its instruct version or give --chat_template_path"


def test_an_output_folder_that_cannot_be_written_is_found_out_first(tmp_path: Path, call: Call) -> None:
    taken = write(tmp_path / "out", "a file")
    said = call("--config", RECIPE, "--dataset_name", tmp_path / "none", "--output_dir", taken)
    assert said.code == 2
    assert said.error == f"error: cannot write to --output_dir {taken}: File exists"


def test_what_the_hub_refuses_is_told_in_one_sentence(hub: Hub, tiny_llama: Path, shop_rows: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys; from common.errors import UserError; from training import sft\n"
        "for argv in json.loads(sys.argv[1]):\n"
        "    try: sft.run(argv)\n"
        "    except UserError as error: print('SAID', error)\n"
    )
    common = ["--config", str(RECIPE), "--output_dir", str(tmp_path), "--cpu_threads", "1"]
    base, rows = ["--model_name_or_path", str(tiny_llama)], ["--dataset_name", str(shop_rows)]
    cases = {
        "--dataset_name org/no-such-dataset cannot be loaded: Dataset 'org/no-such-dataset' doesn't exist": [
            *base,
            "--dataset_name",
            "org/no-such-dataset",
        ],
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
        assert answer.startswith(sentence)
    assert "Traceback" not in done.stderr
