"""Writes a file atomically: a crash at any moment leaves the old or the new file, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path`: a temporary file in the same directory, fsync, rename.

    Follows symbolic links, keeps permissions and does not translate line endings.

    Raises:
        OSError: the file cannot be written; the old file is unchanged.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
