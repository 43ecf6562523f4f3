"""Candidate inputs for an unknown model, inferred from its first layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

#: Sides of square images to try, the likely ones first.
SIDES = (64, 32, 28, 96, 128, 224, 256, 299, 384, 512, 16, 8)

#: Lengths of sequences, sides of volumes and of a generator's seeds.
LENGTHS = (16, 64, 128, 1024, 16000)
VOLUMES = (16, 32, 64)
SEEDS = (1, 4, 8, 16)

#: How many of the first layers are tried: the first one registered need not be the first one used.
FIRST_LAYERS = 3


class Probe(NamedTuple):
    """An input worth trying.

    Attributes:
        what: for display, e.g. "images".
        shape: of one example, without the batch dimension.
        high: if not 0, the input consists of integers below it.
    """

    what: str
    shape: tuple[int, ...]
    high: int = 0


def leaves_of(model: nn.Module) -> list[nn.Module]:
    """Return the first layers with parameters of their own; the model itself if it has no other."""
    leaves = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    return [m for m in leaves if m is not model][:FIRST_LAYERS] or leaves[:1]


def fitting(layer: nn.Module) -> Iterator[Probe]:
    """Yield inputs that this layer accepts."""
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        for length in (16, 64, 8):
            yield Probe("tokens", (length,), layer.num_embeddings)
        yield Probe("tokens", (), layer.num_embeddings)
    elif isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        yield Probe("sequences", (16, layer.input_size))
        yield Probe("vectors", (layer.input_size,))
    elif isinstance(layer, nn.MultiheadAttention):
        yield Probe("sequences", (16, layer.embed_dim))
    elif isinstance(layer, (nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder)):
        attention = next(m for m in layer.modules() if isinstance(m, nn.MultiheadAttention))
        yield from fitting(attention)
    elif isinstance(layer, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        yield from fitting(layer.self_attn)
    elif isinstance(layer, nn.LayerNorm):
        yield Probe("sequences", (16, *layer.normalized_shape))
        yield Probe("vectors", tuple(layer.normalized_shape))
    else:
        yield from _by_weight(layer)


#: What a layer may read that takes its shape from its first input.
_LAZY = (Probe("images", (3, 64, 64)), Probe("vectors", (16,)), Probe("signals", (4, 64)))


def _by_weight(layer: nn.Module) -> Iterator[Probe]:
    """Yield inputs by the rank of the weight, which also covers custom layers that resemble torch's."""
    weight = getattr(layer, "weight", None)
    if weight is None or nn.parameter.is_lazy(weight):
        yield from _LAZY
        return
    shape = tuple(weight.shape)
    channels = getattr(layer, "in_channels", shape[1] if len(shape) > 1 else 0)
    if getattr(layer, "transposed", False):
        for side in SEEDS:
            yield Probe("seeds", (channels, *[side] * (len(shape) - 2)))
    elif len(shape) == 5:
        for side in VOLUMES:
            yield Probe("volumes", (channels, side, side, side))
        yield Probe("videos", (channels, 16, 112, 112))
    elif len(shape) == 4:
        for side in SIDES:
            yield Probe("images", (channels, side, side))
    elif len(shape) == 3:
        for length in LENGTHS:
            yield Probe("signals", (channels, length))
    elif len(shape) == 2:
        yield Probe("vectors", (shape[1],))
        yield Probe("sequences", (16, shape[1]))
    elif len(shape) == 1:
        yield Probe("vectors", shape)
        for side in SIDES:
            yield Probe("images", (shape[0], side, side))
