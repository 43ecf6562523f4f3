"""Reads tensors that are not one block with strides: sparse, nested, wrapped, meta, packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from operator import attrgetter
from typing import Any

import msgspec

from freezetui.checkpoint.pickles.opaque import Opaque
from freezetui.checkpoint.pickles.stubs import (
    DeviceTensorStub,
    JaggedTensorStub,
    MetaTensorStub,
    NestedTensorStub,
    SparseTensorStub,
    WrapperTensorStub,
)
from freezetui.checkpoint.state_dict.arrays import ARRAYS, array_size
from freezetui.checkpoint.types import ITEMSIZE, ROW_PACKED, Packing, StorageKey, can_require_grad
from freezetui.text import printable

COMPOSITE = frozenset(
    (
        SparseTensorStub,
        NestedTensorStub,
        JaggedTensorStub,
        MetaTensorStub,
        DeviceTensorStub,
        WrapperTensorStub,
    )
)
#: Limits on tensors inside tensors, for files made to be endless.
_MAX_DEPTH = 8
_MAX_PARTS = 2_000_000
#: Parts listed in a tensor's key; if there are that many, there may be more.
MAX_PLACES = 8
_MAX_KEY = 200

_Shape = tuple[int, ...]
#: A checked shape, its contiguous strides, and its number of elements.
Known = tuple[_Shape, _Shape, int]


class TensorMeta(msgspec.Struct, frozen=True, gc=False):
    """A tensor's metadata from the pickle, checked. A struct is five times as fast as a named tuple.

    Attributes:
        packing: how it is stored if not as one block; otherwise None.
    """

    shape: _Shape
    dtype: str
    storage: StorageKey | None
    packing: Packing | None

    @property
    def nbytes(self) -> int:
        """The size of its elements or parts, in bytes."""
        if self.packing is not None:
            return self.packing.bytes
        return prod(self.shape) * ITEMSIZE.get(self.dtype, 0)


def unpacked(dtype: str, shape: _Shape) -> Packing | None:
    """Return the packing of a 4- or 2-bit quantized tensor, whose rows start at whole bytes; else None."""
    per_byte = ROW_PACKED.get(dtype)
    if per_byte is None:
        return None
    return Packing(dtype, prod(shape[:-1]) * -(-shape[-1] // per_byte) if shape else 1)


class CompositeReader:
    """Reads the metadata of composite tensors.

    Args:
        head: returns the metadata of any tensor.
        known: checks a shape; returns None if it is invalid.
        dtype: returns the name of a dtype's stub, or None.
    """

    def __init__(
        self,
        head: Callable[[Any], TensorMeta | None],
        known: Callable[[Any], Known | None],
        dtype: Callable[[Any], str | None],
    ) -> None:
        self._head, self._known, self._dtype = head, known, dtype
        self._left, self._depth = _MAX_PARTS, 0

    def head(self, value: Any) -> TensorMeta | None:
        """Return the metadata of a stub whose type is in COMPOSITE; None if the pickle makes no sense."""
        if self._depth >= _MAX_DEPTH or self._left <= 0:
            return None
        self._depth += 1
        try:
            return self._readers[type(value)](self, value)
        finally:
            self._depth -= 1

    def _sparse(self, value: SparseTensorStub) -> TensorMeta | None:
        """Return the metadata from (indices..., values, size[, is_coalesced])."""
        data = value.data
        if type(data) is not tuple or len(data) < 3:
            return None
        last = len(data) - 2 if type(data[-1]) is bool else len(data) - 1
        heads, known = self._heads(data[:last]), self._known(data[last])
        if len(heads) != last or not heads or known is None:
            return None
        packing = Packing(_layout(value.layout), sum(head.nbytes for head in heads))
        return TensorMeta(known[0], heads[-1].dtype, _identity(packing, heads), packing)

    def _nested(self, value: NestedTensorStub) -> TensorMeta | None:
        return self._of_values(value.values, (value.sizes, value.strides, value.offsets))

    def _jagged(self, value: JaggedTensorStub) -> TensorMeta | None:
        arguments = value.arguments
        if not isinstance(arguments, dict):
            return None
        return self._of_values(arguments.get("values"), map(arguments.get, ("offsets", "lengths")))

    def _of_values(self, values: Any, bounds: Iterable[Any]) -> TensorMeta | None:
        """Return the metadata of a nested tensor, whose components are between `bounds`."""
        head = next(iter(self._heads([values])), None)
        if head is None:
            return None
        packing = Packing("nested", head.nbytes)
        return TensorMeta(head.shape, head.dtype, _identity(packing, [head, *self._heads(bounds)]), packing)

    def _meta(self, value: MetaTensorStub) -> TensorMeta | None:
        dtype, known = self._dtype(value.dtype), self._known(value.size)
        if not dtype or known is None:
            return None
        return TensorMeta(known[0], dtype, None, Packing("meta", prod(known[0]) * ITEMSIZE.get(dtype, 0)))

    def _device(self, value: DeviceTensorStub) -> TensorMeta | None:
        """Return the CPU tensor's own metadata if the dtype agrees; or that of an array."""
        dtype, data = self._dtype(value.dtype), value.data
        if type(data) in ARRAYS:
            known = self._known(array_size(data))
            if not dtype or known is None:
                return None
            nbytes = prod(known[0]) * ITEMSIZE.get(dtype, 0)
            return TensorMeta(known[0], dtype, None, Packing("array", nbytes))
        heads = self._heads([data])
        if not heads or not dtype:
            return None
        if heads[0].dtype == dtype:
            return heads[0]
        return TensorMeta(heads[0].shape, dtype, None, Packing(heads[0].dtype, heads[0].nbytes))

    def _wrapper(self, value: WrapperTensorStub) -> TensorMeta | None:
        """Return the metadata of a subclass; that of its only part if they agree, as in a whole DTensor."""
        dtype, known = self._dtype(value.dtype), self._known(value.size)
        if not dtype or known is None:
            return None
        heads = self._heads(_attributes(value.state))
        if len(heads) == 1 and (heads[0].shape, heads[0].dtype) == (known[0], dtype):
            return heads[0]
        name = value.type.__name__ if isinstance(value.type, type) else "tensor subclass"
        # Without parts, its attributes have the data in some other form: use the size that torch reports.
        nbytes = sum(head.nbytes for head in heads) if heads else prod(known[0]) * ITEMSIZE.get(dtype, 0)
        fixed = _quantized(max(heads, key=attrgetter("nbytes"))) if heads else ""
        packing = Packing(printable(name[:60]), nbytes, fixed)
        return TensorMeta(known[0], dtype, _identity(packing, heads), packing)

    def _heads(self, values: Any) -> list[TensorMeta]:
        """Return the metadata of those values that are tensors."""
        heads: list[TensorMeta] = []
        for value in values:
            self._left -= 1
            if self._left <= 0:
                break
            head = self._head(value)
            if head is not None:
                heads.append(head)
        return heads

    _readers: dict[type, Callable[[CompositeReader, Any], TensorMeta | None]] = {
        SparseTensorStub: _sparse,
        NestedTensorStub: _nested,
        JaggedTensorStub: _jagged,
        MetaTensorStub: _meta,
        DeviceTensorStub: _device,
        WrapperTensorStub: _wrapper,
    }


