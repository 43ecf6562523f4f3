"""Feeds a pickle in chunks and enforces memory and CPU limits between them.

The opcode walk limits what a single opcode may declare; this limits the total.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import time
from collections.abc import Sequence

from freezetui.checkpoint.memory import installed, resident

#: Resident bytes that reading may add: a base, and per byte of the pickle. Real checkpoints take 7 to 15 (see
#: docs/security.md), chains of tuples 84. And never more than this share of the machine's memory.
_BASE_BYTES, _BYTES_PER_BYTE, _SHARE = 1 << 28, 32, 0.75
#: CPU seconds: a base, and one more per so many bytes; real checkpoints take one for 19 MB.
_BASE_SECONDS, _BYTES_PER_SECOND = 10.0, 1e6
#: Bytes that have been read are given back so many at a time; a multiple of every page size.
_GIVEN_BACK = 1 << 20


class BudgetedReader(io.RawIOBase):
    """A stream over one pickle, given in pieces that are not copied.

    `readinto` raises MemoryError if reading takes more memory or time than a pickle of this length should.
    It is called every 64 KiB, in which memory grows by 14 MiB at most.

    Args:
        pieces: views of the pickle, and between them what replaces one byte each.
        given_back: the pickle if what has been read of it is not needed any more.
    """

    def __init__(self, pieces: Sequence[bytes | memoryview], given_back: mmap.mmap | None = None) -> None:
        super().__init__()
        self._given_back, self._start, self._read = given_back, 0, 0
        self._pieces, self._offset = iter(pieces), 0
        self._piece: bytes | memoryview = b""
        length = sum(map(len, pieces))
        self._most_memory = resident() + min(_BASE_BYTES + _BYTES_PER_BYTE * length, _SHARE * installed())
        self._end = time.thread_time() + _BASE_SECONDS + length / _BYTES_PER_SECOND

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer with the next bytes, within the limits."""
        if time.thread_time() > self._end or resident() > self._most_memory:
            raise MemoryError
        filled = 0
        while filled < len(buffer):
            if self._offset == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece, self._offset = piece, 0
                self._read += not isinstance(piece, memoryview)
            taken = self._piece[self._offset : self._offset + len(buffer) - filled]
            buffer[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._offset += len(taken)
            self._read += len(taken) if isinstance(taken, memoryview) else 0
        self._give_back()
        return filled

    def _give_back(self) -> None:
        length = (self._read - self._start) // _GIVEN_BACK * _GIVEN_BACK
        if self._given_back is not None and length:
            with contextlib.suppress(OSError, AttributeError):
                self._given_back.madvise(mmap.MADV_DONTNEED, self._start, length)
            self._start += length
