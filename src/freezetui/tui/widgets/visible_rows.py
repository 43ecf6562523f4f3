"""Decides which nodes of the tree are visible lines: folding, repeated blocks, filtering."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from freezetui.freeze.blocks import repeats
from freezetui.freeze.tree import ParamTree

Span = tuple[int, int]

_FIRST_LINES = 40


class VisibleRows:
    """The visible lines, one node each; a folded family of repeated blocks is its first block's node.

    Attributes:
        visible: nodes in preorder, one per line.
        matches: the tensors that a filter shows, as ranges; None without a filter.
    """

    def __init__(self, tree: ParamTree) -> None:
        self.tree = tree
        self.opened = bytearray(len(tree))
        self.matches: list[Span] | None = None
        self._families: dict[int, dict[int, int]] = {}
        self._folded: dict[int, int] = {}
        self.visible = array("I", [0])
        self._open_first_levels()

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.visible)

    def stop(self, node: int) -> int:
        """Return one past the last node that the line of `node` represents."""
        return self._folded.get(node, self.tree.end[node]) if self.matches is None else self.tree.end[node]

    def family(self, node: int) -> range | None:
        """Return the numbers of a folded family's blocks; None for any other line."""
        if self.matches is not None or node not in self._folded:
            return None
        parent = self.tree.parents[node]
        blocks = [c for c in self.tree.children(parent) if node <= c < self._folded[node]]
        return range(int(self.tree.names[blocks[0]]), int(self.tree.names[blocks[-1]]) + 1)

    def spans(self, node: int) -> list[Span]:
        """Return the tensors that the line of `node` acts on; with a filter, only those that match."""
        return self.shown(*self.tree.span(node, self.stop(node)))

    def shown(self, start: int, stop: int) -> list[Span]:
        """Return the tensors of a range that a filter shows; all of them without a filter."""
        if start == stop:
            return []
        if self.matches is None:
            return [(start, stop)]
        first = bisect_right(self.matches, (start, start)) - 1
        clipped = []
        for low, high in self.matches[max(0, first) :]:
            if low >= stop:
                break
            if high > start:
                clipped.append((max(low, start), min(high, stop)))
        return clipped

    def is_open(self, node: int) -> bool:
        """Whether the line of `node` is expanded."""
        if self.matches is not None:
            return not self.tree.leaf[node]
        return bool(self.opened[node]) and node not in self._folded

    def line_of(self, node: int) -> int:
        """Return the line that shows `node`, or the nearest line before it."""
        return max(0, bisect_right(self.visible, node) - 1)

    def open(self, line: int) -> int:
        """Expand a line: a family into its blocks, a module into its children.

        Like everything that expands or collapses, it returns the new line of a cursor that was on `line`.
        """
        node = self.visible[line]
        if self.matches is not None or self.tree.leaf[node]:
            return line
        stop = self.stop(node)
        if self._folded.pop(node, None) is None:
            self._open(node)
        self._splice(line, stop)
        return line

    def close(self, line: int) -> int:
        """Collapse a line, or else fold its family."""
        node = self.visible[line]
        if self.matches is not None:
            return line
        if self.opened[node] and node not in self._folded:
            stop = self.tree.end[node]
            self.opened[node] = 0
            self._splice(line, stop)
            return line
        return self.fold(line)

    def fold(self, line: int) -> int:
        """Fold the family of repeated blocks that contains a line."""
        if self.matches is not None:
            return line
        node = self.visible[line]
        while node > 0:
            for start, stop in self._family_ranges(self.tree.parents[node]).items():
                if start <= node < stop:
                    first = bisect_left(self.visible, start)
                    self._folded[start] = stop
                    self._splice(first, stop)
                    return first
            node = self.tree.parents[node]
        return line

    def open_all(self, line: int) -> int:
        """Expand everything."""
        node = self.visible[line]
        if self.matches is None:
            self.opened = bytearray(b"\1") * len(self.tree)
            self._folded.clear()
            self.visible = array("I", range(len(self.tree)))
        return self.line_of(node)

    def close_all(self, line: int) -> int:
        """Collapse everything but the first levels."""
        node = self.visible[line]
        if self.matches is None:
            self.opened = bytearray(len(self.tree))
            self._folded.clear()
            self._open_first_levels()
        return self.line_of(node)

    def reveal(self, node: int) -> int:
        """Expand and unfold whatever hides `node`; return its line."""
        above = []
        parent = self.tree.parents[node]
        while parent >= 0:
            above.append(parent)
            parent = self.tree.parents[parent]
        if self.matches is None:
            for module in reversed(above):
                self._open(module)
            for start, stop in list(self._folded.items()):
                if any(start <= hidden < stop for hidden in (node, *above)):
                    del self._folded[start]
            self.visible = self._lines(0, len(self.tree))
        return self.line_of(node)

    def show_only(self, matches: Sequence[Span] | None) -> None:
        """Show only these tensors and the modules above them; None shows the tree as before the filter."""
        self.matches = None if matches is None else list(matches)
        if matches is None:
            self.visible = self._lines(0, len(self.tree))
            return
        shown = {0}
        for start, stop in matches:
            for index in range(start, stop):
                node = self.tree.position[index]
                while node not in shown:
                    shown.add(node)
                    node = self.tree.parents[node]
        self.visible = array("I", sorted(shown))

    def _open(self, node: int) -> None:
        """Mark a module as expanded; the first time, its repeated blocks start folded."""
        if node not in self._families:
            self._folded.update(self._family_ranges(node))
        self.opened[node] = 1

    def _family_ranges(self, parent: int) -> dict[int, int]:
        if parent not in self._families:
            self._families[parent] = dict(repeats(self.tree, parent))
        return self._families[parent]

    def _open_first_levels(self) -> None:
        """Expand level by level while the lines stay few enough to take in at a glance."""
        self.opened[0] = 1
        self._families.clear()
        level = [0]
        self._open(0)
        self.visible = self._lines(0, len(self.tree))
        while level:
            level = [n for n in self.visible if not self.opened[n] and not self.tree.leaf[n]]
            level = [n for n in level if n not in self._folded]
            before = self.visible
            for node in level:
                self._open(node)
            self.visible = self._lines(0, len(self.tree))
            if len(self.visible) > _FIRST_LINES:
                for node in level:
                    self.opened[node] = 0
                self.visible = before
                return

    def _lines(self, node: int, stop: int) -> array[int]:
        lines = array("I")
        opened, end, folded = self.opened, self.tree.end, self._folded
        while node < stop:
            lines.append(node)
            node = folded[node] if node in folded else node + 1 if opened[node] else end[node]
        return lines

    def _splice(self, line: int, stop: int) -> None:
        """Rebuild the lines below `line`; `stop` is one past the last node that may have changed."""
        after = bisect_left(self.visible, stop, lo=line)
        self.visible[line:after] = self._lines(self.visible[line], stop)
