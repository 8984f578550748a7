"""The vLLM backend, and vLLM's own server behind the endpoint backend, beside transformers on a random model in float32."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.answers import parse_completion
from common.errors import UserError
from common.tasks import TASKS
from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
from tests.eval_tasks.conftest import REPOSITORY
from tests.eval_tasks.rows import write_dataset
from tests.tiny_llama import TEXT, build_tiny_llama
from tests.training.random_adapters import random_adapter
from tests.vllm_server import BIN, environment, needs_vllm, vllm_server

TASK_NAMES = ["review_rating", "query_product_ranking", "also_buy", "query_generation"]
ROWS = 6
SHORT = 64
"""Tokens of a context into which none of the prompts fits."""

ELSEWHERE = {"peft", "mteb", "pyspark", "py4j"}
"""What only the transformers backend, the reranking model of MTEB and predictions on Spark import."""


class Models(NamedTuple):
    folder: Path
    base: Path
    adapter: Path
    own: Path
    """The adapter with a tokenizer of its own: another chat template and end token."""
    dataset: Path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("vllm")
    base = build_tiny_llama(folder / "base", heads=2)
    adapter = random_adapter(base, folder / "adapter", seed=1, r=12, lora_alpha=24)
    own = Path(shutil.copytree(adapter, folder / "own"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}<|im_start|>"
    tokenizer.eos_token = "\u0120the"
    tokenizer.save_pretrained(own)
    return Models(folder, base, adapter, own, write_dataset(folder / "dataset", TASK_NAMES, ROWS))


def run(models: Models, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / str(arguments[0])), *map(str, arguments[1:])]
    env = environment(models.folder / "home") | {"SHOP_DATASET": str(models.dataset), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-5000:]
    return done


@pytest.fixture(scope="module")
def one_load(models: Models) -> Path:
    """Results of the base and of an adapter, from one command that loads the base once."""
    out = models.folder / "out"
    kept = ("dtype=float32", "memory=0.1", "engine.max_num_seqs=8", f"cache_dir={models.folder / 'cache'}")
    options = [f"--option={option}" for option in kept]
    adapters = ("--adapter", models.adapter, "--adapter", models.own)
    backend = ("--backend", "vllm", "--model", models.base, *adapters, "--data", models.dataset)
    run(models, "python", "-m", "eval_tasks.run", *backend, *options, "--out", out)
    return out


@pytest.fixture(scope="module")
def constrained(models: Models) -> Path:
    """Results of the adapter with limited decoding in a short context, from lighteval's own command."""
    out = models.folder / "constrained"
    options = f"model_name={models.base},adapter={models.adapter},constrained=true,dtype=float32,max_length={SHORT},memory=0.1"
    files = ("eval_tasks/vllm_model.py", "shop|0", "--custom-tasks", "eval_tasks/shop.py")
    run(models, "lighteval", "custom", options, *files, "--output-dir", out, "--save-details")
    return out


@pytest.fixture(scope="module")
def served(models: Models) -> Iterator[str]:
    """The address of vLLM's own server of base (`base`) and adapter (`tuned`)."""
    lora = ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"tuned={models.adapter}"]
    with vllm_server(models.base, "base", models.folder, *lora) as url:
        yield url


class Said(NamedTuple):
    """One row of a run's details."""

    prompt: Prompt
    text: str

    @property
    def parsed(self) -> Any:
        return parse_completion(TASKS[self.prompt.task.removeprefix("shop:")], self.text)


def details(folder: Path) -> list[Said]:
    """All rows of a run, in an order that is every run's."""
    import pyarrow.parquet as pq

    found = []
    for path in sorted(folder.rglob("details_*.parquet"), key=lambda path: path.name):
        for row in pq.read_table(path).to_pylist():
            doc = row["doc"]
            task = doc["task_name"].partition("|")[0]
            prompt = Prompt(
                (("user", doc["query"]),), doc["query"], doc["generation_size"], task, doc["specific"]["pattern"] or ""
            )
            found.append(Said(prompt, row["model_response"]["text"][0]))
    assert len(found) == len(TASK_NAMES) * ROWS
    return found


