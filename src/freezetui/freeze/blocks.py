"""Repeated blocks: numbered modules that stand side by side, such as `layers.0`, `layers.1`, ..."""

from __future__ import annotations

from collections.abc import Iterator

from freezetui.freeze.tree import ParamTree

_LEAST_REPEATS = 3


def has_parameters(tree: ParamTree, node: int) -> bool:
    """Whether anything below `node` can train."""
    return any(not tree.tensors[i].fixed for i in range(*tree.span(node)))


def blocks_of(tree: ParamTree) -> list[int]:
    """The numbered siblings that hold the most elements together, in order; [] for none."""
    families: dict[int, list[int]] = {}
    for node in range(1, len(tree)):
        if tree.names[node].isdigit() and not tree.leaf[node] and has_parameters(tree, node):
            families.setdefault(tree.parents[node], []).append(node)
    several = (nodes for nodes in families.values() if len(nodes) > 1)
    return max(several, key=lambda nodes: tree.totals(*tree.span(tree.parents[nodes[0]]))[1], default=[])


def in_every_block(tree: ParamTree, node: int) -> list[int]:
    """The nodes that have the path of `node` but for the numbers in it, itself included."""
    nodes = [0]
    for segment in tree.path(node).split("."):
        if segment.isdigit():
            nodes = [c for n in nodes for c in tree.children(n) if tree.names[c].isdigit()]
        else:
            nodes = [c for n in nodes for c in tree.named(n, segment)]
    return [found for found in nodes if tree.leaf[found] == tree.leaf[node]]


def repeats(tree: ParamTree, parent: int) -> Iterator[tuple[int, int]]:
    """Runs of at least three numbered children with the same names and shapes inside, as node ranges."""
    run: list[int] = []
    for child in [*tree.children(parent), -1]:
        if run and (child < 0 or not _same_inside(tree, run[-1], child)):
            if len(run) >= _LEAST_REPEATS:
                yield run[0], tree.end[run[-1]]
            run = []
        if child >= 0 and tree.names[child].isdigit() and not tree.leaf[child]:
            run.append(child)


def _same_inside(tree: ParamTree, a: int, b: int) -> bool:
    """Whether two modules are consecutive blocks that hold the same names, shapes and dtypes."""
    a_end, b_end = tree.end[a], tree.end[b]
    if a_end - a != b_end - b or not tree.names[b].isdigit() or int(tree.names[b]) != int(tree.names[a]) + 1:
        return False
    if tree.names[a + 1 : a_end] != tree.names[b + 1 : b_end] or tree.depths[a:a_end] != tree.depths[b:b_end]:
        return False
    pairs = zip(tree.tensors[slice(*tree.span(a))], tree.tensors[slice(*tree.span(b))], strict=True)
    return all(x.shape == y.shape and x.dtype == y.dtype for x, y in pairs)
