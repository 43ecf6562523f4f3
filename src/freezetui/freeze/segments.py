"""One segment of a pattern: text, `*`, and alternatives in braces, matched without backtracking.

What a segment matches is found by walking along its items with the set of positions in the name that can
be reached so far, so that the work is bounded by the name times the pattern.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from freezetui.errors import PatternError
from freezetui.freeze.braces import groups, numbers, split
from freezetui.text import quoted

_MAX_DIGITS = 18
_SIGN = re.compile(r"\\.|\*", re.DOTALL)

#: `*` among the items of a segment; any other text stands for itself.
_STAR = None
_Piece = str | None


class Ranges:
    """Whole numbers written without leading zeros, as some ranges hold them."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        for low, high in sorted(ranges):
            if self._highs and low <= self._highs[-1]:
                self._highs[-1] = max(high, self._highs[-1])
            else:
                self._lows.append(low)
                self._highs.append(high)

    def contain(self, text: str) -> bool:
        """Whether `text` is one of the numbers."""
        if not (0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()):
            return False
        value = int(text)
        at = bisect_right(self._lows, value) - 1
        return at >= 0 and value <= self._highs[at] and (text[0] != "0" or text == "0")

    def ends(self, name: str, start: int) -> Iterable[int]:
        """Where a number that begins at `start` may end."""
        for end in range(start + 1, min(len(name), start + _MAX_DIGITS) + 1):
            if not "0" <= name[end - 1] <= "9":
                return
            if self.contain(name[start:end]):
                yield end


class Wildcard:
    """Text with at least one `*`."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self.pieces = pieces
        texts = "".join("*" if piece is _STAR else "." for piece in pieces)
        self._first, self._last = pieces[0] or "", pieces[-1] or ""
        inner = pieces[texts.index("*") : texts.rindex("*")]
        self._inner = [piece for piece in inner if piece is not _STAR]

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment: each inner text at the first place where it occurs."""
        at, stop = len(self._first), len(name) - len(self._last)
        if at > stop or not (name.startswith(self._first) and name.endswith(self._last)):
            return False
        for text in self._inner:
            at = name.find(text, at, stop)
            if at < 0:
                return False
            at += len(text)
        return True


class Choice:
    """One group of alternatives in braces.

    Attributes:
        texts: the alternatives that stand for themselves.
        ranges: the numbers; None where there are none.
        wildcards: the alternatives with `*`.
    """

    def __init__(self, options: Iterable[str], pattern: str) -> None:
        texts, ranges = set(), []
        self.wildcards: list[Wildcard] = []
        for option in options:
            pair = numbers(option)
            if pair is None:
                pieces = _pieces(option)
                if _STAR in pieces:
                    self.wildcards.append(Wildcard(pieces))
                else:
                    texts.add(_only(pieces))
            elif pair[0] > pair[1]:
                raise PatternError(
                    f"pattern {quoted(pattern)}: range {{{option}}} is reversed.", "For example {0..11}."
                )
            else:
                ranges.append(pair)
        self.texts = frozenset(texts)
        self.ranges = Ranges(ranges) if ranges else None
        self._lengths = sorted({len(text) for text in texts})

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment."""
        return (
            name in self.texts
            or (self.ranges is not None and self.ranges.contain(name))
            or any(wildcard.fits(name) for wildcard in self.wildcards)
        )

    def ends(self, name: str, starts: set[int]) -> set[int]:
        """The positions after this group, from each of `starts`."""
        found = {
            start + length
            for start in starts
            for length in self._lengths
            if name[start : start + length] in self.texts
        }
        if self.ranges is not None:
            for start in starts:
                found.update(self.ranges.ends(name, start))
        for wildcard in self.wildcards:
            found |= _ends(wildcard.pieces, name, starts)
        return found


class Row:
    """Text, `*` and groups one after the other."""

    def __init__(self, items: Sequence[_Piece | Choice]) -> None:
        self._items = items

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment."""
        return len(name) in _ends(self._items, name, {0})


Matcher = Wildcard | Choice | Row
Segment = str | Matcher


def parse(part: str, pattern: str) -> Segment:
    """What one segment of a pattern, which is not `**`, matches; a str where only itself.

    Args:
        pattern: what it is a part of, for messages.

    Raises:
        PatternError: a brace is wrong, or a range is reversed.
    """
    items: list[_Piece | Choice] = []
    start = 0
    for opened, closed in groups(part) if "{" in part or "}" in part else ():
        items += _pieces(part[start:opened])
        items.append(Choice(split(part[opened + 1 : closed - 1], ","), pattern))
        start = closed
    items += _pieces(part[start:])
    choices = [item for item in items if isinstance(item, Choice)]
    if choices:
        return choices[0] if len(items) == 1 else Row(items)
    pieces = [item for item in items if not isinstance(item, Choice)]
    return Wildcard(pieces) if _STAR in pieces else _only(pieces)


def _only(pieces: Sequence[_Piece]) -> str:
    """The text of pieces without `*`."""
    return "".join(filter(None, pieces))


def _pieces(text: str) -> list[_Piece]:
    """Text without escapes, and `*` where one or more of them are."""
    pieces: list[_Piece] = []
    plain, start = "", 0
    for found in _SIGN.finditer(text):
        plain += text[start : found.start()]
        start = found.end()
        if found[0] != "*":
            plain += found[0][1]
            continue
        if plain:
            pieces.append(plain)
            plain = ""
        if not pieces or pieces[-1] is not _STAR:
            pieces.append(_STAR)
    plain += text[start:]
    return [*pieces, plain] if plain else pieces


def _ends(items: Sequence[_Piece | Choice], name: str, starts: set[int]) -> set[int]:
    """The positions in `name` after all items, from each of `starts`."""
    for item in items:
        if not starts:
            break
        if isinstance(item, Choice):
            starts = item.ends(name, starts)
        elif item is _STAR:
            starts = set(range(min(starts), len(name) + 1))
        else:
            starts = {start + len(item) for start in starts if name.startswith(item, start)}
    return starts
