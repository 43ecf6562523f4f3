"""Fetches ranges of a file over HTTP, with bounded memory and time."""

from __future__ import annotations

import asyncio
from typing import Any

_CHUNK = 1 << 16
_PARTIAL, _BEYOND = 206, 416
#: fsspec's own wording, by which its refusals are recognized too.
NO_RANGES = "the server does not answer range requests"


class ChangedError(Exception):
    """The file on the server is another than before."""


class Version:
    """The version of a file, by the ETag that comes with its bytes.

    Attributes:
        tag: of the first response that had one; "" before.
    """

    def __init__(self) -> None:
        self.tag = ""

    def check(self, tag: str) -> None:
        """Record the tag of a response; "" for none.

        Raises:
            ChangedError: it is another one.
        """
        tag = tag.removeprefix("W/")
        if self.tag and tag and tag != self.tag:
            raise ChangedError
        self.tag = self.tag or tag


def fetch_range(fs: Any, url: str, start: int, stop: int, seconds: float, version: Version) -> bytes:
    """Return the bytes from `start` to `stop`; fewer if the server sends fewer.

    fsspec itself keeps everything it receives: an endless response would fill the memory.

    Args:
        fs: fsspec's filesystem for HTTP.
        seconds: timeout.
        version: of the file so far.

    Raises:
        ChangedError: it has another version now.
        ValueError: the server sends no ranges, or compressed ones.
        Exception: an error of aiohttp; TimeoutError after `seconds`.
    """
    from fsspec.asyn import sync

    fetched: bytes = sync(fs.loop, _fetch, fs, url, start, stop, version, timeout=seconds)
    return fetched


async def _fetch(fs: Any, url: str, start: int, stop: int, version: Version) -> bytes:
    session = await fs.set_session()
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    async with session.get(fs.encode_url(url), headers=headers) as response:
        if response.status == _BEYOND:
            return b""
        response.raise_for_status()
        version.check(response.headers.get("ETag", ""))
        if response.headers.get("Content-Encoding", "identity") not in ("identity", ""):
            raise ValueError(f"{NO_RANGES} uncompressed")
        if not _is_range(response, start, stop) and start > 0:
            raise ValueError(NO_RANGES)
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk[: stop - start - len(data)]
            if len(data) == stop - start:
                break  # leaving the block closes the connection, whatever else the server would send
        return bytes(data)


def _is_range(response: Any, start: int, stop: int) -> bool:
    """Whether the response starts at the requested byte."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0].strip()
    if first.isdecimal():
        return int(first[:20]) == start
    length = response.headers.get("Content-Length", "")
    return response.status == _PARTIAL or (length.isdecimal() and int(length[:20]) <= stop - start)


def quiet_loop() -> None:
    """Keep errors of abandoned requests in fsspec's thread off the terminal."""
    from fsspec.asyn import get_loop

    loop = get_loop()
    if isinstance(loop, asyncio.AbstractEventLoop):
        loop.set_exception_handler(lambda loop, context: None)
