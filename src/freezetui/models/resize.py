"""A known convolutional network in custom widths: its layers made to fit the shapes of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]


def resize(model: nn.Module, shapes: Shapes) -> None:
    """Give every layer of `model` the widths that `shapes` (name -> shape) tells, in place.

    Kernel sizes, strides and depths stay; new weights are zeros. Only for architectures whose index
    entry is `resizable`: elsewhere a width may decide on more than shapes, such as a residual connection.
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
    """What a layer with a weight of this shape must be told."""
    if isinstance(module, nn.Conv2d):
        groups = weight[0] if module.groups > 1 else 1  # grouped ones are depthwise in these networks
        return {"out_channels": weight[0], "in_channels": weight[1] * groups, "groups": groups}
    if isinstance(module, nn.Linear):
        return {"out_features": weight[0], "in_features": weight[1]}
    return {"num_features": weight[0]}


def _fit_pooling(model: nn.Module, shapes: Shapes) -> None:
    """Let an adaptive pooling in front of the first Linear give as many cells as that layer reads."""
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
