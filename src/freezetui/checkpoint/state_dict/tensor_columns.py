"""Converts plain contiguous tensors to TensorInfo many at a time: column by column, not one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import add, attrgetter, gt, itemgetter, mul
from typing import Any

from freezetui.checkpoint.pickles.stubs import STORAGES, TensorStub
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.composite import Known
from freezetui.checkpoint.types import ITEMSIZE, StorageKey, TensorInfo

_DTYPES = frozenset(STORAGES.values())
#: The lengths of persistent ids: without the view that torch before 0.4 wrote.
_PID = {5}
_MAX_OFFSET, _MAX_DIMENSIONS = 2**63 - 1, 1000


def plain_tensors(
    names: Sequence[str],
    stubs: Sequence[Any],
    sizes: Any,
    known: Callable[[Any], Known | None],
    kinds: BufferDetector,
) -> Iterator[TensorInfo] | None:
    """Return the tensors of a state_dict; None unless all of them are whole, plain and contiguous.

    Args:
        sizes: the bytes of each storage by its key, or a list in the order of the keys 0, 1, 2 and so on;
            None if unknown.
        known: checks a shape.
    """
    if {*map(type, stubs)} != {TensorStub}:
        return None
    if {*map(type, map(attrgetter("metadata"), stubs))} != {type(None)}:
        return None  # perhaps with lazy bits
    ids = list(map(attrgetter("storage"), stubs))
    if {*map(type, ids)} != {tuple} or {*map(len, ids)} != _PID:
        return None
    dtypes, keys = list(map(itemgetter(1), ids)), list(map(itemgetter(2), ids))
    offsets = list(map(attrgetter("offset"), stubs))
    if not ({*map(type, dtypes)} == {*map(type, keys)} == {str} and _DTYPES.issuperset(dtypes)):
        return None
    if {*map(type, offsets)} != {int} or min(offsets) < 0 or max(offsets) > _MAX_OFFSET:
        return None
    shapes = _checked(list(map(attrgetter("size"), stubs)), known)
    if shapes is None or list(map(attrgetter("stride"), stubs)) != list(map(itemgetter(1), shapes)):
        return None
    if sizes is not None:
        try:
            places = map(int, keys) if isinstance(sizes, list) else keys
            rooms = list(map(sizes.__getitem__, places))
        except (KeyError, ValueError, IndexError):
            return None
        elements = map(add, offsets, map(itemgetter(2), shapes))
        if any(map(gt, map(mul, elements, map(ITEMSIZE.__getitem__, dtypes)), rooms)):
            return None  # perhaps one beyond its storage; or an empty one, which may be anywhere
    storages = map(StorageKey, keys, offsets)
    found, guessed = kinds.columns(names, dtypes)
    return map(TensorInfo, names, map(itemgetter(0), shapes), dtypes, found, repeat(None), storages, guessed)


def _checked(shapes: Sequence[Any], known: Callable[[Any], Known | None]) -> list[Known] | None:
    """Return what is known of each shape; None unless all are shapes."""
    if {*map(type, shapes)} != {tuple} or max(map(len, shapes)) > _MAX_DIMENSIONS:
        return None
    try:
        sum(map(sum, shapes))  # fails for nested tuples, whose hash could take forever
        each = {shape: known(shape) for shape in {*shapes}}
    except TypeError:  # not numbers, or not hashable
        return None
    found = [checked for checked in map(each.__getitem__, shapes) if checked is not None]
    return found if len(found) == len(shapes) else None
