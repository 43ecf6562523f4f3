"""Reads safetensors: a length, a JSON header, then the tensors' bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice, repeat
from math import prod
from operator import attrgetter, mul
from typing import Any, Literal

import msgspec

from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.ordering import natural_order
from freezetui.checkpoint.state_dict.wrappers import Unwrapped, unwrap
from freezetui.checkpoint.types import ITEMSIZE, Checkpoint, Packing, StorageKey, TensorInfo
from freezetui.errors import DOWNLOAD_AGAIN, CheckpointError
from freezetui.text import printable

#: The safetensors library's limit for a header, in bytes.
MAX_HEADER = 100_000_000

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "I64": "int64",
    "U64": "uint64",
    "F4": "float4_e2m1fn_x2",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}

#: Bits per element if not whole bytes; shapes count elements, and a tensor takes whole bytes.
_NARROW = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

_TEXTS = ("", *DTYPES)
_MAX_DIMENSIONS, _MAX_SIZE = 1000, 2**63 - 1
_METADATA = "__metadata__"
#: Tensors are made so many at a time, which the processor's cache holds.
_CHUNK = 2048


class Entry(msgspec.Struct, gc=False):
    """One tensor of the header; `data_offsets` are bytes from the end of the header.

    The defaults let `__metadata__` decode, which is among the tensors; none of them is valid for a tensor.
    """

    dtype: str = ""
    shape: tuple[int, ...] = (-1,)
    data_offsets: tuple[int, int] = (-1, -1)


class _Known(Entry, gc=False):
    """An entry of a known dtype, which is decoded to the same text for all of them."""

    dtype: Literal[_TEXTS] = ""  # type: ignore[valid-type]  # msgspec reads it


_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict[str, _Known])


def read_header(file: Stream, size: int, source: str) -> tuple[dict[str, Entry], int]:
    """Return the header's entries by name, and the offset of the data.

    Raises:
        CheckpointError: the header is corrupt, or does not match the file's size.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise CheckpointError(
            f"{source} declares a safetensors header of {length:,} bytes; the limit is {MAX_HEADER:,}.",
            "The file is corrupt; download it again.",
        )
    if 8 + length > size:
        raise _truncated(source)
    try:
        entries = _decoded(file.read(length))
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:  # json's: 5,000 digits
        problem = printable(str(error).splitlines()[0][:120])
        raise CheckpointError(
            f"{source} has a corrupt safetensors header ({problem}).", "Download the file again."
        ) from None
    _check(entries, size - 8 - length, source)
    return entries, 8 + length


def read_safetensors(file: Stream, size: int, source: str, key: str | None) -> Checkpoint:
    """Return a safetensors file as a Checkpoint, in natural order: the file's own order is by dtype.

    Raises:
        CheckpointError: as `read_header`; or `key` is given, which does not apply to safetensors.
    """
    if key is not None:
        raise CheckpointError(f"{source}: --key does not apply to safetensors files.", "Leave it out.")
    entries, _ = read_header(file, size, source)
    tensors, unwrapped = tensors_of(entries)
    return Checkpoint(
        source=source,
        format="safetensors",
        tensors=tensors,
        prefix=unwrapped.prefix,
        wrappers=unwrapped.inside,
        warnings=() if tensors else ("no tensors: the file was saved without weights",),
    )


def tensors_of(
    entries: Mapping[str, Entry], parts: Sequence[Mapping[str, Entry]] = (), own_keys: bool = False
) -> tuple[tuple[TensorInfo, ...], Unwrapped]:
    """Return the tensors of one or more headers in natural order, and what was removed from their names.

    Args:
        parts: the header of each file, if there are several.
        own_keys: whether to store the name in the file for every tensor, not only for those whose name has
            changed after the prefix.
    """
    names = natural_order(entries)
    unwrapped = unwrap(names)
    storages: Iterator[StorageKey | None] = repeat(None)
    if own_keys or unwrapped.inside:
        prefix = None if own_keys else unwrapped.prefix
        storages = _own_names(names, unwrapped.names, prefix, parts)
    detector = BufferDetector(unwrapped.names)
    # A million tensors have few distinct shapes: each is stored once.
    shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
    tensors: list[TensorInfo] = []
    for low in range(0, len(names), _CHUNK):
        held = list(map(entries.__getitem__, names[low : low + _CHUNK]))
        shorts = unwrapped.names[low : low + _CHUNK]
        theirs = list(map(attrgetter("dtype"), held))
        dtypes = list(map(DTYPES.__getitem__, theirs))
        kinds, guesses = detector.columns(shorts, dtypes)
        each = list(map(attrgetter("shape"), held))
        same, places = map(shapes.setdefault, each, each), islice(storages, len(held))
        columns = shorts, same, dtypes, kinds, repeat(None), places, guesses
        if _NARROW.keys().isdisjoint(theirs):
            tensors += map(TensorInfo, *columns)
            continue
        narrow = [_narrow(entry) if entry.dtype in _NARROW else (entry.shape, None) for entry in held]
        narrow_shapes, packings = zip(*narrow, strict=True)
        tensors += map(TensorInfo, shorts, narrow_shapes, *columns[2:], packings)
    return tuple(tensors), unwrapped


