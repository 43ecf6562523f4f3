"""Finds names by how they end: blocks repeat all but their number, so that one segment tells little."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

#: How many of the last segments are told apart.
_MOST = 3


class Endings:
    """Names by their last segments."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in names:
            last = name.rsplit(".", _MOST)[-_MOST:]
            for start in range(len(last)):
                self._names[tuple(last[start:])].append(name)

    def of(self, end: str) -> Sequence[str]:
        """Return the names that have the last segments of `end`, up to three."""
        return self._names.get(tuple(end.rsplit(".", _MOST)[-_MOST:]), ())

    def nearest(self, name: str) -> Sequence[str]:
        """Return the names that share the most of up to three last segments; none if not even the last."""
        last = name.rsplit(".", _MOST)[-_MOST:]
        return next((found for i in range(len(last)) if (found := self._names.get(tuple(last[i:])))), ())
