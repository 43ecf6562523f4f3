"""Checkpoints behind a URL, through fsspec: only the ranges that a header takes are fetched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from freezetui.checkpoint.sources import bounded
from freezetui.checkpoint.sources.base import OpenFile
from freezetui.checkpoint.sources.http import fetch_range, quiet_loop
from freezetui.checkpoint.sources.urls import shown_url
from freezetui.errors import CheckpointError, MissingFileError
from freezetui.text import printable

#: Scheme -> the extra of this package that brings its backend.
EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}

_HEAD = 4096
#: A round trip costs more than these bytes do.
_MIN = 4096
_TRIES = 3
#: Answers that asking again does not change.
_FINAL = frozenset(range(400, 500)) - {408, 429}
CONNECT_SECONDS, READ_SECONDS = 10, 30
#: For all that opening one checkpoint asks for.
TOTAL_SECONDS = 300
#: Before the second try; the third waits twice as long.
PAUSE_SECONDS = 0.5

#: What a backend's own words repeat of a URL: user and password, and the query.
_SECRETS = re.compile(r"(\w+://)(?:[^\s'\"/@]*@)?([^\s'\"?]*)(?:\?[^\s'\"]*)?")

T = TypeVar("T")


def remote_source(url: str) -> RemoteSource:
    """The place that a URL names; nothing is fetched yet.

    Raises:
        CheckpointError: an unknown scheme, a malformed URL, or a backend that is not installed.
    """
    scheme = url.partition("://")[0].lower()
    name = shown_url(url)
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(url, **_settings(scheme))
        quiet_loop()
    except ImportError:
        extra = EXTRAS.get(scheme)
        hint = f"pip install 'freezetui[{extra}]'" if extra else f"Install fsspec's backend for {scheme}://"
        raise CheckpointError(f"{name} needs a backend that is not installed.", f"Run: {hint}") from None
    except ValueError as error:
        problem = _one_line(error)
        known = ", ".join(f"{scheme}://" for scheme in ("https", "s3", "gs", "hf"))
        raise CheckpointError(f"{name} cannot be opened: {problem}.", f"Known are {known}.") from None
    return RemoteSource(fs, path, url, time.monotonic() + TOTAL_SECONDS)


class RemoteSource:
    """A file or a folder behind a URL.

    Args:
        fs: the fsspec filesystem.
        path: as the filesystem names it.
        source: the URL, for people.
        end: when all must be read, on time.monotonic's clock.
    """

    def __init__(self, fs: Any, path: str, source: str, end: float) -> None:
        self._fs, self._path, self.location, self._end = fs, path, source, end
        self._info: dict[str, Any] | None = None

    def is_directory(self) -> bool:
        """Whether files lie in it; HTTP knows no folders."""
        return bool(self._status()["type"] == "directory")

    def files(self) -> list[str]:
        """The names of the files right in this folder, sorted."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """The bytes of each file right in this directory, by its name."""
        return self._patiently(lambda: bounded.sizes(self._fs.ls(self._path, detail=True)))

    def child(self, name: str) -> RemoteSource:
        """A file of this folder."""
        return RemoteSource(
            self._fs, f"{self._path.rstrip('/')}/{name}", f"{self.location.rstrip('/')}/{name}", self._end
        )

    def parent(self) -> RemoteSource:
        """The folder that this file lies in; a query stays with each of its files."""
        return _Siblings(self._fs, self._path, self.location, self._end)

    @contextmanager
    def open(self) -> Iterator[OpenFile]:
        """The file; every read of it is a request for a range, unless it was fetched before."""
        status, name = self._status(), shown_url(self.location)
        size = status.get("size")
        if status["type"] == "directory":
            raise CheckpointError(f"{name} is a folder.", "Pass the checkpoint file inside it.")
        if size is None or status.get("partial") is False:
            raise _no_ranges(name)
        if size == 0:
            raise CheckpointError(f"{name} is empty.", "The upload failed; pass another file.")
        with self._ranges(size) as fetch:
            file = Ranges(lambda start, stop: self._patiently(lambda: fetch(start, stop), stop - start), size)
            try:
                head = file.read(min(_HEAD, size))
                file.seek(0)
                yield OpenFile(file, size, head, name)
            except ConnectionError as error:
                raise CheckpointError(
                    f"{name} cannot be read: {_one_line(error)}.", "Check the network, and try again."
                ) from None

    @contextmanager
    def _ranges(self, size: int) -> Iterator[Callable[[int, int], bytes]]:
        """What fetches the bytes from a start to a stop."""
        if self.location.lower().startswith("http"):
            yield lambda start, stop: fetch_range(
                self._fs, self._path, start, stop, max(self._end - time.monotonic(), 0.1)
            )
            return
        with self._patiently(lambda: self._fs.open(self._path, "rb", cache_type="none")) as remote:
            yield lambda start, stop: bounded.exactly(remote, start, stop)

    def _status(self) -> dict[str, Any]:
        if self._info is None:
            self._info = bounded.status(self._patiently(lambda: self._fs.info(self._path)))
        return self._info

    def _patiently(self, ask: Callable[[], T], asked: int = 0) -> T:
        return _patiently(
            self.location, lambda: bounded.answer(ask, self._end - time.monotonic(), asked), self._end
        )


class _Siblings(RemoteSource):
    """The folder of a file: what lies in it is named by its URL with the last segment exchanged."""

    def child(self, name: str) -> RemoteSource:
        """A file of this folder."""
        return RemoteSource(self._fs, _sibling(self._path, name), _sibling(self.location, name), self._end)

    def files(self) -> list[str]:
        """Nothing that could be listed."""
        return []

    def sizes(self) -> dict[str, int]:
        """Nothing that could be listed."""
        return {}


class Ranges:
    """A file of which ranges are fetched when they are read, and kept.

    Args:
        fetch: the bytes from a start to a stop.
        size: of the file, in bytes.

    Attributes:
        fetched: bytes so far.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._kept: list[tuple[int, bytes]] = []
        self.fetched = 0

    def seek(self, offset: int, /) -> object:
        """Go to a byte."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer at the end."""
        start, stop = self._at, min(self._at + size, self._size)
        data = b""
        while start < stop:
            part = self._from(start, stop)
            data += part
            start += len(part)
        self._at = max(self._at, stop)
        return data

    def _from(self, start: int, stop: int) -> bytes:
        """Bytes from `start` on, at most to `stop`, from one piece that is kept or fetched now."""
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


