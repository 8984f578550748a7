"""The recipes' model families, each as a tiny model with a tokenizer of that family's kind: what is supervised, and what not.

Templates are those that the models are published with, less what is for tools.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.tiny_llama import TEXT
from tests.training.conftest import ROOT
from training.arguments import parse_arguments
from training.plan import plan_run
from training.tokenizer import load_tokenizer

LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{- bos_token }}{%- for message in messages %}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif %}"
    "{%- if message['role'] == 'user' %}{{- ' [INST] ' + message['content'] + ' [/INST]' }}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
QWEN_3 = (
    "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- elif message.role == 'assistant' %}{{- '<|im_start|>' + message.role + '\n' + message.content }}"
    "{{- '<|im_end|>\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(special: list[str], bos: str | None = None) -> Any:
    """A byte-level BPE, as Llama 3, Qwen and SmolLM2 have it; with `bos`, one that puts it before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXT.splitlines(), trainer)
    if bos:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, bpe.token_to_id(bos))]
        )
    return bpe


def llama_3() -> Any:
    from transformers import PreTrainedTokenizerFast

    reserved = [f"<|reserved_special_token_{number}|>" for number in range(4)]
    special = ["<|begin_of_text|>", "<|end_of_text|>", *reserved, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(special, "<|begin_of_text|>"),
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",  # as the first copies had it; the recipe says <|eot_id|>
    )


def mistral() -> Any:
    """SentencePiece's BPE: words begin with a mark for their space, and unknown characters are spelled in bytes."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaTokenizer

    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    bpe.train_from_iterator(TEXT.splitlines(), trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False))
    model = json.loads(bpe.to_str())["model"]
    return LlamaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


def qwen_3() -> Any:
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(special), eos_token="<|im_end|>", pad_token="<|endoftext|>")


def smollm2() -> Any:
    """Published with the end of turn as its padding token too."""
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=byte_level(special), **names)


@dataclass(frozen=True)
class Family:
    """How a family writes a chat. `before` is what its template puts between the prompt and the completion's own text."""

    recipe: str
    model_type: str
    tokenizer: Callable[[], Any]
    template: str
    chat: str
    end: str
    pad: str
    bos: str | None = None
    before: str = ""
    trims: bool = False


FAMILIES = {
    "llama 3": Family(
        recipe="llama-3-8b-lora",
        model_type="llama",
        tokenizer=llama_3,
        template=LLAMA_3,
        chat="<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nA?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
        pad="<|reserved_special_token_2|>",
        bos="<|begin_of_text|>",
        trims=True,
    ),
    "mistral": Family(
        recipe="mistral-7b-instruct-lora",
        model_type="mistral",
        tokenizer=mistral,
        template=MISTRAL,
        chat="<s> [INST] A? [/INST]",
        end="</s>",
        pad="<unk>",
        bos="<s>",
        before=" ",
    ),
    "qwen 3": Family(
        recipe="qwen3-4b-lora",
        model_type="qwen3",
        tokenizer=qwen_3,
        template=QWEN_3,
        chat="<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>",
        pad="<|endoftext|>",
    ),
    "smollm2": Family(
        recipe="smollm2-135m-lora",
        model_type="llama",
        tokenizer=smollm2,
        template=SMOLLM2,
        chat="<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>",
        pad="<|im_end|>",
    ),
}
COMPLETIONS = ["2", " 5", "3,1,2,5,4", "7 lamps", "Yes, in the box.", "é 5 €", "a much longer answer. " * 3 + "Yes"]
PROMPTS = [f"Does lamp {number} come with a bulb?\nAnswer: " for number in range(len(COMPLETIONS))]


@dataclass(frozen=True)
class Prepared:
    family: Family
    tokenizer: Any
    trainer: Any
    rows: list[dict[str, Any]]
    """Tokenised: `input_ids` and `labels`."""
    budget: int


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES.keys())
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The family's trainer, made by the recipe, over one row for every completion."""
    import datasets
    import torch
    import trl.trainer.utils as trl_utils
    from transformers import AutoConfig, AutoModelForCausalLM

    from training.trainer import make_trainer

    family: Family = request.param
    home = tmp_path_factory.mktemp("family")
    tokenizer = family.tokenizer()
    tokenizer.chat_template = family.template
    tokenizer.save_pretrained(home / "model")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family.model_type,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
        **({"sliding_window": None} if family.model_type == "mistral" else {}),
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(home / "model")
    recipe = ROOT / "training" / "recipes" / f"{family.recipe}.yaml"
    options = {"model_name_or_path": home / "model", "output_dir": home / "out", "report_to": "none"}
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    _, args, model, data = parse_arguments(["--config", str(recipe), *words])
    chats = [
        {"prompt": [{"role": "user", "content": prompt}], "completion": [{"role": "assistant", "content": completion}]}
        for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trl_utils, "_use_triton", trl_utils._use_triton)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "cache")
        rows = datasets.Dataset.from_list(chats)
        loaded = load_tokenizer(model, args)
        base, data, plan = plan_run(args, model, data, loaded, rows)
        trainer = make_trainer(args, model, base, loaded, rows, rows, data, plan)
        yield Prepared(family, loaded, trainer, list(trainer.eval_dataset), plan.tokens_per_batch)


