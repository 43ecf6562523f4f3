"""Tensors that are not one block with strides: sparse, nested, wrapped, meta, packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from freezetui.checkpoint.pickles.stubs import (
    DeviceTensorStub,
    JaggedTensorStub,
    MetaTensorStub,
    NestedTensorStub,
    Opaque,
    SparseTensorStub,
    WrapperTensorStub,
)
from freezetui.checkpoint.types import ITEMSIZE, ROW_PACKED, Packing, StorageKey, can_require_grad
from freezetui.text import printable

PARTS = frozenset(
    (
        SparseTensorStub,
        NestedTensorStub,
        JaggedTensorStub,
        MetaTensorStub,
        DeviceTensorStub,
        WrapperTensorStub,
    )
)
#: Tensors inside tensors inside tensors: bounds for files that were made to have no end.
_MAX_DEPTH = 8
_MAX_PARTS = 2_000_000
#: Parts that a tensor's key names; where there are as many, there may be more.
MAX_PLACES = 8
_MAX_KEY = 200

_Shape = tuple[int, ...]
#: Shape, dtype, storage, and how the tensor is kept where that is not one block.
Head = tuple[_Shape, str, StorageKey | None, Packing | None]


def unpacked(dtype: str, shape: _Shape) -> Packing | None:
    """The bytes of a quantized tensor of 4 or 2 bits, whose rows begin at whole bytes; None for others."""
    per_byte = ROW_PACKED.get(dtype)
    if per_byte is None:
        return None
    return Packing(dtype, prod(shape[:-1]) * -(-shape[-1] // per_byte) if shape else 1)


class PartsReader:
    """Reads the heads of such tensors.

    Args:
        head: of any tensor.
        known: a shape that was checked, or None.
        dtype: the name of a dtype's stand-in, or None.
    """

    def __init__(
        self,
        head: Callable[[Any], Head | None],
        known: Callable[[Any], tuple[_Shape, _Shape] | None],
        dtype: Callable[[Any], str | None],
    ) -> None:
        self._head, self._known, self._dtype = head, known, dtype
        self._left, self._depth = _MAX_PARTS, 0

    def head(self, value: Any) -> Head | None:
        """The head of a stand-in whose type is in PARTS; None where the pickle says nothing sensible."""
        if self._depth >= _MAX_DEPTH or self._left <= 0:
            return None
        self._depth += 1
        try:
            return self._readers[type(value)](self, value)
        finally:
            self._depth -= 1

    def _sparse(self, value: SparseTensorStub) -> Head | None:
        """From (indices..., values, size[, is_coalesced]): the size, and the dtype of the values."""
        data = value.data
        if type(data) is not tuple or len(data) < 3:
            return None
        last = len(data) - 2 if type(data[-1]) is bool else len(data) - 1
        heads, known = self._heads(data[:last]), self._known(data[last])
        if len(heads) != last or not heads or known is None:
            return None
        packing = Packing(_layout(value.layout), sum(map(_nbytes, heads)))
        return known[0], heads[-1][1], _identity(packing, heads), packing

    def _nested(self, value: NestedTensorStub) -> Head | None:
        return self._of_values(value.values)

    def _jagged(self, value: JaggedTensorStub) -> Head | None:
        return self._of_values(value.arguments.get("values")) if isinstance(value.arguments, dict) else None

    def _of_values(self, values: Any) -> Head | None:
        heads = self._heads([values])
        if not heads:
            return None
        packing = Packing("nested", _nbytes(heads[0]))
        return heads[0][0], heads[0][1], _identity(packing, heads), packing

    def _meta(self, value: MetaTensorStub) -> Head | None:
        dtype, known = self._dtype(value.dtype), self._known(value.size)
        if not dtype or known is None:
            return None
        return known[0], dtype, None, Packing("meta", prod(known[0]) * ITEMSIZE.get(dtype, 0))

    def _device(self, value: DeviceTensorStub) -> Head | None:
        """A CPU tensor's own head where the dtype agrees; an array's state is (version, shape, ...)."""
        dtype, data = self._dtype(value.dtype), value.data
        if isinstance(data, Opaque):
            known = self._known(data.state[1]) if type(data.state) is tuple and len(data.state) > 1 else None
            if not dtype or known is None:
                return None
            return known[0], dtype, None, Packing("array", prod(known[0]) * ITEMSIZE.get(dtype, 0))
        heads = self._heads([data])
        if not heads or not dtype:
            return None
        if heads[0][1] == dtype:
            return heads[0]
        return heads[0][0], dtype, None, Packing(heads[0][1], _nbytes(heads[0]))

    def _wrapper(self, value: WrapperTensorStub) -> Head | None:
        """One whose only part is itself, such as a DTensor that is all here, is that part."""
        dtype, known = self._dtype(value.dtype), self._known(value.size)
        if not dtype or known is None:
            return None
        heads = self._heads(_attributes(value.state))
        if len(heads) == 1 and heads[0][:2] == (known[0], dtype):
            return heads[0]
        name = value.type.__name__ if isinstance(value.type, type) else "tensor subclass"
        # Without parts its own attributes hold the data in some other way: what torch counts is said then.
        nbytes = sum(map(_nbytes, heads)) if heads else prod(known[0]) * ITEMSIZE.get(dtype, 0)
        fixed = _quantized(max(heads, key=_nbytes)) if heads else ""
        packing = Packing(printable(name[:60]), nbytes, fixed)
        return known[0], dtype, _identity(packing, heads), packing

    def _heads(self, values: Any) -> list[Head]:
        """The heads of those values that are tensors."""
        heads: list[Head] = []
        for value in values:
            self._left -= 1
            if self._left <= 0:
                break
            head = self._head(value)
            if head is not None:
                heads.append(head)
        return heads

    _readers: dict[type, Callable[[PartsReader, Any], Head | None]] = {
        SparseTensorStub: _sparse,
        NestedTensorStub: _nested,
        JaggedTensorStub: _jagged,
        MetaTensorStub: _meta,
        DeviceTensorStub: _device,
        WrapperTensorStub: _wrapper,
    }


def _identity(packing: Packing, heads: list[Head]) -> StorageKey | None:
    """What two tensors share that are one: a key made of the places of their parts, which no storage has."""
    storages = [head[2] for head in heads[:MAX_PLACES] if head[2] is not None]
    places = [f"{place.key}@{place.offset}" for place in storages if len(place.key) <= _MAX_KEY]
    return StorageKey(f"{packing.what}:{'+'.join(places)}") if places else None


def _attributes(state: Any) -> Iterator[Any]:
    """A subclass's attributes: a dict, or (dict, slots)."""
    for part in state if type(state) is tuple else (state,):
        if isinstance(part, dict):
            yield from part.values()


def _quantized(head: Head) -> str:
    """Why what a subclass holds most of takes no gradient; "" where it does."""
    if head[3] is not None and head[3].untrainable_reason:
        return head[3].untrainable_reason
    return "" if can_require_grad(head[1]) else f"quantized, its values are {head[1]}"


def _nbytes(head: Head) -> int:
    return head[3].bytes if head[3] is not None else prod(head[0]) * ITEMSIZE.get(head[1], 0)


def _layout(value: Any) -> str:
    """`torch.serialization._get_layout("torch.sparse_csr")` -> "sparse_csr"."""
    name = value.args[0] if isinstance(value, Opaque) and value.args else None
    return printable(name.removeprefix("torch.")[:40]) if type(name) is str else "sparse"
