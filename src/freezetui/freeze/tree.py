"""ParamTree: dotted names as flat preorder arrays."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from freezetui.checkpoint.tensors import TensorInfo


class ParamTree:
    """The tensors of a model as a tree in preorder.

    Node 0 is the root; the subtree of node `i` is the nodes `i .. end[i] - 1`, and its tensors are
    `tensors[first[i]:first[end[i]]]` (see `span`). Tensors stand in the order of first appearance of
    their modules, so one slice is always one subtree.

    Args:
        tensors: names must be unique; a name may also be the prefix of another.
        root: the label of node 0.

    Attributes:
        names: per node, its last segment. depths: per node, the root is 0. end: per node, see above.
        parents: per node, -1 for the root. leaf: per node, 1 where it is a tensor.
        first: per node and one more, how many tensors stand before it.
        tensors: in preorder. position: per tensor, its node.
        ties: per tensor, the previous tensor it is tied to, or -1.
    """

    __slots__ = (
        "_alias_positions",
        "_bytes_before",
        "_elements_before",
        "depths",
        "elements",
        "end",
        "first",
        "leaf",
        "names",
        "nbytes",
        "parents",
        "position",
        "tensors",
        "tie_groups",
        "ties",
    )

    def __init__(self, tensors: Sequence[TensorInfo], root: str = "model") -> None:
        self.names: list[str] = [root]
        self.depths = array("I", [0])
        self.parents = array("i", [-1])
        self.end = array("I", [1])
        self.leaf = bytearray(b"\0")
        self.first = array("I", [0])
        self.position = array("I")
        self.tensors: list[TensorInfo] = []
        self._flatten(_nested(tensors))
        self.elements = array("Q", [min(t.elements, 2**63) for t in self.tensors])
        self.nbytes = array("Q", [min(t.bytes, 2**63) for t in self.tensors])
        self.tie_groups, self.ties = _ties(self.tensors)
        self._alias_positions = [i for i, previous in enumerate(self.ties) if previous >= 0]
        self._elements_before = list(accumulate(self.elements, initial=0))
        self._bytes_before = list(accumulate(self.nbytes, initial=0))

    def _flatten(self, root: _Nested) -> None:
        stack: list[tuple[int, Iterator[tuple[str, _Nested | TensorInfo]]]] = [(0, root.items())]
        while stack:
            node, children = stack[-1]
            child = next(children, None)
            if child is None:
                self.end[node] = len(self.names)
                stack.pop()
                continue
            name, value = child
            index = len(self.names)
            self.names.append(name)
            self.depths.append(len(stack))
            self.parents.append(node)
            self.first.append(len(self.tensors))
            self.end.append(index + 1)
            if isinstance(value, _Nested):
                self.leaf.append(0)
                stack.append((index, value.items()))
            else:
                self.leaf.append(1)
                self.position.append(index)
                self.tensors.append(value)
        self.first.append(len(self.tensors))

    def __len__(self) -> int:
        """How many nodes there are, the root included."""
        return len(self.names)

    def span(self, node: int, stop: int | None = None) -> tuple[int, int]:
        """The tensors below `node` (or of the nodes `node .. stop - 1`), as a half-open range."""
        return self.first[node], self.first[self.end[node] if stop is None else stop]

    def children(self, node: int) -> Iterator[int]:
        """The direct children of `node`, in order; none for a tensor."""
        child, stop = node + 1, self.end[node]
        while child < stop:
            yield child
            child = self.end[child]

    def path(self, node: int) -> str:
        """The dotted name of `node`; "" for the root."""
        segments = []
        while node > 0:
            segments.append(self.names[node])
            node = self.parents[node]
        return ".".join(reversed(segments))

    def tensor(self, node: int) -> TensorInfo | None:
        """The tensor at `node`, or None for a module."""
        return self.tensors[self.first[node]] if self.leaf[node] else None

    def find(self, path: str) -> int:
        """The node with this dotted name, or -1; a tensor wins over a module of the same name."""
        nodes = [0]
        for segment in path.split(".") if path else ():
            nodes = [c for n in nodes for c in self.children(n) if self.names[c] == segment]
        return max(nodes, key=lambda n: self.leaf[n], default=-1)

    def totals(self, start: int, stop: int) -> tuple[int, int, int]:
        """Tensors, elements and bytes of the tensors `start .. stop - 1`, a tied one counted once."""
        tensors = stop - start
        elements = self._elements_before[stop] - self._elements_before[start]
        nbytes = self._bytes_before[stop] - self._bytes_before[start]
        for alias in self.aliases(start, stop):
            tensors -= 1
            elements -= self.elements[alias]
            nbytes -= self.nbytes[alias]
        return tensors, elements, nbytes

    def aliases(self, start: int, stop: int) -> Iterator[int]:
        """The tensors of a range that are tied to an earlier one of the same range."""
        low = bisect_left(self._alias_positions, start)
        for alias in self._alias_positions[low:]:
            if alias >= stop:
                return
            if self.ties[alias] >= start:
                yield alias


class _Nested:
    """One module while the tree is built: submodules and tensors in the order they first appear."""

    __slots__ = ("modules", "order")

    def __init__(self) -> None:
        self.modules: dict[str, _Nested] = {}
        self.order: list[tuple[str, _Nested | TensorInfo]] = []

    def items(self) -> Iterator[tuple[str, _Nested | TensorInfo]]:
        return iter(self.order)

    def module(self, name: str) -> _Nested:
        found = self.modules.get(name)
        if found is None:
            found = self.modules[name] = _Nested()
            self.order.append((name, found))
        return found


def _nested(tensors: Iterable[TensorInfo]) -> _Nested:
    root = _Nested()
    known: dict[str, _Nested] = {}
    for tensor in tensors:
        parent, dot, last = tensor.name.rpartition(".")
        module = known.get(parent) if dot else root
        if module is None:
            module = root
            for segment in parent.split("."):
                module = module.module(segment)
            known[parent] = module
        module.order.append((last, tensor))
    return root


def _ties(tensors: Sequence[TensorInfo]) -> tuple[dict[int, tuple[int, ...]], array[int]]:
    """Groups of tied tensors by each member's index, and per tensor the previous member or -1."""
    previous = array("i", [-1]) * len(tensors)
    groups: dict[int, tuple[int, ...]] = {}
    stored = [i for i, t in enumerate(tensors) if t.storage is not None and t.elements]
    if len({tensors[i].storage.key for i in stored}) == len(stored):  # type: ignore[union-attr]
        return groups, previous
    seen: dict[object, list[int]] = {}
    for index in stored:
        tensor = tensors[index]
        seen.setdefault((tensor.storage, tensor.shape, tensor.dtype), []).append(index)
    for members in seen.values():
        if len(members) > 1:
            for before, index in zip(members, members[1:], strict=False):
                previous[index] = before
            groups.update(dict.fromkeys(members, tuple(members)))
    return groups, previous
