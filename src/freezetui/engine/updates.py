"""Measures how far each step of an optimizer moves the weights, relative to their size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from freezetui.engine.magnitudes import norms_of, real_of, wide_dtype
from freezetui.engine.precision import sample


class Updates:
    """The largest |update| / |weight| of each trainable parameter that has a gradient.

    Both are Euclidean norms over the elements of `sample`: of what a step really changed, so that an update
    that the dtype loses counts as 0, and of the weights before it.

    Attributes:
        largest: parameter's id -> the largest of all steps; infinite if the weights were zeros before.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.largest: dict[int, float] = {}
        self._parameters = tuple(parameters)
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Keep the weights before a step."""
        self._before = [
            (parameter, sample(parameter).clone())
            for parameter in self._parameters
            if parameter.requires_grad and parameter.grad is not None and parameter.numel()
        ]

    @torch.no_grad()
    def end(self) -> None:
        """Compare them with those after the step."""
        found = [(p, old, new) for p, old in self._before if (new := sample(p)).shape == old.shape]
        self._before = []
        if not found:
            return
        deltas = norms_of(_wide(new) - _wide(old) for _, old, new in found).tolist()
        sizes = norms_of(old for _, old, _ in found).tolist()
        for (parameter, *_), delta, size in zip(found, deltas, sizes, strict=True):
            relative = 0.0 if delta == 0 else delta / size if size else float("inf")
            known = self.largest.get(id(parameter), 0.0)
            # A NaN is kept: it is not smaller than anything.
            self.largest[id(parameter)] = known if relative <= known or known != known else relative


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor as real numbers of at least float32."""
    real = real_of(tensor)
    return real.to(wide_dtype(real))
