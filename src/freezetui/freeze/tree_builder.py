"""Builds a tree of dotted names in one pass: flat arrays in preorder."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

#: Characters of the paths of all modules above a tensor, each of which is stored in full: a name of 100,000
#: dots would take gigabytes. Beyond this, the rest of the name is one segment, dots included.
_MAX_PATHS = 10_000_000


class Preorder(NamedTuple):
    """A tree of names as flat arrays; see `ParamTree` for each of them."""

    names: list[str]
    depths: array[int]
    parents: array[int]
    first: array[int]
    end: array[int]
    leaf: bytearray
    position: array[int]


class _Block(NamedTuple):
    """A finished module: its path's length, its nodes `node .. stop - 1`, its tensors `low .. high - 1`."""

    cut: int
    node: int
    stop: int
    low: int
    high: int


class _Module:
    """A module that is still open: more of its tensors may follow."""

    __slots__ = ("above", "children", "last", "low", "node", "path", "tails")

    def __init__(self, path: str, node: int, low: int, above: int = 0) -> None:
        self.path, self.node, self.low = path, node, low
        #: Characters of its path and of those of the modules above it.
        self.above = above + len(path)
        self.children: set[str] = set()
        self.last: _Block | None = None
        #: The names inside `last` and its copies, from its path on; empty if they are not known yet.
        self.tails: list[str] = []


def preorder(paths: Sequence[str], root: str) -> Preorder | None:
    """Return the tree of these dotted names; None if the tensors of a module are not adjacent."""
    layout = _Layout(paths, root)
    return layout.tree if layout.fill() else None


class _Layout:
    """The arrays while they are being filled."""

    def __init__(self, paths: Sequence[str], root: str) -> None:
        self.paths = paths
        zero = array("I", [0])
        self.tree = Preorder([root], zero[:], array("i", [-1]), zero[:], zero[:], bytearray(1), array("I"))
        self.opened = [_Module("", 0, 0)]

    def fill(self) -> bool:
        """Add every name; return False if a module appears again after it was closed."""
        paths, opened, count = self.paths, self.opened, 0
        while count < len(paths):
            name = paths[count]
            while not name.startswith(opened[-1].path):
                self._close(count)
            above = opened[-1]
            start = len(above.path)
            dot = name.find(".", start)
            if dot < 0 or above.above + dot > _MAX_PATHS:
                self._add(name[start:], above, count, leaf=True)
                count += 1
                continue
            segment = name[start:dot]
            if segment in above.children:
                return False
            above.children.add(segment)
            path = f"{above.path}{segment}."
            if above.last is not None and self._repeats(above, above.last, path, count):
                count = self._copy(above, segment, count)
            else:
                opened.append(_Module(path, len(self.tree.names), count, above.above))
                self._add(segment, above, count, leaf=False)
        while opened:
            self._close(count)
        self.tree.first.append(count)
        return True

    def _add(self, segment: str, above: _Module, count: int, leaf: bool) -> None:
        """Add a node, a tensor or a module just opened."""
        tree = self.tree
        node = len(tree.names)
        tree.names.append(segment)
        tree.depths.append(tree.depths[above.node] + 1)
        tree.parents.append(above.node)
        tree.first.append(count)
        tree.end.append(node + 1)
        tree.leaf.append(leaf)
        if leaf:
            tree.position.append(node)

    def _close(self, count: int) -> None:
        module = self.opened.pop()
        stop = self.tree.end[module.node] = len(self.tree.names)
        if self.opened:
            above = self.opened[-1]
            above.last, above.tails = _Block(len(module.path), module.node, stop, module.low, count), []

    def _repeats(self, above: _Module, block: _Block, path: str, count: int) -> bool:
        """Whether the module at `path`, which begins at tensor `count`, has the names of `block` inside."""
        paths, stop = self.paths, count + block.high - block.low
        if stop > len(paths) or paths[stop - 1] != path + paths[block.high - 1][block.cut :]:
            return False
        if stop < len(paths) and paths[stop].startswith(path):
            return False
        if not above.tails:
            above.tails = [name[block.cut :] for name in paths[block.low : block.high]]
        names, tails = paths[count:stop], above.tails
        # Names of the same lengths, which are the same text one after another, are the same.
        lengths = list(map(len(path).__add__, map(len, tails)))
        return list(map(len, names)) == lengths and "".join(names) == path + path.join(tails)

    def _copy(self, above: _Module, segment: str, count: int) -> int:
        """Add a block equal to `above.last` by copying slices: models repeat their blocks."""
        block, tree = above.last, self.tree
        assert block is not None
        node = len(tree.names)
        nodes, later, further = slice(block.node, block.stop), node - block.node, count - block.low
        tree.names.append(segment)
        tree.names.extend(tree.names[block.node + 1 : block.stop])
        tree.depths.extend(tree.depths[nodes])
        tree.leaf.extend(tree.leaf[nodes])
        tree.parents.append(above.node)
        tree.parents.extend(_plus(tree.parents[block.node + 1 : block.stop], later))
        tree.end.extend(_plus(tree.end[nodes], later))
        tree.first.extend(_plus(tree.first[nodes], further))
        tree.position.extend(_plus(tree.position[block.low : block.high], later))
        high = block.high + further
        above.last = _Block(len(above.path) + len(segment) + 1, node, len(tree.names), count, high)
        return high


def _plus(values: array[int], summand: int) -> array[int]:
    """Return each value plus `summand`: one addition of two long integers, since nothing carries over."""
    ones = int.from_bytes(array("I", [1]) * len(values), sys.byteorder)
    total = int.from_bytes(values, sys.byteorder) + summand * ones
    return array(values.typecode, total.to_bytes(len(values) * values.itemsize, sys.byteorder))
