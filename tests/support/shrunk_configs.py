"""Configs of transformers made as small as their models allow, without knowing each of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

#: Attribute -> its small value; only what a config has is set. The values divide each other.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embed_dim", "encoder_hidden_size"), 32),
    **dict.fromkeys(
        ("embedding_size", "projection_dim", "word_embed_proj_dim", "output_size", "q_lora_rank"), 32
    ),
    **dict.fromkeys(
        ("decoder_hidden_size", "text_embed_dim", "emb_dim", "rnn_hidden_size", "kv_lora_rank"), 32
    ),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "n_inner"), 64
    ),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "hidden_dim", "mlp_dim"), 64
    ),
    **dict.fromkeys(("decoder_intermediate_size", "encoder_intermediate_size", "ffn_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "depth"), 2),
    **dict.fromkeys(
        ("decoder_layers", "num_encoder_layers", "num_decoder_layers", "decoder_num_hidden_layers"), 2
    ),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "decoder_num_attention_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("vocab_size", "text_vocab_size"), 320),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "topk_group", "n_group"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_source_positions"), 64),
    **dict.fromkeys(("max_target_positions", "seq_length", "n_ctx"), 64),
    **dict.fromkeys(("num_queries", "num_query_tokens"), 4),
    "image_size": 32,
    "patch_size": 8,
    "num_mel_bins": 8,
    "backbone": None,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
}
_TASKS = (
    "CAUSAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "IMAGE_TEXT_TO_TEXT",
    "MASKED_LM",
    "IMAGE_CLASSIFICATION",
    "OBJECT_DETECTION",
    "SEMANTIC_SEGMENTATION",
    "SPEECH_SEQ_2_SEQ",
    "CTC",
    "AUDIO_CLASSIFICATION",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "VIDEO_CLASSIFICATION",
    "DEPTH_ESTIMATION",
    "KEYPOINT_DETECTION",
    "TIME_SERIES_PREDICTION",
    "IMAGE_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "MASK_GENERATION",
    "PRETRAINING",
)


def model_classes(transformers: Any) -> Iterator[type]:
    """One class with a head for every model type that the library knows, else its base model."""
    auto = transformers.models.auto.modeling_auto
    chosen: dict[str, str] = {}
    tables = [f"MODEL_FOR_{task}_MAPPING_NAMES" for task in _TASKS] + ["MODEL_MAPPING_NAMES"]
    for table in tables:
        for model_type, names in getattr(auto, table, {}).items():
            chosen.setdefault(model_type, names if isinstance(names, str) else names[0])
    for name in dict.fromkeys(chosen.values()):
        try:
            found = getattr(transformers, name, None)
            if isinstance(found, type) and found.config_class is not None:  # type: ignore[attr-defined]
                yield found
        except (ImportError, AttributeError):  # it needs another library, or has no config
            continue


def shrunk(config_class: Any) -> Any:
    """Return a config of this class with small sizes, its parts included.

    Raises:
        Exception: whatever the class makes of them.
    """
    default = config_class()
    settings: dict[str, Any] = {k: v for k, v in _SIZES.items() if hasattr(default, k)}
    accepted = set(inspect.signature(config_class.__init__).parameters) | set(vars(default))
    settings = {
        key: value for key, value in settings.items() if key in accepted or key in config_class.attribute_map
    }
    for key, size in list(settings.items()):  # a list stays one of its length
        if isinstance(getattr(default, key), list | tuple) and not isinstance(size, list):
            del settings[key]
    for pads in (
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "image_token_id",
        "video_token_id",
        "image_token_index",
    ):
        value = getattr(default, pads, None)
        if isinstance(value, int) and value >= _SIZES["vocab_size"]:
            settings[pads] = 1
    for key, part in getattr(config_class, "sub_configs", {}).items():
        known = getattr(default, key, None)
        kind = type(known) if known is not None else part
        if hasattr(kind, "model_type") and kind.__name__ != "AutoConfig":
            settings[key] = shrunk(kind).to_dict()
    return config_class(**settings)
