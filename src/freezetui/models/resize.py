"""A known architecture in other widths: its layers made to fit the shapes of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from freezetui.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def resize(model: nn.Module, shapes: Shapes) -> None:
    """Give every layer of `model` the widths that `shapes` (name -> shape) tells, in place.

    Kernel sizes, strides and depths stay. New weights are zeros.

    Raises:
        ModelError: a layer whose width means more than its shapes say, such as attention.
    """
    _fit_pooling(model, shapes)
    for path, module in model.named_modules():
        own = {name: _shape(shapes, path, name, t) for name, t in _tensors(module).items()}
        if all(tuple(t.shape) == own[name] for name, t in _tensors(module).items()):
            continue
        attributes = _attributes(module, own)
        if attributes is None:
            raise ModelError(
                f"{path or type(model).__name__}: a {type(module).__name__} cannot become {_written(own)}.",
                "Name a factory that builds this model: --architecture path/to/file.py:callable.",
            )
        for name, tensor in _tensors(module).items():
            _replace(module, name, tensor, own[name])
        for attribute, value in attributes.items():
            setattr(module, attribute, value)


def _attributes(module: nn.Module, own: dict[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """What must be told to a layer of these shapes; None for a layer that cannot be resized."""
    weight = own.get("weight", ())
    if isinstance(module, CONVOLUTIONS) and weight[2:] == module.kernel_size:
        depthwise = 1 < module.groups == module.in_channels
        groups = weight[0] * module.groups // module.out_channels if depthwise else module.groups
        return {"out_channels": weight[0], "in_channels": weight[1] * groups, "groups": groups}
    if isinstance(module, nn.Linear):
        return {"out_features": weight[0], "in_features": weight[1]}
    if isinstance(module, BATCH_NORMS):
        return {"num_features": weight[0]}
    if isinstance(module, nn.LayerNorm):
        return {"normalized_shape": weight}
    return None


def _fit_pooling(model: nn.Module, shapes: Shapes) -> None:
    """Let an adaptive pooling in front of the first Linear give as many cells as that layer reads."""
    pooling: nn.AdaptiveAvgPool2d | None = None
    channels = 0
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            channels = shapes[f"{path}.weight"][0]
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            pooling = module
        elif isinstance(module, nn.Linear):
            cells, rest = divmod(shapes[f"{path}.weight"][1], channels or 1)
            side = math.isqrt(cells)
            if pooling is not None and not rest and side * side == cells:
                pooling.output_size = (side, side)
            return


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's own parameters and persistent buffers."""
    state = module.state_dict(keep_vars=True)
    return {name: t for name, t in state.items() if "." not in name}


def _shape(shapes: Shapes, path: str, name: str, tensor: Tensor) -> tuple[int, ...]:
    """What the checkpoint says; as built where it lacks the name (a batch counter)."""
    return shapes.get(f"{path}.{name}" if path else name, tuple(tensor.shape))


def _replace(module: nn.Module, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    fresh = torch.zeros(shape, dtype=tensor.dtype)
    setattr(module, name, nn.Parameter(fresh) if isinstance(tensor, nn.Parameter) else fresh)


def _written(own: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in own.items())
