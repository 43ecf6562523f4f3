"""Checkpoint sources behind a URL, through fsspec: only the ranges with the header are fetched."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from freezetui.checkpoint.sources import bounded
from freezetui.checkpoint.sources.base import OpenFile
from freezetui.checkpoint.sources.http import ChangedError, Version, fetch_range, quiet_loop
from freezetui.checkpoint.sources.ranges import Ranges
from freezetui.checkpoint.sources.urls import shown_url
from freezetui.errors import CheckpointError, MissingFileError
from freezetui.text import printable

#: Scheme -> the extra of this package that installs its backend.
EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}

_HEAD = 4096
_TRIES = 3
#: HTTP statuses that are not retried.
_FINAL = frozenset(range(400, 500)) - {408, 429}
CONNECT_SECONDS, READ_SECONDS = 10, 30
#: Limit on all requests for opening one checkpoint.
TOTAL_SECONDS = 300
#: Pause before the second try; the third waits twice as long.
PAUSE_SECONDS = 0.5

#: A URL in a backend's own message, with the secrets to remove: user and password, and the query.
_SECRETS = re.compile(r"(\w+://)(?:[^\s'\"/@]*@)?([^\s'\"?]*)(?:\?[^\s'\"]*)?")

T = TypeVar("T")


def remote_source(url: str) -> RemoteSource:
    """Return the source at a URL; nothing is fetched yet.

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
        hint = f"pip install 'freezetui[{extra}]'" if extra else f"install fsspec's backend for {scheme}://"
        raise CheckpointError(f"{name} needs a package that is not installed.", f"To fix: {hint}") from None
    except ValueError as error:
        problem = _one_line(error)
        known = ", ".join(f"{scheme}://" for scheme in ("https", "s3", "gs", "hf"))
        raise CheckpointError(f"{name} cannot be opened: {problem}.", f"Supported: {known}.") from None
    except Exception as error:  # such as ftp:// and sftp://, which connect at once
        raise CheckpointError(
            f"{name} cannot be read: {_one_line(error)}.", "Check the address and the network, and try again."
        ) from None
    return RemoteSource(fs, path, url, time.monotonic() + TOTAL_SECONDS)


class RemoteSource:
    """A file or a directory behind a URL.

    Args:
        fs: the fsspec filesystem.
        path: the path within the filesystem.
        source: the URL.
        end: deadline for all requests, on time.monotonic's clock.
    """

    def __init__(self, fs: Any, path: str, source: str, end: float) -> None:
        self._fs, self._path, self.location, self._end = fs, path, source, end
        self._info: dict[str, Any] | None = None
        self._version = Version()

    def is_directory(self) -> bool:
        """Whether it is a directory; over HTTP nothing is."""
        return bool(self._status()["type"] == "directory")

    def files(self) -> list[str]:
        """Return the sorted names of the files directly in this directory."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file directly in this directory, by its name."""
        return self._with_retries(lambda: bounded.sizes(self._fs.ls(self._path, detail=True)))

    def child(self, name: str) -> RemoteSource:
        """Return a file of this directory."""
        return RemoteSource(
            self._fs, f"{self._path.rstrip('/')}/{name}", f"{self.location.rstrip('/')}/{name}", self._end
        )

    def parent(self) -> RemoteSource:
        """Return the directory of this file; each of its files keeps the URL's query."""
        return _Siblings(self._fs, self._path, self.location, self._end)

    @contextmanager
    def open(self) -> Iterator[OpenFile]:
        """Open the file; every read requests a range, unless it was fetched before."""
        status, name = self._status(), shown_url(self.location)
        size = status.get("size")
        if status["type"] == "directory":
            raise CheckpointError(f"{name} is a directory.", "Pass the checkpoint file inside it.")
        if size is None or status.get("partial") is False:
            raise _no_ranges(name)
        if size == 0:
            raise CheckpointError(f"{name} is empty.", "The upload failed; pass another file.")
        with self._ranges(size) as fetch:
            file = Ranges(
                lambda start, stop: self._with_retries(lambda: fetch(start, stop), stop - start),
                size,
                self._version,
                self._renew,
            )
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
        """Yield a function that fetches the bytes from a start to a stop."""
        if self.location.lower().startswith("http"):
            yield lambda start, stop: fetch_range(
                self._fs, self._path, start, stop, max(self._end - time.monotonic(), 0.1), self._version
            )
            return
        status = self._status()
        self._version.check(str(status.get("ETag") or status.get("etag") or ""))
        with self._with_retries(lambda: self._fs.open(self._path, "rb", cache_type="none")) as remote:
            yield lambda start, stop: bounded.exactly(remote, start, stop)

    def _renew(self) -> None:
        self._end = time.monotonic() + TOTAL_SECONDS

    def _status(self) -> dict[str, Any]:
        if self._info is None:
            self._info = bounded.status(self._with_retries(lambda: self._fs.info(self._path)))
        return self._info

    def _with_retries(self, ask: Callable[[], T], asked: int = 0) -> T:
        return _with_retries(
            self.location, lambda: bounded.answer(ask, self._end - time.monotonic(), asked), self._end
        )


class _Siblings(RemoteSource):
    """The directory of a file: its files have the same URL with another last segment."""

    def child(self, name: str) -> RemoteSource:
        """Return a file of this directory."""
        return RemoteSource(self._fs, _sibling(self._path, name), _sibling(self.location, name), self._end)

    def files(self) -> list[str]:
        """Return []: over HTTP, a directory has no listing."""
        return []

    def sizes(self) -> dict[str, int]:
        """Return {}: over HTTP, a directory has no listing."""
        return {}


def _settings(scheme: str) -> dict[str, Any]:
    """Return the filesystem's settings: aiohttp's default timeout is five minutes."""
    if scheme not in ("http", "https"):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    # Compressed responses are refused, not decompressed: a few kilobytes can expand to gigabytes.
    return {"client_kwargs": {"timeout": timeout, "auto_decompress": False}}


def _with_retries(source: str, ask: Callable[[], T], end: float) -> T:
    """Call `ask`, retrying transient errors until `end`.

    Raises:
        CheckpointError: the server refuses, or does not answer.
    """
    name = shown_url(source)
    for attempt in range(1, _TRIES + 1):
        if time.monotonic() > end:
            raise CheckpointError(
                f"{name} cannot be read: timed out after {TOTAL_SECONDS:g} s.",
                "Download the file, then open it.",
            )
        try:
            return ask()
        except PermissionError:
            raise _denied(name) from None
        except ChangedError:
            raise CheckpointError(f"{name} has changed since it was opened.", "Open it again.") from None
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
        except Exception as error:  # each backend has its own error types
            # fsspec reports any failure of a web server as a missing file; the cause is more specific.
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
    """Return the HTTP status, which aiohttp's errors have, and the response in other errors; 0 for none."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", 0)
    return status if isinstance(status, int) else 0


def _denied(name: str) -> CheckpointError:
    return CheckpointError(f"{name}: access denied.", "Log in, or configure credentials for this machine.")


def _no_ranges(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name} is on a server without range-request support, so its header cannot be fetched on its own.",
        "Download the file, then open it.",
    )


def _sibling(url: str, name: str) -> str:
    path, question, query = url.partition("?")
    return f"{path.rpartition('/')[0]}/{name}{question}{query}"


def _one_line(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", f"{error}".replace(" ssl:default", "")).strip().rstrip(".")
    text = _SECRETS.sub(r"\1\2", text)
    return printable(text[:200]) or type(error).__name__