def prompt_ids(prepared: Prepared, number: int) -> list[int]:
    """What generation would see."""
    messages = [{"role": "user", "content": PROMPTS[number]}]
    ids: list[int] = prepared.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    return ids


def written(family: Family, completion: str) -> str:
    """The completion as the family's template writes it."""
    return family.before + (completion.strip() if family.trims else completion)


def test_the_template_writes_a_chat_as_the_family_does(prepared: Prepared) -> None:
    messages = [{"role": "user", "content": "A?"}]
    assert prepared.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) == prepared.family.chat


def test_the_tokens_of_the_recipe_are_those_of_the_family(prepared: Prepared) -> None:
    family, tokenizer, trainer = prepared.family, prepared.tokenizer, prepared.trainer
    assert (tokenizer.pad_token, tokenizer.eos_token) == (family.pad, family.end)
    base = trainer.model.get_base_model()
    assert base.config.pad_token_id == tokenizer.convert_tokens_to_ids(family.pad)
    assert base.get_input_embeddings().num_embeddings == len(family.tokenizer()), "no embedding is added"
    assert family.end not in (None, tokenizer.unk_token)


def test_training_sees_the_prompt_that_generation_will_see(prepared: Prepared) -> None:
    assert len(prepared.rows) == len(COMPLETIONS)
    for number, row in enumerate(prepared.rows):
        prompt = prompt_ids(prepared, number)
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"][: len(prompt)] == [-100] * len(prompt)
        assert -100 not in row["labels"][len(prompt) :]


def test_supervised_are_the_completion_and_the_end_of_the_turn(prepared: Prepared) -> None:
    family, tokenizer = prepared.family, prepared.tokenizer
    for number, (row, completion) in enumerate(zip(prepared.rows, COMPLETIONS, strict=True)):
        start = len(prompt_ids(prepared, number))
        ids = row["input_ids"]
        assert row["labels"][start:] == ids[start:]
        assert ids[-1] == tokenizer.convert_tokens_to_ids(family.end)
        assert tokenizer.decode(ids) == tokenizer.decode(ids[:start]) + written(family, completion) + family.end
        assert ids.count(ids[-1]) == prepared.family.chat.count(family.end) + 1


def test_a_text_begins_once_where_the_family_has_a_token_for_it(prepared: Prepared) -> None:
    if prepared.family.bos is not None:
        begin = prepared.tokenizer.convert_tokens_to_ids(prepared.family.bos)
        assert all(row["input_ids"].count(begin) == 1 and row["input_ids"][0] == begin for row in prepared.rows)


def test_padding_is_never_supervised_and_the_end_of_a_turn_always_is(prepared: Prepared) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    tokenizer = prepared.tokenizer
    batch = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)(prepared.rows)
    padding = batch["attention_mask"] == 0
    assert padding.any()
    assert (batch["input_ids"][padding] == tokenizer.pad_token_id).all()
    assert (batch["labels"][padding] == -100).all()
    ends = batch["attention_mask"].sum(dim=1) - 1
    rows = range(len(ends))
    assert (batch["labels"][rows, ends] == tokenizer.eos_token_id).all()


def test_a_micro_batch_supervises_what_its_rows_do(prepared: Prepared) -> None:
    trainer = prepared.trainer
    assert prepared.budget > 0, "the recipe packs rows by tokens"
    batch = trainer.data_collator([trainer.train_dataset[0]])
    assert batch["input_ids"].shape[0] == 1
    ends = batch["labels"] == prepared.tokenizer.eos_token_id
    assert int(ends.sum()) == len(COMPLETIONS)
    supervised = sum(label != -100 for row in prepared.rows for label in row["labels"])
    assert int((batch["labels"] != -100).sum()) == supervised


def test_all_projections_of_every_layer_are_trained_and_no_embedding(prepared: Prepared) -> None:
    trained = [name for name, parameter in prepared.trainer.model.named_parameters() if parameter.requires_grad]
    projections = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert len(trained) == 2 * 2 * len(projections)
    assert all("lora_" in name and any(projection in name for projection in projections) for name in trained)


def test_a_step_gives_every_adapter_a_gradient(prepared: Prepared) -> None:
    trainer = prepared.trainer
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with trainer.accelerator.autocast():
        loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradients[name].abs().sum() > 0 for name in gradients if "lora_B" in name)
    trainer.model.zero_grad()
