"""Every causal language model that transformers can build, tiny: small sizes by the names of configurations."""

from __future__ import annotations

from typing import Any

HIDDEN, LAYERS, HEADS, WINDOW, VOCABULARY = 32, 4, 4, 16, 99
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_size", "word_embed_proj_dim"), HIDDEN),
    **dict.fromkeys(("lru_width", "attention_hidden_size"), HIDDEN),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("encoder_layers", "num_experts_per_tok", "mamba_expand", "expand", "altup_num_inputs"), 2),
    **dict.fromkeys(("encoder_attention_heads", "num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("v_head_dim", "state_size", "mamba_d_state", "ssm_state_size", "linear_key_head_dim"), 8),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_chunk_size", "window_size"), WINDOW),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 256),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 24),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_value_heads", "laurel_rank"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("linear_value_head_dim", "hidden_size_per_layer_input"), 8),
    "rotary_dim": 4,
    "conv_kernel": 4,
    "encoder_ffn_dim": 48,
    "max_window_layers": 2,
    "num_kv_shared_layers": 2,
    "use_sliding_window": True,
    "is_decoder": True,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def families() -> list[str]:
    """Return the names of all families, whose code is not imported yet: that of all takes seconds."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return [name for name in CONFIG_MAPPING_NAMES if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]


def tiny(family: str) -> Any:
    """Return a tiny model of a family, with random weights that make its next tokens vary.

    Raises:
        Exception: the family cannot be built from these sizes; each raises its own.
    """
    import torch
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = CONFIG_MAPPING[family]
    model = MODEL_FOR_CAUSAL_LM_MAPPING[config]
    default = config()
    kind = type(default.get_text_config(decoder=True))
    known = {*default.get_text_config(decoder=True).to_dict(), *getattr(kind, "attribute_map", {})}
    sized = kind(**{name: size for name, size in SIZES.items() if name in known})
    with torch.device("meta"):
        if sum(one.numel() for one in model(sized).parameters()) > 2_000_000:
            raise ValueError("it is not tiny")
    torch.manual_seed(0)
    made = model(sized).eval().float()
    for one in made.parameters():
        if one.dim() > 1:
            one.data.normal_(0, 0.2)
    return made
