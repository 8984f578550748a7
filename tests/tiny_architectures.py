"""Tiny random models of many architectures: what trains packed and what generates fast is measured on them, not listed.

Weights are drawn with a standard deviation of 0.3, attention sinks with 2, so that a wrong mask, a lost sink or a lost soft-cap
shows in the logits. `QUICK` are those that the default tests try, one of each kind; the slow tests try all.
"""

from pathlib import Path
from typing import Any

VOCABULARY = 97
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Of all configurations, where they have such a field; an entry of ARCHITECTURES that is None leaves it out."""

_NO_GROUPS = {"num_key_value_heads": None}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, **_NO_GROUPS}
_HEADS = {"head_dim": 8}
_MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LATENT = {
    **{"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32},
    **{"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8},
    **{"first_k_dense_replace": 1, "num_key_value_heads": 4},
}
_LINEAR = {
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
    **_HEADS,
}
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "mistral with a window of 8": {"sliding_window": 8},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": _HEADS,
    "gemma": _HEADS,
    "gemma2": {
        **{"sliding_window": 4096, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 0.05, "final_logit_softcapping": 30.0},
        **_HEADS,
    },
    "gemma3_text": {"sliding_window": 512, "query_pre_attn_scalar": 8, **_HEADS},
    "gemma3_text with a window of 8": {"sliding_window": 8, "query_pre_attn_scalar": 8, **_HEADS},
    "gemma3n_text": {
        **{"sliding_window": 512, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8},
        **{"laurel_rank": 8, "num_kv_shared_layers": 0, "altup_num_inputs": 2, "activation_sparsity_pattern": [0.0] * 4},
        **{"layer_types": ["sliding_attention"] * 3 + ["full_attention"], **_HEADS},
    },
    "gemma4_text": {
        **{"sliding_window": 512, "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8},
        **{"num_kv_shared_layers": 0, "global_head_dim": 8, **_HEADS},
    },
    "phi": {},
    "phi3": {},
    "cohere": {},
    "cohere2": {"sliding_window": 512, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
    "olmo": {},
    "olmo2": {},
    "olmo3": {"sliding_window": 512},
    "granite": {},
    "granitemoe": _LOCAL_EXPERTS,
    "stablelm": {},
    "smollm3": {},
    "starcoder2": {"sliding_window": None},
    "glm": _HEADS,
    "glm4": _HEADS,
    "helium": _HEADS,
    "ernie4_5": _HEADS,
    "exaone4": {"sliding_window": 512, **_HEADS},
    "seed_oss": _HEADS,
    "hunyuan_v1_dense": _HEADS,
    "arcee": {},
    "apertus": {},
    "bitnet": {},
    "nemotron": {},
    "persimmon": {},
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 256, **_NO_GROUPS},
    "gpt_neox": _NO_GROUPS,
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, **_NO_GROUPS},
    "bloom": {"n_layer": 2, "n_head": 4, **_NO_GROUPS},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256, "expansion_ratio": 2, **_NO_GROUPS},
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True, **_NO_GROUPS},
    "mixtral": {"sliding_window": None, **_LOCAL_EXPERTS},
    "gpt_oss": {"sliding_window": 128, **_HEADS, **_LOCAL_EXPERTS},
    "qwen2_moe": {"shared_expert_intermediate_size": 32, "decoder_sparse_step": 1, **_MIXTURE},
    "qwen3_moe": {"decoder_sparse_step": 1, **_HEADS, **_MIXTURE},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": _LATENT,
    "minimax": {"block_size": 16, "layer_types": ["linear_attention", "full_attention"] * 2, **_HEADS, **_LOCAL_EXPERTS},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3, "block_auto_adjust_ff_dim": False},
    "qwen3_next": {"decoder_sparse_step": 1, "shared_expert_intermediate_size": 32, **_LINEAR, **_MIXTURE},
    "qwen3_5_text": _LINEAR,
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 128, "conv1d_width": 4, **_HEADS},
    "mamba": {"state_size": 8, **_NO_GROUPS},
    "mamba2": {"state_size": 8, "num_heads": 8, "n_groups": 1, "expand": 2, **_HEADS},
    "falcon_mamba": {"state_size": 8, **_NO_GROUPS},
    "falcon_h1": {"mamba_d_ssm": 32, **_HEADS, **_MAMBA2, "mamba_n_heads": 4},
    "bamba": {"attn_layer_indices": [1, 3], **_MAMBA2},
    "granitemoehybrid": {
        **{"layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 64, **_LOCAL_EXPERTS, **_MAMBA2},
    },
    "zamba2": {
        **{"layers_block_type": ["mamba", "hybrid"] * 2, "mamba_d_state": 8, "n_mamba_heads": 8, "mamba_ngroups": 1},
        **{"num_mem_blocks": 1, "num_key_value_heads": 4},
    },
    "jamba": {
        **{"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False, "num_experts": 4, "num_experts_per_tok": 2},
        **{"attn_layer_period": 2, "attn_layer_offset": 1},
    },
}
"""What a tiny configuration has beside COMMON, by name; a name's first word is transformers' model type."""

QUICK = (
    *("llama", "mistral with a window of 8", "qwen3", "gemma2", "gemma3_text", "stablelm", "gpt2", "falcon", "gpt_oss", "lfm2"),
    *("deepseek_v3", "mamba2", "recurrent_gemma", "qwen3_5_text"),
)
"""One of each kind: full attention, windows, soft-caps, sinks, other attention, other positions, convolutions, recurrence."""


def tiny_config(name: str, vocabulary: int = VOCABULARY) -> Any:
    from transformers import AutoConfig

    fields = COMMON | ARCHITECTURES[name] | {"vocab_size": vocabulary}
    dropped = {"num_key_value_heads"} if fields["num_key_value_heads"] is None else set()
    if "vocab_size_per_layer_input" in fields:
        fields["vocab_size_per_layer_input"] = vocabulary
    return AutoConfig.for_model(name.split(maxsplit=1)[0], **{field: fields[field] for field in fields.keys() - dropped})


def tiny_model(name: str, vocabulary: int = VOCABULARY, seed: int = 0, **options: Any) -> Any:
    """A random float32 model in evaluation mode; `options` go to `from_config`, such as `attn_implementation`."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(name, vocabulary), **options).float()
    with torch.no_grad():
        for path, weight in model.named_parameters():
            if weight.dim() > 1 or "sinks" in path:
                weight.normal_(0, 2 if "sinks" in path else 0.3)
    return model.eval()


def build_architecture(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes the model into `folder` as an ordinary transformers folder, with the tiny Llama's tokenizer and template."""
    from transformers import GenerationConfig

    from tests.tiny_llama import build_tokenizer

    tokenizer = build_tokenizer()
    model = tiny_model(name, len(tokenizer), seed)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(do_sample=False, **ids)
    for field, value in ids.items():
        setattr(model.config, field, value)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
