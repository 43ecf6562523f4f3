"""Ranges: a remote file as a stream, whose bytes are fetched when they are read."""

from __future__ import annotations

from collections.abc import Callable

from freezetui.checkpoint.sources.http import Version

#: Fetching fewer bytes would not be faster.
_MIN = 4096


class Ranges:
    """A file whose ranges are fetched when they are read, and cached.

    Args:
        fetch: returns the bytes from a start to a stop.
        size: of the file, in bytes.
        version: of the file, as the server reports it.
        renew: moves the deadline of all requests.

    Attributes:
        fetched: bytes fetched so far.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        version: Version | None = None,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._version, self._renew = version or Version(), renew
        self._kept: list[tuple[int, bytes]] = []
        self.fetched = 0

    def seek(self, offset: int, /) -> object:
        """Move to a byte."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer at the end."""
        start, stop = self._at, min(self._at + size, self._size)
        data = b""
        while start < stop:
            part = self._from(start, stop)
            data += part
            start += len(part)
        self._at = max(self._at, stop)
        return data

    @property
    def version(self) -> str:
        """The file's ETag; "" if the server sends none."""
        return self._version.tag

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, not cached, and with a deadline of their own.

        Raises:
            ConnectionError: there are fewer.
        """
        self._renew()
        fetched = self._fetch(start, stop)
        if len(fetched) != stop - start:
            raise ConnectionError("the file is shorter than the server said")
        return fetched

    def _from(self, start: int, stop: int) -> bytes:
        """Return bytes from `start` on, at most to `stop`, from one cached or newly fetched piece."""
        for low, kept in self._kept:
            if low <= start < low + len(kept):
                return kept[start - low : stop - low]
        ahead = min((low for low, _ in self._kept if low > start), default=self._size)
        end = min(max(stop, start + _MIN), ahead)
        fetched = self._fetch(start, end)
        if len(fetched) != end - start:
            raise ConnectionError("the file is shorter than the server said")
        self._kept.append((start, fetched))
        self.fetched += len(fetched)
        return fetched[: stop - start]
