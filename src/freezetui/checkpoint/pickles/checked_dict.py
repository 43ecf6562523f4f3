"""Dicts that look at a key before they hash it."""

from __future__ import annotations

from typing import Any

#: A key may be a tuple: of so many parts, so deep; sixteen to the third power take no time to hash.
_MAX_IN_KEY, _MAX_KEY_DEPTH = 16, 3


class OddKey:
    """Stands for a key that is not hashed: a long or deep tuple, a frozenset, a tensor.

    Each is a key of its own, so that no entry is lost.

    Attributes:
        kind: the name of the key's class.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class CheckedDict(dict[Any, Any]):
    """A dict that looks at a key before it hashes it.

    A tuple that holds itself doubled sixty times hashes for ever, one that is a million deep overflows the
    stack, and neither can be interrupted.
    """

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any, _set: Any = dict.__setitem__) -> None:
        """What is not hashed safely, or not at all, is kept under an OddKey."""
        if key.__class__ is tuple and not _is_small(key):
            key = OddKey("tuple")
        try:
            _set(self, key, value)
        except TypeError:  # sets, which were made lists, and what stands for tensors
            _set(self, OddKey(type(key).__name__), value)


def _is_small(key: tuple[Any, ...], depth: int = 0) -> bool:
    return (
        len(key) <= _MAX_IN_KEY
        and depth < _MAX_KEY_DEPTH
        and all(type(part) is not tuple or _is_small(part, depth + 1) for part in key)
    )


class OrderedDictStub(CheckedDict):
    """Stands for OrderedDict, defaultdict and their like; `state` keeps attributes such as `_metadata`."""

    __slots__ = ("state",)

    def __init__(self, *args: Any) -> None:
        if args and isinstance(args[0], list | dict):
            items = args[0].items() if isinstance(args[0], dict) else args[0]
            for key, value in items:
                self[key] = value
            # Moved, not copied: else a pickle could copy one long list a million times.
            args[0].clear()

    def __setstate__(self, state: Any) -> None:
        self.state = state
