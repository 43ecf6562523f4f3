"""Reads what the integers of torch's own quantized tensors stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from freezetui.checkpoint.state_dict.composite import TensorMeta
from freezetui.checkpoint.types import StorageKey, TensorInfo

_CHANNELS = "channels "
_MAX_KEY = 200


class _Channels(msgspec.Struct, frozen=True, array_like=True):
    """Where the scales and the zero points of each channel are: (dtype, elements, storage key, offset)."""

    axis: int
    scales: tuple[str, int, str, int]
    zero_points: tuple[str, int, str, int]


def quantizer(value: Any, head: Callable[[Any], TensorMeta | None]) -> str:
    """Return the scale and zero point of a quantized tensor, or where those of each channel are.

    See `StorageKey.read_as`; "" if the pickle makes no sense.

    Args:
        value: what torch stores: the scheme, the scale, the zero point, and the axis if there are channels.
        head: returns the metadata of a tensor.
    """
    if type(value) is not tuple:
        return ""
    if len(value) == 3 and {*map(type, value[1:])} <= {int, float}:
        return f"scale {value[1]}, zero point {value[2]}"
    if len(value) != 4 or type(value[3]) is not int:
        return ""
    found = [_place(head(each)) for each in value[1:3]]
    scales, zero_points = found
    if scales is None or zero_points is None:
        return ""
    return _CHANNELS + msgspec.json.encode(_Channels(value[3], scales, zero_points)).decode()


def channels_of(info: TensorInfo, part: str) -> tuple[int, TensorInfo, TensorInfo] | None:
    """Return the axis, the scales and the zero points of a tensor quantized by channel; None for any other.

    Args:
        part: with what the keys of its file's storages begin; see `Checkpoint.parts`.
    """
    read_as = info.storage.read_as if info.storage is not None else ""
    if not read_as.startswith(_CHANNELS):
        return None
    found = msgspec.json.decode(read_as.removeprefix(_CHANNELS), type=_Channels)
    scales, zero_points = (
        TensorInfo(info.name, (elements,), dtype, storage=StorageKey(part + key, offset))
        for dtype, elements, key, offset in (found.scales, found.zero_points)
    )
    return found.axis, scales, zero_points


def _place(head: TensorMeta | None) -> tuple[str, int, str, int] | None:
    storage = head.storage if head is not None else None
    if head is None or storage is None or head.packing is not None or storage.stride is not None:
        return None
    if len(head.shape) != 1 or type(storage.key) is not str or len(storage.key) > _MAX_KEY:
        return None
    return head.dtype, head.shape[0], storage.key, storage.offset
