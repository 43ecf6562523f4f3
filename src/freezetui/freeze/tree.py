"""ParamTree: dotted names as flat preorder arrays."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import attrgetter, itemgetter, mul, sub

from freezetui.checkpoint.columns import Columns
from freezetui.checkpoint.types import Kind, Packing, TensorInfo
from freezetui.freeze.tree_builder import preorder


class ParamTree:
    """The tensors of a model as a tree in preorder.

    Node 0 is the root; the subtree of node `i` is the nodes `i .. end[i] - 1`, and its tensors are
    `tensors[first[i]:first[end[i]]]` (see `span`). Tensors are in the order of first appearance of
    their modules, so one slice is always one subtree.

    Args:
        tensors: names must be unique; a name may also be the prefix of another.
        root: the label of node 0.
        tied: groups of names that are one tensor in the live model, in addition to those of the file.
        columns: of the same tensors in the same order, if they are known.

    Attributes:
        names: per node, its last segment.
        depths: per node; the root is 0.
        end: per node, one past its subtree.
        parents: per node; -1 for the root.
        leaf: per node, 1 where it is a tensor.
        first: per node and one more, the number of tensors before it.
        tensors: in preorder.
        position: per tensor, its node.
        ties: per tensor, the previous tensor it is tied to, or -1.
        tied_away: names that only the live model has -> the tensor here that they are tied to.
        tie_groups: per tied tensor, every member of its group, itself included.
        elements_before, bytes_before: per tensor and one more, the sum over those before it.
    """

    __slots__ = (
        "_aliases",
        "_child_maps",
        "_parameters",
        "_sizes",
        "_tied",
        "_trainable",
        "bytes_before",
        "depths",
        "elements_before",
        "end",
        "first",
        "leaf",
        "names",
        "parents",
        "position",
        "tensors",
        "tie_groups",
        "tied_away",
        "ties",
    )

    def __init__(
        self,
        tensors: Sequence[TensorInfo],
        root: str = "model",
        tied: Iterable[Sequence[str]] = (),
        columns: Columns | None = None,
    ) -> None:
        self._child_maps: dict[int, dict[str, list[int]]] = {}
        self._sizes: tuple[Sequence[int], Sequence[int]] | None = None
        self._trainable: bytes | None = None
        self._parameters: Sequence[int] | None = None
        self.tensors = list(tensors)
        laid_out = preorder([tensor.name for tensor in tensors], root)
        if laid_out is None:
            self.tensors, columns = _gathered(tensors), None
            laid_out = preorder([tensor.name for tensor in self.tensors], root)
            assert laid_out is not None
        self.names, self.depths, self.parents, self.first, self.end, self.leaf, self.position = laid_out
        columns = columns or Columns(self.tensors)
        self.elements_before = _sums(columns.elements)
        self.bytes_before = _sums(columns.bytes)
        self.tie_groups, self.ties = _ties(columns)
        self.tied_away: dict[str, str] = {}
        if tied:
            _tie_more(self, tied)
        self._tied = sorted(self.tie_groups)
        self._aliases = [i for i in self._tied if self.ties[i] >= 0]

    def __len__(self) -> int:
        """Return how many nodes there are, the root included."""
        return len(self.names)

    def span(self, node: int, stop: int | None = None) -> tuple[int, int]:
        """Return the tensors below `node` (or of the nodes `node .. stop - 1`), as a half-open range."""
        return self.first[node], self.first[self.end[node] if stop is None else stop]

    def children(self, node: int) -> Iterator[int]:
        """Return the direct children of `node`, in order; none for a tensor."""
        child, stop = node + 1, self.end[node]
        while child < stop:
            yield child
            child = self.end[child]

    def path(self, node: int) -> str:
        """Return the dotted name of `node`; "" for the root."""
        return ".".join(self.segments(node))

    def segments(self, node: int) -> list[str]:
        """Return the names of the nodes from below the root to `node`."""
        segments = []
        while node > 0:
            segments.append(self.names[node])
            node = self.parents[node]
        return segments[::-1]

    def tensor(self, node: int) -> TensorInfo | None:
        """Return the tensor at `node`, or None for a module."""
        return self.tensors[self.first[node]] if self.leaf[node] else None

    def named(self, node: int, name: str) -> list[int]:
        """Return the direct children of `node` called `name`: none, one, or a tensor and a module."""
        known = self._child_maps.get(node)
        if known is None:
            known = {}
            for child in self.children(node):
                known.setdefault(self.names[child], []).append(child)
            self._child_maps[node] = known  # whole: another thread may look as well
        return known.get(name, [])

    def find(self, path: str) -> int:
        """Return the node with this dotted name, or -1; a tensor wins over a module of the same name."""
        if not path:
            return next((node for node in self.named(0, "") if self.leaf[node]), 0)
        nodes = [0]
        for segment in path.split("."):
            nodes = [child for node in nodes for child in self.named(node, segment)]
        return max(nodes, key=lambda node: self.leaf[node], default=-1)

    def totals(self, start: int, stop: int) -> tuple[int, int, int]:
        """Return tensors, elements and bytes of the tensors `start .. stop - 1`, a tied one counted once."""
        tensors = stop - start
        elements = self.elements_before[stop] - self.elements_before[start]
        nbytes = self.bytes_before[stop] - self.bytes_before[start]
        for alias in self.aliases(start, stop):
            tensors -= 1
            elements -= self.tensors[alias].elements
            nbytes -= self.tensors[alias].bytes
        return tensors, elements, nbytes

    def sizes(self, start: int, stop: int) -> tuple[Sequence[int], Sequence[int]]:
        """Return elements and bytes of each tensor of a range, tied or not."""
        if self._sizes is None:  # only needed for very irregular plans
            self._sizes = _differences(self.elements_before), _differences(self.bytes_before)
        elements, nbytes = self._sizes
        return elements[start:stop], nbytes[start:stop]

    def trainable(self) -> bytes:
        """Return, per tensor, 1 if it is trainable."""
        if self._trainable is None:
            self._trainable = trainable(self.tensors)
        return self._trainable

    @property
    def parameters_before(self) -> Sequence[int]:
        """Per tensor and one more, the elements of the parameters before it.

        A tied parameter counts where it is first. In a model without parameters every tensor counts.
        """
        if self._parameters is None:
            counted = bytearray(self.trainable())
            for alias in self.aliases(0, len(counted)):
                counted[alias] = 0
            self._parameters = self.elements_before
            if 0 in counted:
                before = [0, *accumulate(map(mul, self.sizes(0, len(counted))[0], counted))]
                self._parameters = before if before[-1] else self.elements_before
        return self._parameters

    def aliases(self, start: int, stop: int) -> list[int]:
        """Return the tensors of a range that are tied to an earlier one of the same range."""
        return [i for i in _within(self._aliases, start, stop) if self.ties[i] >= start]

    def tied_in(self, start: int, stop: int) -> list[int]:
        """Return the tensors of a range that are tied to any other, in order."""
        return _within(self._tied, start, stop)

    def tied_to(self, index: int, most: int) -> list[int]:
        """Return the first `most` of the other tensors that are tied to this one."""
        group = self.tie_groups.get(index, ())
        return [member for member in group[: most + 1] if member != index][:most]

    def groups_of(self, indices: Iterable[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the tie groups of tied tensors, each once, with the first of `indices` that is in it.

        All tensors of a file may be tied: visiting the whole group for each member would be quadratic.
        """
        seen: set[int] = set()
        for index in indices:
            group = self.tie_groups[index]
            if group[0] not in seen:
                seen.add(group[0])
                yield index, group


