"""Reads GGUF, llama.cpp's format: key-value pairs, then names, shapes and types, then the tensors' bytes.

The layout is that of ggml's docs/gguf.md, versions 2 and 3, in either byte order. The `gguf` package's own
reader needs a file to map, and loops forever over a count too large for any file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from freezetui.checkpoint.sources.base import Stream
from freezetui.checkpoint.types import ITEMSIZE, Checkpoint, Packing, TensorInfo
from freezetui.errors import DOWNLOAD_AGAIN, CheckpointError
from freezetui.text import printable

#: Type number -> dtype, elements per block, bytes per block. Types with one-element blocks are torch's own.
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("float32", 1, 4),
    1: ("float16", 1, 2),
    2: ("q4_0", 32, 18),
    3: ("q4_1", 32, 20),
    6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34),
    9: ("q8_1", 32, 40),
    10: ("q2_K", 256, 84),
    11: ("q3_K", 256, 110),
    12: ("q4_K", 256, 144),
    13: ("q5_K", 256, 176),
    14: ("q6_K", 256, 210),
    15: ("q8_K", 256, 292),
    16: ("iq2_xxs", 256, 66),
    17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98),
    19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18),
    21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82),
    23: ("iq4_xs", 256, 136),
    24: ("int8", 1, 1),
    25: ("int16", 1, 2),
    26: ("int32", 1, 4),
    27: ("int64", 1, 8),
    28: ("float64", 1, 8),
    29: ("iq1_m", 256, 56),
    30: ("bfloat16", 1, 2),
    34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17),
    40: ("nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
}

_HEAD = struct.Struct("<4sIQQ")
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_MAX_DIMENSIONS, _MAX_ELEMENTS, _MAX_NESTED = 8, 2**63 - 1, 8
_MAX_NAME, _MAX_ALIGNMENT = 1 << 16, 1 << 24
_FIRST_READ, _MAX_READ = 1 << 16, 1 << 24


class Entry(NamedTuple):
    """One tensor; `start` is an offset from the start of the file, sizes are in bytes, shapes are torch's."""

    shape: tuple[int, ...]
    dtype: str
    start: int
    nbytes: int


def read_gguf(file: Stream, size: int, source: str, key: str | None) -> Checkpoint:
    """Return a GGUF file as a Checkpoint, in the file's order.

    Raises:
        CheckpointError: the header is corrupt or truncated; or `key` is given, which does not apply to GGUF.
    """
    if key is not None:
        raise CheckpointError(f"{source}: --key does not apply to GGUF files.", "Leave it out.")
    entries, architecture = read_entries(file, size, source)
    empty = "no tensors: the file contains only a vocabulary, or is corrupt"
    return Checkpoint(
        source=source,
        format="GGUF",
        warnings=() if entries else (empty,),
        incomplete="" if entries else f"{source} has {empty}.",
        tensors=tuple(_info(name, entry) for name, entry in entries.items()),
        label=f"{architecture} (llama.cpp naming)" if architecture else "",
    )


def _info(name: str, entry: Entry) -> TensorInfo:
    """Return an entry as TensorInfo; the elements of a quantized tensor share bytes, block by block."""
    packing = None
    if entry.dtype not in ITEMSIZE:
        packing = Packing(entry.dtype, entry.nbytes, "quantized, which cannot require grad")
    return TensorInfo(name, entry.shape, entry.dtype, "parameter", packing=packing)


