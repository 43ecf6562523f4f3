"""Finds the head and the repeated blocks of a model by the names of its tensors alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter

from freezetui.freeze.blocks import has_parameters, is_number
from freezetui.freeze.structure import (
    MODALITIES,
    Head,
    Structure,
    head_name,
    ordered_blocks,
    tower_of,
    tower_paths,
    towers_of,
)
from freezetui.freeze.tree import ParamTree


def by_names(tree: ParamTree) -> Structure:
    """Return the structure that the names alone suggest, in the order of the tree."""
    head = head_of(tree)
    nodes = _numbered(tree, head)
    paths = {tree.path(node): node for node in nodes}
    heads = _tower_heads(tree, list(paths))
    if not heads and head >= 0:
        names = tuple(tensor.name for tensor in tree.tensors[slice(*tree.span(head))])
        heads = [Head("", tree.path(head) or "everything", names)]
    towers = tower_paths(list(paths))
    scopes: dict[str, list[int]] = {}
    for root, path in _tower_roots(tree, nodes, towers):
        scopes.setdefault(towers[path], []).extend(range(*tree.span(root)))
    return Structure(
        order=tuple(map(attrgetter("name"), tree.tensors)),
        heads=tuple(heads),
        blocks=ordered_blocks(towers_of(list(paths), towers), {p: tree.first[n] for p, n in paths.items()}),
        scopes={tower: tuple(places) for tower, places in scopes.items()},
    )


def _tower_roots(tree: ParamTree, nodes: Sequence[int], towers: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the module of each tower and its path, from the nodes of the blocks."""
    seen = {0}
    for block in nodes if towers else ():
        node = block
        while node not in seen:
            seen.add(node)
            if (path := tree.path(node)) in towers:
                yield node, path
            node = tree.parents[node]


def head_of(tree: ParamTree) -> int:
    """Return the likely node of the head; -1 if there is none.

    It is the last module with a head's name on the first level with several modules, else an `lm_head` at any
    depth, else the last module of that level; never one that holds repeated blocks of modules, or is one.
    """
    node, trains, first, end = 0, tree.trainable(), tree.first, tree.end
    while True:
        # As `has_parameters`, without two calls for each of perhaps 100,000 children.
        children = [c for c in tree.children(node) if trains.find(1, first[c], first[end[c]]) >= 0]
        if len(children) != 1 or tree.leaf[children[0]]:
            break
        node = children[0]
    likely = [] if _are_blocks(tree, children) else [c for c in children if not _holds_blocks(tree, c)]
    named = [c for c in likely if head_name(tree.names[c])]
    deep = [n for n in _called("lm_head", tree) if not tree.leaf[n]]
    found = named or deep or likely or ([] if children else [node])
    return found[-1] if found else -1


def _called(name: str, tree: ParamTree) -> Iterator[int]:
    """Yield the nodes of this name, without the root, which is called as the file is."""
    node = 0
    while True:
        try:
            node = tree.names.index(name, node + 1)
        except ValueError:
            return
        yield node


def _are_blocks(tree: ParamTree, nodes: Sequence[int]) -> bool:
    """Whether the last of several numbered modules holds the same modules as the one before it."""
    if len(nodes) < 2 or not all(is_number(tree.names[node]) and not tree.leaf[node] for node in nodes):
        return False
    if all(tree.leaf[node] for node in tree.children(nodes[-1])):
        return False
    before, last = (_inside(tree, node) for node in nodes[-2:])
    return before == last


def _inside(tree: ParamTree, node: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes inside a module."""
    above = f"{tree.path(node)}."
    return [
        (tensor.name.removeprefix(above), tensor.shape) for tensor in tree.tensors[slice(*tree.span(node))]
    ]


def _tower_heads(tree: ParamTree, blocks: Sequence[str]) -> list[Head]:
    """Return the projections beside towers of several modalities, as CLIP has them."""
    towers = tower_paths(blocks)
    if not towers:
        return []
    heads = []
    for node in tree.children(0):
        tower = tower_of(tree.names[node])
        known = tower in MODALITIES and tower in towers.values() and tree.names[node] not in towers
        if known and not tree.leaf[node] and not _holds_blocks(tree, node):
            names = tuple(tensor.name for tensor in tree.tensors[slice(*tree.span(node))])
            heads.append(Head(tower, tree.path(node), names))
    return heads if len(heads) > 1 else []


def _holds_blocks(tree: ParamTree, node: int) -> bool:
    """Whether below this node are two or more numbered modules that hold modules themselves."""
    for inner in range(node, tree.end[node]):
        if tree.leaf[inner]:
            continue
        several = [c for c in tree.children(inner) if not tree.leaf[c] and is_number(tree.names[c])]
        if sum(any(not tree.leaf[g] for g in tree.children(c)) for c in several) > 1:
            return True
    return False


def _numbered(tree: ParamTree, head: int) -> list[int]:
    """Return the outermost numbered modules with parameters outside the head, where siblings repeat.

    A numbered module is `3`, or `block3` if it holds modules; `layer3` stands for the numbered ones in it.
    """
    found: list[int] = []
    node, stop = 1, len(tree)
    while node < stop:
        block = not tree.leaf[node] and _family(tree, node) and not _is_stage(tree, node)
        if block and node != head and has_parameters(tree, node):
            found.append(node)
        node = tree.end[node] if block or node == head else node + 1
    siblings: dict[tuple[int, str], list[int]] = {}
    for node in found:
        siblings.setdefault((tree.parents[node], _family(tree, node)), []).append(node)
    families = ([n for n in nodes if not _is_norm(tree, n)] or nodes for nodes in siblings.values())
    return sorted(node for nodes in families if len(nodes) > 1 for node in nodes)


def _is_norm(tree: ParamTree, node: int) -> bool:
    """Whether a module has a norm's tensors only: vectors, and no modules."""
    tensors = tree.tensors[slice(*tree.span(node))]
    return all(tree.leaf[child] for child in tree.children(node)) and all(len(t.shape) < 2 for t in tensors)


def _family(tree: ParamTree, node: int) -> str:
    """Return what a numbered module's name begins with, "." for a number alone; "" for other modules."""
    name = tree.names[node]
    if is_number(name):
        return "."
    stem = name.rstrip("0123456789")
    holds_modules = any(not tree.leaf[child] for child in tree.children(node))
    return stem if is_number(name[len(stem) :]) and holds_modules else ""


def _is_stage(tree: ParamTree, node: int) -> bool:
    """Whether a module called `layer3` holds numbered modules itself."""
    if is_number(tree.names[node]):
        return False
    families = Counter(_family(tree, child) for child in tree.children(node) if not tree.leaf[child])
    return any(count > 1 for family, count in families.items() if family)
