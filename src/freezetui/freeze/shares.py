"""Adds up the parameters in ranges of a tree: what a share of the model is a share of."""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.freeze.tree import ParamTree


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
