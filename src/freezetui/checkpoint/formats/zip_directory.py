"""Reads a zip's directory lazily: torch's archives may lack CRCs, and may have 100,000 members."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from mmap import mmap
from typing import NamedTuple, TypeVar

from freezetui.checkpoint.formats.zip_sizes import ordered_sizes
from freezetui.checkpoint.memory import read_mapped
from freezetui.checkpoint.sources.base import Stream
from freezetui.errors import DOWNLOAD_AGAIN, CheckpointError

Data = TypeVar("Data", bytes, "bytes | mmap")

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LIKELY_COMMENT, _MAX_COMMENT = 1000, 65_535
STORED, _DEFLATED = 0, 8
# Deflate cannot compress by more than 1032, so an archive that declares more is malicious.
_MAX_RATIO = 1032
_MAX_DIRECTORY = 2**30
_PIECE = 1 << 16


class Member(NamedTuple):
    """One file in the archive; sizes in bytes, `header` is the offset of its local header.

    `crc` is the CRC-32 of its bytes; 0 if the writer omitted it, which is an option of torch.
    """

    name: str
    flags: int
    method: int
    packed: int
    size: int
    header: int
    crc: int = 0


class ZipDirectory:
    """The members of a zip archive.

    Args:
        file: its position changes.
        size: of the file, in bytes.
        source: for messages.

    Raises:
        CheckpointError: the directory at the end is missing or corrupt, as after an incomplete download.
    """

    def __init__(self, file: Stream, size: int, source: str) -> None:
        self._file, self._size, self._source = file, size, source
        self._count, self._length, self._start = self._end()
        if self._length > _MAX_DIRECTORY:
            raise self._corrupt()
        self._held: bytes | mmap | None = self._read_mapped(self._start, self._length)

    @property
    def _entries(self) -> bytes | mmap:
        if self._held is None:
            self._held = self._read_mapped(self._start, self._length)
        return self._held

    def release(self) -> None:
        """Free the memory of the directory, which is read again if it is needed."""
        self._held = None

    def members(self) -> Iterator[Member]:
        """Yield the members in the directory's order."""
        entries, at = self._entries, 0
        for _ in range(self._count):
            if at + _ENTRY.size > len(entries):
                raise self._corrupt()
            sign, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, header = (
                _ENTRY.unpack_from(entries, at)
            )
            if sign != b"PK\1\2":
                raise self._corrupt()
            start = at + _ENTRY.size
            middle = start + lengths[0]
            at = middle + lengths[1] + lengths[2]
            if 0xFFFFFFFF in (packed, size, header):
                extra = entries[middle : middle + lengths[1]]
                size, packed, header = _wide(extra, size, packed, header)
            yield Member(
                entries[start:middle].decode("utf-8", "replace"), flags, method, packed, size, header, crc
            )

    def ordered_sizes(self, prefix: str) -> list[int] | None:
        """Return the sizes of the members named `prefix` + 0, 1, 2 and so on; None if they are not."""
        return ordered_sizes(self._entries, prefix.encode())

    def mentions(self, text: bytes) -> int:
        """Return how often a lowercase text, no part of which is its start, occurs in any case."""
        entries, further = self._entries, len(text) - 1
        starts = range(0, len(entries), _PIECE)
        return sum(entries[at : at + _PIECE + further].lower().count(text) for at in starts)

    def offset(self, member: Member) -> int:
        """Return the offset of the bytes of a member.

        Raises:
            CheckpointError: it is encrypted, or not inside the file.
        """
        if member.flags & 1:
            raise CheckpointError(f"{self._source} is an encrypted zip archive.", "Decrypt it first.")
        fields = _LOCAL.unpack(self._read(member.header, _LOCAL.size))
        start = member.header + _LOCAL.size + fields[-2] + fields[-1]
        fits = start + member.packed <= self._size and (
            member.method != STORED or member.packed == member.size
        )
        if fields[0] != b"PK\3\4" or not fits:
            raise self._corrupt()
        return int(start)

    def read(self, member: Member) -> bytes:
        """Return the uncompressed bytes of a member.

        Raises:
            CheckpointError: it is corrupt, encrypted or compressed by an unknown method.
        """
        packed = self._read(self.offset(member), member.packed)
        if member.method == STORED:
            return packed
        if member.method != _DEFLATED or member.size > _MAX_RATIO * member.packed + 64:
            raise self._corrupt()
        try:
            unpacked = zlib.decompressobj(-15).decompress(packed, member.size + 1)
        except zlib.error:
            raise self._corrupt() from None
        if len(unpacked) != member.size:
            raise self._corrupt()
        return unpacked

    def read_mapped(self, member: Member) -> bytes | mmap:
        """Return the uncompressed bytes of a member, as a map if there are many; otherwise as `read`."""
        if member.method != STORED:
            return self.read(member)
        return self._read_mapped(self.offset(member), member.packed)

    def _end(self) -> tuple[int, int, int]:
        """Return the number of members, and the length and the start of their directory."""
        # Hardly any archive has a comment, and from a URL every byte must be fetched.
        for comment in (_LIKELY_COMMENT, _MAX_COMMENT):
            low = max(0, self._size - _END.size - comment)
            tail = self._read(low, self._size - low)
            at = _last_end(tail)
            if at >= 0:
                break
        if at < 0:
            raise CheckpointError(f"{self._source} is a truncated zip archive.", DOWNLOAD_AGAIN)
        count, length, start = _END.unpack_from(tail, at)[4:7]
        if count != 0xFFFF and 0xFFFFFFFF not in (length, start):
            return count, length, start
        locator = low + at - _LOCATOR64.size
        sign, _, end64, _ = _LOCATOR64.unpack(self._read(max(0, locator), _LOCATOR64.size))
        if sign != b"PK\6\7":
            return count, length, start
        fields = _END64.unpack(self._read(end64, _END64.size))
        if fields[0] != b"PK\6\6":
            raise self._corrupt()
        return fields[-3], fields[-2], fields[-1]

    def _read(self, offset: int, length: int) -> bytes:
        return bytes(self._whole(self._file.read, offset, length))

    def _read_mapped(self, offset: int, length: int) -> bytes | mmap:
        return self._whole(partial(read_mapped, self._file), offset, length)

    def _whole(self, read: Callable[[int], Data], offset: int, length: int) -> Data:
        if offset < 0 or offset + length > self._size:
            raise self._corrupt()
        self._file.seek(offset)
        data = read(length)
        if len(data) != length:
            raise self._corrupt()
        return data

    def _corrupt(self) -> CheckpointError:
        return CheckpointError(
            f"{self._source} is a corrupt zip archive.", "Download or save the file again."
        )


def _last_end(tail: bytes) -> int:
    """Return the start of the end record, whose comment ends the file and may contain the signature too."""
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\5\6", 0, at)
    return at


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Return the values; those of 32 one bits are replaced by their 64-bit values in the zip64 field."""
    values = [size, packed, header]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            values = [next(wide, value) if value == 0xFFFFFFFF else value for value in values]
        at += 4 + length
    return values[0], values[1], values[2]
