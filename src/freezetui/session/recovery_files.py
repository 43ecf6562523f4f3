"""The recovery files in the state directory: their content, whose they are, and how many are kept.

One file for each checkpoint and process. It holds the packed masks and the stages, paths, and URLs without
user and query; no arguments of a model.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.schema import Stage
from freezetui.freeze.plan import moved_mask
from freezetui.freeze.tree import ParamTree
from freezetui.session.session import Session
from freezetui.session.stage_history import Settings
from freezetui.state import keeps_state, read_private, state_directory

_DIRECTORY, SUFFIX = "recovery", ".json"
MAX_BYTES = 8 * 2**20
#: Files of processes that have ended: more than this, or older ones, are removed.
_MAX_FILES, _MAX_AGE_S = 32, 30 * 24 * 3600
#: Seconds after which a file that is being written is taken for left over.
_MAX_WRITE_S = 60.0


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a recovery file.

    Attributes:
        checkpoint: the real paths of the checkpoint's files, or their URLs, and its key.
        config: where the config would be saved.
        tensors: a digest over names and shapes, in their order.
        common: the mask of the common rules, compressed; `stages`: every stage with its mask.
        shown: the stage that was shown.
        when: seconds since 1970.
        host, pid: of the process.
    """

    checkpoint: tuple[str, ...]
    config: str
    tensors: str
    common: bytes
    stages: tuple[tuple[Stage, bytes], ...]
    shown: str | None
    norm_statistics: Literal["freeze", "update"]
    when: float
    host: str
    pid: int
    frozen_modules: Literal["train", "eval"] = "train"


class Found(NamedTuple):
    """The recovery file of a process that has ended, for a checkpoint that is open."""

    path: Path
    kept: Kept


def found(session: Session) -> list[Found]:
    """Return the recovery files for what is open, of processes that have ended, the newest first."""
    directory = recovery_directory() if keeps_state() else None
    if directory is None:
        return []
    kept = []
    for path in directory.glob(f"{identity(session)}-*{SUFFIX}"):
        read = _read(path)
        if read is not None and _fits(read, session) and _has_ended(path, read):
            kept.append(Found(path, read))
    return sorted(kept, key=lambda each: each.kept.when, reverse=True)


def restore(session: Session, kept: Kept) -> None:
    """Put what was kept into the session; it can be undone, as an edit of each plan and of the stages."""
    stages, size = session.stages, len(session.tree.tensors)

    def mask(packed: bytes) -> bytes:
        return moved_mask(_unpacked(packed, size), session.file_tree, session.tree)

    stages.plan_of(None).replace(mask(kept.common))
    settings = Settings(kept.norm_statistics, kept.frozen_modules)
    restored = [(section, mask(packed)) for section, packed in kept.stages]
    stages.reset(restored, kept.shown, settings, "what was restored")


def discard(found: Found) -> None:
    """Remove a recovery file."""
    with contextlib.suppress(OSError):
        found.path.unlink()


def sources_of(session: Session) -> tuple[str, ...]:
    """Return what names a checkpoint: its real paths or its URLs, and its key."""
    options = session.options
    shown = (shown_url(source) if is_url(source) else os.path.realpath(source) for source in options.sources)
    return (*shown, options.key or "")


def identity(session: Session) -> str:
    """Return what names the recovery files of a checkpoint: of its real path or its URL."""
    import hashlib  # slow to import

    return hashlib.sha256("\0".join(sources_of(session)).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def digest_of(tree: ParamTree) -> str:
    """Return a digest over names and shapes, in their order."""
    import hashlib

    lines = "\n".join(f"{tensor.name}\t{tensor.shape}" for tensor in tree.tensors)
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def recovery_directory(make: bool = False) -> Path | None:
    """Return the directory of the recovery files; None if there is none, or it cannot be made."""
    base = state_directory()
    if base is None:
        return None
    directory = base / _DIRECTORY
    with contextlib.suppress(OSError):
        if make:
            directory.mkdir(mode=0o700, exist_ok=True)
    return directory if directory.is_dir() and not directory.is_symlink() else None


def _read(path: Path) -> Kept | None:
    """Return the content of a recovery file; None if it is corrupt or not this user's."""
    try:
        return msgspec.json.decode(read_private(path, MAX_BYTES), type=Kept)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _fits(kept: Kept, session: Session) -> bool:
    """Whether a recovery file is of these tensors, and its masks and stages are whole."""
    names = [section.name for section, _ in kept.stages]
    if kept.tensors != digest_of(session.file_tree) or len(set(names)) < len(names):
        return False
    masks = [kept.common, *(mask for _, mask in kept.stages)]
    try:
        return all(len(_unpacked(mask, len(session.tree.tensors))) for mask in masks)
    except ValueError:
        return False


def _unpacked(packed: bytes, size: int) -> bytes:
    """Return a mask of `size` tensors.

    Raises:
        ValueError: it is not one.
    """
    try:
        mask = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(mask) != size or mask.strip(b"\0\1"):
        raise ValueError("not a mask")
    return mask


def _has_ended(path: Path, kept: Kept) -> bool:
    """Whether the process that wrote a recovery file has ended: nobody holds its lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system cannot lock
        return kept.host == socket.gethostname() and not _runs(kept.pid)
    finally:
        os.close(descriptor)
    return True


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def prune(directory: Path) -> None:
    """Remove the oldest files of processes that have ended, and what is corrupt or left over."""
    for path in list(_superfluous(directory)):
        kept = _read(path)
        if kept is None or _has_ended(path, kept):
            with contextlib.suppress(OSError):
                path.unlink()


def _superfluous(directory: Path) -> Iterator[Path]:
    ages = {}
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            ages[path] = time.time() - path.stat().st_mtime
    for number, path in enumerate(sorted(ages, key=lambda path: ages[path])):
        left_over = path.suffix != SUFFIX and ages[path] > _MAX_WRITE_S
        if number >= _MAX_FILES or ages[path] > _MAX_AGE_S or left_over:
            yield path