def generated(base: Path, adapter: Path | None, prompts: list[Prompt], tokens: Path | None = None) -> list[str]:
    """What transformers' own `generate` writes to one prompt at a time, with the tokenizer in `tokens`."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokens or base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    ends = sorted({model.generation_config.eos_token_id, tokenizer.eos_token_id})
    texts = []
    for prompt in prompts:
        chat = tokenizer.apply_chat_template(prompt.chat(), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(chat, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=prompt.max_new_tokens, do_sample=False, eos_token_id=ends)
        texts.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


def same(first: list[str], second: list[str]) -> float:
    """vLLM's server leaves out an unfinished character at the end of an answer."""
    return sum(one.rstrip("\ufffd") == two.rstrip("\ufffd") for one, two in zip(first, second, strict=True)) / len(first)


def from_endpoint(url: str, model: str, prompts: list[Prompt], limited: bool = False) -> list[str]:
    from eval_tasks.backends.served_model import OPTIONS, load

    loaded = load(parse_options(f"model_name={model},base_url={url}", OPTIONS))
    return [text for _, text in sorted(loaded.answer(prompts, None, limited))]


SCORE = """
import json, sys
from pathlib import Path

from common.errors import UserError
from eval_tasks.backends.prompts import Prompt, ScoredPrompt, parse_options
from eval_tasks.vllm_model import VllmBackend, load

if __name__ == "__main__":
    base, asked = sys.argv[1], json.loads(sys.argv[2])
    options = parse_options(f"model_name={base},dtype=float32,memory=0.1", VllmBackend.OPTIONS)
    loaded = load(options, [])
    prompts = [ScoredPrompt(Prompt((("user", text),), text, 8), tuple(candidates)) for text, candidates in asked]
    print(json.dumps([found for _, found in sorted(loaded.score(prompts, None))]))
    try:
        list(loaded.score(prompts, Path("adapter")))
    except UserError as error:
        print(error)
"""
"""Prints the likelihoods of candidates in vLLM's environment, and what is said of an adapter.

Arguments: the base, and [[prompt, candidates], ...] as JSON.
"""


