"""The transformers backend: an adapter says what its merged model says, whatever tokenizer, template and end it was given."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.errors import UserError
from eval_tasks.backends.prompts import LoadedModel, Prompt, parse_options
from eval_tasks.transformers_model import TransformersBackend, load
from tests.eval_tasks.conftest import REPOSITORY, environment
from tests.eval_tasks.rows import write_dataset
from tests.training.random_adapters import random_adapter
from training.merge import merge

PROMPTS = [
    Prompt((("user", f"{text} Answer: "),), f"{text} Answer: ", 24)
    for text in (
        "Rate the bottle, which leaks.",
        "Which of these products fits?",
        "Write a query for a kettle.",
        "Is it bright?",
    )
]
PLAIN = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}assistant: "
HYBRID = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)


class Pair(NamedTuple):
    base: Path
    adapter: Path
    merged: Path


def loaded(folder: Path, *options: str, adapters: tuple[Path, ...] = ()) -> LoadedModel:
    texts = [f"model_name={folder}", "dtype=float32", *options]
    return load(parse_options(",".join(texts), TransformersBackend.OPTIONS), adapters)


def said(model: LoadedModel, adapter: Path | None = None, prompts: list[Prompt] = PROMPTS) -> list[str]:
    return [text for _, text in sorted(model.answer(prompts, adapter, False))]


def another_end(tokenizer: Any, base: Path, adapter: Path) -> None:
    """The end token is one that the tuned model writes in the middle of its answers."""
    text = max(said(loaded(base), adapter), key=lambda text: sum(character.isascii() for character in text))
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"][1])


def another_template(tokenizer: Any, base: Path, adapter: Path) -> None:
    tokenizer.chat_template = PLAIN


def hybrid_template(tokenizer: Any, base: Path, adapter: Path) -> None:
    tokenizer.chat_template = HYBRID


CHANGES = [another_end, another_template, hybrid_template, None]


def trained(change: Callable[..., None] | None, tiny_llama: Path, folder: Path) -> Pair:
    """A base, and an adapter with a changed tokenizer of its own; without a change the base has no chat template."""
    from transformers import AutoTokenizer

    base = Path(shutil.copytree(tiny_llama, folder / "base"))
    adapter = random_adapter(base, folder / "adapter", seed=3)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if change:
        change(tokenizer, base, adapter)
    else:
        (base / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(adapter)
    merge(str(adapter), folder / "merged", str(base))
    return Pair(base, adapter, folder / "merged")


def name_of(change: Callable[..., None] | None) -> str:
    return change.__name__ if change else "base_without_template"


@pytest.fixture(scope="module", params=CHANGES, ids=name_of)
def pair_of(request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return trained(request.param, tiny_llama, tmp_path_factory.mktemp("trained"))


def test_an_adapter_says_what_its_merged_model_says(pair_of: Pair, tmp_path: Path) -> None:
    base, adapter, merged = pair_of
    model = loaded(base, adapters=(adapter,))
    answers = said(model, adapter)
    assert answers == said(loaded(merged))
    assert answers == own_generate(merged)
    bare = Path(shutil.copytree(adapter, tmp_path / "bare", ignore=shutil.ignore_patterns("token*", "*.jinja")))
    assert answers != said(model, bare), "with its base's tokenizer it says something else"
    assert said(model) == said(loaded(base)), "the base is asked with its own"


def own_generate(folder: Path) -> list[str]:
    """What `generate` of a merged model writes, without a word about where to end."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    arguments = {"enable_thinking": False} if "enable_thinking" in tokenizer.chat_template else {}
    found = []
    for prompt in PROMPTS:
        text = tokenizer.apply_chat_template(prompt.chat(), tokenize=False, add_generation_prompt=True, **arguments)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=prompt.max_new_tokens, do_sample=False)
        found.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