def _own_names(
    names: Sequence[str], shorts: Sequence[str], prefix: str | None, parts: Sequence[Mapping[str, Entry]]
) -> Iterator[StorageKey | None]:
    """Yield the storage key of each tensor; None if `prefix` and its name are the key."""
    several = len(parts) > 1
    part_of = {name: number for number, part in enumerate(parts) for name in part} if several else {}
    for own, short in zip(names, shorts, strict=True):
        is_implied = prefix is not None and own == prefix + short
        yield None if is_implied else StorageKey(f"{part_of[own]}/{own}" if several else own)


def _narrow(entry: Entry) -> tuple[tuple[int, ...], Packing | None]:
    """Return the shape of an F4 tensor as in torch, two values per element; other narrow dtypes unchanged."""
    *rows, last = entry.shape or (1,)
    if entry.dtype == "F4" and last % 2 == 0:
        return (*rows, last // 2), None
    low, high = entry.data_offsets
    reason = f"packed {_NARROW[entry.dtype]}-bit, not supported by torch"
    return entry.shape, Packing(entry.dtype, high - low, reason)


def _decoded(header: bytes) -> dict[str, Entry]:
    try:
        entries: dict[str, Entry] = _DECODER.decode(header)
    except msgspec.ValidationError:  # perhaps a field of __metadata__ that happens to be called "shape"
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop(_METADATA, None)
        return {name: msgspec.json.decode(entry, type=Entry) for name, entry in raw.items()}
    # Each entry has one dtype; if the count differs, or escapes could hide one, look for duplicate names.
    if b"\\" in header or header.count(b'"dtype"') != len(entries) - (_METADATA in entries):
        import json  # few files need it

        json.loads(header, object_pairs_hook=_refuse_duplicates)
    entries.pop(_METADATA, None)
    return entries


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    """Refuse duplicate names: the library uses the last one, and the data of the first is unreachable."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise msgspec.DecodeError("duplicate tensor name")


def _check(entries: dict[str, Entry], room: int, source: str) -> None:
    """Check that each tensor's bytes match its shape, and that together they fill the file without gaps."""
    end = 0
    nbytes = _Sizes(source)
    # The library writes them in order, so that sorting costs next to nothing.
    for entry in sorted(entries.values(), key=attrgetter("data_offsets")):
        start, stop = entry.data_offsets
        if start != end or stop - start != nbytes[entry.dtype, entry.shape]:
            raise _corrupt(source)
        end = stop
    if end > room:
        raise _truncated(source)
    if end < room:
        raise CheckpointError(
            f"{source} has {room - end:,} trailing bytes not covered by any tensor.",
            "The file is corrupt; download it again.",
        )


class _Sizes(dict[tuple[str, tuple[int, ...]], int]):
    """The bytes of a tensor by dtype and shape, cached: 100,000 tensors have few distinct ones."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, key: tuple[str, tuple[int, ...]]) -> int:
        dtype, shape = key
        if dtype not in DTYPES:
            raise CheckpointError(
                f"{self._source} has a tensor of the unknown dtype {printable(dtype[:40])!r}.",
                "Convert the file to a trainable dtype.",
            )
        if len(shape) > _MAX_DIMENSIONS or not all(0 <= size <= _MAX_SIZE for size in shape):
            raise _corrupt(self._source)
        # The library multiplies one by one, in 64 bits: a 0 after an overflow does not undo it.
        if any(product >= 2**64 for product in accumulate(shape, mul)):
            raise _corrupt(self._source)
        bits = prod(shape) * (_NARROW.get(dtype) or 8 * ITEMSIZE[DTYPES[dtype]])
        if bits % 8:
            raise _corrupt(self._source)
        self[key] = bits // 8
        return self[key]


def _corrupt(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} has a safetensors header that does not match its data.",
        "The file is corrupt; download it again.",
    )


def _truncated(source: str) -> CheckpointError:
    return CheckpointError(f"{source} is a truncated safetensors file.", DOWNLOAD_AGAIN)
