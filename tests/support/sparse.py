"""Checkpoints of large models without their data: a header, and a hole in the file."""

from __future__ import annotations

import json
from pathlib import Path


def llama(
    path: Path, layers: int = 32, hidden: int = 4096, inner: int = 11008, vocabulary: int = 32000
) -> Path:
    """Write a safetensors file with the names and shapes of a Llama in bfloat16."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        start = f"model.layers.{layer}."
        for name in "qkvo":
            shapes[f"{start}self_attn.{name}_proj.weight"] = hidden, hidden
        shapes[f"{start}mlp.gate_proj.weight"] = shapes[f"{start}mlp.up_proj.weight"] = inner, hidden
        shapes[f"{start}mlp.down_proj.weight"] = hidden, inner
        shapes[f"{start}input_layernorm.weight"] = shapes[f"{start}post_attention_layernorm.weight"] = (
            hidden,
        )
    shapes["model.norm.weight"], shapes["lm_head.weight"] = (hidden,), (vocabulary, hidden)
    entries, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)
    return path
