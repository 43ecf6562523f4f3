"""safetensors: a length, a JSON header, then the tensors' bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
from math import prod
from operator import attrgetter, mul

import msgspec

from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.ordering import natural_order
from freezetui.checkpoint.state_dict.wrappers import Unwrapped, unwrap
from freezetui.checkpoint.types import ITEMSIZE, Checkpoint, Packing, StorageKey, TensorInfo
from freezetui.errors import CheckpointError
from freezetui.text import printable

#: What the safetensors library allows for a header.
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

#: Bits of one element where that is not a whole byte; shapes count elements, of whole bytes together.
_NARROW = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

_MAX_DIMENSIONS, _MAX_SIZE = 1000, 2**63 - 1
_METADATA = "__metadata__"


class Entry(msgspec.Struct, gc=False):
    """One tensor of the header; `data_offsets` count from the end of the header, in bytes.

    The defaults let `__metadata__` pass, which stands among the tensors; none of them passes as a tensor's.
    """

    dtype: str = ""
    shape: tuple[int, ...] = (-1,)
    data_offsets: tuple[int, int] = (-1, -1)


_DECODER = msgspec.json.Decoder(dict[str, Entry])


def read_header(file: Stream, size: int, source: str) -> tuple[dict[str, Entry], int]:
    """The header's entries by name, and where the data begins.

    Raises:
        CheckpointError: the header is damaged, or does not fit the file.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise CheckpointError(
            f"{source} claims a safetensors header of {length:,} bytes; {MAX_HEADER:,} is the limit.",
            "The file is damaged; fetch it again.",
        )
    if 8 + length > size:
        raise _cut_short(source)
    try:
        entries = _decoded(file.read(length))
    except (ValueError, RecursionError) as error:  # json's, too: of an integer of thousands of digits
        problem = printable(str(error).splitlines()[0][:120])
        raise CheckpointError(
            f"{source} has a damaged safetensors header ({problem}).", "Fetch the file again."
        ) from None
    _check(entries, size - 8 - length, source)
    return entries, 8 + length


def read_safetensors(file: Stream, size: int, source: str, key: str | None) -> Checkpoint:
    """A single safetensors file as a Checkpoint, in natural order: the file's own is sorted by dtype.

    Raises:
        CheckpointError: as `read_header`; or a key was asked for, and safetensors has no nested dicts.
    """
    if key is not None:
        raise CheckpointError(f"{source} is safetensors, which has no keys.", "Leave --key out.")
    entries, _ = read_header(file, size, source)
    tensors, unwrapped = tensors_of(entries)
    return Checkpoint(
        source=source,
        format="safetensors",
        tensors=tensors,
        prefix=unwrapped.prefix,
        wrappers=unwrapped.inside,
    )


def tensors_of(
    entries: Mapping[str, Entry], parts: Sequence[Mapping[str, Entry]] = (), own_keys: bool = False
) -> tuple[tuple[TensorInfo, ...], Unwrapped]:
    """Return the tensors of a header, or of several, in natural order, and what was taken off their names.

    Args:
        parts: the header of each file, where there are several.
        own_keys: whether every tensor says what the file calls it, not only those whose name has changed
            behind the prefix.
    """
    names = natural_order(entries)
    unwrapped = unwrap(names)
    shorts = unwrapped.names
    held = list(map(entries.__getitem__, names))
    theirs = list(map(attrgetter("dtype"), held))
    dtypes = list(map(DTYPES.__getitem__, theirs))
    kinds, guesses = BufferDetector(shorts).columns(shorts, dtypes)
    # A million tensors have few shapes: each is kept once.
    each = list(map(attrgetter("shape"), held))
    shapes = map(dict[tuple[int, ...], tuple[int, ...]]().setdefault, each, each)
    storages: Iterable[StorageKey | None] = repeat(None)
    if own_keys or unwrapped.inside:
        prefix = None if own_keys else unwrapped.prefix
        storages = _own_names(names, shorts, prefix, parts)
    columns = shorts, shapes, dtypes, kinds, repeat(None), storages, guesses
    if _NARROW.keys().isdisjoint(theirs):
        return tuple(map(TensorInfo, *columns)), unwrapped
    narrow = [_narrow(entry) if entry.dtype in _NARROW else (entry.shape, None) for entry in held]
    narrow_shapes, packings = zip(*narrow, strict=True)
    return tuple(map(TensorInfo, shorts, narrow_shapes, *columns[2:], packings)), unwrapped


