"""Tells whether a gradient changes a weight's bits, apart from weight decay and momentum."""

from __future__ import annotations

import torch
from torch import Tensor

_FIRST_ELEMENTS, _GROWTH = 4096, 8


@torch.no_grad()
def changes_bits(weight: Tensor, gradient: Tensor, rate: float) -> bool:
    """Whether a step of plain gradient descent, without decay, changes a bit of the weight.

    Args:
        weight, gradient: of one shape.
        rate: the learning rate.
    """
    flat, slope = weight.detach().reshape(-1), gradient.reshape(-1)
    start, size = 0, _FIRST_ELEMENTS
    while start < len(flat):  # the first elements show it, as a rule
        part, by = flat[start : start + size], slope[start : start + size]
        if not torch.equal(torch.add(part, by.to(part.dtype), alpha=-rate), part):
            return True
        start, size = start + size, size * _GROWTH
    return False
