"""Rules: freeze or train what a pattern matches; the last rule that matches wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice, starmap
from typing import TYPE_CHECKING, Literal

import msgspec

from freezetui.checkpoint.types import can_require_grad
from freezetui.errors import PatternError
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable, quoted, shortened

if TYPE_CHECKING:  # patterns are imported where one is matched: the first screen matches none
    from freezetui.freeze.regexes import Budget

Action = Literal["freeze", "train"]

#: Only hand-written patterns are checked alternative by alternative; generated ones can have thousands.
_MAX_ALTERNATIVES = 64
#: Characters in all patterns that checking the alternatives creates.
_MAX_CHECKED = 1_000_000
#: Longer words are not misspelled; comparing them takes the square of their length.
_MAX_WORD = 100
_MAX_SIBLINGS = 2_000
_WILDCARD = re.compile(r"[*{]")
_MAX_STARS = 8
_ROWS = re.compile(r"\$?\[\s*-?\d*\s*:\s*-?\d*\s*\]$")


class Rule(msgspec.Struct, frozen=True):
    """Freeze or train whatever `pattern` matches."""

    action: Action
    pattern: str


def resolve(
    rules: Iterable[Rule], tree: ParamTree, default: Action = "train", budget: Budget | None = None
) -> bytearray:
    """Return the mask of `tree`: per tensor, 1 for trainable and 0 for frozen. Tied tensors agree.

    Args:
        budget: shared by the patterns of several calls; None for a budget of its own.

    Raises:
        PatternError: a pattern is malformed, takes too long or matches no parameter; the closest names are
            in the hint.
    """
    return overlay(rules, tree, bytearray([default == "train"]) * len(tree.tensors), budget)


def overlay(
    rules: Iterable[Rule], tree: ParamTree, mask: bytearray, budget: Budget | None = None
) -> bytearray:
    """Apply `rules` from top to bottom on `mask` (per tensor 0 or 1), in place, and return it.

    Args:
        budget: as for `resolve`.

    Raises:
        PatternError: as `resolve`.
    """
    from freezetui.freeze.regexes import Budget

    budget = budget or Budget()
    for rule in rules:
        with budget.charged():
            paint(mask, tree, matched(rule.pattern, tree, budget), rule.action)
    return mask


def paint(mask: bytearray, tree: ParamTree, spans: Sequence[tuple[int, int]], action: Action) -> None:
    """Set half-open ranges of `mask`, and whatever is tied to something in them, to one action."""
    value = b"\1" if action == "train" else b"\0"
    for start, stop in spans:
        mask[start:stop] = value * (stop - start)
    for _, group in tree.groups_of(chain.from_iterable(starmap(tree.tied_in, spans))):
        for member in group:
            mask[member] = value[0]


def matched(pattern: str, tree: ParamTree, budget: Budget | None = None) -> list[tuple[int, int]]:
    """Return the tensors that `pattern` matches, as half-open ranges; never empty.

    Args:
        budget: as for `resolve`.

    Raises:
        PatternError: the pattern is malformed or takes too long; or it, or one of its alternatives, matches
            nothing, or nothing that is trainable.
    """
    from freezetui.freeze.braces import alternatives
    from freezetui.freeze.patterns import Pattern
    from freezetui.freeze.regexes import Budget

    budget = budget or Budget()
    spans = Pattern(pattern, budget).spans(tree)
    if not spans:
        raise _no_match(pattern, tree, budget)
    if all(tree.tensors[i].untrainable_reason for start, stop in spans for i in range(start, stop)):
        first = tree.tensors[spans[0][0]]
        hint = f"{first.untrainable_reason.capitalize()}."
        if first.guessed and first.kind == "buffer" and can_require_grad(first.dtype):
            hint = f"{hint} If it is a parameter with a buffer's name, write a rule for the module around it."
        raise PatternError(f"pattern {quoted(pattern)} matches only tensors that are not trainable.", hint)
    most = min(_MAX_ALTERNATIVES, _MAX_CHECKED // len(pattern))
    for alternative, alone in islice(alternatives(pattern), most):
        if not Pattern(alone).spans(tree):
            raise PatternError(
                f"{quoted(alternative)} in pattern {quoted(pattern)} matches no parameter.",
                "Every alternative must match a parameter; spaces are significant.",
            )
    return spans


def _no_match(pattern: str, tree: ParamTree, budget: Budget) -> PatternError:
    """Return the error for a pattern that matches nothing, with a likely cause."""
    from freezetui.freeze.regexes import PREFIX

    rows = _ROWS.search(pattern)
    if rows and not pattern.startswith(PREFIX):
        return PatternError(
            f"pattern {quoted(pattern)}: row ranges such as {rows[0].lstrip('$')} are not supported yet.",
            "Freeze or train the whole tensor.",
        )
    away = _tied_away(pattern, tree, budget)
    if away is not None:
        live, name = (shortened(printable(text)) for text in away)
        return PatternError(
            f"pattern {quoted(pattern)} matches no parameter of the file: {live} is tied to {name}.",
            f"Write {name}.",
        )
    hint = "'**' matches everything."
    if budget.may_search():
        near = closest(pattern, tree)
        if anywhere := at_any_depth(pattern, tree):
            hint = f"{quoted(anywhere)} matches at any depth."
        elif near:
            hint = f"Closest: {', '.join(shortened(printable(name)) for name in near)}."
    return PatternError(f"pattern {quoted(pattern)} matches no parameter.", hint)


def at_any_depth(pattern: str, tree: ParamTree) -> str:
    """Return the same pattern below any modules, if it matches and `pattern` has a wildcard; "" else."""
    from freezetui.freeze.patterns import Pattern
    from freezetui.freeze.regexes import PREFIX

    if (
        not _WILDCARD.search(pattern)
        or pattern.startswith((PREFIX, "**."))
        or pattern.count("*") > _MAX_STARS
    ):
        return ""
    rest = pattern.lstrip("*")  # of `**weight`, which is `*weight`
    below = f"**.*{rest}" if pattern.startswith("**") and rest else f"**.{pattern}"
    try:
        return below if Pattern(below).spans(tree) else ""
    except PatternError:
        return ""


def _tied_away(pattern: str, tree: ParamTree, budget: Budget) -> tuple[str, str] | None:
    """Return a live name that matches and is not in the file, and the tensor that it is tied to."""
    if not tree.tied_away:
        return None
    from freezetui.freeze.patterns import Pattern

    parsed = Pattern(pattern, budget)
    return next((pair for pair in tree.tied_away.items() if parsed.matches(pair[0])), None)


def closest(pattern: str, tree: ParamTree, most: int = 3) -> list[str]:
    """Return the names in `tree` that the author of `pattern` may have meant, best first."""
    from freezetui.freeze.regexes import PREFIX

    segments = [s for s in pattern.removeprefix(PREFIX).split(".") if s]
    near: list[str] = []
    node, prefix = 0, ""
    for segment in segments:
        children = tree.named(node, segment)
        if not children:
            near = _similar(segment, dict.fromkeys(tree.names[child] for child in tree.children(node)), most)
            break
        node = children[0]
        prefix += segment + "."
    if prefix and not near:
        return [prefix[:-1]]
    deeper = _ending_with(segments, tree) if not prefix else []
    return (deeper + [prefix + name for name in near])[:most]


def _similar(segment: str, names: Iterable[str], most: int) -> list[str]:
    """Return the names similar to `segment`; if there are none, the first names."""
    from difflib import get_close_matches

    few = list(islice((name for name in names if len(name) <= _MAX_WORD), _MAX_SIBLINGS))
    similar = get_close_matches(segment, few, n=most, cutoff=0.6) if len(segment) <= _MAX_WORD else []
    return similar or few[:most]


def _ending_with(segments: Sequence[str], tree: ParamTree) -> list[str]:
    """Return the modules whose path ends with these segments: the pattern lacks only what is above them."""
    last = segments[-1] if segments else ""
    tail = "." + ".".join(segments)
    paths = (tree.path(node) for node, name in enumerate(tree.names) if node and name == last)
    return list(islice((path for path in paths if path.endswith(tail)), 2))