class TestWithVllm:
    pytestmark = needs_vllm

    @pytest.mark.parametrize("name", ["base", "adapter"])
    def test_answers_are_those_of_transformers(self, name: str, models: Models, one_load: Path) -> None:
        rows = details(one_load / name)
        texts = generated(models.base, models.adapter if name == "adapter" else None, [row.prompt for row in rows])

        assert [row.parsed for row in rows] == [Said(row.prompt, text).parsed for row, text in zip(rows, texts, strict=True)]
        assert same([row.text for row in rows], texts) >= 0.9, "the order of sums may turn a near tie"

    def test_likelihoods_are_those_of_transformers(self, models: Models, tmp_path: Path) -> None:
        from eval_tasks.transformers_model import TransformersBackend, load

        script = tmp_path / "score.py"
        script.write_text(SCORE, encoding="utf-8")
        asked = [
            (f"Rate the {word} of the {' '.join(TEXT.split()[:number])}.", candidates)
            for number, word in enumerate(("kettle", "lamp", "tent", "shirt"))
            for candidates in (["exact", "substitute"], ["yes", "no"], [str(label) for label in range(1, 13)])
        ]
        done = run(models, BIN / "python", script, models.base, json.dumps(asked))
        prompts = [ScoredPrompt(Prompt((("user", text),), text, 8), tuple(candidates)) for text, candidates in asked]
        options = parse_options(f"model_name={models.base},dtype=float32", TransformersBackend.OPTIONS)
        right = [list(each) for _, each in sorted(load(options).score(prompts, None))]
        assert "vLLM cannot score answers with an adapter; give the folder of python -m training.merge" in done.stdout
        found = next(
            line for line in reversed(done.stdout.splitlines()) if line.startswith("[[")
        )  # vLLM says goodbye behind it
        assert json.loads(found) == [pytest.approx(each, abs=1e-3) for each in right]

    def test_an_adapter_is_asked_with_its_own_tokenizer(self, models: Models, one_load: Path) -> None:
        rows = details(one_load / "own")
        texts = generated(models.base, models.own, [row.prompt for row in rows], models.own)
        assert same([row.text for row in rows], texts) >= 0.9
        assert same([row.text for row in rows], [row.text for row in details(one_load / "adapter")]) < 0.9

    def test_arguments_of_the_engine_have_its_types(self, models: Models) -> None:
        given = ("max_num_seqs=8", "kv_cache_dtype=fp8", "enable_prefix_caching=false", 'hf_overrides={"a": [1, 2]}',
                 "max_num_seqs=many", "max_num_seq=8", "dtype=auto", "kv_cache_dtype=fp99")  # fmt: skip
        script = (
            "import sys\nfrom common.errors import UserError\nfrom eval_tasks.backends.prompts import parse_options\n"
            "from eval_tasks.vllm_model import VllmBackend, engine_arguments\n"
            "for argument in sys.argv[1:]:\n"
            "    try:\n        options = parse_options(f'model_name=m,engine.{argument}', VllmBackend.OPTIONS)\n"
            "        print(engine_arguments(options))\n"
            "    except UserError as error:\n        print(error)\n"
        )
        *right, wrong, unknown, other, kind = run(models, "python", "-c", script, *given).stdout.strip().splitlines()[-8:]
        assert right == [
            *("{'max_num_seqs': 8}", "{'kv_cache_dtype': 'fp8'}", "{'enable_prefix_caching': False}"),
            "{'hf_overrides': {'a': [1, 2]}}",
        ]
        assert wrong.startswith("the model option engine.max_num_seqs cannot be 'many': Input should be a valid integer")
        assert unknown.startswith("vLLM's engine has no argument max_num_seq; did you mean max_num_seqs")
        assert "give dtype=" in other
        assert "engine.kv_cache_dtype cannot be 'fp99'" in kind

    def test_an_adapter_answers_otherwise_than_its_base(self, one_load: Path) -> None:
        assert same(*([row.text for row in details(one_load / name)] for name in ("base", "adapter"))) < 0.2

    def test_constrained_answers_match_their_patterns_and_are_those_of_the_transformers_backend(
        self, models: Models, constrained: Path
    ) -> None:
        from eval_tasks.transformers_model import TransformersBackend, load

        rows = details(constrained)
        limited = [row for row in rows if row.prompt.pattern]
        assert {row.prompt.task for row in limited} == {f"shop:{name}" for name in TASK_NAMES if name != "query_generation"}
        assert [row.text for row in limited if not re.fullmatch(row.prompt.pattern, row.text)] == []

        here = load(parse_options(f"model_name={models.base},dtype=float32,max_length={SHORT}", TransformersBackend.OPTIONS))
        found = [text for _, text in sorted(here.answer([row.prompt for row in rows], models.adapter, True))]
        assert [Said(row.prompt, text).parsed for row, text in zip(rows, found, strict=True)] == [row.parsed for row in rows]

    @pytest.mark.parametrize(("name", "called"), [("base", "base"), ("adapter", "tuned")])
    def test_vllms_own_server_answers_the_endpoint_backend_alike(
        self, name: str, called: str, one_load: Path, served: str
    ) -> None:
        rows = details(one_load / name)
        assert same(from_endpoint(served, called, [row.prompt for row in rows]), [row.text for row in rows]) >= 0.9

    def test_vllms_own_server_limits_the_endpoint_backend_to_patterns(self, one_load: Path, served: str) -> None:
        prompts = [row.prompt for row in details(one_load / "base") if row.prompt.pattern]
        texts = from_endpoint(served, "tuned", prompts, limited=True)
        assert all(re.fullmatch(prompt.pattern, text) for prompt, text in zip(prompts, texts, strict=True))

    def test_vllms_own_server_tells_what_is_wrong_with_a_request(self, served: str) -> None:
        long = Prompt((("user", "red shoes " * 3000),), "", 8)
        assert from_endpoint(served, "base", [long]) == [""]
        with pytest.raises(UserError, match=r"knows no model 'other' .404: The model `other` does not exist"):
            from_endpoint(served, "other", [Prompt((("user", "Hello."),), "", 8)])
        with pytest.raises(UserError, match=r"knows no model .* mostly in /v1"):
            from_endpoint(served.removesuffix("/v1"), "base", [Prompt((("user", "Hello."),), "", 8)])
        with pytest.raises(UserError, match=r"refuses the request .*constrained=true needs a server"):
            from_endpoint(served, "base", [Prompt((("user", "Hello."),), "", 8, pattern="(")], limited=True)

    def test_its_environment_has_every_package_that_the_evaluation_imports(self, models: Models) -> None:
        # shop_score/ is published by itself.
        files = [path for path in (REPOSITORY / "eval_tasks").rglob("*.py") if path.parent.name != "shop_score"]
        nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        packages = {name.partition(".")[0] for name in names} - ELSEWHERE
        script = (
            "import sys\nfrom importlib.util import find_spec\nprint([name for name in sys.argv[1:] if not find_spec(name)])"
        )
        assert run(models, "python", "-c", script, *sorted(packages)).stdout.strip() == "[]"

    def test_the_rank_limit_is_the_least_that_adapters_fit_into_and_what_vllm_cannot_do_is_told(
        self, models: Models, tmp_path: Path
    ) -> None:
        def changed(name: str, **fields: Any) -> Path:
            config = json.loads((models.adapter / "adapter_config.json").read_text())
            (tmp_path / name).mkdir()
            (tmp_path / name / "adapter_config.json").write_text(json.dumps(config | fields))
            return tmp_path / name

        folders = [models.adapter, changed("patterned", rank_pattern={"q_proj": 100}), changed("dora", use_dora=True), tmp_path]
        script = (
            "import sys\nfrom pathlib import Path\nfrom common.errors import UserError\n"
            "from training.adapters import rank_limit\n"
            "for argument in sys.argv[1:]:\n"
            "    try:\n        print(rank_limit([Path(argument)]))\n"
            "    except UserError as error:\n        print(error)\n"
        )
        small, large, dora, none = run(models, "python", "-c", script, *folders).stdout.strip().splitlines()[-4:]
        assert (small, large) == ("16", "128")
        assert re.search(r"cannot use the adapter .*DoRA.*python -m training.merge", dora)
        assert re.search(r"cannot use the adapter .*No such file", none)


def test_both_environments_hold_what_they_share_alike() -> None:
    def held(name: str) -> dict[str, str]:
        lines = (line.partition("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines())
        return dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in lines if line)  # type: ignore[union-attr]

    everywhere, beside_vllm = held("requirements.txt"), held("eval_tasks/requirements-vllm.txt")
    assert beside_vllm == {name: everywhere.get(name) for name in beside_vllm}


def test_where_vllm_is_not_installed_the_command_for_it_is_told(tiny_llama: Path) -> None:
    from eval_tasks.vllm_model import VllmBackend, load

    with pytest.raises(UserError, match=r"vLLM cannot be imported here .*run make setup-vllm, and this with .venv-vllm/bin"):
        load(parse_options(f"model_name={tiny_llama}", VllmBackend.OPTIONS))


def test_the_share_of_memory_is_one() -> None:
    from eval_tasks.vllm_model import memory_share

    assert memory_share("0.25", cpu=False) == 0.25
    assert memory_share("", cpu=True) < memory_share("", cpu=False)
    for wrong in ("0", "1.5", "half", "nan"):
        with pytest.raises(UserError, match=r"memory is a share such as 0\.5"):
            memory_share(wrong, cpu=True)
