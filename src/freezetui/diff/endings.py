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
            for end in _ends(name):
                self._names[end].append(name)

    def of(self, end: str) -> Sequence[str]:
        """Return the names that have the last segments of `end`, up to three."""
        return self._names.get(_ends(end)[0], ())

    def nearest(self, name: str) -> Sequence[str]:
        """Return the names that share the most of up to three last segments; none if not even the last."""
        return next((found for end in _ends(name) if (found := self._names.get(end))), ())


def _ends(name: str) -> list[tuple[str, ...]]:
    """Return the last three segments of a name, the last two, and the last, as far as it has them."""
    last = tuple(name.rsplit(".", _MOST)[-_MOST:])
    return [last[start:] for start in range(len(last))]
