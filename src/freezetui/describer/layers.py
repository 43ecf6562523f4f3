"""One line about a module: its class, with the numbers that matter, e.g. "Conv2d 64 -> 128, 3x3"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn


def layer(module: nn.Module) -> str:
    """Return the module's class and its numbers; the class alone for a module that only holds others."""
    name = type(module).__name__
    try:
        numbers = next((text(module) for kind, text in _NUMBERS if isinstance(module, kind)), None)
        return f"{name} {numbers if numbers is not None else _by_weight(module)}".rstrip()
    except (AttributeError, TypeError, ValueError):  # a subclass that lacks what its base has
        return name


def _by(sizes: Sequence[int] | int) -> str:
    return "x".join(map(str, sizes)) if isinstance(sizes, Sequence) else str(sizes)


def _conv(module: Any) -> str:
    text = f"{module.in_channels:,} -> {module.out_channels:,}, {_by(module.kernel_size)}"
    if module.groups == 1:
        return text
    depthwise = module.groups == module.in_channels
    return f"{text}, {'depthwise' if depthwise else f'{module.groups:,} groups'}"


def _recurrent(module: Any) -> str:
    text = f"{module.input_size:,} -> {module.hidden_size:,}"
    layers = f", {module.num_layers} layers" if module.num_layers > 1 else ""
    return text + layers + (", both ways" if module.bidirectional else "")


def _by_weight(module: nn.Module) -> str:
    """Return the numbers of a library's own layer, which holds one weight and no modules."""
    weight = module._parameters.get("weight")
    if weight is None or any(module.children()):
        return ""
    if (
        hasattr(module, "nf") and weight.ndim == 2
    ):  # transformers' Conv1D: a Linear whose weight is transposed
        return f"{weight.shape[0]:,} -> {weight.shape[1]:,}"
    if weight.ndim > 2:
        return _by(tuple(weight.shape))
    return " x ".join(f"{size:,}" for size in weight.shape)


_NUMBERS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (nn.modules.conv._ConvNd, _conv),
    (nn.Linear, lambda m: f"{m.in_features:,} -> {m.out_features:,}"),
    (nn.Bilinear, lambda m: f"{m.in1_features:,}, {m.in2_features:,} -> {m.out_features:,}"),
    (nn.Embedding, lambda m: f"{m.num_embeddings:,} x {m.embedding_dim:,}"),
    (nn.EmbeddingBag, lambda m: f"{m.num_embeddings:,} x {m.embedding_dim:,}"),
    (nn.LayerNorm, lambda m: _by(tuple(m.normalized_shape))),
    (nn.modules.batchnorm._NormBase, lambda m: f"{m.num_features:,}"),
    (nn.GroupNorm, lambda m: f"{m.num_channels:,}, {m.num_groups:,} groups"),
    (nn.RNNBase, _recurrent),
    (nn.MultiheadAttention, lambda m: f"{m.embed_dim:,}, {m.num_heads:,} heads"),
    (nn.Dropout, lambda m: f"{m.p:g}"),
)
