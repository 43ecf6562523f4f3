"""Adds up the parameters of a model in its order: what a share of the model is a share of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezetui.freeze.tree import ParamTree


def parameters_before(tree: ParamTree) -> Sequence[int]:
    """Return, per tensor and one more, the elements of the parameters before it.

    A tied parameter counts where it is first. In a model without parameters every tensor counts.
    """
    counted = bytearray(tree.trainable())
    for alias in tree.aliases(0, len(counted)):
        counted[alias] = 0
    if 0 not in counted:
        return tree.elements_before
    before = [0, *accumulate(map(mul, tree.sizes(0, len(counted))[0], counted))]
    return before if before[-1] else tree.elements_before


def parameters_in(tree: ParamTree, spans: Iterable[tuple[int, int]]) -> int:
    """Return the elements of the parameters in some ranges together, tied ones counted once.

    Args:
        spans: ascending, disjoint ranges of tensors.
    """
    before, ranges = tree.parameters_before, tuple(spans)
    elements = sum(before[b] - before[a] for a, b in ranges)
    seen: set[int] = set()
    for start, stop in ranges:
        for index in tree.tied_in(start, stop):
            first = tree.tie_groups[index][0]
            if first not in seen and not any(a <= first < b for a, b in ranges):
                elements += tree.tensors[index].elements * tree.trainable()[index]
            seen.add(first)
    return elements
