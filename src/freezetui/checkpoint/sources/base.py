"""What a checkpoint is read from: a file or a directory, on this machine or behind a URL."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

#: Listing more files than this would be too slow.
MAX_FILES = 100_000


class Source(Protocol):
    """A file or a folder."""

    @property
    def location(self) -> str:
        """The path or the URL."""

    def is_directory(self) -> bool:
        """Whether files lie in it."""

    def files(self) -> list[str]:
        """The names of the files right in this folder, sorted."""

    def sizes(self) -> dict[str, int]:
        """The bytes of each file right in this directory, by its name; nothing of the files is read."""

    def child(self, name: str) -> Source:
        """A file of this folder."""

    def parent(self) -> Source:
        """The folder that this file lies in."""

    def open(self) -> AbstractContextManager[OpenFile]:
        """The file open for reading; what reading it raises becomes a CheckpointError."""


class OpenFile(NamedTuple):
    """A file open for reading.

    Attributes:
        file: at its start; a file of this machine has a `fileno`.
        size: in bytes.
        head: its first 4096 bytes.
        name: its path with control characters escaped, for messages.
    """

    file: Stream
    size: int
    head: bytes
    name: str


class Stream(Protocol):
    """An open file, or a map of one."""

    def seek(self, offset: int, /) -> object:
        """Go to a byte."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer at the end."""
