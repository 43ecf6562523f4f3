"""What a file is by its first bytes, never by its extension."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from freezetui.checkpoint.text import printable
from freezetui.checkpoint.zipdir import Stream
from freezetui.errors import CheckpointError, MissingFileError

_HEAD = 4096
#: The number 0x1950a86a20f9469cfc6c, the first pickle of a file that torch before 1.6 wrote.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


class Opened(NamedTuple):
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


@contextmanager
def opened(source: str) -> Iterator[Opened]:
    """A file open for reading; what reading it raises becomes a CheckpointError."""
    name = printable(source)
    path = Path(source)
    size = _regular_size(path, name)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            yield Opened(file, size, head, name)
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}.", "Check its permissions.") from None


def container(head: bytes) -> Literal["zip", "legacy", "safetensors", "gguf", ""]:
    """Which of the known formats starts like this; "" for none."""
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[:1] == b"\x80" and _LEGACY_MAGIC in head[:32]:
        return "legacy"
    if head.startswith(b"GGUF"):
        return "gguf"
    # A length in 64 bits, then JSON. JSON text may have a brace there too, but no zeros.
    if head[8:9] == b"{" and not head[:8].decode("latin-1").isprintable():
        return "safetensors"
    return ""


def is_index(head: bytes, name: str) -> bool:
    """Whether a file that starts like this, or is called like this, is the index of a sharded checkpoint."""
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    return is_json and (b'"weight_map"' in head or name.endswith(".index.json"))


def _regular_size(path: Path, name: str) -> int:
    """The size of a regular file; anything else is never opened, since a FIFO would block for ever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MissingFileError(f"{name} does not exist.", "Check the path.") from None
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"{name} cannot be read: {problem}.", "Check the path.") from None
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(f"{name} is a folder.", "Pass the checkpoint file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{name} is no regular file.", "Copy its contents into a file first.")
    if status.st_size == 0:
        raise CheckpointError(f"{name} is empty.", "The save or the download failed; fetch the file again.")
    return status.st_size
