"""training/grpo.py: rewards are the tasks' own scores, and two steps on the tiny model change an adapter."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from tests.training.conftest import ROOT
from tests.training.reward_rows import write_reward_rows
from training import grpo
from training.grpo import RewardArguments, run, score

RECIPES = sorted((ROOT / "training" / "recipes" / "grpo").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reward_rows(tmp_path_factory.mktemp("reward_rows") / "data", 6)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_a_reward_is_the_task_s_own_score() -> None:
    logged: dict[str, float] = {}
    rewards = score(
        completions=[chat("2"), chat("3"), chat("3,2,4,1,5"), chat("1,2"), chat("Yes, in the box."), chat("")],
        task=["review_rating"] * 2 + ["query_product_ranking"] * 2 + ["answer_generation"] * 2,
        answer=['"2"'] * 2 + ["[0.0, 0.1, 1.0, 0.01, 0.0]"] * 2 + ['"Yes, in the box."'] * 2,
        log_metric=lambda name, value: logged.update({name: value}),
    )
    assert rewards == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    assert logged == {"parsed": pytest.approx(4 / 6)}
    assert score(completions=["2"], task=["review_rating"], answer=['"2"']) == [1.0]
    in_words = score(["exact", "1,2,3,4,5", "yes"], ["query_product_ranking"] * 2 + ["also_buy"], ['"exact"'] * 2 + ['"no"'])
    assert in_words == [1.0, 0.0, 0.0]
    thought = ["<think>\n1?</think>\n\n2", "<think>\n2"]
    assert score(completions=thought, task=["review_rating"] * 2, answer=['"2"'] * 2) == [1.0, 0.0], "reasoning is no answer"


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_a_recipe_is_parsed_and_every_key_reaches_its_field(path: Path) -> None:
    from trl import GRPOConfig, ModelConfig, ScriptArguments

    from training.arguments import parse

    parsed = parse(["--config", str(path)], (ScriptArguments, GRPOConfig, ModelConfig, RewardArguments))
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    for key, value in settings.items():
        homes = [part for part in parsed if hasattr(part, key)]
        assert homes, f"{key} is a field of no class"
        if isinstance(value, bool | int | float):
            assert getattr(homes[0], key) == value
    head, _, _ = path.read_text().partition("\n\n")
    assert f"--config training/recipes/grpo/{path.name}" in head
    assert settings["output_dir"] == f"outputs/grpo-{path.stem}"
    assert settings["ddp_find_unused_parameters"] is False


def words(tiny_llama: Path, data: Path, out: Path, **more: object) -> list[str]:
    options = {"model_name_or_path": tiny_llama, "dataset_name": data, "output_dir": out, "cpu_threads": 1, "max_steps": 2}
    options |= {"bf16": "false", "dtype": "float32", "report_to": "none", "save_strategy": "no", "disable_tqdm": "true"}
    options |= {"num_generations": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "learning_rate": 0.01}
    recipe = ["--config", str(ROOT / "training" / "recipes" / "grpo" / "smollm2-135m.yaml")]
    return recipe + [str(word) for key, value in (options | more).items() for word in (f"--{key}", value)]


@pytest.fixture(scope="module")
def trained(tiny_llama: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps from a new adapter."""
    out = tmp_path_factory.mktemp("grpo") / "adapter"
    with pytest.MonkeyPatch.context() as patch:
        import datasets

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setenv("TRACKIO_DIR", str(out))
        run(words(tiny_llama, data, out, tasks="answer_generation"))  # a random model's text shares letters with any text
    return out


def test_two_steps_write_an_adapter_as_the_other_training_does(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "training_log.jsonl", "loss.png"}
    assert not [name for name in names if name.endswith((".bin", ".pt")) or name == "README.md"]
    summary = json.loads((trained / "training_summary.json").read_text())
    assert (summary["method"], summary["steps"], summary["rows_per_step"]) == ("GRPO", 2, 2)
    assert summary["tasks"] == {"answer_generation": 6}
    assert len(summary["rewards"]) == 2
    assert summary["tokens"] > 0
    logs = [json.loads(line) for line in (trained / "training_log.jsonl").read_text().splitlines()]
    assert all("parsed" in str(sorted(log)) for log in logs if "reward" in log)


def test_it_goes_on_from_an_adapter(trained: Path, tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run(words(tiny_llama, data, tmp_path / "more", tasks="answer_generation", adapter=trained, learning_rate=0.0))
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (trained, tmp_path / "more"))
    assert json.loads((tmp_path / "more" / "training_summary.json").read_text())["adapter"] == trained.name
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before), "with a rate of 0 it is the same adapter"


def test_it_resumes_from_its_last_checkpoint(
    tiny_llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = {"tasks": "answer_generation", "save_strategy": "steps", "save_steps": 1}
    run(words(tiny_llama, data, tmp_path / "out", **saving, max_steps=1))
    rewarded: list[int] = []

    def counted(**columns: Any) -> list[float]:
        rewarded.append(len(columns["completions"]))
        return score(**columns)

    monkeypatch.setattr(grpo, "score", counted)
    run(words(tiny_llama, data, tmp_path / "out", **saving, resume_from_checkpoint="last"))
    assert len(rewarded) == 1, "the first of two steps is not done again"
    logs = [json.loads(line) for line in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()]
    assert [log["step"] for log in logs if "reward" in log] == [1, 2]


def test_it_goes_on_with_the_tokenizer_of_the_adapter(trained: Path, tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(trained, tmp_path / "adapter"))
    template = "{% for message in messages %}{{ message['content'] }}<|im_end|>{% endfor %}so:"
    (adapter / "chat_template.jinja").write_text(template)
    run(words(tiny_llama, data, tmp_path / "more", tasks="answer_generation", adapter=adapter, max_steps=1))
    assert (tmp_path / "more" / "chat_template.jinja").read_text() == template


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"push_to_hub": "true"}, "leave --push_to_hub out and run python -m training.publish after it"),
        ({"tasks": "also_buy"}, "the dataset has no task also_buy"),
        ({"num_generations": 3}, "must be divisible by"),
        ({"num_generation": 3}, "unknown field num_generation; did you mean num_generations?"),
        ({"resume_from_checkpoint": "last"}, "there is no checkpoint to resume from in .*; leave --resume_from_checkpoint out"),
        ({"adapter": "no/such/adapter"}, "--adapter no/such/adapter is no file or folder here"),
    ],
)
def test_a_mistake_is_one_sentence(
    more: dict[str, object], sentence: str, tiny_llama: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        run(words(tiny_llama, data, tmp_path / "out", **more))
