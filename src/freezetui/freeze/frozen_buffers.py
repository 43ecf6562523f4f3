"""Finds the buffers of modules that are frozen as a whole, and the statistics that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from freezetui.checkpoint.types import COUNTER, REWRITTEN
from freezetui.freeze.plan import FROZEN, TRAINABLE
from freezetui.freeze.tree import ParamTree


def frozen_buffers(
    tree: ParamTree, states: bytes | bytearray, indices: Iterable[int] | None = None
) -> Iterator[int]:
    """Yield the buffers of modules whose parameters, or those of the nearest parent, are all frozen.

    Args:
        states: of every tensor; see `FreezePlan`.
        indices: of the tensors that are asked about; None for all.
    """
    known: dict[int, bool] = {}

    def frozen(node: int) -> bool:
        if node not in known:
            start, stop = tree.span(node)
            here = states[start:stop]
            undecided = not here.count(FROZEN) and not here.count(TRAINABLE)
            up = tree.parents[node]
            known[node] = frozen(up) if undecided and up >= 0 else not here.count(TRAINABLE)
        return known[node]

    for index in range(len(tree.tensors)) if indices is None else indices:
        if tree.tensors[index].kind == "buffer" and frozen(tree.parents[tree.position[index]]):
            yield index


def changed_statistics(tree: ParamTree, states: bytes | bytearray, changed: Iterable[int]) -> list[int]:
    """Return those of the changed tensors that frozen norms keep in eval: statistics and vectors, ascending.

    A counter that changed alone is not one: a momentum of 0 changes nothing else.

    Args:
        states: of every tensor; see `FreezePlan`.
        changed: their indices, ascending.
    """
    found = [i for i in frozen_buffers(tree, states, changed) if _last(tree, i) in REWRITTEN]
    moved = {tree.parents[tree.position[i]] for i in found if _last(tree, i) != COUNTER}
    return [i for i in found if tree.parents[tree.position[i]] in moved]


def _last(tree: ParamTree, index: int) -> str:
    return tree.tensors[index].name.rpartition(".")[2]
