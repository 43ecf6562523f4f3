"""Rules: freeze or train what a pattern names; the last rule that matches wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import chain, islice, starmap
from typing import Literal

import msgspec

from freezetui.errors import PatternError
from freezetui.freeze.patterns import Pattern, alternatives
from freezetui.freeze.tree import ParamTree

Action = Literal["freeze", "train"]

#: A person writes no more than these; what the face writes by the thousand names something.
_MAX_ALTERNATIVES = 64


class Rule(msgspec.Struct, frozen=True):
    """Freeze or train whatever `pattern` names."""

    action: Action
    pattern: str


def resolve(rules: Iterable[Rule], tree: ParamTree, default: Action = "train") -> bytearray:
    """Which tensors train: per tensor of `tree`, 1 for trainable and 0 for frozen. Tied tensors agree.

    Raises:
        PatternError: a pattern is malformed or names no parameter; the closest names are in the hint.
    """
    return overlay(rules, tree, bytearray([default == "train"]) * len(tree.tensors))


def overlay(rules: Iterable[Rule], tree: ParamTree, mask: bytearray) -> bytearray:
    """Apply `rules` from top to bottom on `mask` (per tensor 0 or 1), in place, and return it.

    Raises:
        PatternError: as `resolve`.
    """
    for rule in rules:
        value = b"\1" if rule.action == "train" else b"\0"
        spans = matched(rule.pattern, tree)
        for start, stop in spans:
            mask[start:stop] = value * (stop - start)
        for _, group in tree.groups_of(chain.from_iterable(starmap(tree.tied_in, spans))):
            for member in group:
                mask[member] = value[0]
    return mask


def matched(pattern: str, tree: ParamTree) -> list[tuple[int, int]]:
    """The tensors that `pattern` names, as half-open ranges; never empty.

    Raises:
        PatternError: malformed, or it names nothing that can train, or one of its alternatives nothing.
    """
    spans = Pattern(pattern).spans(tree)
    if not spans:
        near = closest(pattern, tree)
        hint = f"Closest: {', '.join(near)}." if near else "'**' names everything."
        raise PatternError(f"pattern {pattern!r} matches no parameter.", hint)
    if all(tree.tensors[i].untrainable_reason for start, stop in spans for i in range(start, stop)):
        raise PatternError(
            f"pattern {pattern!r} matches only tensors that cannot train.",
            tree.tensors[spans[0][0]].untrainable_reason.capitalize() + ".",
        )
    for alternative, alone in islice(alternatives(pattern), _MAX_ALTERNATIVES):
        if not Pattern(alone).spans(tree):
            raise PatternError(
                f"{alternative!r} in pattern {pattern!r} matches no parameter.",
                "Every alternative must name something; spaces count.",
            )
    return spans


def closest(pattern: str, tree: ParamTree, most: int = 3) -> list[str]:
    """The names in `tree` that someone who wrote `pattern` may have meant, best first."""
    segments = [s for s in pattern.removeprefix("re:").split(".") if s]
    near: list[str] = []
    node, prefix = 0, ""
    for segment in segments:
        names = list(dict.fromkeys(tree.names[child] for child in tree.children(node)))
        if segment not in names:
            near = get_close_matches(segment, names[:2000], n=most, cutoff=0.6) or names[:most]
            break
        node = next(child for child in tree.children(node) if tree.names[child] == segment)
        prefix += segment + "."
    if prefix and not near:
        return [prefix[:-1]]
    deeper = _ending_with(segments, tree) if not prefix else []
    return (deeper + [prefix + name for name in near])[:most]


def _ending_with(segments: Sequence[str], tree: ParamTree) -> list[str]:
    """Modules whose path ends with these segments: the pattern lacks only what stands before them."""
    last = segments[-1] if segments else ""
    tail = "." + ".".join(segments)
    paths = (tree.path(node) for node, name in enumerate(tree.names) if node and name == last)
    return list(islice((path for path in paths if path.endswith(tail)), 2))
