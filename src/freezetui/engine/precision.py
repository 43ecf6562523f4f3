"""Measures how much of an optimizer's updates the dtype of the weights loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

#: Elements of each tensor that are looked at, evenly spread.
_MAX_SAMPLED = 8192


@dataclass(frozen=True)
class Lost:
    """How far a tensor's updates were lost.

    Attributes:
        share: of the sampled elements with a gradient, the part whose bits did not change.
        update: the largest update of a lost element, as a fresh optimizer makes it in float64.
        spacing: of neighboring numbers of the dtype at that element.
        dtype: e.g. "bfloat16".
    """

    share: float
    update: float
    spacing: float
    dtype: str

    @property
    def too_small(self) -> bool:
        """Whether that update is one that the dtype can lose; else there was none, as with a rate of 0."""
        return 0.0 < self.update < self.spacing


class Samples:
    """Some elements of each trainable parameter, before the first step and after the last."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = {
            id(p): p for p in parameters if p.requires_grad and p.is_floating_point() and p.numel()
        }
        self._before = {key: sample(p).clone() for key, p in self._parameters.items()}
        self._gradients: dict[int, Tensor] = {}

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Keep the gradients that the next step will use."""
        for key, parameter in self._parameters.items():
            if parameter.grad is not None and not parameter.grad.is_sparse:
                self._gradients[key] = sample(parameter.grad).clone()

    def lost(self, parameter: nn.Parameter, build: Callable[[list[nn.Parameter]], Optimizer]) -> Lost | None:
        """Return how far this parameter's updates were lost; None if it is not known or none was lost.

        Args:
            build: the user's optimizer over other parameters.
        """
        gradient = self._gradients.get(id(parameter))
        if gradient is None:
            return None
        before, after = self._before[id(parameter)], sample(parameter)
        reached = gradient != 0
        same = reached & (before == after)
        if not same.any():
            return None
        values = before[same].double()
        shadow = nn.Parameter(values.clone())
        shadow.grad = gradient[same].double()
        try:
            build([shadow]).step()
        except Exception:  # one that updates only matrices
            return None
        updates = (shadow.detach() - values).abs()
        largest = int(updates.argmax())
        return Lost(
            share=float(same.sum() / reached.sum()),
            update=float(updates[largest]),
            spacing=_spacing(float(values[largest]), parameter.dtype),
            dtype=str(parameter.dtype).removeprefix("torch."),
        )


def sample(tensor: Tensor) -> Tensor:
    """Return a view of at most 8,192 elements of a tensor, evenly spread."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // _MAX_SAMPLED))]


def _spacing(value: float, dtype: torch.dtype) -> float:
    """Return the distance from a number to the next one of the dtype."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(torch.tensor(max(abs(value), info.tiny), dtype=torch.float64)).exponent
    return float(info.eps * 2.0 ** (int(exponent) - 1))
