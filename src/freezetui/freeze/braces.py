"""Parses braces in patterns: their positions, their alternatives, and the expansion of dotted ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from math import prod

from freezetui.errors import PatternError
from freezetui.text import quoted

ANY_DEPTH = "**"
_MAX_BRANCHES = 1_000
_MAX_GROUPS = 10_000
#: Characters in all branches together: 1,000 branches of the length of a long path.
_MAX_EXPANDED = 200_000
_NUMBERS = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_SEPARATORS = {c: re.compile(rf"\\.|[{{}}{re.escape(c)}]", re.DOTALL) for c in ",."}


def split(text: str, separator: str) -> list[str]:
    """Split at separators ("," or ".") that are outside braces and not escaped."""
    if separator not in text:
        return [text]
    parts, depth, start = [], 0, 0
    for found in _SEPARATORS[separator].finditer(text):
        sign = found[0]
        if sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
        elif sign == separator and depth == 0:
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def groups(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each group in braces, as half-open ranges.

    Raises:
        PatternError: a brace is not closed, not opened, or inside another.
    """
    opened = -1
    for found in _BRACE.finditer(text):
        if found[0] == "{":
            if opened >= 0:
                raise PatternError(
                    f"pattern {quoted(text)}: nested braces are not supported.", "Write the alternatives out."
                )
            opened = found.start()
        elif found[0] == "}":
            if opened < 0:
                raise PatternError(
                    f"pattern {quoted(text)}: '}}' without '{{'.", "Write \\} for the character."
                )
            yield opened, found.end()
            opened = -1
    if opened >= 0:
        raise PatternError(f"pattern {quoted(text)}: '{{' without '}}'.", "Write \\{ for the character.")


def numbers(alternative: str) -> tuple[int, int] | None:
    """Return the first and the last number of `0..11`; None for any other text."""
    found = _NUMBERS.fullmatch(alternative)
    return (int(found[1]), int(found[2])) if found else None


def branches(text: str) -> list[str]:
    """Return the patterns that `text` expands to: alternatives that span several segments are written out.

    Raises:
        PatternError: the pattern is malformed, or would expand to too much text; raised before expanding.
    """
    pieces: list[list[str]] = []
    start = 0
    for opened, closed in groups(text):
        options = [text[opened:closed]]
        # Most groups have neither a dot nor `**`: they are not expanded, however many alternatives they have.
        if "." in options[0] or ANY_DEPTH in options[0]:
            options = _dotted(split(text[opened + 1 : closed - 1], ",")) or options
        pieces += [[text[start:opened]], options]
        start = closed
        if len(pieces) > 2 * _MAX_GROUPS:
            raise PatternError(
                f"pattern {quoted(text)} has more than {_MAX_GROUPS:,} braces.", "Use * or **."
            )
    pieces.append([text[start:]])
    count = prod(map(len, pieces))
    length = sum(sum(map(len, options)) * (count // len(options)) for options in pieces)
    if count > _MAX_BRANCHES or (count > 1 and length > _MAX_EXPANDED):
        raise PatternError(
            f"pattern {quoted(text)} expands to more than "
            + (f"{_MAX_BRANCHES:,} patterns." if count > _MAX_BRANCHES else f"{_MAX_EXPANDED:,} characters."),
            "Use * or **.",
        )
    return ["".join(parts) for parts in product(*pieces)]


def _dotted(options: list[str]) -> list[str]:
    """Return the alternatives to write out, ranges in braces of their own; [] if none spans segments."""
    ranges = [numbers(option) is not None for option in options]
    if not any(not r and ("." in o or o == ANY_DEPTH) for o, r in zip(options, ranges, strict=True)):
        return []
    return [f"{{{o}}}" if r else o for o, r in zip(options, ranges, strict=True)]


def alternatives(text: str) -> Iterator[tuple[str, str]]:
    """Yield every alternative in braces, and the pattern with only that alternative in its group."""
    if text.startswith("re:"):
        return
    for opened, closed in groups(text):
        options = split(text[opened + 1 : closed - 1], ",")
        for option in options if len(options) > 1 else ():
            yield option, f"{text[:opened]}{{{option}}}{text[closed:]}"
