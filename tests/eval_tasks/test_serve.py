"""Serving: the command for vLLM's server, and that server with an adapter, asked by the client and by the README's curl."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval_tasks.client import ShopClient
from eval_tasks.serve import server_command
from tests.eval_tasks.conftest import REPOSITORY
from tests.tiny_llama import build_tiny_llama
from tests.training.random_adapters import random_adapter
from tests.vllm_server import BIN, environment, needs_vllm, running, wait_for

ADDRESS = "http://127.0.0.1:8000/v1"


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_an_adapter_is_served_under_its_name_with_its_rank_and_its_own_tokenizer(tmp_path: Path) -> None:
    command = server_command("org/base", tmp_path, "shop", ("0.0.0.0", 9), 32, False, ["--api-key", "x"])
    assert option(command, "--lora-modules") == f"shop={tmp_path}"
    assert option(command, "--served-model-name") == "shop-base"
    assert option(command, "--max-lora-rank") == "32"
    assert (option(command, "--host"), option(command, "--port"), command[-2:]) == ("0.0.0.0", "9", ["--api-key", "x"])
    assert "--tokenizer" not in command
    assert "--enforce-eager" not in command
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert "--tokenizer" not in server_command("org/base", tmp_path, "shop", ("", 9), 32, False)  # a template is no tokenizer
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert option(server_command("org/base", tmp_path, "shop", ("", 9), 32, False), "--tokenizer") == str(tmp_path)


def test_a_merged_model_is_served_alone_and_a_cpu_does_not_compile() -> None:
    command = server_command("merged", None, "shop", ("127.0.0.1", 8000), 0, True)
    assert option(command, "--served-model-name") == "shop"
    assert "--enforce-eager" in command
    assert "--enable-lora" not in command


@pytest.mark.parametrize(("made", "sentence"), [(False, "Run make demo first"), (True, "make setup-vllm")])
def test_make_serve_says_what_is_missing(made: bool, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((REPOSITORY / "Makefile").read_bytes())
    if made:
        (tmp_path / "outputs" / "demo" / "adapter").mkdir(parents=True)
    done = subprocess.run(["make", "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert sentence in done.stdout


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    base = build_tiny_llama(folder / "base", heads=2)
    adapter = random_adapter(base, folder / "adapter", seed=1, r=12, lora_alpha=24)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(BIN / "python"), "-m", "eval_tasks.serve", "--model", str(base), "--adapter", str(adapter)]
    more = ["--port", str(port), "--", "--dtype", "float32", "--gpu-memory-utilization", "0.1"]
    with running([*command, *more], environment(folder / "home"), folder / "log") as process:
        wait_for(process, f"http://127.0.0.1:{port}/health", folder / "log")
        yield f"http://127.0.0.1:{port}/v1"


@needs_vllm
def test_the_client_asks_every_kind_of_a_served_adapter(address: str) -> None:
    shop = ShopClient(address, "shop", retries=1)
    assert shop.rate("The lid leaks.", "Kitchen").answer in {"1", "2", "3", "4", "5"}
    scored = shop.rate("The lid leaks.", "Kitchen", scored=True)
    assert scored.error == ""
    assert sum(scored.probabilities.values()) == pytest.approx(1)
    ranked = shop.rank("bottle", ["hose", "steel bottle", "lamp"])
    assert {each.product for each in ranked} == {"hose", "steel bottle", "lamp"}
    row = {"product": "Tent", "candidates": ["Pegs", "Lamp", "Hose"], "number": "1 product"}
    [picked] = shop.ask("also_buy", [row])
    assert set(picked.answer or ()) <= {"Pegs", "Lamp", "Hose"}
    assert picked.error == ""
    written = shop.answer("Does it come with a bulb?", ["The bulb is in the box."])
    base = ShopClient(address, "shop-base", retries=1).answer("Does it come with a bulb?", ["The bulb is in the box."])
    assert written.answer
    assert written.answer != base.answer


@needs_vllm
def test_the_readmes_curl_line_is_answered(address: str) -> None:
    section = (REPOSITORY / "eval_tasks" / "README.md").read_text(encoding="utf-8").partition("### Behind an address")[2]
    [line] = [block for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL) if block.startswith("curl")]
    done = subprocess.run(["bash", "-c", line.replace(ADDRESS, address)], capture_output=True, text=True, check=True)
    reply = json.loads(done.stdout)
    assert re.fullmatch("[1-5]", reply["choices"][0]["message"]["content"])
