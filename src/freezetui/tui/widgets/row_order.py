"""The order of the tree's lines: expanded, filtered, sorted by a value, found again in another tree."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence

from freezetui.freeze.tree import ParamTree

#: Returns what each line is sorted by, the largest first.
Key = Callable[[Sequence[int]], Sequence[float]]
#: More lines of one module than this are taken over together if nothing is shown below them.
_MIN_RUN = 100


def matching(tree: ParamTree, matches: Sequence[tuple[int, int]]) -> array[int]:
    """Return the nodes of these tensors, given as ranges, and of the modules above them, in preorder."""
    shown = {0}
    for start, stop in matches:
        for index in range(start, stop):
            node = tree.position[index]
            while node not in shown:
                shown.add(node)
                node = tree.parents[node]
    return array("I", sorted(shown))


def unfolded(
    tree: ParamTree, opened: bytearray, stops: Mapping[int, int], node: int, stop: int
) -> array[int]:
    """Return the lines from `node` up to `stop`, in preorder.

    Args:
        opened: whether each node is expanded.
        stops: first block of a group -> one past the last node of the group, which is one line.
    """
    lines = array("I")
    end = tree.end
    if not stops and 0 not in opened:
        return array("I", range(node, stop))
    jumps: list[tuple[int, int]] = []
    while node < stop:
        lines.append(node)
        if not opened[node]:
            node = stops.get(node, end[node])
        else:
            if node in stops:
                jumps.append((end[node], stops[node]))
            node += 1
        while jumps and node == jumps[-1][0]:
            node = jumps.pop()[1]
    return lines


def in_order(tree: ParamTree, lines: array[int], key: Key) -> array[int]:
    """Return these lines, which are in preorder, with the lines of each module sorted by `key`."""
    nodes, parents = lines.tolist(), tree.parents.tolist()
    values = key(nodes)
    places = sorted(range(1, len(nodes)), key=values.__getitem__, reverse=True)  # equal ones stay in order
    below: dict[int, list[int]] = {}
    for place in reversed(places):
        node = nodes[place]
        below.setdefault(parents[node], []).append(node)
    done, pending = array("I"), [nodes[0]]
    while pending:  # the last is taken first
        node = pending.pop()
        done.append(node)
        children = below.get(node, ())
        if len(children) > _MIN_RUN and below.keys().isdisjoint(children):
            done.extend(reversed(children))
        else:
            pending += children
    return done


def paths(tree: ParamTree) -> list[str]:
    """Return the path of every node, with a dot before each segment."""
    found = [""]
    for node in range(1, len(tree)):
        found.append(f"{found[tree.parents[node]]}.{tree.names[node]}")
    return found
