"""What the lines of the tree are sorted by: the values of all lines at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from freezetui.freeze.tree import ParamTree
from freezetui.tui.columns import UNKNOWN, Measure
from freezetui.tui.widgets.visible_rows import VisibleRows


def values_of(measure: Measure, rows: VisibleRows, lines: Sequence[int]) -> list[float]:
    """Return the value of each line; -1 where it is not known.

    Asking line by line takes longer than a key should in a module of 50,000 tensors.

    Args:
        lines: their nodes, in preorder.
    """
    first, end = rows.tree.first.tolist(), rows.tree.end.tolist()  # faster to read than arrays
    starts = list(map(first.__getitem__, lines))
    stops = list(map(first.__getitem__, map(end.__getitem__, lines)))
    groups = rows.groups.stops if rows.matches is None else {}
    for place in _places(lines, groups):
        stops[place] = first[groups[lines[place]]]
    values = measure.each(rows.tree, starts, stops)
    apart = set(_tied(rows.tree, lines) if measure.name == "share" else ())
    if rows.matches is not None:  # modules count with what the filter leaves of them
        apart.update(place for place, node in enumerate(lines) if not rows.tree.leaf[node])
    for head in groups:  # lines inside its first block stand for all of its blocks
        inside = range(bisect_left(lines, head + 1), bisect_left(lines, end[head]))
        if measure.is_share:
            times = len(rows.groups.numbers(head))
            values[inside.start : inside.stop] = [
                value * times for value in values[inside.start : inside.stop]
            ]
        else:
            apart.update(inside)
    for place in apart:
        value = measure.value(rows.tree, rows.spans(lines[place]))
        values[place] = UNKNOWN if value is None else value
    return values


def _tied(tree: ParamTree, lines: Sequence[int]) -> Iterator[int]:
    """Return the lines with tied tensors, each of which counts once."""
    found: set[int] = set()
    for index in tree.tied_in(0, len(tree.tensors)):
        node = tree.position[index]
        while node > 0 and node not in found:
            found.add(node)
            node = tree.parents[node]
    return _places(lines, found)


def _places(lines: Sequence[int], nodes: Iterable[int]) -> Iterator[int]:
    """Yield where these nodes are among the lines, as far as they are."""
    for node in nodes:
        place = bisect_left(lines, node)
        if place < len(lines) and lines[place] == node:
            yield place
