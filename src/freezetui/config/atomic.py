"""Writes a file atomically: a crash at any moment leaves the old or the new file, never a part.

What is not a regular file, such as a pipe or a device, is written to directly and never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import shutil
from pathlib import Path

from freezetui.config.paths import is_special, own_descriptor

#: Seconds that a pipe whose reader does not read is waited for.
_MAX_WAIT_S = 5.0
#: Characters of a file's name in that of its temporary file, which must not become too long.
_MAX_NAME = 40


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path`: a temporary file in the same directory, fsync, rename.

    Follows symbolic links, keeps permissions and does not translate line endings.

    Raises:
        OSError: the file cannot be written; the old file is unchanged.
    """
    if is_special(path):
        _write_directly(path, text.encode("utf-8"))
        return
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name[:_MAX_NAME]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):  # noqa: PTH110 (does not raise where the name is too long)
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_directly(path: Path, data: bytes) -> None:
    """Write to a pipe or a device; a pipe that nobody reads from is an error and is not waited for."""
    number = own_descriptor(path)
    if number is not None:  # opening the name would write from the start of the file that it stands for
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(data)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "Nothing reads from this pipe", str(path)) from None
        raise
    try:
        while data:
            if not select.select([], [descriptor], [], _MAX_WAIT_S)[1]:
                raise OSError(errno.ETIMEDOUT, "What reads from this pipe has stopped", str(path))
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    finally:
        os.close(descriptor)
