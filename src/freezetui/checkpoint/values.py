"""From what the unpickler rebuilt to TensorInfo: dtypes, shapes, storages checked."""

from __future__ import annotations

from typing import Any

from freezetui.checkpoint.tensors import Kind, Storage, TensorInfo
from freezetui.checkpoint.unpickle import STORAGES, Opaque, Parameter, Subclass, Tensor, TypedTensor

_REBUILT = (Tensor, TypedTensor, Parameter, Subclass)
_STORED_DTYPES = frozenset(STORAGES.values())
_Strides = dict[tuple[int, ...], tuple[int, ...]]


def is_tensor(value: Any) -> bool:
    """Whether the unpickler rebuilt a tensor here."""
    return isinstance(value, _REBUILT)


class TensorReader:
    """Turns rebuilt tensors into TensorInfo."""

    def __init__(self) -> None:
        self._strides: _Strides = {}

    def info(self, name: str, value: Any, kind: Kind = "unknown", guessed: bool = False) -> TensorInfo | None:
        """The tensor's header; None where the pickle says nothing sensible about it."""
        requires_grad: bool | None = None
        if type(value) is not Tensor:
            value, requires_grad = _unwrap(value)
            if requires_grad is not None:
                kind, guessed = "parameter", False
        if type(value) is Tensor:
            dtype = _storage_dtype(value.storage)
        elif type(value) is TypedTensor:
            dtype = _dtype_name(value.dtype)
        else:
            return None
        shape, offset = value.size, value.offset
        if dtype is None or type(offset) is not int or offset < 0 or not _is_shape(shape):
            return None
        stride: tuple[int, ...] | None = value.stride
        if stride == self._contiguous(shape):
            stride = None
        elif not _is_shape(stride):
            return None
        storage = Storage(str(value.storage[2]), offset, stride)
        return TensorInfo(name, shape, dtype, kind, requires_grad, storage, guessed)

    def _contiguous(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        known = self._strides.get(shape)
        if known is None:
            strides, step = [], 1
            for size in reversed(shape):
                strides.append(step)
                step *= max(size, 1)
            known = self._strides[shape] = tuple(reversed(strides))
        return known


def _unwrap(value: Any) -> tuple[Any, bool | None]:
    """Off with Parameter and subclass; the flag is a Parameter's own, None without one."""
    requires_grad: bool | None = None
    for _ in range(8):
        if isinstance(value, Parameter):
            requires_grad = bool(value.requires_grad)
            value = value.data
        elif isinstance(value, Subclass) and value.rebuild in _REBUILT and isinstance(value.args, tuple):
            try:
                value = value.rebuild(*value.args)
            except TypeError:
                return None, None
        else:
            break
    return value, requires_grad


def _storage_dtype(storage: Any) -> str | None:
    if type(storage) is tuple and len(storage) >= 5 and storage[1] in _STORED_DTYPES:
        return str(storage[1])
    return None


def _dtype_name(dtype: Any) -> str | None:
    """A dtype is pickled as the global torch.float8_e4m3fn, which the unpickler made a class."""
    if isinstance(dtype, type) and issubclass(dtype, Opaque):
        return dtype.__name__
    return None


def _is_shape(value: Any) -> bool:
    return type(value) is tuple and all(type(size) is int and size >= 0 for size in value)