def _own_names(
    names: Sequence[str], shorts: Sequence[str], prefix: str | None, parts: Sequence[Mapping[str, Entry]]
) -> Iterator[StorageKey | None]:
    """Yield where the bytes of each tensor lie; None where `prefix` and its name tell."""
    several = len(parts) > 1
    part_of = {name: number for number, part in enumerate(parts) for name in part} if several else {}
    for own, short in zip(names, shorts, strict=True):
        is_told = prefix is not None and own == prefix + short
        yield None if is_told else StorageKey(f"{part_of[own]}/{own}" if several else own)


def _narrow(entry: Entry) -> tuple[tuple[int, ...], Packing | None]:
    """The shape of an F4 tensor as torch tells it, two values to an element; what torch lacks, as it is."""
    *rows, last = entry.shape or (1,)
    if entry.dtype == "F4" and last % 2 == 0:
        return (*rows, last // 2), None
    low, high = entry.data_offsets
    return entry.shape, Packing(entry.dtype, high - low, f"packed {_NARROW[entry.dtype]}-bit, torch lacks it")


def _decoded(header: bytes) -> dict[str, Entry]:
    try:
        entries = _DECODER.decode(header)
    except msgspec.ValidationError:  # perhaps a field of __metadata__ that happens to be called "shape"
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop(_METADATA, None)
        return {name: msgspec.json.decode(entry, type=Entry) for name, entry in raw.items()}
    # Each entry says its dtype once; where the count differs, or could be hidden by escapes, look closer.
    if b"\\" in header or header.count(b'"dtype"') != len(entries) - (_METADATA in entries):
        json.loads(header, object_pairs_hook=_without_repeats)
    entries.pop(_METADATA, None)
    return entries


def _without_repeats(pairs: list[tuple[str, object]]) -> None:
    """The library takes the last of two equal names, and the data of the first belongs to nobody."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise msgspec.DecodeError("a name stands in it twice")


def _check(entries: dict[str, Entry], room: int, source: str) -> None:
    """Each tensor's bytes fit its shape, and together they fill the file without holes."""
    end = 0
    nbytes = _Sizes(source)
    # The library writes them in order, where sorting costs next to nothing.
    for entry in sorted(entries.values(), key=attrgetter("data_offsets")):
        start, stop = entry.data_offsets
        if start != end or stop - start != nbytes[entry.dtype, entry.shape]:
            raise _damaged(source)
        end = stop
    if end > room:
        raise _cut_short(source)
    if end < room:
        raise CheckpointError(
            f"{source} has {room - end:,} bytes that belong to no tensor.",
            "The file is damaged; fetch it again.",
        )


class _Sizes(dict[tuple[str, tuple[int, ...]], int]):
    """The bytes of a tensor by dtype and shape; 100,000 tensors have few of them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, key: tuple[str, tuple[int, ...]]) -> int:
        dtype, shape = key
        if dtype not in DTYPES:
            raise CheckpointError(
                f"{self._source} holds the dtype {printable(dtype[:40])!r}, which is not known here.",
                "Convert the file to a dtype that trains.",
            )
        if len(shape) > _MAX_DIMENSIONS or not all(0 <= size <= _MAX_SIZE for size in shape):
            raise _damaged(self._source)
        # The library multiplies one by one, in 64 bits: a 0 behind an overflow does not save it.
        if any(product >= 2**64 for product in accumulate(shape, mul)):
            raise _damaged(self._source)
        bits = prod(shape) * (_NARROW.get(dtype) or 8 * ITEMSIZE[DTYPES[dtype]])
        if bits % 8:
            raise _damaged(self._source)
        self[key] = bits // 8
        return self[key]


def _damaged(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} has a safetensors header that does not fit its data.",
        "The file is damaged; fetch it again.",
    )


def _cut_short(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} is a safetensors file that breaks off.",
        "The download or the copy was cut short; fetch the file again.",
    )
