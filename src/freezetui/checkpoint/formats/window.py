"""Window: a range of a file as a file of its own."""

from __future__ import annotations

from freezetui.checkpoint.sources.base import Stream


class Window:
    """A range of bytes of a file.

    Args:
        file: its position changes.
        start, size: of the range, in bytes.
    """

    def __init__(self, file: Stream, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def seek(self, offset: int, /) -> object:
        """Move to a byte."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer at the end."""
        self._file.seek(self._start + self._at)
        data = self._file.read(min(size, max(0, self._size - self._at)))
        self._at += len(data)
        return data
