"""Dicts that check a key before hashing it."""

from __future__ import annotations

from typing import Any

#: Limits on a tuple as a key: its length and depth; 16 ** 3 parts take no time to hash.
_MAX_IN_KEY, _MAX_KEY_DEPTH = 16, 3


class OddKey:
    """Replaces a key that is not hashed: a long or deep tuple, a frozenset, a tensor.

    Each instance is a distinct key, so that no entry is lost.

    Attributes:
        kind: the name of the key's class.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class CheckedDict(dict[Any, Any]):
    """A dict that checks a key before hashing it.

    Hashing a tuple that contains itself doubled sixty times takes forever, a tuple nested a million deep
    overflows the stack, and neither can be interrupted.
    """

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any, _set: Any = dict.__setitem__) -> None:
        """Store the value, under an OddKey if the key cannot be hashed safely, or at all."""
        if key.__class__ is tuple and not _is_small(key):
            key = OddKey("tuple")
        try:
            _set(self, key, value)
        except TypeError:  # sets, which became lists, and tensor stubs
            _set(self, OddKey(type(key).__name__), value)


def _is_small(key: tuple[Any, ...], depth: int = 0) -> bool:
    return (
        len(key) <= _MAX_IN_KEY
        and depth < _MAX_KEY_DEPTH
        and all(type(part) is not tuple or _is_small(part, depth + 1) for part in key)
    )


class OrderedDictStub(CheckedDict):
    """Stub of OrderedDict, defaultdict and the like; `state` has attributes such as `_metadata`."""

    __slots__ = ("state",)

    def __init__(self, *args: Any) -> None:
        if args and isinstance(args[0], list | dict):
            items = args[0].items() if isinstance(args[0], dict) else args[0]
            for key, value in items:
                self[key] = value
            # Move rather than copy, so that a hostile pickle cannot duplicate one list a million times.
            args[0].clear()

    def __setstate__(self, state: Any) -> None:
        self.state = state
