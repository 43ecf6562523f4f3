"""Decides which nodes of the tree are visible lines: folding, repeated blocks, filtering, sorting."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import islice

from freezetui.freeze.plan import FreezePlan, FreezeTotals
from freezetui.freeze.tree import ParamTree
from freezetui.tui.widgets.block_groups import BlockGroups, Span, braces, repeated
from freezetui.tui.widgets.row_order import Key, in_order, matching, paths, unfolded

_FIRST_LINES, _MAX_KEPT = 40, 1_000


class VisibleRows:
    """The visible lines, one node each; a group of repeated blocks is its first block's node.

    Attributes:
        visible: nodes, one per line; in preorder, unless sorted.
        matches: the tensors that a filter shows, as ranges; None without a filter.
        groups: which repeated blocks are one line.
        first_lines: with no more lines than this, the next level is expanded at the start; where it is more
            than usual, also the blocks that groups stand for.
        key: what the lines within each module are sorted by; None for the order of the model.
    """

    def __init__(self, tree: ParamTree) -> None:
        self.tree = tree
        self.opened = bytearray(len(tree))
        self.matches: list[Span] | None = None
        self.groups = BlockGroups(tree)
        self.key: Key | None = None
        self.visible, self.first_lines = array("I", [0]), _FIRST_LINES
        self._open_first_levels()

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.visible)

    def moved_to(self, tree: ParamTree, states: Sequence[int]) -> VisibleRows:
        """Return these lines for the same tensors in another order, with the same modules open and folded."""
        rows, new = VisibleRows(tree), paths(tree)
        place = {(path, leaf): node for node, (path, leaf) in enumerate(zip(new, tree.leaf, strict=True))}
        moved = [place[key] for key in zip(paths(self.tree), self.tree.leaf, strict=True)]
        rows.opened = bytearray(len(tree))
        for node, opened in enumerate(self.opened):
            rows.opened[moved[node]] = opened
        rows.groups.forget()
        rows.groups.follow(states)
        rows.groups.opened = {moved[node] for node in self.groups.opened}
        folded = {moved[head] for head in self.groups.stops}
        for node in rows.groups.opened:
            for start, stop in rows.groups.families(node).items():
                if any(start <= head < stop and tree.parents[head] == node for head in folded):
                    rows.groups.fold(start, stop)
        for block in self.groups.unfolded():
            rows.groups.unfold_at(moved[block])
        rows._rebuild()
        return rows

    def follow(self, states: Sequence[int], node: int = 0) -> int:
        """Split the groups whose blocks no longer have the same states; return the line of `node`."""
        new = self.groups.follow(states)
        if new:
            for head in new:
                self.opened[head] = 0
            self._rebuild()
        return self.line_of(node)

    def sort(self, key: Key | None, node: int) -> int:
        """Sort the lines within each module by `key`, or as the model is; return the line of `node`."""
        self.key = key
        self._rebuild()
        return self.line_of(node)

    def stop(self, node: int) -> int:
        """Return one past the last node that the line of `node` represents."""
        end = self.tree.end[node]
        return self.groups.stops.get(node, end) if self.matches is None else end

    def family(self, node: int) -> range | None:
        """Return the numbers of the blocks of a group; None for any other line."""
        if self.matches is not None or node not in self.groups.stops:
            return None
        return self.groups.numbers(node)

    def times(self, node: int) -> int:
        """Return in how many blocks a line acts that is inside the first block of a group; else 1."""
        return self.groups.times(node) if self.matches is None else 1

    def segments(self, node: int) -> list[tuple[str, range | None]]:
        """Return the names from below the root to `node`; for a group, with the numbers of its blocks."""
        segments = []
        while node > 0:
            segments.append((self.tree.names[node], self.family(node)))
            node = self.tree.parents[node]
        return segments[::-1]

    def title(self, node: int) -> str:
        """Return the dotted name of a line, e.g. `layers.{0..8}.norm`; "" for the root."""
        return ".".join(name if numbers is None else braces(numbers) for name, numbers in self.segments(node))

    def spans(self, node: int) -> list[Span]:
        """Return the tensors that the line of `node` acts on; with a filter, only those that match."""
        start, stop = self.tree.span(node, self.stop(node))
        if self.matches is None and start < stop:
            return self.groups.repeated(node, (start, stop))
        return self.shown(start, stop)

    def totals(self, node: int, plan: FreezePlan) -> FreezeTotals:
        """Return the totals of the line of `node`, of all the blocks that it stands for."""
        times = self.times(node)
        if times > 1:
            outermost = list(self.groups.around(node))[-1]
            if not self.tree.tied_in(*self.tree.span(outermost, self.groups.stops[outermost])):
                return repeated(plan.totals(*self.tree.span(node, self.stop(node))), times)
        return plan.totals_over(self.spans(node))

    def shown(self, start: int, stop: int) -> list[Span]:
        """Return the tensors of a range that a filter shows; all of them without a filter."""
        if start == stop:
            return []
        if self.matches is None:
            return [(start, stop)]
        matches, place = self.matches, max(0, bisect_right(self.matches, (start, start)) - 1)
        clipped = []
        while place < len(matches) and matches[place][0] < stop:
            low, high = matches[place]
            if high > start:
                clipped.append((max(low, start), min(high, stop)))
            place += 1
        return clipped

    def is_open(self, node: int) -> bool:
        """Whether the line of `node` is expanded."""
        return bool(self.opened[node]) if self.matches is None else not self.tree.leaf[node]

    def line_of(self, node: int) -> int:
        """Return the line that shows `node`, or the nearest line before it."""
        if self.key is None:
            return max(0, bisect_right(self.visible, node) - 1)
        while node > 0 and node not in self.visible:
            heads = [h for h, stop in self.groups.stops.items() if h < node < stop and h in self.visible]
            node = max(heads, default=self.tree.parents[node])
        return self.visible.index(max(0, node))

    def open(self, line: int) -> int:
        """Expand a line: a group into its first block, which stands for all of them.

        Like everything that expands or collapses, it returns the new line of a cursor that was on `line`.
        """
        node = self.visible[line]
        if self.matches is not None or self.tree.leaf[node]:
            return line
        self._open(node)
        return self._splice(line, self.stop(node))

    def close(self, line: int) -> int:
        """Collapse a line, or else fold its family into groups."""
        node = self.visible[line]
        if self.matches is not None:
            return line
        if self.opened[node]:
            self.opened[node] = 0
            return self._splice(line, self.stop(node))
        return line if node in self.groups.stops else self._fold(line)

    def fold(self, line: int) -> int:
        """Show the single blocks of the group around a line; without one, fold the family around it."""
        if self.matches is not None:
            return line
        node = self.visible[line]
        head = node if node in self.groups.stops else next(self.groups.around(node), 0)
        family = self.groups.family_around(node)
        if not head or (family is not None and family[0] > head):  # single blocks inside a group's block
            return self._fold(line)
        del self.groups.stops[head]
        self._rebuild()
        return self.line_of(node)

    def _fold(self, line: int) -> int:
        node = self.visible[line]
        family = self.groups.family_around(node)
        if family is None:
            return line
        for head in self.groups.fold(*family):
            self.opened[head] = 0
        self._rebuild()
        return self.line_of(node)

    def open_all(self, line: int) -> int:
        """Expand everything."""
        node = self.visible[line]
        if self.matches is None:
            self.opened = bytearray(b"\1") * len(self.tree)
            self.groups.unfold_all()
            self._rebuild()
        return self.line_of(node)

    def close_all(self, line: int) -> int:
        """Collapse everything but the first levels."""
        node = self.visible[line]
        if self.matches is None:
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
            for hidden in (node, *above):
                self.groups.unfold_around(hidden)
            self._rebuild()
        return self.line_of(node)

    def show_only(self, matches: Sequence[Span] | None) -> None:
        """Show only these tensors and the modules above them; None shows the tree as before the filter."""
        self.matches = None if matches is None else list(matches)
        self._rebuild()

    def expanded(self) -> list[str]:
        """Return the paths of the first expanded modules; a filter changes nothing about them."""
        opened = islice((node for node, is_open in enumerate(self.opened) if is_open), _MAX_KEPT)
        return [self.tree.path(node) for node in opened]

    def unfolded(self) -> list[str]:
        """Return the paths of the first runs of single blocks that could be one line; see `BlockGroups`."""
        return [self.tree.path(node) for node in islice(self.groups.unfolded(), _MAX_KEPT)]

    def unfold_only(self, blocks: Sequence[str], states: Sequence[int]) -> None:
        """Show the blocks of the groups with these in them singly; those not in the tree are left out."""
        self.groups.follow(states)
        for node in map(self.tree.find, blocks):
            if node >= 0:
                self.groups.unfold_at(node)
        self._rebuild()

    def expand_only(self, modules: Sequence[str]) -> None:
        """Expand these modules and no others; those that are not in the tree are left out."""
        self.opened = bytearray(len(self.tree))
        self.groups.forget()
        for node in (0, *map(self.tree.find, modules)):
            if node >= 0 and not self.tree.leaf[node]:
                self._open(node)
        self.first_lines = len(self.tree)  # a taller screen expands nothing more
        self._rebuild()

    def _open_first_levels(self) -> None:
        """Collapse all, then expand level by level while the lines are few enough."""
        self.opened = bytearray(len(self.tree))
        self.groups.forget()
        self._open(0)
        lines, stops = self._lines(0, len(self.tree)), self.groups.stops
        while True:
            below = [n for n in lines if not (self.opened[n] or self.tree.leaf[n])]
            closed = [n for n in below if n not in stops]
            closed = closed or (below if self.first_lines > _FIRST_LINES else [])
            for node in closed:
                self._open(node)
            lines = self._lines(0, len(self.tree))
            if not closed or len(lines) > self.first_lines:
                break
        for node in closed:
            self.opened[node] = 0
        self._rebuild()

    def _open(self, node: int) -> None:
        """Mark a module as expanded; the first time, its repeated blocks start folded."""
        self.groups.open(node)
        self.opened[node] = 1

    def _rebuild(self) -> None:
        lines = self._lines(0, len(self.tree)) if self.matches is None else matching(self.tree, self.matches)
        self.visible = lines if self.key is None else in_order(self.tree, lines, self.key)

    def _lines(self, node: int, stop: int) -> array[int]:
        return unfolded(self.tree, self.opened, self.groups.stops, node, stop)

    def _splice(self, line: int, stop: int) -> int:
        """Rebuild the lines below `line`; `stop` is one past the last node that may have changed."""
        node = self.visible[line]
        if self.key is not None:
            self._rebuild()
            return self.line_of(node)
        after = bisect_left(self.visible, stop, lo=line)
        self.visible[line:after] = self._lines(node, stop)
        return line
