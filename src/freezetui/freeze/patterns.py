"""The pattern language: which tensors a dotted pattern matches.

A pattern is a dotted path; one that matches a module covers everything below it. `*` is any text within
one segment, `**` any number of segments, `{a,b}` alternatives, `{0..11}` whole numbers, both ends
included. A backslash makes the next character literal. `re:` starts a regular expression that must match
the full parameter name.
"""

from __future__ import annotations

from collections.abc import Iterable

from freezetui.errors import PatternError
from freezetui.freeze.globs import Glob
from freezetui.freeze.regexes import PREFIX, Budget, Regex
from freezetui.freeze.tree import ParamTree

_SPECIAL = "\\*{},."


class Pattern:
    """A parsed pattern, for use in one thread.

    Args:
        text: as written.
        budget: shared by several `re:` patterns; None for a budget of its own.

    Raises:
        PatternError: the text is malformed, or compiling it overruns the budget.
    """

    def __init__(self, text: str, budget: Budget | None = None) -> None:
        self.text = text
        if not text:
            raise PatternError("the pattern is empty.", "'**' matches everything.")
        self._parsed = Regex(text, budget or Budget()) if text.startswith(PREFIX) else Glob(text)

    def matches(self, name: str) -> bool:
        """Whether this matches the tensor called `name`.

        Raises:
            PatternError: a regular expression overruns its budget.
        """
        if isinstance(self._parsed, Regex):
            return bool(self._parsed.matching([name]))
        return self._parsed.matches(name)

    def spans(self, tree: ParamTree) -> list[tuple[int, int]]:
        """Return the tensors of `tree` that this matches, as half-open ranges in order; [] if none.

        Raises:
            PatternError: a regular expression overruns its budget.
        """
        if isinstance(self._parsed, Glob):
            first, end = tree.first, tree.end
            return _joined([(first[node], first[end[node]]) for node in self._parsed.nodes(tree)])
        if self._parsed.literal is None:
            return runs(self._parsed.matching([tensor.name for tensor in tree.tensors]))
        node = tree.find(self._parsed.literal)
        return [tree.span(node)] if node >= 0 and tree.leaf[node] else []


def escape(segment: str) -> str:
    """Return the pattern that matches only this segment."""
    return "".join("\\" + c if c in _SPECIAL else c for c in segment)


def literal(name: str) -> str:
    """Return the pattern that matches only this dotted name, and everything below it."""
    if not name:
        return "{}"  # the empty text is not a pattern, an empty alternative is one
    text = ".".join(escape(segment) for segment in name.split("."))
    return "\\" + text if text.startswith(PREFIX) else text


def runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as half-open ranges."""
    found: list[tuple[int, int]] = []
    start = stop = -1
    for index in indices:
        if index != stop:
            if start >= 0:
                found.append((start, stop))
            start = index
        stop = index + 1
    return [*found, (start, stop)] if start >= 0 else found


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, without empty ones; those that overlap or touch are joined."""
    spans.sort()
    joined: list[tuple[int, int]] = []
    begin = end = -1
    for start, stop in spans:
        if start > end:
            if begin < end:
                joined.append((begin, end))
            begin, end = start, stop
        elif stop > end:
            end = stop
    return [*joined, (begin, end)] if begin < end else joined
