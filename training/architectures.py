"""A model's architecture by its name, without a network for the models that recipes come along for."""

from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "meta-llama/Meta-Llama-3-8B-Instruct": LLAMA_3_8B,
    "mistralai/Mistral-7B-Instruct-v0.2": LLAMA_3_8B
    | {"model_type": "mistral", "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": None},
    "Qwen/Qwen3-4B-Instruct-2507": {
        "model_type": "qwen3",
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
        "tie_word_embeddings": True,
    },
    "HuggingFaceTB/SmolLM2-135M-Instruct": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
"""What decides the size in the config.json that each of these models is published with, at huggingface.co/<name>, so that
no network is needed for them, nor the terms of a gated one."""


def load_config(name: str) -> "PretrainedConfig":
    """The model's configuration: from the table above, a folder or the Hub."""
    from transformers import AutoConfig

    config: PretrainedConfig
    try:
        config = AutoConfig.for_model(**PUBLISHED[name]) if name in PUBLISHED else AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"cannot read the configuration of the model {name}: {line}; give its folder or Hub id") from None
    return config
