"""Maps files behind URLs: memory of a file's size, whose bytes are fetched when they are needed."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock

from freezetui.checkpoint.sources.base import OpenFile, Source
from freezetui.checkpoint.sources.ranges import Ranges
from freezetui.errors import CheckpointError, NetworkError

#: Bytes are fetched and dropped in blocks of this size, a multiple of every system's page.
BLOCK = 1 << 16
#: Bytes of one request at most, and what is requested if the bytes before were read too.
_MAX_REQUEST = 1 << 22
#: Bytes that the files of one checkpoint keep in memory, besides what is being read.
KEPT = 16 << 20
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)


class RemoteFiles:
    """The mapped remote files of one checkpoint, which together keep at most `KEPT` bytes; writes no file.

    Args:
        stack: keeps the connections open.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._maps = stack, list[RemoteMap]()
        #: Reentrant, since a zip directory is read while a tensor is looked up.
        self.lock = RLock()
        self._kept: dict[tuple[RemoteMap, int], None] = {}  # the least recently read first

    def map(self, source: Source) -> tuple[OpenFile, RemoteMap]:
        """Open a remote file.

        Raises:
            CheckpointError: it cannot be read, or is larger than what can be addressed.
        """
        opened = self._stack.enter_context(source.open())
        assert isinstance(opened.file, Ranges)
        mapped = RemoteMap(self, opened, opened.file)
        self._maps.append(mapped)
        return opened, mapped

    @contextmanager
    def filled(self, address: int, nbytes: int) -> Iterator[None]:
        """Hold mapped memory that contains the file's bytes; they may be dropped afterwards.

        Args:
            address: of the first byte; anything outside of the maps needs nothing.
        """
        with self.lock:
            for mapped in self._maps:
                start = address - mapped.address
                if 0 <= start < mapped.size:
                    mapped.fill(start, min(start + nbytes, mapped.size))
            yield

    def keep(self, mapped: RemoteMap, blocks: range) -> None:
        """Record that these blocks were read now, and drop those that were not for the longest time."""
        for block in blocks:
            self._kept.pop((mapped, block), None)
            self._kept[mapped, block] = None
        while len(self._kept) > max(KEPT // BLOCK, len(blocks)):
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            oldest[0].drop(oldest[1])


class RemoteMap:
    """A remote file as private memory and as a stream.

    Attributes:
        view: all of its bytes; valid only while `RemoteFiles.filled` holds them.
        address, size: of that memory, in bytes.
    """

    def __init__(self, files: RemoteFiles, opened: OpenFile, ranges: Ranges) -> None:
        self._files, self._ranges, self._name, self.size = files, ranges, opened.name, opened.size
        try:
            self._memory = mmap.mmap(-1, self.size, flags=_FLAGS)
            if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page would keep 2 MiB for a block
                self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        except (OSError, OverflowError, ValueError):
            raise CheckpointError(
                f"{opened.name} is too large to be read from its URL.", "Download it and pass the copy."
            ) from None
        self.view = memoryview(self._memory)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._at, self._present = 0, set[int]()

    def seek(self, offset: int, /) -> object:
        """Move to a byte."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer at the end."""
        start, stop = self._at, min(self._at + size, self.size)
        found = bytearray()
        for low in range(start, stop, _MAX_REQUEST):
            with self._files.lock:
                self.fill(low, high := min(low + _MAX_REQUEST, stop))
                found += self.view[low:high]
        self._at = max(start, stop)
        return bytes(found)

    def fill(self, start: int, stop: int) -> None:
        """Fetch the bytes of a range that are missing; the caller holds the lock.

        Raises:
            NetworkError: the server does not send them.
        """
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        for block in blocks:
            if block not in self._present:
                self._fetch(block, blocks.stop)
        self._files.keep(self, blocks)

    def drop(self, block: int) -> None:
        """Give the memory of a block back."""
        self._present.discard(block)
        self._memory.madvise(mmap.MADV_DONTNEED, block * BLOCK, min(BLOCK, self.size - block * BLOCK))

    def _fetch(self, first: int, needed: int) -> None:
        """Fetch the missing blocks from `first` up to `needed`, or further if the one before was read too."""
        last = min(needed, first + _MAX_REQUEST // BLOCK)
        if first - 1 in self._present:
            last = min(first + _MAX_REQUEST // BLOCK, -(-self.size // BLOCK))
        last = next((block for block in range(first, last) if block in self._present), last)
        start, stop = first * BLOCK, min(last * BLOCK, self.size)
        try:
            fetched = self._ranges.fetch(start, stop)
        except CheckpointError as error:
            raise NetworkError(error.message, error.hint) from None
        except ConnectionError as error:
            raise NetworkError(f"{self._name} cannot be read: {error}.", "Try again.") from None
        self.view[start:stop] = fetched
        self._present.update(range(first, last))
        self._files.keep(self, range(first, last))
