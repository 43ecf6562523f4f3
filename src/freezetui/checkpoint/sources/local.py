"""Checkpoint sources on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from freezetui.checkpoint.sources.base import MAX_FILES, OpenFile
from freezetui.errors import CheckpointError, MissingFileError
from freezetui.text import printable


class LocalSource:
    """A path on this machine."""

    def __init__(self, source: str) -> None:
        self.location = source

    def is_directory(self) -> bool:
        """Whether it is a directory."""
        try:
            return Path(self.location).is_dir()
        except (OSError, ValueError):  # a name that is too long, a parent without permission, a NUL
            return False

    def files(self) -> list[str]:
        """Return the sorted names of the files directly in this directory."""
        try:
            with os.scandir(self.location) as entries:
                names = sorted(entry.name for _, entry in zip(range(MAX_FILES), entries, strict=False))
        except OSError as error:
            raise CheckpointError(
                f"Cannot list the directory {printable(self.location)}: {error.strerror}.",
                "Check its permissions.",
            ) from None
        return [name for name in names if not (Path(self.location) / name).is_dir()]

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file directly in this directory, by its name."""
        sizes = {}
        for name in self.files():
            with suppress(OSError):
                status = (Path(self.location) / name).stat()
                sizes[name] = status.st_size if stat.S_ISREG(status.st_mode) else 0
        return sizes

    def child(self, name: str) -> LocalSource:
        """Return a file of this directory."""
        return LocalSource(str(Path(self.location) / name))

    def parent(self) -> LocalSource:
        """Return the directory of this file."""
        return LocalSource(str(Path(self.location).parent))

    def open(self) -> AbstractContextManager[OpenFile]:
        """Open the file for reading."""
        return open_file(self.location)


_HEAD = 4096


@contextmanager
def open_file(source: str) -> Iterator[OpenFile]:
    """Open a file for reading; errors while reading become a CheckpointError."""
    name = printable(source)
    path = Path(source)
    size = _regular_size(path, name)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            yield OpenFile(file, size, head, name)
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}.", "Check its permissions.") from None


def _regular_size(path: Path, name: str) -> int:
    """Return the size of a regular file; nothing else is ever opened, since a FIFO would block forever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MissingFileError(f"{name} does not exist.", "Check the path.") from None
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"{name} cannot be read: {problem}.", "Check the path.") from None
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(f"{name} is a directory.", "Pass the checkpoint file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{name} is not a regular file.", "Copy its contents into a file first.")
    if status.st_size == 0:
        raise CheckpointError(f"{name} is empty.", "The save or download failed; get the file again.")
    return status.st_size