def _settings(scheme: str) -> dict[str, Any]:
    """Without a limit a dead server would be waited for five minutes."""
    if scheme not in ("http", "https"):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    # Packed answers are refused, not unpacked: a few kilobytes can hold gigabytes.
    return {"client_kwargs": {"timeout": timeout, "auto_decompress": False}}


def _patiently(source: str, ask: Callable[[], T], end: float) -> T:
    """What the server answers; asked again where it was not there or broke off, until `end`.

    Raises:
        CheckpointError: it says no, or nothing.
    """
    name = shown_url(source)
    for attempt in range(1, _TRIES + 1):
        if time.monotonic() > end:
            raise CheckpointError(
                f"{name} cannot be read: opening it took longer than {TOTAL_SECONDS:g} s.",
                "Download the file, then open it.",
            )
        try:
            return ask()
        except PermissionError:
            raise _denied(name) from None
        except bounded.TooMuchError as error:
            raise CheckpointError(f"{name} cannot be read: {error}.", "It may be malicious.") from None
        except ImportError as error:
            raise CheckpointError(f"{name} needs a package: {_one_line(error)}.", "Install it.") from None
        except ValueError as error:
            if "range requests" in str(error):
                raise _no_ranges(name) from None
            raise CheckpointError(
                f"{name} cannot be read: {_one_line(error)}.", "Check the address."
            ) from None
        except Exception as error:  # each backend has a family of errors of its own
            # fsspec says of whatever a web server answers that there is no such file; the cause says more.
            cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
            status = _http_status(cause or error)
            if status in (404, 410) or (cause is None and isinstance(error, FileNotFoundError)):
                raise MissingFileError(f"{name} does not exist.", "Check the address.") from None
            if status in (401, 403):
                raise _denied(name) from None
            if attempt == _TRIES or status in _FINAL:
                raise CheckpointError(
                    f"{name} cannot be read: {_one_line(cause or error)}.",
                    "Check the address and the network, and try again.",
                ) from None
            time.sleep(PAUSE_SECONDS * attempt)
    raise AssertionError


def _http_status(error: BaseException) -> int:
    """aiohttp's errors carry it, those of requests and httpx carry the response; 0 for none."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", 0)
    return status if isinstance(status, int) else 0


def _denied(name: str) -> CheckpointError:
    return CheckpointError(f"{name} may not be read.", "Log in, or give this machine the right credentials.")


def _no_ranges(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name} lies on a server that sends no ranges, so its header cannot be read alone.",
        "Download the file, then open it.",
    )


def _sibling(url: str, name: str) -> str:
    path, question, query = url.partition("?")
    return f"{path.rpartition('/')[0]}/{name}{question}{query}"


def _one_line(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", f"{error}").strip().rstrip(".")
    text = _SECRETS.sub(r"\1\2", text)
    return printable(text[:200]) or type(error).__name__
