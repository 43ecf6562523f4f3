"""What training costs in memory, from the counts and dtypes of a plan alone."""

from __future__ import annotations

from typing import NamedTuple

from freezetui.freeze.plan import FreezeTotals

#: AdamW keeps two moments of each trainable tensor, in its dtype (torch.optim.AdamW).
_MOMENTS = 2


class TrainingMemory(NamedTuple):
    """Bytes of memory while training with AdamW, without activations.

    Attributes:
        weights: of all tensors, frozen ones and buffers included.
        gradients: of what trains, in its dtype.
        optimizer: AdamW's state of what trains.
    """

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it together."""
        return sum(self)


def training_memory(totals: FreezeTotals) -> TrainingMemory:
    """Return what training a plan with these totals takes."""
    return _memory(totals, totals.trainable.bytes)


def full_training_memory(totals: FreezeTotals) -> TrainingMemory:
    """Return what it takes where every parameter trains."""
    return _memory(totals, totals.parameters.bytes)


def _memory(totals: FreezeTotals, trainable: int) -> TrainingMemory:
    weights = totals.parameters.bytes + totals.untrainable.bytes
    return TrainingMemory(weights, trainable, _MOMENTS * trainable)