def read_entries(file: Stream, size: int, source: str) -> tuple[dict[str, Entry], str]:
    """Return the tensors by name, and the architecture named in the file; "" if it names none.

    Raises:
        CheckpointError: the header is corrupt or truncated, or the data is truncated.
    """
    cursor = _Cursor(file, size, source)
    _, version, tensors, pairs = cursor.take(_HEAD)
    if version & 0xFFFF == 0:  # written on a machine of the other byte order
        cursor.order = ">"
        cursor.at = 4
        version, tensors, pairs = cursor.take(struct.Struct(">IQQ"))
    if version not in (2, 3):
        raise CheckpointError(
            f"{source} is a GGUF file of version {version}; only 2 and 3 are supported.",
            "Re-convert the model.",
        )
    architecture, alignment = "", 32
    for _ in range(pairs):
        name, kind = cursor.text(), cursor.number("I")
        if name == "general.architecture" and kind == _STRING:
            architecture = printable(cursor.text()[:100])
        elif name == "general.alignment" and kind == _UINT32:
            alignment = cursor.number("I")
        else:
            cursor.skip_value(kind)
    if not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.corrupt()
    found = {name: (shape, number, offset) for name, shape, number, offset in _infos(cursor, tensors)}
    start = -(-cursor.at // alignment) * alignment
    entries = {name: _entry(cursor, start, *info) for name, info in found.items()}
    if any(entry.start + entry.nbytes > size for entry in entries.values()):
        raise cursor.truncated()
    return entries, architecture


def _infos(cursor: _Cursor, count: int) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    """Yield name, shape, type and offset of each tensor; shapes in GGUF are the reverse of torch's."""
    seen: set[str] = set()
    for _ in range(count):
        name, dimensions = cursor.text(), cursor.number("I")
        if dimensions > _MAX_DIMENSIONS or name in seen:
            raise cursor.corrupt()
        seen.add(name)
        shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]
        yield name, shape, cursor.number("I"), cursor.number("Q")


def _entry(cursor: _Cursor, data: int, shape: tuple[int, ...], number: int, offset: int) -> Entry:
    if number not in TYPES:
        raise CheckpointError(
            f"{cursor.source} has a tensor of the unknown GGUF type {number}.",
            "Upgrade freezetui, or convert the model to a trainable type.",
        )
    dtype, block, nbytes = TYPES[number]
    elements = prod(shape)
    if elements > _MAX_ELEMENTS or elements % block:
        raise cursor.corrupt()
    return Entry(shape, dtype, data + offset, elements // block * nbytes)


class _Cursor:
    """Reads a header from front to back, a piece at a time.

    Attributes:
        at: offset of the next byte to read.
        order: byte order, as a format character of struct.
    """

    def __init__(self, file: Stream, size: int, source: str) -> None:
        self.at, self.order, self.source = 0, "<", source
        self._file, self._size = file, size
        self._piece, self._start, self._ahead = b"", 0, _FIRST_READ

    def take(self, shape: struct.Struct) -> tuple[int, ...]:
        """Return the next numbers."""
        offset = self._ensure(shape.size)
        self.at += shape.size
        numbers: tuple[int, ...] = shape.unpack_from(self._piece, offset)
        return numbers

    def number(self, kind: str) -> int:
        """Return the next number; `kind` is a format character of struct."""
        return self.take(struct.Struct(self.order + kind))[0]

    def text(self) -> str:
        """Return the next string, a name or a short value."""
        length = self.number("Q")
        if length > _MAX_NAME:
            raise self.corrupt()
        offset = self._ensure(length)
        self.at += length
        return self._piece[offset : offset + length].decode("utf-8", "replace")

    def skip_value(self, kind: int, depth: int = 0) -> None:
        """Skip a value."""
        if kind in _WIDTHS:
            self.skip(_WIDTHS[kind])
        elif kind == _STRING:
            self.skip(self.number("Q"))
        elif kind == _ARRAY and depth < _MAX_NESTED:
            inner, count = self.number("I"), self.number("Q")
            if inner in _WIDTHS:
                self.skip(count * _WIDTHS[inner])
                return
            for _ in range(count):
                self.skip_value(inner, depth + 1)
        else:
            raise self.corrupt()

    def skip(self, length: int) -> None:
        """Skip some bytes."""
        if self.at + length > self._size:
            raise self.truncated()
        self.at += length

    def corrupt(self) -> CheckpointError:
        """Return the error for a header that makes no sense."""
        return CheckpointError(f"{self.source} has a corrupt GGUF header.", "Download the file again.")

    def truncated(self) -> CheckpointError:
        """Return the error for a file that ends too early."""
        return CheckpointError(f"{self.source} is a truncated GGUF file.", DOWNLOAD_AGAIN)

    def _ensure(self, length: int) -> int:
        """Read ahead so that the next bytes are in the piece; return their offset in it."""
        offset = self.at - self._start
        if offset + length <= len(self._piece):
            return offset
        if self.at + length > self._size:
            raise self.truncated()
        self._file.seek(self.at)
        self._piece, self._start = self._file.read(max(length, self._ahead)), self.at
        if len(self._piece) < length:
            raise self.truncated()
        self._ahead = min(2 * self._ahead, _MAX_READ)
        return 0
