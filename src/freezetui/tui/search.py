"""Finds what a filter matches, and the next match. Independent of widgets."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from freezetui.errors import PatternError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.rules import Rule, at_any_depth
from freezetui.freeze.tree import ParamTree

_PATTERN_SIGNS = re.compile(r"[*{}\\]|^re:")

#: In larger trees, seeking another pattern takes longer than a key should.
_MAX_HINTED = 10_000
#: What is found in more places of one module than this is frozen by a rule too long for the bar.
_MAX_PLACES = 20


class Found(NamedTuple):
    """What a filter matches.

    Attributes:
        spans: the tensors, as ranges; None if the text is empty.
        how: "words", "pattern", or what is wrong with the pattern.
        instead: a pattern that does match, where this one does not; "" if none is known.
    """

    spans: list[tuple[int, int]] | None
    how: str
    instead: str = ""

    @property
    def tensors(self) -> int:
        """The number of tensors that match."""
        return sum(stop - start for start, stop in self.spans or ())

    @property
    def is_counted(self) -> bool:
        """Whether the text is a valid filter, so that `tensors` is the number of its matches."""
        return self.spans is not None and self.how in ("words", "pattern")


def may_take_long(text: str) -> bool:
    """Whether `find` may take longer than a key should: with a regular expression, up to two seconds."""

    from freezetui.freeze.regexes import PREFIX  # the first screen needs none

    return text.strip().startswith(PREFIX)


def find(text: str, tree: ParamTree) -> Found:
    """Return what the text matches as a pattern, as in a rule; else the tensors whose name has every word.

    Text with `*`, `{`, a backslash or `re:` is never words.
    """
    from freezetui.freeze.patterns import Pattern, runs

    text = text.strip()
    if not text:
        return Found(None, "type words, or a pattern such as **.bias")
    signs = _PATTERN_SIGNS.search(text)
    try:
        spans = Pattern(text).spans(tree)
    except PatternError as error:
        if signs:
            reason = error.message.removeprefix(f"pattern {text!r}").lstrip(" :")
            return Found([], reason[:1].upper() + reason[1:])
        spans = []
    if spans or signs:
        seeks = not spans and len(tree.tensors) <= _MAX_HINTED
        return Found(spans, "pattern", at_any_depth(text, tree) if seeks else "")
    words = text.lower().split()
    names = _lowered(tree)
    places = [i for i, name in enumerate(names) if words[0] in name]
    for word in words[1:]:
        places = [i for i in places if word in names[i]]
    return Found(runs(places), "words")


@lru_cache(maxsize=1)
def _lowered(tree: ParamTree) -> list[str]:
    """Return the names of the tensors in lower case; those that are so already take no memory again."""
    pairs = ((tensor.name, tensor.name.lower()) for tensor in tree.tensors)
    return [name if name == lower else lower for name, lower in pairs]


def rules_to_freeze(found: Found, plan: FreezePlan) -> tuple[Rule, ...] | None:
    """Return the rules that freezing what is found adds to a plan; () if all of it is frozen.

    None where it is scattered so widely that no short rule says it: finding one would take long.
    """
    from freezetui.freeze.minimize import added_rules  # the first screen needs none

    if _is_scattered(found.spans or (), plan.tree):
        return None if plan.totals_over(found.spans or ()).trainable.tensors else ()
    before = plan.mask()
    after = FreezePlan(plan.tree, before)
    after.set(found.spans or (), False)
    return added_rules(plan.tree, after.mask(), before)


def _is_scattered(spans: Sequence[tuple[int, int]], tree: ParamTree) -> bool:
    places = Counter(tree.parents[tree.position[start]] for start, _ in spans)
    return max(places.values(), default=0) > _MAX_PLACES


def neighbor(matches: Sequence[tuple[int, int]], at: int, direction: int, on_match: bool) -> int:
    """Return the match after (1) or before (-1) tensor `at`; wraps around at both ends.

    Args:
        matches: ascending, disjoint, not empty.
        on_match: whether `at` is the tensor under the cursor, which is then skipped.
    """
    if direction > 0:
        least = at + on_match
        later = (max(start, least) for start, stop in matches if stop > least)
        return next(later, matches[0][0])
    before = bisect_right(matches, (at, 0)) - 1
    if before >= 0 and matches[before][0] < at:
        return min(matches[before][1] - 1, at - 1)
    return matches[before - 1][1] - 1 if before > 0 else matches[-1][1] - 1
