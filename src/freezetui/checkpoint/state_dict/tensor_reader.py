"""Converts unpickled tensor stubs to TensorInfo; checks dtypes, shapes and storages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from math import prod
from typing import Any

from freezetui import numbers
from freezetui.checkpoint.pickles.opaque import Opaque, StorageBytesStub
from freezetui.checkpoint.pickles.stubs import (
    STORAGES,
    LazyBufferStub,
    LazyParameterStub,
    ParameterStub,
    QuantizedTensorStub,
    SubclassStub,
    TensorStub,
    TypedTensorStub,
    UnreadStub,
    WrapperTensorStub,
)
from freezetui.checkpoint.state_dict.arrays import ARRAYS, array_dtype, array_size
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.composite import COMPOSITE, CompositeReader, Known, TensorMeta, unpacked
from freezetui.checkpoint.state_dict.quantizers import quantizer
from freezetui.checkpoint.state_dict.tensor_columns import plain_tensors
from freezetui.checkpoint.types import (
    ITEMSIZE,
    UNKNOWN,
    Kind,
    Packing,
    StorageKey,
    TensorInfo,
    contiguous_stride,
)

REBUILT = COMPOSITE | {
    TensorStub,
    TypedTensorStub,
    QuantizedTensorStub,
    LazyParameterStub,
    LazyBufferStub,
    ParameterStub,
    SubclassStub,
    UnreadStub,
}
_DTYPES = frozenset(STORAGES.values())
#: torch counts elements in an int64.
_MAX_ELEMENTS = 2**63 - 1
_MAX_DIMENSIONS = 1000
_MAX_WRAPPERS = 8
#: Tensors are made so many at a time, which the processor's cache holds.
_CHUNK = 2048
_UNREAD = Packing("unknown", 0, "unsupported tensor type")
_LAZY = Packing("uninitialized", 0, "no shape before the first forward pass")

_Shape = tuple[int, ...]
#: The bytes of each storage by its key, or in the order of the keys 0, 1, 2 and so on.
Sizes = list[int] | dict[str, int]


class TensorReader:
    """Converts tensor stubs to TensorInfo.

    Args:
        kinds: guesses which tensors are buffers if the file does not say.
        sizes: the bytes of each storage in the file; None if unknown.

    Attributes:
        corrupt: the names so far of tensors that extend beyond their storage or have none, and of those
            with an impossible shape, offset or strides.
    """

    def __init__(self, kinds: BufferDetector, sizes: Sizes | None = None) -> None:
        self._kinds = kinds
        self._sizes: Any = sizes
        self._is_ordered = isinstance(sizes, list)
        self._is_beyond = False
        self.corrupt: list[str] = []
        self._shapes: dict[_Shape, Known] = {}
        self._inside: dict[int, str] = {}
        self._composite = CompositeReader(self._head_of, self._known, _dtype_name)

    def infos(
        self, names: Sequence[str], values: Iterable[Any], kinds: Iterable[Kind] | None, live: bool
    ) -> Iterator[TensorInfo]:
        """Yield the headers of many tensors, each as `info` returns it.

        Args:
            kinds: None if the file does not say.
        """
        plain = kinds is None and not live
        unknown: Iterator[Kind] = repeat("unknown")
        stubs, given = iter(values), unknown if kinds is None else iter(kinds)
        for low in range(0, len(names), _CHUNK):
            some, held = names[low : low + _CHUNK], list(islice(stubs, _CHUNK))
            found = plain_tensors(some, held, self._sizes, self._known, self._kinds) if plain else None
            yield from map(self.info, some, held, given, repeat(live)) if found is None else found

    def info(self, name: str, value: Any, kind: Kind = "unknown", live: bool = False) -> TensorInfo:
        """Return the tensor's header; one of unknown dtype if the pickle makes no sense.

        Args:
            live: whether it belongs to a pickled module, so that its own requires_grad is meaningful. A
                state_dict's tensors are detached: theirs is always False.
        """
        requires_grad: bool | None = None
        if type(value) is not TensorStub:
            value, requires_grad = _unwrap(value)
        head = self._head(value)
        if self._is_beyond:
            self._is_beyond = False
            self.corrupt.append(name)
        if head is None:
            return TensorInfo(name, (0,), UNKNOWN, kind, requires_grad, None, False, _UNREAD)
        if requires_grad is not None:
            kind = "parameter" if kind == "unknown" else kind
        elif live:
            requires_grad = getattr(value, "requires_grad", None) is True
            if requires_grad and kind == "unknown":
                kind = "parameter"
        guessed = False
        if kind == "unknown":
            kind, guessed = self._kinds.kind(name, head.dtype)
        return TensorInfo(
            name, head.shape, head.dtype, kind, requires_grad, head.storage, guessed, head.packing
        )

    def nbytes(self, value: Any) -> int:
        """Return the bytes of a tensor's elements or parts; 0 if the pickle makes no sense."""
        head = self._head_of(value)
        return 0 if head is None else head.nbytes

    def described(self, array: Any) -> str:
        """Return a NumPy array in a few words: "NumPy array, 3x4 float32"."""
        head = self._head(array)
        return "NumPy array" if head is None else f"NumPy array, {numbers.shape(head.shape)} {head.dtype}"

    def _head_of(self, value: Any) -> TensorMeta | None:
        """Return `_head` of a tensor without its wrappers."""
        return self._head(value if type(value) is TensorStub else _unwrap(value)[0])

    def _head(self, value: Any) -> TensorMeta | None:
        """Return shape, dtype, storage and packing."""
        kind = type(value)
        pid: Any
        if kind is TensorStub or kind is QuantizedTensorStub:
            pid = value.storage
            dtype = _storage_dtype(pid)
        elif kind is TypedTensorStub:
            pid = value.storage
            dtype = _dtype_name(value.dtype) if _storage_dtype(pid) else None
        elif kind in COMPOSITE:
            return self._composite.head(value)
        elif kind in ARRAYS:
            return self._array(value)
        elif kind is LazyParameterStub or kind is LazyBufferStub:
            return TensorMeta((0,), UNKNOWN, None, _LAZY)
        else:
            return None
        if dtype is None and isinstance(pid, StorageBytesStub):
            pid = self._inner(pid)
            dtype = _dtype_name(value.dtype) if kind is TypedTensorStub else _storage_dtype(pid)
        known, stride, offset = self._known(value.size), value.stride, value.offset
        if dtype is None or known is None or type(offset) is not int or not 0 <= offset <= _MAX_ELEMENTS:
            self._is_beyond = dtype is not None
            return None
        shape, contiguous, count = known
        if stride == contiguous:
            stride = None
        elif not _are_sizes(stride) or len(stride) != len(shape):
            self._is_beyond = True
            return None
        if len(pid) > 5 and type(pid[5]) is tuple:  # torch before 0.4: (key, offset, elements) of a view
            offset += pid[5][1] if len(pid[5]) > 1 and type(pid[5][1]) is int else 0
        packing = unpacked(dtype, shape) if kind is QuantizedTensorStub else None
        if self._sizes is not None and packing is None and count:
            if stride is not None:
                count = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
            try:
                room = self._sizes[int(pid[2])] if self._is_ordered else self._sizes[pid[2]]
            except (KeyError, ValueError, IndexError):
                room = -1
            if (offset + count) * ITEMSIZE.get(dtype, 0) > room:
                self._is_beyond = True
        if kind is QuantizedTensorStub:
            read_as = quantizer(value.quantizer, self._head_of)
        else:
            read_as = "" if value.metadata is None else _lazy_bits(value.metadata)
        return TensorMeta(shape, dtype, StorageKey(pid[2], offset, stride, read_as), packing)

    def _inner(self, storage: StorageBytesStub) -> tuple[Any, ...]:
        """Return a persistent id for a storage inside the pickle; tensors that share it share its key."""
        key = self._inside.setdefault(id(storage), f"inside {len(self._inside)}")
        return "storage", STORAGES.get(storage.kind, ""), key, "cpu", 0

    def _array(self, value: Any) -> TensorMeta | None:
        known, dtype = self._known(array_size(value)), array_dtype(value)
        if known is None:
            return None
        nbytes = prod(known[0]) * ITEMSIZE.get(dtype, 0)
        packing = Packing("NumPy array", nbytes, "not a tensor, so it cannot require grad")
        return TensorMeta(known[0], dtype, None, packing)

    def _known(self, shape: Any) -> Known | None:
        """Return a checked shape; None if it is not one, or has more elements than torch can count.

        100,000 tensors have few distinct shapes: each is checked once, and stored once.
        """
        try:
            if len(shape) > _MAX_DIMENSIONS:
                return None
            sum(shape)  # fails for nested tuples, whose hash could take forever
            return self._shapes[shape]
        except KeyError:
            if not _is_shape(shape):
                return None
            known = self._shapes[shape] = shape, contiguous_stride(shape), prod(shape)
            return known
        except TypeError:  # not numbers, or not hashable
            return None