@pytest.mark.slow
def test_a_run_on_an_adapter_scores_as_the_run_on_its_merged_model(tiny_llama: Path, tmp_path: Path) -> None:
    """All runs in one process, since importing what they need takes longer than they do."""
    data = write_dataset(tmp_path / "dataset", ["review_rating", "also_buy", "query_generation"], 8)
    lines = []
    for change in CHANGES:
        folder = tmp_path / name_of(change)
        folder.mkdir()
        base, adapter, merged = trained(change, tiny_llama, folder)
        common = ["--data", data, "--option", "dtype=float32", "--option", f"cache_dir={folder / 'cache'}"]
        lines.append(["--model", base, "--adapter", adapter, *common, "--out", folder / "out", "--names", "base,adapter"])
        lines.append(["--model", merged, *common, "--out", folder / "out", "--names", "merged"])
    program = "import sys, json; from eval_tasks.run import main; [main(line) for line in json.loads(sys.argv[1])]"
    command = [sys.executable, "-c", program, json.dumps([list(map(str, line)) for line in lines])]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(tmp_path / "home"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for change in CHANGES:
        base, adapter, merged = (answers(tmp_path / name_of(change) / "out" / name) for name in ("base", "adapter", "merged"))
        assert adapter == merged != base


def answers(folder: Path) -> dict[str, list[Any]]:
    """Details file of a task -> texts and scores of its rows."""
    import pyarrow.parquet as pq

    found = {}
    for path in folder.rglob("details_*.parquet"):
        rows = sorted(pq.read_table(path).to_pylist(), key=lambda row: row["doc"]["query"])
        found[path.name.partition("|")[0]] = [
            (row["doc"]["query"], row["model_response"]["text"], row["metric"]) for row in rows
        ]
    assert len(found) == 3
    return found


def test_answers_depend_on_template_options_and_the_default_is_not_to_reason(tiny_llama: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "hybrid"))
    (base / "chat_template.jinja").write_text(HYBRID)
    default, off, on = (
        loaded(base),
        loaded(base, "template.enable_thinking=false"),
        loaded(base, "template.enable_thinking=true"),
    )
    assert said(default) == said(off) != said(on)
    assert len({default.identity, on.identity}) == 2


def test_a_limit_changes_the_identity_of_the_prompts_that_it_cuts_alone(tiny_llama: Path) -> None:
    long, short = loaded(tiny_llama), loaded(tiny_llama, "max_length=60")
    assert long.identity == short.identity
    (lengthy,) = [Prompt((("user", "garden hose " * 40),), "", 24)]
    assert long.cut([PROMPTS[0], lengthy], None) == [0, 0]
    none, some = short.cut([PROMPTS[0], lengthy], None)
    assert none == 0
    assert some > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "model.safetensors").rename(folder / "model-Q4_1.gguf"), "holds GGUF files; give the folder"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no \*\.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot load the model .*: .*; check its files"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"torn"), "cannot load the model .*: .*; check its files"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot load the tokenizer of .*; check its files"),
        (lambda folder: (folder / "config.json").rename(folder / "adapter_config.json"), "is an adapter; give its base as"),
    ],
)
def test_a_folder_that_is_no_model_is_one_sentence(
    tiny_llama: Path, tmp_path: Path, change: Callable[[Path], object], sentence: str
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    change(folder)
    with pytest.raises(UserError, match=sentence):
        loaded(folder)


def test_an_adapter_of_another_vocabulary_is_one_sentence(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    adapter = random_adapter(tiny_llama, tmp_path / "adapter", seed=3, modules_to_save=["lm_head"])
    own = AutoTokenizer.from_pretrained(tiny_llama)
    own.add_tokens(["<|turn|>"], special_tokens=True)
    own.eos_token = "<|turn|>"
    own.save_pretrained(adapter)
    with pytest.raises(UserError, match=r"writes '<\|turn\|>', number 400, and the model has weights for 400; take"):
        loaded(tiny_llama, adapters=(adapter,))
    own.eos_token = "<|im_end|>"
    own.save_pretrained(adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: torch.cat([tensor, tensor]) for name, tensor in weights.items()}, adapter / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"cannot be put on this base: size mismatch for .*"):
        said(loaded(tiny_llama, adapters=(adapter,)), adapter)


def test_a_template_that_refuses_a_turn_is_one_sentence(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
        "{{ message['content'] }}{% endfor %}"
    )
    model = loaded(folder)
    with pytest.raises(UserError, match="chat template refuses the turns system, user: no system turns"):
        said(model, None, [Prompt((("system", "Be brief."), ("user", "Rate it.")), "", 3)])


def test_what_a_generation_config_asks_for_beside_greedy_decoding_is_ignored_and_said(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    config = folder / "generation_config.json"
    sampling = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 1.5}
    config.write_text(json.dumps(json.loads(config.read_text()) | sampling))
    assert said(loaded(folder)) == said(loaded(tiny_llama))
    assert "ignored of the generation config: do_sample=True, repetition_penalty=1.5" in capsys.readouterr().err


def test_float16_weights_are_computed_in_float32_on_a_cpu(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if torch.cuda.is_available():
        pytest.skip("a GPU computes in float16")
    AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float16).save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "half")
    model = load(parse_options(f"model_name={tmp_path / 'half'}", TransformersBackend.OPTIONS))
    assert "float16, which a CPU computes in float32" in capsys.readouterr().err
    assert "torch.float32" in model.identity
    assert len(said(model)) == len(PROMPTS)
