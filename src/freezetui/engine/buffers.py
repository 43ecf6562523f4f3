"""Judges by its surroundings whether a buffer may change while the model trains."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from freezetui.checkpoint.types import REWRITTEN
from freezetui.models.live_names import can_train
from freezetui.training.norms import has_frozen_spectral_norm, is_frozen, nearest_parameters

#: What surrounds a buffer: only frozen parameters, some of both, or only trainable ones.
Surroundings = Literal["frozen", "mixed", "trainable"]


def surroundings(model: nn.Module) -> dict[str, Surroundings]:
    """Return buffer -> what surrounds it, tied ones under each name; also of parameters that cannot train.

    A buffer belongs to the nearest module around it that has parameters. One without any belongs to nothing
    that is frozen. A norm with a trainable parameter of its own trains, and its statistics with it.
    """
    found: dict[str, Surroundings] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        names = [name for name, buffer in module._buffers.items() if buffer is not None]
        names += [name for name, p in module._parameters.items() if p is not None and not can_train(p)]
        if names:
            around = _around(model, module, path)
            found.update({f"{path}.{name}" if path else name: around for name in names})
    return found


def _around(model: nn.Module, module: nn.Module, path: str) -> Surroundings:
    if is_frozen(model, path) or has_frozen_spectral_norm(module):
        return "frozen"
    flags = {parameter.requires_grad for parameter in nearest_parameters(model, path)}
    own = {parameter.requires_grad for parameter in module._parameters.values() if parameter is not None}
    is_norm = not module._modules and any(
        name in REWRITTEN for name, _ in module.named_buffers(recurse=False)
    )
    return "mixed" if flags == {True, False} and not (is_norm and True in own) else "trainable"


def counters(model: nn.Module) -> dict[str, float]:
    """Return each buffer of one element that may be a counter -> its whole number."""
    found = {}
    for name, buffer in model.named_buffers(remove_duplicate=False):
        value = _whole(buffer)
        if value is not None and name.rpartition(".")[2] not in REWRITTEN:
            found[name] = value
    return found


def _whole(tensor: Tensor) -> float | None:
    """Return the whole number in a tensor of one element; None if there is none."""
    if tensor.numel() != 1 or tensor.is_complex() or tensor.layout != torch.strided:
        return None
    try:
        value = float(tensor.item())
    except (RuntimeError, TypeError, ValueError):  # a tensor without data, such as one on the meta device
        return None
    return value if value.is_integer() else None
