"""Converts a mask to rules: finds the fewest subtree rules that select it, and shortens them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, compress, groupby
from operator import and_, ne

from freezetui.freeze.patterns import escape, literal
from freezetui.freeze.rules import Action, Rule, overlay
from freezetui.freeze.tree import ParamTree

_ACTIONS: tuple[Action, Action] = ("freeze", "train")
_INHERIT, _FREE, _NEVER = 2, 2, 2**31


def choose_rules(tree: ParamTree, mask: bytes, default: Action = "train") -> tuple[Action, tuple[Rule, ...]]:
    """Return the default and the shortest rules that select `mask`.

    The rules name what they freeze, so that a parameter which only the live model has trains; not so with
    the default "freeze", or if everything is frozen.

    Args:
        mask: per tensor of `tree`, 1 to train and 0 to freeze; untrainable tensors are ignored.
        default: of the config; "train" unless the user chose otherwise.
    """
    if not any(compress(mask, tree.trainable())) and tree.tensors:
        default = "freeze"
    return default, added_rules(tree, mask, bytes([default == "train"]) * len(mask))


def added_rules(tree: ParamTree, mask: bytes, base: bytes) -> tuple[Rule, ...]:
    """Return the shortest rules that select `mask` when added below those that select `base`."""
    rules = compact(tree, cover(tree, mask, base))
    got = overlay(rules, tree, bytearray(base))
    wrong = compress(range(len(mask)), map(and_, map(ne, got, mask), tree.trainable()))
    # A subtree rule matches too much only if a tensor and a module have the same name.
    exact = (Rule(_ACTIONS[mask[i]], "re:" + re.escape(tree.tensors[i].name)) for i in wrong)
    return (*rules, *exact)


def cover(tree: ParamTree, mask: bytes, base: bytes) -> list[tuple[int, int]]:
    """Return the fewest nodes whose subtrees turn `base` into `mask`, ancestors before what they contain.

    Each comes with 0 to freeze or 1 to train. Dynamic programming from the leaves up: `keep[s][node]` is the
    number that the subtree needs if the node inherits `s` (freeze, train, or nothing) and is not one of
    them itself, which costs one.

    Args:
        mask: per tensor, 1 to train and 0 to freeze; untrainable tensors are free.
        base: per tensor, its value if no rule matches it.
    """
    wanted = bytes(value if trains else _FREE for value, trains in zip(mask, tree.trainable(), strict=True))
    visited = _until_uniform(tree, wanted)
    keep = [array("q", bytes(8 * len(tree))) for _ in range(3)]
    for node in reversed(visited):
        if tree.leaf[node] or _uniform(wanted, *tree.span(node)):
            _set_costs(keep, node, wanted, base, tree.span(node))
        own = 1 + min(keep[0][node], keep[1][node])
        for column in keep if node else ():
            column[tree.parents[node]] += min(column[node], own)
    chosen: list[tuple[int, int]] = []
    inherited = bytearray([_INHERIT]) * len(tree)
    for node in visited:
        state = inherited[tree.parents[node]] if node else _INHERIT
        action = 0 if keep[0][node] <= keep[1][node] else 1
        if node == 0 and not _uniform(wanted, *tree.span(0)):
            action = 1  # a rule that freezes everything would freeze what only the live model has
        gain = keep[state][node] - 1 - keep[action][node]
        # At equal cost a rule on a whole module reads better than one on its only tensor.
        if gain > 0 or (gain == 0 and keep[action][node] == 0):
            chosen.append((node, action))
            state = action
        inherited[node] = state
    return chosen


def _uniform(wanted: bytes, start: int, stop: int) -> bool:
    return not (wanted.count(0, start, stop) and wanted.count(1, start, stop))


def _until_uniform(tree: ParamTree, wanted: bytes) -> list[int]:
    """Return the nodes in preorder, without those below a node whose tensors all want the same."""
    visited, node = [], 0
    while node < len(tree):
        visited.append(node)
        node = tree.end[node] if _uniform(wanted, *tree.span(node)) else node + 1
    return visited


def _set_costs(
    keep: Sequence[array[int]], node: int, wanted: bytes, base: bytes, span: tuple[int, int]
) -> None:
    """Set the costs of a subtree whose tensors all want the same."""
    for state in (0, 1):
        keep[state][node] = _NEVER if wanted.count(1 - state, *span) else 0
    differs = any(w not in (b, _FREE) for w, b in zip(wanted[slice(*span)], base[slice(*span)], strict=True))
    keep[_INHERIT][node] = _NEVER if differs else 0


_Path = tuple[tuple[str, ...], ...]


def compact(tree: ParamTree, chosen: Iterable[tuple[int, int]]) -> list[Rule]:
    """Return rules for chosen nodes, joining those that differ in one segment with braces.

    Rules of equal depth name disjoint subtrees, so among them the order is free.
    """
    groups: dict[tuple[int, int], list[_Path]] = {}
    for node, action in chosen:
        path = tuple((segment,) for segment in tree.segments(node))
        groups.setdefault((len(path), action), []).append(path)
    rules = []
    for (_, action), paths in sorted(groups.items(), key=lambda item: item[0][0]):
        rules += [Rule(_ACTIONS[action], _text(tree, path)) for path in _merge(paths)]
    return rules


def _merge(paths: list[_Path]) -> list[_Path]:
    """Join paths that differ in one segment, until there are none."""
    before = len(paths) + 1
    while len(paths) < before:
        before = len(paths)
        # Segments that are equal in all paths cannot join, and a path may have 2,000 segments.
        first = paths[0]
        varying = [i for i in range(len(first)) if any(path[i] != first[i] for path in paths)]
        for position in varying:
            merged: dict[tuple[_Path, _Path], list[str]] = {}
            for path in paths:
                merged.setdefault((path[:position], path[position + 1 :]), []).extend(path[position])
            paths = [(*left, tuple(names), *right) for (left, right), names in merged.items()]
    return paths


def _text(tree: ParamTree, path: _Path) -> str:
    if not path:
        return "**"
    if path == (("",),):
        return literal("")
    parts = [
        escape(names[0]) if len(names) == 1 else "{" + _alternatives(tree, path[:position], names) + "}"
        for position, names in enumerate(path)
    ]
    text = ".".join(parts)
    return "\\" + text if text.startswith("re:") else text


def _alternatives(tree: ParamTree, above: _Path, names: Sequence[str]) -> str:
    """Return `0..11,head`: runs of numbers become ranges if no other sibling is in between."""
    nodes: Iterable[int] = (0,)
    for segment in above:
        wanted = frozenset(segment)
        nodes = [c for node in nodes for c in tree.children(node) if tree.names[c] in wanted]
    siblings = {tree.names[child] for child in chain.from_iterable(map(tree.children, nodes))}
    chosen = {int(name) for name in names if _is_number(name)}
    ordered = sorted({int(name) for name in siblings if _is_number(name)} | chosen)
    runs = [list(run) for inside, run in groupby(ordered, chosen.__contains__) if inside]
    numbers = [f"{run[0]}..{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    return ",".join([*numbers, *(escape(name) for name in names if not _is_number(name))])


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 10 and str(int(name)) == name
