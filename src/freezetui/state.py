"""The user's state directory: the theme and the log of unexpected errors in it, and private files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import traceback
from datetime import datetime
from pathlib import Path

from freezetui.text import printable, printable_lines

#: "0" keeps nothing between runs but the log of errors.
VARIABLE = "FREEZETUI_STATE"
_LOG_NAME, _THEME_NAME = "errors.log", "theme"
_MAX_LOG_BYTES = 256 * 2**10
_MAX_ENTRY_CHARACTERS = 16 * 2**10
_MAX_THEME_BYTES = 256
#: The user and the password of a URL.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")


def state_directory() -> Path | None:
    """Return the directory for what freezetui keeps between runs, for this user only; make it if needed.

    Returns:
        `$XDG_STATE_HOME/freezetui`, else `~/.local/state/freezetui`; None if it cannot be used.
    """
    named = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
        directory = base / "freezetui"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
    except (OSError, RuntimeError, ValueError):
        return None
    return directory


def keeps_state() -> bool:
    """Whether recovery files and what the user did and chose are kept: not with FREEZETUI_STATE=0."""
    return os.environ.get(VARIABLE) != "0"


def read_private(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of this user; b"" if it is not one, is missing or is too large.

    Args:
        limit: the largest size in bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            mine = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
            return file.read(limit) if mine and status.st_size <= limit else b""
    except (OSError, ValueError):
        return b""


def write_private(path: Path, data: bytes, locked: bool = False) -> int | None:
    """Replace a file atomically by one of mode 0600; errors are raised.

    Args:
        locked: whether to hold a lock on it until the returned descriptor is closed.

    Returns:
        The open file, if `locked`.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if locked:
            with contextlib.suppress(OSError):  # not every file system can lock
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        os.close(descriptor)
        raise
    if locked:
        return descriptor
    os.close(descriptor)
    return None


def remembered_theme() -> str:
    """Return the name of the theme that the user chose the last time; "" if none is known."""
    directory = state_directory() if keeps_state() else None
    data = b"" if directory is None else read_private(directory / _THEME_NAME, _MAX_THEME_BYTES)
    return data.decode("utf-8", "replace").strip()


def remember_theme(name: str) -> None:
    """Keep the name of a theme for the next time; it is not an error if that is not possible."""
    directory = state_directory() if keeps_state() else None
    if directory is not None:
        with contextlib.suppress(OSError):
            write_private(directory / _THEME_NAME, f"{name}\n".encode())


def log_error(error: BaseException, what: str) -> Path | None:
    """Append an unexpected error with its traceback to the log, which keeps only the newest entries.

    Args:
        what: what was being done.

    Returns:
        The log file; None if it cannot be written, which is not an error.
    """
    directory = state_directory()
    if directory is None:
        return None
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    text = printable_lines(_CREDENTIALS.sub("", lines)).rstrip("\n")
    if len(text) > _MAX_ENTRY_CHARACTERS:
        half = _MAX_ENTRY_CHARACTERS // 2
        text = f"{text[:half]}\n...\n{text[-half:]}"
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    path = directory / _LOG_NAME
    try:
        _append(path, f"{when} {printable(what)}\n{text}\n\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return None
    return path


def _append(path: Path, entry: bytes) -> None:
    """Append to a regular file of mode 0600; drop the older half of what is too much."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        with contextlib.suppress(OSError):
            os.fchmod(file.fileno(), 0o600)
        size = file.seek(0, os.SEEK_END)
        if size + len(entry) > _MAX_LOG_BYTES:
            file.seek(max(0, size - _MAX_LOG_BYTES // 2))
            kept = file.read(_MAX_LOG_BYTES // 2)
            file.truncate(0)
            file.write(kept.partition(b"\n\n")[2])
        file.write(entry)