_DECIDES = attrgetter("kind", "dtype", "packing")
#: Tensors to look at in turn, which the processor's cache holds.
_CHUNK = 2048


def trainable(tensors: Sequence[TensorInfo]) -> bytes:
    """Return, per tensor, 1 if it is trainable; vectorized, since there may be a million."""
    found: dict[tuple[Kind, str, Packing | None], bool] = {}
    states = bytearray()
    for low in range(0, len(tensors), _CHUNK):
        chunk = tensors[low : low + _CHUNK]
        kinds = list(map(_DECIDES, chunk if _differ(chunk) else chunk[:1]))
        for kind, dtype, packing in {*kinds}.difference(found):
            tensor = TensorInfo("", (), dtype, kind, packing=packing)
            found[kind, dtype, packing] = not tensor.untrainable_reason
        states += bytes(map(found.__getitem__, kinds)).ljust(len(chunk), bytes([found[kinds[0]]]))
    return bytes(states)


def _differ(tensors: Sequence[TensorInfo]) -> bool:
    """Whether they have more than one kind, dtype or packing."""
    return any(len({*map(attrgetter(name), tensors)}) > 1 for name in ("kind", "dtype", "packing"))


def _sums(values: Sequence[int]) -> Sequence[int]:
    """Return the sum before each value, and of all; a list only if 64 bits are not enough."""
    try:
        return array("q", accumulate(values, initial=0))
    except OverflowError:
        return list(accumulate(values, initial=0))


def _differences(sums: Sequence[int]) -> Sequence[int]:
    """Return the values that `_sums` added up."""
    values = map(sub, sums[1:], sums)
    return array("q", values) if isinstance(sums, array) else list(values)


def _within(ordered: list[int], start: int, stop: int) -> list[int]:
    return ordered[bisect_left(ordered, start) : bisect_left(ordered, stop)]


def _gathered(tensors: Sequence[TensorInfo]) -> list[TensorInfo]:
    """Return the tensors in the order in which their modules first appear, depth by depth."""
    rank: dict[str, int] = {}
    keys = []
    for tensor in tensors:
        modules = accumulate(tensor.name.split("."), "{}.{}".format)
        keys.append(tuple(rank.setdefault(module, len(rank)) for module in modules))
    return [tensor for _, tensor in sorted(zip(keys, tensors, strict=True), key=itemgetter(0))]


def _tie_more(tree: ParamTree, tied: Iterable[Sequence[str]]) -> None:
    """Join the tie groups of these names."""
    index = {tensor.name: i for i, tensor in enumerate(tree.tensors)}
    for names in tied:
        members = {
            m for name in names if name in index for m in tree.tie_groups.get(index[name], (index[name],))
        }
        if len(members) > 1:
            group = tuple(sorted(members))
            tree.tie_groups.update(dict.fromkeys(group, group))
            for before, after in pairwise(group):
                tree.ties[after] = before


def _ties(columns: Columns) -> tuple[dict[int, tuple[int, ...]], array[int]]:
    """Return groups of tied tensors by each member's index, and per tensor the previous member or -1."""
    previous = array("i", [-1]) * len(columns.tensors)
    groups: dict[int, tuple[int, ...]] = {}
    if not columns.shares:
        return groups, previous
    seen: dict[object, list[int]] = {}
    for index, tensor in enumerate(columns.tensors):
        if tensor.storage is None or not columns.elements[index]:
            continue
        key = (tensor.storage, tensor.shape, tensor.dtype, tensor.kind == "buffer")
        seen.setdefault(key, []).append(index)
    for members in seen.values():
        if len(members) > 1:
            for before, index in pairwise(members):
                previous[index] = before
            groups.update(dict.fromkeys(members, tuple(members)))
    return groups, previous
