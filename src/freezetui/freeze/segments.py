"""Matches one segment of a pattern: text, `*`, and alternatives in braces, without backtracking.

Matching goes through the items of a segment with the set of positions in the name that can be reached, so
that the work is bounded by the length of the name times that of the pattern.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from freezetui.errors import PatternError
from freezetui.freeze.braces import groups, numbers, split
from freezetui.text import quoted

_MAX_DIGITS = 18
#: Longer text around a group is not copied into each of its alternatives.
_MAX_AROUND = 100
#: Up to this many numbers are looked up as texts.
_MAX_COUNTED = 256
_SIGN = re.compile(r"\\.|\*", re.DOTALL)

#: `*` among the items of a segment; any other text is literal.
_STAR = None
_Piece = str | None


class Ranges:
    """Ranges of whole numbers written without leading zeros."""

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
        return (text[0] != "0" or text == "0") and self._hold(int(text))

    def _hold(self, value: int) -> bool:
        at = bisect_right(self._lows, value) - 1
        return at >= 0 and value <= self._highs[at]

    def ends(self, name: str, start: int) -> Iterable[int]:
        """Yield where a number that starts at `start` may end."""
        value = 0
        for end in range(start + 1, min(len(name), start + _MAX_DIGITS) + 1):
            digit = ord(name[end - 1]) - ord("0")
            if not 0 <= digit <= 9:
                return
            value = 10 * value + digit
            if self._hold(value):
                yield end
            if value == 0 or value > self._highs[-1]:
                return


class Wildcard:
    """Text with at least one `*`."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self.pieces = pieces
        texts = "".join("*" if piece is _STAR else "." for piece in pieces)
        self._first, self._last = pieces[0] or "", pieces[-1] or ""
        inner = pieces[texts.index("*") : texts.rindex("*")]
        self._inner = [piece for piece in inner if piece is not _STAR]

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment: each inner text at its first occurrence."""
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
        texts: the literal alternatives.
        ranges: the numbers; None if there are none.
        wildcards: the alternatives with `*`.
        only_texts: whether there are no others.
    """

    def __init__(
        self, texts: Iterable[str], ranges: Ranges | None = None, wildcards: Sequence[Wildcard] = ()
    ) -> None:
        self.texts = frozenset(texts)
        self.ranges, self.wildcards = ranges, wildcards
        self.only_texts = not (ranges or wildcards)
        self._lengths = sorted({len(text) for text in self.texts})

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment."""
        return (
            name in self.texts
            or (self.ranges is not None and self.ranges.contain(name))
            or any(wildcard.fits(name) for wildcard in self.wildcards)
        )

    def ends(self, name: str, starts: set[int]) -> set[int]:
        """Return the positions after this group, from each of `starts`."""
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
    """A sequence of text, `*` and groups."""

    def __init__(self, items: Sequence[_Piece | Choice]) -> None:
        self._items = items
        first, last = items[0], items[-1]
        self._first = first if isinstance(first, str) else ""
        self._last = last if isinstance(last, str) else ""

    def fits(self, name: str) -> bool:
        """Whether this matches the whole segment."""
        if not (name.startswith(self._first) and name.endswith(self._last)):
            return False
        if self._items[-1] is _STAR:
            return bool(_ends(self._items[:-1], name, {0}))
        return len(name) in _ends(self._items, name, {0})


#: Matches every segment.
ANY = Wildcard([_STAR])
Matcher = Wildcard | Choice | Row
Segment = str | Matcher


def parse(part: str, pattern: str) -> Segment:
    """Parse one segment of a pattern, except `**`; return a str if it matches only itself.

    Args:
        pattern: the whole pattern, for messages.

    Raises:
        PatternError: a brace is wrong, or a range is reversed.
    """
    items: list[_Piece | Choice] = []
    start = 0
    for opened, closed in groups(part) if "{" in part or "}" in part else ():
        items += _pieces(part[start:opened])
        items.append(_choice(split(part[opened + 1 : closed - 1], ","), pattern))
        start = closed
    items += _pieces(part[start:])
    choices = [item for item in items if isinstance(item, Choice)]
    pieces = [item for item in items if not isinstance(item, Choice)]
    if len(choices) == 1 and choices[0].only_texts and _STAR not in pieces:
        at = items.index(choices[0])
        before, after = _only(pieces[:at]), _only(pieces[at:])
        if len(before) + len(after) <= _MAX_AROUND:  # `{q,k,v}_proj` is three texts
            texts = [before + text + after for text in choices[0].texts]
            return texts[0] if len(texts) == 1 else Choice(texts)
    if choices:
        return choices[0] if len(items) == 1 else Row(items)
    if pieces == [_STAR]:
        return ANY
    return Wildcard(pieces) if _STAR in pieces else _only(pieces)


def _choice(options: Iterable[str], pattern: str) -> Choice:
    """Return the alternatives of one group in braces."""
    texts, ranges, wildcards = [], [], []
    for option in options:
        pair = numbers(option)
        if pair is None:
            pieces = _pieces(option)
            if _STAR in pieces:
                wildcards.append(Wildcard(pieces))
            else:
                texts.append(_only(pieces))
        elif pair[0] > pair[1]:
            raise PatternError(
                f"pattern {quoted(pattern)}: range {{{option}}} is reversed.",
                f"Write {{{pair[1]}..{pair[0]}}}.",
            )
        else:
            ranges.append(pair)
    if sum(high - low + 1 for low, high in ranges) <= _MAX_COUNTED:
        texts += [str(number) for low, high in ranges for number in range(low, high + 1)]
        ranges = []
    return Choice(texts, Ranges(ranges) if ranges else None, wildcards)


def _only(pieces: Sequence[_Piece]) -> str:
    """Return the text of pieces without `*`."""
    return "".join(filter(None, pieces))


def _pieces(text: str) -> list[_Piece]:
    """Return unescaped text and `*`; several `*` in a row become one."""
    if "*" not in text and "\\" not in text:
        return [text] if text else []
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
    """Return the positions in `name` after all items, from each of `starts`."""
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
