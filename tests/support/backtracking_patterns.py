"""The first implementation of patterns, by backtracking: the oracle for small ones.

A pattern is a dotted path; one that names a module covers everything below it. `*` is any text within
one segment, `**` any number of segments, `{a,b}` alternatives, `{0..11}` whole numbers inclusive. A
backslash takes the special meaning off the next character. `re:` starts a regular expression that must
match the full parameter name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from freezetui.errors import PatternError
from freezetui.freeze.tree import ParamTree

_ANY_DEPTH = "**"
_MAX_BRANCHES = 1_000

_Segment = str | re.Pattern[str]


class Pattern:
    """A parsed pattern.

    Attributes:
        text: as written.

    Raises:
        PatternError: the text is malformed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._regex: re.Pattern[str] | None = None
        self._branches: list[tuple[_Segment, ...]] = []
        if text.startswith("re:"):
            try:
                self._regex = re.compile(text[3:])
            except re.error as error:
                raise PatternError(
                    f"pattern {text!r} is no regular expression: {error}.", "Python's re syntax."
                ) from None
        elif not text:
            raise PatternError("an empty pattern names nothing.", "'**' names everything.")
        else:
            branches = [_segments(branch, text) for branch in _expand_dotted_braces(text)]
            if any(_ANY_DEPTH in branch for branch in branches):
                self._regex = re.compile("|".join(map(_branch_regex, branches)), re.DOTALL)
            else:
                self._branches = branches

    def matches(self, name: str) -> bool:
        """Whether this pattern names the tensor called `name`."""
        if self._regex is not None:
            return self._regex.fullmatch(name) is not None
        segments = name.split(".")
        return any(
            len(branch) <= len(segments) and all(map(_fits, branch, segments)) for branch in self._branches
        )

    def spans(self, tree: ParamTree) -> list[tuple[int, int]]:
        """Return the tensors of `tree` that this pattern names, as half-open ranges in order; [] for none."""
        if self._regex is not None:
            fullmatch = self._regex.fullmatch
            return runs(i for i, tensor in enumerate(tree.tensors) if fullmatch(tensor.name))
        return _joined(tree.span(node) for branch in self._branches for node in _walk(branch, tree))


def _fits(pattern: _Segment, segment: str) -> bool:
    if isinstance(pattern, str):
        return pattern == segment
    return pattern.fullmatch(segment) is not None


def _walk(branch: Sequence[_Segment], tree: ParamTree) -> list[int]:
    nodes = [0]
    for wanted in branch:
        if isinstance(wanted, str):
            nodes = [child for node in nodes for child in tree.named(node, wanted)]
        else:
            fits = wanted.fullmatch
            nodes = [c for node in nodes for c in tree.children(node) if fits(tree.names[c])]
    return nodes


def runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as half-open ranges."""
    found: list[tuple[int, int]] = []
    start = stop = -1
    for index in indices:
        if index != stop:
            if start >= 0:
                found.append((start, stop))
            start = index
        stop = index + 1
    return [*found, (start, stop)] if start >= 0 else found


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap or touch as one."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _branch_regex(branch: Sequence[_Segment]) -> str:
    """One regular expression over full names that says the same as walking the segments."""
    parts: list[str] = []
    for segment in branch:
        if segment == _ANY_DEPTH:
            parts.append(r"(?:[^.]*\.)*")
        else:
            parts += [re.escape(segment) if isinstance(segment, str) else segment.pattern, r"\."]
    if parts and parts[-1] == r"\.":
        parts[-1] = r"(?:\..*)?"
    else:
        parts.append(".*")
    return f"(?:{''.join(parts)})"


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that stand outside braces and are not escaped."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
        elif text[i] == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
        i += 1
    return [*parts, text[start:]]


def _braces(text: str) -> Iterator[tuple[int, int]]:
    """Where each top-level brace group starts and ends.

    Raises:
        PatternError: a brace is not closed, not opened, or stands inside another.
    """
    opened, i = -1, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == "{":
            if opened >= 0:
                raise PatternError(
                    f"pattern {text!r}: a brace inside a brace.", "Write the alternatives out."
                )
            opened = i
        elif text[i] == "}":
            if opened < 0:
                raise PatternError(f"pattern {text!r}: '}}' without '{{'.", "Write \\} for the character.")
            yield opened, i + 1
            opened = -1
        i += 1
    if opened >= 0:
        raise PatternError(f"pattern {text!r}: '{{' without '}}'.", "Write \\{ for the character.")


def _expand_dotted_braces(text: str) -> list[str]:
    """Alternatives that may span several segments become patterns of their own."""
    pieces: list[list[str]] = []
    start = 0
    for opened, closed in _braces(text):
        alternatives = _split(text[opened + 1 : closed - 1], ",")
        if any(_numbers(a) is None and ("." in a or a == _ANY_DEPTH) for a in alternatives):
            options = [a if _numbers(a) is None else "{" + a + "}" for a in alternatives]
        else:
            options = [text[opened:closed]]
        pieces += [[text[start:opened]], options]
        start = closed
    pieces.append([text[start:]])
    return ["".join(parts) for parts in _bounded(product(*pieces), text)]


def _bounded(branches: Iterator[tuple[str, ...]], text: str) -> Iterator[tuple[str, ...]]:
    for count, branch in enumerate(branches):
        if count == _MAX_BRANCHES:
            raise PatternError(
                f"pattern {text!r} stands for more than {_MAX_BRANCHES} patterns.", "Use * or **."
            )
        yield branch


def _numbers(alternative: str) -> tuple[int, int] | None:
    """Return the first and the last of `0..11`; None for any other text."""
    found = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", alternative)
    return (int(found[1]), int(found[2])) if found else None


def _number_regexes(low: int, high: int) -> Iterator[str]:
    """Yield the numbers `low .. high` as few regular expressions: 8..120 is 8, 9, 1?, 2? ... 11?, 120."""
    while low <= high:
        block = 1  # how many numbers share all digits but the last ones
        while low and low % (10 * block) == 0 and low + 10 * block - 1 <= high:
            block *= 10
        yield f"{low // block}" + "[0-9]" * (len(str(block)) - 1)
        low += block


def _segments(branch: str, text: str) -> tuple[_Segment, ...]:
    segments = [_segment(part, text) for part in _split(branch, ".")]
    while len(segments) > 1 and segments[-1] == _ANY_DEPTH:
        segments.pop()  # a pattern covers everything below it anyway
    return tuple(segments)


def _segment(part: str, text: str) -> _Segment:
    if part == _ANY_DEPTH:
        return _ANY_DEPTH
    regex, plain, i = "", "", 0
    groups = dict(_braces(part))
    is_plain = True
    while i < len(part):
        if i in groups:
            regex += _alternatives(part[i + 1 : groups[i] - 1], text)
            is_plain = False
            i = groups[i]
            continue
        if part[i] == "*":
            regex += "[^.]*"
            is_plain = False
        else:
            i += part[i] == "\\" and i + 1 < len(part)
            plain += part[i]
            regex += re.escape(part[i])
        i += 1
    return plain if is_plain and plain != _ANY_DEPTH else re.compile(regex)


def _alternatives(inside: str, text: str) -> str:
    options: list[str] = []
    for alternative in _split(inside, ","):
        numbers = _numbers(alternative)
        if numbers is None:
            segment = _segment(alternative, text)
            options.append(re.escape(segment) if isinstance(segment, str) else segment.pattern)
        elif numbers[0] > numbers[1]:
            raise PatternError(
                f"pattern {text!r}: {{{alternative}}} must count upwards.", "For example {0..11}."
            )
        else:
            options += _number_regexes(*numbers)
    return f"(?:{'|'.join(options)})"
