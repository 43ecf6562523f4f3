"""Tiny random models of transformers, by family; and files shaped as the hub has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "vocab_size": 99,
}
_LLAMA = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
_SEQ2SEQ = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 32,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}  # fmt: skip
_VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
_QWEN = {**_LLAMA, "vocab_size": 200, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
_CLIP_TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def _llava(t: Any) -> Any:
    vision, text = t.CLIPVisionConfig(**_VISION), t.LlamaConfig(**_LLAMA)
    return t.LlavaConfig(vision_config=vision, text_config=text, image_token_index=95)


def _qwen2_vl(t: Any) -> Any:
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": 32,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
    }
    return t.Qwen2VLConfig(text_config=_QWEN, vision_config=vision)


def _whisper(t: Any) -> Any:
    sizes = {k: v for k, v in _SEQ2SEQ.items() if k not in ("max_position_embeddings", "forced_eos_token_id")}
    return t.WhisperConfig(**sizes, num_mel_bins=8, max_source_positions=16, max_target_positions=16)


#: Class -> its tiny config, given the transformers module.
FAMILIES: dict[str, Callable[[Any], Any]] = {
    "BertForMaskedLM": lambda t: t.BertConfig(**_BERT),
    "GPT2LMHeadModel": lambda t: t.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=64, vocab_size=99, bos_token_id=0, eos_token_id=1
    ),
    "RobertaForMaskedLM": lambda t: t.RobertaConfig(**_BERT),
    "T5ForConditionalGeneration": lambda t: t.T5Config(
        d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, decoder_start_token_id=0, vocab_size=99
    ),
    "LlamaForCausalLM": lambda t: t.LlamaConfig(**_LLAMA),
    "ViTForImageClassification": lambda t: t.ViTConfig(**_VISION),
    "LlavaForConditionalGeneration": _llava,
    "Qwen2VLForConditionalGeneration": _qwen2_vl,
    "MixtralForCausalLM": lambda t: t.MixtralConfig(**_LLAMA, num_local_experts=4, num_experts_per_tok=2),
    "BartForConditionalGeneration": lambda t: t.BartConfig(**_SEQ2SEQ),
    "MarianMTModel": lambda t: t.MarianConfig(**_SEQ2SEQ),
    "WhisperForConditionalGeneration": _whisper,
    "CLIPModel": lambda t: t.CLIPConfig(text_config=_CLIP_TEXT, vision_config=_VISION, projection_dim=16),
    "GPTNeoXForCausalLM": lambda t: t.GPTNeoXConfig(**_BERT),
    "DetrForObjectDetection": lambda t: t.DetrConfig(
        use_timm_backbone=False, backbone=None, use_pretrained_backbone=False, d_model=32, num_queries=4,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=48, decoder_ffn_dim=48,
        backbone_config=t.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16, 32, 32], depths=[1, 1, 1, 1],
            out_features=["stage2", "stage3", "stage4"],
        ),
    ),
}  # fmt: skip


#: Those of which `hub_shaped` knows the shape on the hub.
HUB = (
    "BertForMaskedLM",
    "GPT2LMHeadModel",
    "LlamaForCausalLM",
    "RobertaForMaskedLM",
    "T5ForConditionalGeneration",
)


def build(name: str) -> nn.Module:
    """Return a model of this class of `FAMILIES`, with random weights."""
    import transformers

    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, name)(FAMILIES[name](transformers))
    return model


def saved(model: nn.Module, directory: Path) -> dict[str, Tensor]:
    """Return what `save_pretrained` writes, read back."""
    model.save_pretrained(directory)
    return load_file(directory / "model.safetensors")


def put(directory: Path, tensors: dict[str, Tensor]) -> None:
    """Write the tensors as the model's file."""
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def hub_shaped(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a saved model's tensors, named and accompanied as its best known file on the hub has them."""
    shaped = dict(tensors)
    if name == "BertForMaskedLM":
        shaped = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for key, value in shaped.items()
        }
        shaped |= {"bert.pooler.dense.weight": torch.randn(32, 32), "bert.pooler.dense.bias": torch.randn(32)}
        shaped |= {
            "cls.seq_relationship.weight": torch.randn(2, 32),
            "cls.seq_relationship.bias": torch.randn(2),
        }
    elif name == "GPT2LMHeadModel":
        shaped = {key.removeprefix("transformer."): value for key, value in shaped.items()}
        shaped |= {f"h.{i}.attn.bias": torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64) for i in range(2)}
    elif name == "RobertaForMaskedLM":
        shaped |= {"roberta.embeddings.position_ids": torch.arange(514)[None]}
        shaped |= {
            "roberta.pooler.dense.weight": torch.randn(32, 32),
            "roberta.pooler.dense.bias": torch.randn(32),
        }
    elif name == "T5ForConditionalGeneration":
        shared = shaped["shared.weight"]
        names = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        shaped |= {key: shared.clone() for key in names}
        unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        shaped |= {unused: torch.randn(32, 4)}
    elif name == "LlamaForCausalLM":
        shaped |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.randn(8) for i in range(2)}
    return shaped
