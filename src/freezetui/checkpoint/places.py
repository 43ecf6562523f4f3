"""Where a checkpoint lies: a path on this machine, or a URL. Files are opened and folders listed alike."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from freezetui.checkpoint.sniff import Opened, opened
from freezetui.checkpoint.text import printable
from freezetui.errors import CheckpointError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
#: A folder with more files is no checkpoint; its listing would only be in the way.
_MOST_FILES = 100_000


class Place(Protocol):
    """A file or a folder."""

    @property
    def source(self) -> str:
        """The path or the URL."""

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine."""

    def is_folder(self) -> bool:
        """Whether files lie in it."""

    def files(self) -> list[str]:
        """The names of the files right in this folder, sorted."""

    def inside(self, name: str) -> Place:
        """A file of this folder."""

    def folder(self) -> Place:
        """The folder that this file lies in."""

    def opened(self) -> AbstractContextManager[Opened]:
        """The file open for reading; what reading it raises becomes a CheckpointError."""


def place_of(source: str | Path) -> Place:
    """The place that a path or a URL names.

    Raises:
        CheckpointError: an empty path, a URL of an unknown kind, or one whose backend is not installed.
    """
    text = str(source)
    if not text.strip():
        raise CheckpointError("The path is empty.", "Name a checkpoint: a file, a folder or a URL.")
    if not is_url(text):
        return LocalPlace(text)
    if text.lower().startswith("file://"):
        from urllib.parse import unquote, urlparse

        return LocalPlace(unquote(urlparse(text).path))
    from freezetui.checkpoint.remote import remote_place

    return remote_place(text)


def is_url(source: str) -> bool:
    """Whether a source is a URL, and no path."""
    return _URL.match(source) is not None


def shown_url(url: str) -> str:
    """A URL for people: printable, without password and query, which may hold secrets."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return printable(url)
    # A revision of hf://organisation/model@revision is no user.
    host = parts.netloc if parts.scheme == "hf" else parts.netloc.rpartition("@")[2]
    return printable(urlunsplit((parts.scheme, host, parts.path, "", "")))


def name_of(source: str | Path) -> str:
    """The last segment of a path or URL: the file's or the folder's name."""
    if is_url(str(source)):
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(str(source))
        segment = (parts.path.rstrip("/") or parts.netloc).rpartition("/")[2]
        return unquote(segment).partition("@")[0] or parts.netloc
    path = Path(source)
    return path.name if path.name not in ("", "..") else path.resolve().name


class LocalPlace:
    """A path on this machine."""

    is_local = True

    def __init__(self, source: str) -> None:
        self.source = source

    def is_folder(self) -> bool:
        """Whether files lie in it."""
        try:
            return Path(self.source).is_dir()
        except (OSError, ValueError):  # a name that is too long, a folder above that is closed, a NUL
            return False

    def files(self) -> list[str]:
        """The names of the files right in this folder, sorted."""
        try:
            with os.scandir(self.source) as entries:
                names = sorted(entry.name for _, entry in zip(range(_MOST_FILES), entries, strict=False))
        except OSError as error:
            raise CheckpointError(
                f"{printable(self.source)} cannot be listed: {error.strerror}.", "Check its permissions."
            ) from None
        return [name for name in names if not (Path(self.source) / name).is_dir()]

    def inside(self, name: str) -> LocalPlace:
        """A file of this folder."""
        return LocalPlace(str(Path(self.source) / name))

    def folder(self) -> LocalPlace:
        """The folder that this file lies in."""
        return LocalPlace(str(Path(self.source).parent))

    def opened(self) -> AbstractContextManager[Opened]:
        """The file open for reading."""
        return opened(self.source)
