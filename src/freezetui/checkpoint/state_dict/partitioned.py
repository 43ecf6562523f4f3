"""Reads one rank of a model partitioned by DeepSpeed ZeRO-3: empty tensors, with a list of their shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import msgspec

from freezetui.checkpoint.types import ITEMSIZE, Packing, StorageKey, TensorInfo

_TRAINED, _FROZEN, _SHARED = "param_shapes", "frozen_param_shapes", "shared_params"
_MAX_DIMENSIONS, _MAX_SIZE = 1000, 2**63 - 1

_Shape = tuple[int, ...]


def partitioned(root: Any, tensors: Sequence[TensorInfo], prefix: str) -> tuple[TensorInfo, ...] | None:
    """Return the tensors with their shapes in the whole model; None if the file is not such a rank.

    Parameters that were frozen in training are listed separately, and stay frozen.

    Args:
        root: the file's object.
        prefix: what was removed from the names; the lists have it.
    """
    if not isinstance(root, dict):
        return None
    shapes = {name: (shape, True) for name, shape in _shapes(root.get(_TRAINED))}
    shapes |= {name: (shape, False) for name, shape in _shapes(root.get(_FROZEN))}
    if not shapes:
        return None
    known = {tensor.name: tensor for tensor in tensors}
    # ZeRO-1 and ZeRO-2 list the shapes too, but their tensors are not empty.
    if not any(
        prod(shape) and tensor.elements == 0
        for name, (shape, _) in shapes.items()
        if (tensor := known.get(name.removeprefix(prefix)))
    ):
        return None
    shared = root.get(_SHARED)
    shared = shared if isinstance(shared, dict) else {}
    dtypes = [tensor.dtype for tensor in tensors if tensor.kind != "buffer"] or ["float32"]
    for name, (shape, is_trained) in shapes.items():
        short = name.removeprefix(prefix)
        tensor = known.get(short) or TensorInfo(short, (0,), dtypes[0])
        known[short] = _whole(tensor, shape, is_trained, str(shared.get(name, name)))
    for name, other in shared.items():
        if type(name) is str and other in shapes and name.removeprefix(prefix) in known:
            shape, is_trained = shapes[other]
            short = name.removeprefix(prefix)
            known[short] = _whole(known[short], shape, is_trained, other)
    return tuple(known.values())


def _whole(tensor: TensorInfo, shape: _Shape, is_trained: bool, place: str) -> TensorInfo:
    nbytes = prod(shape) * ITEMSIZE.get(tensor.dtype, 0)
    return msgspec.structs.replace(
        tensor,
        shape=shape,
        kind="parameter",
        guessed=False,
        requires_grad=is_trained,
        storage=StorageKey(f"partitioned {place}"),
        packing=Packing("partitioned", nbytes),
    )


def _shapes(value: Any) -> Iterator[tuple[str, _Shape]]:
    """Yield the shapes by name, from a dict or from a list with a dict per optimizer group."""
    for group in value if isinstance(value, list) else (value,):
        for name, shape in group.items() if isinstance(group, Mapping) else ():
            if type(name) is str and _is_shape(shape):
                yield name, shape


def _is_shape(value: Any) -> bool:
    if type(value) is not tuple or len(value) > _MAX_DIMENSIONS:
        return False
    is_sizes = all(type(size) is int and 0 <= size <= _MAX_SIZE for size in value)
    return is_sizes and prod(size or 1 for size in value) <= _MAX_SIZE