def _lazy_bits(metadata: Any) -> str:
    """Return which of torch's lazy bits are set: "conj", "neg", both or "". See `StorageKey.read_as`."""
    if not isinstance(metadata, dict):
        return ""
    return " ".join(bit for bit in ("conj", "neg") if metadata.get(bit) is True)


def _is_shape(value: Any) -> bool:
    return _are_sizes(value) and prod(size or 1 for size in value) <= _MAX_ELEMENTS


def _unwrap(value: Any) -> tuple[Any, bool | None]:
    """Remove Parameter and subclass wrappers; also return requires_grad, None if it is not a parameter."""
    requires_grad: bool | None = None
    for _ in range(_MAX_WRAPPERS):
        if type(value) is ParameterStub:
            requires_grad = value.requires_grad is True
            value = value.data
        elif type(value) is LazyParameterStub:
            return value, value.requires_grad is True
        elif type(value) is SubclassStub and _is_rebuilt(value.rebuild) and type(value.args) is tuple:
            state = value.state
            try:
                value = value.rebuild(*value.args)
            except TypeError:
                return None, None
            if type(value) is WrapperTensorStub:
                value.state = state
            if _is_parameter(state):
                requires_grad = getattr(value, "requires_grad", None) is True
        else:
            break
    return value, requires_grad


