"""Finds repeated blocks: numbered sibling modules such as `layers.0`, `layers.1`, ..."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from freezetui.freeze.tree import ParamTree

_MIN_REPEATS = 3
_SHAPE, _DTYPE = attrgetter("shape"), attrgetter("dtype")


def is_number(text: str) -> bool:
    """Whether it is a block number: digits, and few enough for Python to parse them."""
    return text.isascii() and text.isdigit() and len(text) < 10


def has_parameters(tree: ParamTree, node: int) -> bool:
    """Whether anything below `node` can train."""
    return tree.trainable().find(1, *tree.span(node)) >= 0


def in_every_block(tree: ParamTree, node: int) -> list[int]:
    """Return the nodes whose path equals that of `node` except for numbers, itself included."""
    nodes = [0]
    for segment in tree.path(node).split("."):
        if is_number(segment):
            nodes = [c for n in nodes for c in tree.children(n) if is_number(tree.names[c])]
        else:
            nodes = [c for n in nodes for c in tree.named(n, segment)]
    ranks = _ranks(tree, node)
    return [n for n in nodes if tree.leaf[n] == tree.leaf[node] and _alike(ranks, _ranks(tree, n))]


def _ranks(tree: ParamTree, node: int) -> list[int]:
    return [len(tensor.shape) for tensor in tree.tensors[slice(*tree.span(node))]]


def _alike(one: list[int], other: list[int]) -> bool:
    """Whether two modules may be of one kind, by ranks: a Linear is not a BatchNorm; sizes may differ."""
    return len(one) != len(other) or one == other


def repeats(tree: ParamTree, parent: int) -> Iterator[tuple[int, int]]:
    """Yield node ranges of three or more numbered children with the same names and shapes inside."""
    run: list[int] = []
    inside: object = None
    for child in [*tree.children(parent), -1]:
        block = _inside(tree, child) if child >= 0 and is_number(tree.names[child]) else None
        if run and (block is None or block != inside or not _follows(tree, run[-1], child)):
            if len(run) >= _MIN_REPEATS:
                yield run[0], tree.end[run[-1]]
            run = []
        if block is not None:
            run.append(child)
        inside = block


def _follows(tree: ParamTree, a: int, b: int) -> bool:
    return int(tree.names[b]) == int(tree.names[a]) + 1


def _inside(tree: ParamTree, module: int) -> object:
    """Return the names, shapes and dtypes inside a module, for comparison; None for a tensor."""
    if tree.leaf[module]:
        return None
    nodes = slice(module + 1, tree.end[module])
    tensors = tree.tensors[slice(*tree.span(module))]
    return tree.names[nodes], tree.depths[nodes], list(map(_SHAPE, tensors)), list(map(_DTYPE, tensors))