def _identity(packing: Packing, heads: list[TensorMeta]) -> StorageKey | None:
    """Return a key made of the positions of the parts, which only tied tensors share, and no storage has."""
    storages = [head.storage for head in heads[:MAX_PLACES] if head.storage is not None]
    places = [f"{place.key}@{place.offset}" for place in storages if len(place.key) <= _MAX_KEY]
    return StorageKey(f"{packing.what}:{'+'.join(places)}") if places else None


def _attributes(state: Any) -> Iterator[Any]:
    """Yield a subclass's attributes, from a dict or from (dict, slots)."""
    for part in state if type(state) is tuple else (state,):
        if isinstance(part, dict):
            yield from part.values()


def _quantized(head: TensorMeta) -> str:
    """Return why a subclass's largest part cannot require grad; "" if it can."""
    if head.packing is not None and head.packing.untrainable_reason:
        return head.packing.untrainable_reason
    return "" if can_require_grad(head.dtype) else f"quantized, its values are {head.dtype}"


def _layout(value: Any) -> str:
    """Return "sparse_csr" for `torch.serialization._get_layout("torch.sparse_csr")`."""
    name = value.args[0] if isinstance(value, Opaque) and value.args else None
    return printable(name.removeprefix("torch.")[:40]) if type(name) is str else "sparse"