def _is_rebuilt(rebuild: Any) -> bool:
    """Whether it is one of our stubs; anything else may not be hashable, or take forever to hash."""
    return isinstance(rebuild, type) and rebuild in REBUILT


def _is_parameter(state: Any) -> bool:
    """Whether nn.Parameter wrapped the subclass: the class stays the same, with a flag in its state."""
    if type(state) is tuple and state:  # (attributes, slots)
        state = state[0]
    return isinstance(state, dict) and state.get("_is_param") is True


def _storage_dtype(pid: Any) -> str | None:
    """Return the dtype in a storage's persistent id: ("storage", dtype, key, device, elements, ...)."""
    if type(pid) is tuple and len(pid) >= 5 and type(pid[1]) is str and type(pid[2]) is str:
        return pid[1] if pid[1] in _DTYPES else None
    return None


def _dtype_name(dtype: Any) -> str | None:
    """Return a dtype's name: pickled as a global such as torch.float8_e4m3fn, it is read as a stub class."""
    if isinstance(dtype, type) and issubclass(dtype, Opaque) and dtype.__module__ == "torch":
        return dtype.__name__
    return None


def _are_sizes(value: Any) -> bool:
    if type(value) is not tuple or len(value) > _MAX_DIMENSIONS:
        return False
    for size in value:  # a loop, not all(): this runs for every tensor  # noqa: SIM110
        if type(size) is not int or not 0 <= size <= _MAX_ELEMENTS:
            return False
    return True
