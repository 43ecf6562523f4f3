"""Protocols of checkpoint sources: a file or a directory, local or remote."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

#: Listing more files than this would be too slow.
MAX_FILES = 100_000


class Source(Protocol):
    """A file or a directory."""

    @property
    def location(self) -> str:
        """The path or the URL."""

    def is_directory(self) -> bool:
        """Whether it is a directory."""

    def files(self) -> list[str]:
        """Return the sorted names of the files directly in this directory."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file directly in this directory, by its name; no file is opened."""

    def child(self, name: str) -> Source:
        """Return a file of this directory."""

    def parent(self) -> Source:
        """Return the directory of this file."""

    def open(self) -> AbstractContextManager[OpenFile]:
        """Open the file for reading; errors while reading become a CheckpointError."""


class OpenFile(NamedTuple):
    """A file open for reading.

    Attributes:
        file: positioned at its start; a local file has a `fileno`.
        size: in bytes.
        head: its first 4096 bytes.
        name: its path with control characters escaped, for messages.
    """

    file: Stream
    size: int
    head: bytes
    name: str


def version_of(file: Stream) -> str:
    """Return what changes with every write to an open file, or as another takes its place; "" if not known.

    Of a file behind a URL, it is the ETag that the server sent with its bytes.
    """
    number = getattr(file, "fileno", None)
    return version_of_status(os.fstat(number())) if number is not None else str(getattr(file, "version", ""))


def version_of_status(status: os.stat_result) -> str:
    """Return the version of a file of this status; see `version_of`."""
    return f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


class Stream(Protocol):
    """An open file, or a map of one."""

    def seek(self, offset: int, /) -> object:
        """Move to a byte."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, fewer at the end."""
