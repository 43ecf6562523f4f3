"""BlockGroups: runs of repeated blocks with the same states, each shown as one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from freezetui.freeze.blocks import repeats
from freezetui.freeze.plan import FreezeTotals, Size
from freezetui.freeze.tree import ParamTree

Span = tuple[int, int]
NodeRange = tuple[int, int]


class BlockGroups:
    """Which repeated blocks are folded into groups.

    A family is all numbered siblings that are built the same; a group is a run of them with the same states.
    The first block of a group represents it. A group is split when the states of its blocks become
    different; groups are joined only by `fold`, so that no line grows under the cursor.

    Attributes:
        stops: the first block of each group -> one past the last node of its last block.
        opened: the modules whose families were folded once.
    """

    def __init__(self, tree: ParamTree) -> None:
        self.tree = tree
        self.stops: dict[int, int] = {}
        self.opened: set[int] = set()
        self._families: dict[int, dict[int, int]] = {}
        self._states: Sequence[int] = b""

    def open(self, parent: int) -> None:
        """Fold the families of a module that is opened for the first time."""
        if parent not in self.opened:
            self.opened.add(parent)
            for start, stop in self.families(parent).items():
                self.fold(start, stop)

    def family_around(self, node: int) -> NodeRange | None:
        """Return the family of the block that contains `node`, itself included; the innermost."""
        while node > 0:
            for start, stop in self.families(self.tree.parents[node]).items():
                if start <= node < stop:
                    return start, stop
            node = self.tree.parents[node]
        return None

    def fold(self, start: int, stop: int) -> list[int]:
        """Fold a family into groups of blocks with the same states; return the first node of each."""
        self.unfold(start, stop)
        heads = []
        for first, last in self._runs(start, stop):
            heads.append(first)
            if last > self.tree.end[first]:
                self.stops[first] = last
        return heads

    def unfold(self, start: int, stop: int) -> None:
        """Show single blocks in place of the groups that begin in a range of nodes."""
        for head in [head for head in self.stops if start <= head < stop]:
            parent = self.tree.parents[head]
            if self.tree.parents[start] == parent:
                del self.stops[head]

    def unfolded(self) -> Iterator[int]:
        """Yield the first block of every run that is shown as single blocks though it could be one line."""
        for parent in sorted(self.opened):
            for start, stop in self.families(parent).items():
                for first, last in self._runs(start, stop):
                    if last > self.tree.end[first] and first not in self.stops:
                        yield first

    def unfold_at(self, node: int) -> None:
        """Show the single blocks of the group that has the block `node` in it."""
        for start, stop in self.stops.items():
            if start <= node < stop and self.tree.parents[start] == self.tree.parents[node]:
                del self.stops[start]
                return

    def unfold_all(self) -> None:
        """Show single blocks everywhere."""
        self.stops.clear()

    def forget(self) -> None:
        """Fold every family again when its module is opened."""
        self.stops.clear()
        self.opened.clear()

    def follow(self, states: Sequence[int]) -> list[int]:
        """Split the groups whose blocks no longer have the same states.

        Args:
            states: one per tensor.

        Returns:
            the first nodes of the parts that are new.
        """
        self._states = states
        new = []
        for head, stop in list(self.stops.items()):
            runs = list(self._runs(head, stop))
            if len(runs) > 1:
                new += self.fold(head, stop)[1:]
        return new

    def numbers(self, head: int) -> range:
        """Return the numbers of the blocks of a group."""
        size = self.tree.end[head] - head
        first = int(self.tree.names[head])
        return range(first, first + (self.stops[head] - head) // size)

    def around(self, node: int) -> Iterator[int]:
        """Yield the heads of the groups in whose first block `node` is, itself left out; innermost first."""
        if self.stops:
            node = self.tree.parents[node]
            while node > 0:
                if node in self.stops:
                    yield node
                node = self.tree.parents[node]

    def times(self, node: int) -> int:
        """Return how many places of the model a line inside the first block of a group stands for."""
        times = 1
        for head in self.around(node):
            times *= len(self.numbers(head))
        return times

    def repeated(self, node: int, span: Span) -> list[Span]:
        """Return a range of tensors and the same range in the other blocks of the groups around `node`."""
        spans, first = [span], self.tree.first
        for head in self.around(node):
            size = first[self.tree.end[head]] - first[head]
            shifts = range(0, size * len(self.numbers(head)), size)
            if spans == [(first[head], first[head] + size)]:
                spans = [(first[head], first[self.stops[head]])]
            else:
                spans = [(a + shift, b + shift) for shift in shifts for a, b in spans]
        return spans

    def unfold_around(self, node: int) -> None:
        """Show single blocks in place of every group that has `node` in it."""
        for start, stop in list(self.stops.items()):
            if start <= node < stop:
                del self.stops[start]

    def families(self, parent: int) -> dict[int, int]:
        """Return the families among the children of a module: first node -> one past the last."""
        if parent not in self._families:
            self._families[parent] = dict(repeats(self.tree, parent))
        return self._families[parent]

    def _runs(self, start: int, stop: int) -> Iterator[NodeRange]:
        """Yield the runs of blocks with the same states; all blocks have equally many nodes."""
        size = self.tree.end[start] - start
        first = self.tree.first
        tensors, low = first[start + size] - first[start], first[start]
        blocks = range(start, stop, size)
        states = [
            bytes(self._states[low + i * tensors : low + (i + 1) * tensors]) for i in range(len(blocks))
        ]
        cuts = [i for i, (a, b) in enumerate(pairwise(states), 1) if a != b]
        for begin, end in pairwise([0, *cuts, len(blocks)]):
            yield start + begin * size, start + end * size


def repeated(totals: FreezeTotals, times: int) -> FreezeTotals:
    """Return the totals of so many equal ranges of tensors without ties."""
    return FreezeTotals(*(Size(*(count * times for count in size)) for size in totals))


def braces(numbers: range) -> str:
    """Return the numbers of a group's blocks as a pattern has them: `{0..8}`."""
    return f"{{{numbers[0]}..{numbers[-1]}}}"
