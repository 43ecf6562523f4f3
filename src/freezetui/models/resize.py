"""Resizes the layers of a known convolutional network to the custom widths of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]


def resize(model: nn.Module, shapes: Shapes) -> None:
    """Give every layer of `model` the widths in `shapes` (name -> shape), in place.

    Kernel sizes, strides and depths do not change; new weights are zeros. Only for architectures whose
    index entry is `resizable`: elsewhere a width may affect more than shapes, such as a residual connection.
    """
    _fit_pooling(model, shapes)
    for path, module in model.named_modules():
        for name, tensor in module.state_dict(keep_vars=True).items():
            shape = shapes.get(f"{path}.{name}", tuple(tensor.shape))
            if "." not in name and tensor.shape != shape:
                fresh = torch.zeros(shape, dtype=tensor.dtype)
                setattr(module, name, nn.Parameter(fresh) if isinstance(tensor, nn.Parameter) else fresh)
                if name == "weight":
                    for attribute, value in _attributes(module, shape).items():
                        setattr(module, attribute, value)


def _attributes(module: nn.Module, weight: tuple[int, ...]) -> dict[str, Any]:
    """Return the attributes of a layer with a weight of this shape."""
    if isinstance(module, nn.Conv2d):
        groups = weight[0] if module.groups > 1 else 1  # grouped ones are depthwise in these networks
        return {"out_channels": weight[0], "in_channels": weight[1] * groups, "groups": groups}
    if isinstance(module, nn.Linear):
        return {"out_features": weight[0], "in_features": weight[1]}
    return {"num_features": weight[0]}


def _fit_pooling(model: nn.Module, shapes: Shapes) -> None:
    """Make the adaptive pooling before the first Linear output as many cells as that layer takes."""
    pooling: nn.AdaptiveAvgPool2d | None = None
    channels = 1
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            channels = shapes[f"{path}.weight"][0]
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            pooling = module
        elif isinstance(module, nn.Linear):
            cells, rest = divmod(shapes[f"{path}.weight"][1], channels)
            side = math.isqrt(cells)
            if pooling is not None and not rest and side * side == cells:
                pooling.output_size = (side, side)
            return
