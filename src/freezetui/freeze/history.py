"""Diff: one edit of a plan as it is kept to be undone and redone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Diff(NamedTuple):
    """The exclusive-or of two states, packed: applying it once redoes the edit, again undoes it.

    Attributes:
        start, stop: the range that it changes; changed: how many tensors of it.
    """

    start: int
    stop: int
    changed: int
    packed: bytes

    @classmethod
    def between(cls, old: bytearray, new: bytearray) -> Diff | None:
        """Return what leads from one state to another of the same length; None if they are equal."""
        difference = _xor(old, new)
        trimmed = difference.lstrip(b"\0")
        if not trimmed:
            return None
        start = len(difference) - len(trimmed)
        trimmed = trimmed.rstrip(b"\0")
        changed = len(trimmed) - trimmed.count(0)
        return cls(start, start + len(trimmed), changed, zlib.compress(trimmed, 1))

    def moved(self, place: Sequence[int]) -> Diff:
        """Return this edit for another order of the tensors, `place` being the old position of each."""
        whole = bytearray(len(place))
        self.flip(whole)
        moved = Diff.between(bytearray(len(place)), bytearray(map(whole.__getitem__, place)))
        return self if moved is None else moved._replace(changed=self.changed)

    def flip(self, states: bytearray) -> None:
        """Undo the edit in these states, or redo it."""
        states[self.start : self.stop] = _xor(states[self.start : self.stop], zlib.decompress(self.packed))


def seen_as(diffs: Sequence[Diff], states: bytearray, seen: Callable[[bytearray], bytearray]) -> list[Diff]:
    """Return these edits for states of which another form is kept, as of those that ties make alike.

    Args:
        states: which the last of the edits leads from or to.
        seen: returns the form that is kept.
    """
    now, found = bytearray(states), []
    for diff in reversed(diffs):
        before = seen(now)
        diff.flip(now)
        found.append(Diff.between(before, seen(now)) or Diff(0, 0, 0, zlib.compress(b"")))
    return found[::-1]


def _xor(a: bytes | bytearray, b: bytes | bytearray) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")
