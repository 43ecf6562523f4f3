"""safetensors: a length, a JSON header, then the tensors' bytes."""

from __future__ import annotations

import re
from math import prod
from typing import Annotated, BinaryIO

import msgspec

from freezetui.checkpoint.tensors import ITEMSIZE, Checkpoint, TensorInfo
from freezetui.checkpoint.text import printable
from freezetui.errors import CheckpointError

#: What the safetensors library allows for a header.
MOST_HEADER = 100_000_000

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

_Size = Annotated[int, msgspec.Meta(ge=0)]
_FIRST = re.compile(
    r"stem|conv_?stem|conv1|patch_embed\w*|\w*embed\w*|wte|wpe|cls_token|class_token|conv_proj"
)
_LAST = re.compile(r"classifier\w*|fc|heads?|lm_head|score|logits|aux_classifier|roi_heads")


class Entry(msgspec.Struct, gc=False):
    """One tensor of the header; `data_offsets` count from the end of the header, in bytes."""

    dtype: str = ""
    shape: tuple[_Size, ...] = ()
    data_offsets: tuple[_Size, _Size] = (0, 0)


_DECODER = msgspec.json.Decoder(dict[str, Entry])


def read_header(file: BinaryIO, size: int, source: str) -> tuple[dict[str, Entry], int]:
    """The header's entries by name, and where the data begins.

    Raises:
        CheckpointError: the header is damaged, or does not fit the file.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise CheckpointError(
            f"{source} claims a safetensors header of {length:,} bytes; {MOST_HEADER:,} is the limit.",
            "The file is damaged; fetch it again.",
        )
    if 8 + length > size:
        raise _cut_short(source)
    try:
        entries = _DECODER.decode(file.read(length))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = printable(str(error).splitlines()[0][:120])
        raise CheckpointError(
            f"{source} has a damaged safetensors header ({problem}).", "Fetch the file again."
        ) from None
    entries.pop("__metadata__", None)
    _check(entries, size - 8 - length, source)
    return entries, 8 + length


def read_safetensors(file: BinaryIO, size: int, source: str) -> Checkpoint:
    """A single safetensors file as a Checkpoint; names and kinds are settled by `layout`.

    The file's own order means nothing (it is sorted by dtype), so names stand in natural order,
    embeddings and stems before their siblings and heads behind them.

    Raises:
        CheckpointError: as `read_header`.
    """
    entries, _ = read_header(file, size, source)
    tensors = [TensorInfo(name, entry.shape, DTYPES[entry.dtype]) for name, entry in entries.items()]
    tensors.sort(key=_NaturalOrder())
    return Checkpoint(source=source, format="safetensors", tensors=tuple(tensors), size=size)


def _check(entries: dict[str, Entry], room: int, source: str) -> None:
    """Each tensor's bytes fit its shape, and together they fill the file without holes."""
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.data_offsets):
        dtype = DTYPES.get(entry.dtype)
        if dtype is None:
            raise CheckpointError(
                f"{source} holds the dtype {printable(entry.dtype[:40])!r}, which is not known here.",
                "Convert the file to a dtype that trains.",
            )
        start, stop = entry.data_offsets
        if start != end or stop - start != prod(entry.shape) * ITEMSIZE[dtype]:
            raise CheckpointError(
                f"{source} has a safetensors header that does not fit its data.",
                "The file is damaged; fetch it again.",
            )
        end = stop
    if end > room:
        raise _cut_short(source)
    if end < room:
        raise CheckpointError(
            f"{source} has {room - end:,} bytes that belong to no tensor.",
            "The file is damaged; fetch it again.",
        )


def _cut_short(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} is a safetensors file that breaks off.",
        "The download or the copy was cut short; fetch the file again.",
    )


class _NaturalOrder:
    """Sorts `layers.2` before `layers.10`; remembers segments, since most names share theirs."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[int, int, str]] = {}

    def __call__(self, tensor: TensorInfo) -> list[tuple[int, int, str]]:
        keys = self._keys
        return [keys.get(s) or keys.setdefault(s, _segment_key(s)) for s in tensor.name.split(".")]


def _segment_key(segment: str) -> tuple[int, int, str]:
    if segment.isascii() and segment.isdigit() and len(segment) < 19:
        return 1, int(segment), segment
    rank = 0 if _FIRST.fullmatch(segment) else 2 if _LAST.fullmatch(segment) else 1
    letters, digits = re.fullmatch(r"(?s)(.*?)([0-9]{0,18})", segment).groups()  # type: ignore[union-attr]
    return rank, -1, letters + (digits.rjust(18, "0") if digits else "")
