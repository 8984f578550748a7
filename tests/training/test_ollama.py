"""The Modelfile: Ollama's template makes of a prompt the text that the model was trained on."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from common.errors import UserError
from training.ollama import main, modelfile

PROMPT = "Rate it.\n{{ this }}\nAnswer: "


def template_of(text: str) -> str:
    found = re.search(r'TEMPLATE """(.*?)"""\n', text, re.DOTALL)
    assert found
    return found[1]


def filled(template: str, prompt: str) -> str:
    """As Go's text/template renders the two kinds of action that a Modelfile has here."""
    return template.replace('{{ "{{" }}', "\0").replace("{{ .Prompt }}", prompt).replace("\0", "{{")


def tokenizer_with(tiny_llama: Path, template: str | None) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{% for message in messages %}{{ '{{' + message['role'] + '}} ' + message['content'] }}{% endfor %}{{ '\n>' }}",
        "{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}",
    ],
    ids=["its own", "braces", "inst"],
)
def test_the_template_renders_a_prompt_as_the_tokenizer_does(tiny_llama: Path, template: str | None) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama) if template is None else tokenizer_with(tiny_llama, template)
    turns = [{"role": "user", "content": PROMPT}]
    wanted = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert filled(template_of(modelfile(tokenizer, "./shop.gguf", 512)), PROMPT) == wanted


def test_the_first_token_is_left_to_llama_cpp_where_that_adds_it(tiny_llama: Path) -> None:
    real = tokenizer_with(tiny_llama, "{{ bos_token }}{{ messages[0]['content'] }}")
    real.bos_token = "<|im_start|>"

    class AddsBos(SimpleNamespace):
        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [self.bos_token_id, 5]}

    names = ("chat_template", "eos_token", "bos_token", "bos_token_id", "apply_chat_template", "get_chat_template")
    adding = AddsBos(**{name: getattr(real, name) for name in names})
    assert template_of(modelfile(adding, "./shop.gguf", 512)) == "{{ .Prompt }}"
    assert template_of(modelfile(real, "./shop.gguf", 512)) == real.bos_token + "{{ .Prompt }}"


def test_the_command_writes_it_beside_the_gguf_file(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.gguf").write_bytes(b"GGUF")
    main(["--model", str(tiny_llama), "--gguf", str(tmp_path / "shop.gguf")])
    lines = (tmp_path / "Modelfile").read_text().splitlines()
    end = AutoTokenizer.from_pretrained(tiny_llama).eos_token
    assert lines[0] == "FROM ./shop.gguf"
    assert lines[-1] == f'PARAMETER stop "{end}"'


@pytest.mark.parametrize("template", ["{{ messages[0]['content'] | upper }}", "{{ '\"\"\"' + messages[0]['content'] }}"])
def test_a_template_that_a_modelfile_cannot_hold_is_told(tiny_llama: Path, template: str) -> None:
    with pytest.raises(UserError, match=r"serve the GGUF file by llama\.cpp"):
        modelfile(tokenizer_with(tiny_llama, template), "./shop.gguf", 512)


def test_a_missing_file_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="convert the merged model first"):
        main(["--model", str(tiny_llama), "--gguf", str(tmp_path / "none.gguf")])
