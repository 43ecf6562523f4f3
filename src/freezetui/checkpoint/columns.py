"""Columns: what a tree needs of every tensor, gathered while the rest of the file is being read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter, mul

from freezetui.checkpoint.types import ITEMSIZE, PACKED, TensorInfo


class Columns:
    """Elements and bytes of each tensor, and whether any two share a storage.

    Attributes:
        tensors: in order.
        elements, bytes: of each of them.
    """

    def __init__(self, tensors: Sequence[TensorInfo] = ()) -> None:
        self.clear()
        self.add(tensors)

    def clear(self) -> None:
        """Forget all tensors."""
        self.tensors: list[TensorInfo] = []
        self.elements: list[int] = []
        self.bytes: list[int] = []
        self._stored, self._keys = 0, set[str]()

    def add(self, some: Sequence[TensorInfo]) -> None:
        """Add tensors; vectorized, since there may be a million."""
        elements, nbytes = _counts(some)
        storages: Iterable[object] = map(attrgetter("storage"), some)
        keys = list(map(attrgetter("key"), filter(None, storages)))
        self.tensors += some
        self.elements += elements
        self.bytes += nbytes
        self._stored += len(keys)
        self._keys.update(keys)

    @property
    def shares(self) -> bool:
        """Whether two or more tensors have the same storage key."""
        return len(self._keys) < self._stored


def _counts(tensors: Sequence[TensorInfo]) -> tuple[list[int], list[int]]:
    dtypes = list(map(attrgetter("dtype"), tensors))
    elements = list(map(math.prod, map(attrgetter("shape"), tensors)))
    nbytes = list(map(mul, elements, map(ITEMSIZE.get, dtypes, repeat(0))))
    odd = any(map(attrgetter("packing"), tensors)) or not PACKED.keys().isdisjoint(dtypes)
    if odd:
        return [tensor.elements for tensor in tensors], [tensor.bytes for tensor in tensors]
    return elements, nbytes
