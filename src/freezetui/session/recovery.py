"""Recovery: keeps what is chosen and not saved in a file, so that no crash loses it.

The process holds a lock on its file, so that another one knows whether it still runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from freezetui.config.schema import Stage
from freezetui.freeze.plan import moved_mask
from freezetui.freeze.tree import ParamTree
from freezetui.session.recovery_files import (
    MAX_BYTES,
    SUFFIX,
    Kept,
    digest_of,
    identity,
    prune,
    recovery_directory,
    sources_of,
)
from freezetui.session.session import Session
from freezetui.session.stage_history import Settings
from freezetui.state import keeps_state, write_private

#: Seconds that the end of the program waits for a file that is being written.
_MAX_WAIT_S = 2.0


class _Snapshot(NamedTuple):
    """What is chosen at one moment; the threads that write it share nothing with the session."""

    masks: dict[str | None, bytes]
    stages: tuple[Stage, ...]
    shown: str | None
    settings: Settings
    tree: ParamTree


class Recovery:
    """The recovery file of this process for one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._next: tuple[_Snapshot | None] | None = None
        self._path: Path | None = None
        self._descriptor: int | None = None

    def note(self) -> None:
        """Write what is chosen now, in a thread; remove the file if nothing is unsaved."""
        if not keeps_state():
            return
        session = self._session
        snapshot = None
        if session.unsaved:
            stages = session.stages
            snapshot = _Snapshot(
                stages.masks(),
                tuple(stages.sections.values()),
                stages.shown,
                stages.settings,
                session.tree,
            )
        with self._lock:
            self._next = (snapshot,)
            if self._idle.is_set():
                self._idle.clear()
                threading.Thread(target=self._work, daemon=True).start()

    def close(self, keep: bool) -> None:
        """Wait for what is being written; then let the file go, or remove it unless `keep`."""
        with self._lock:
            if not keep and not self._idle.is_set():
                self._next = (None,)
        self._idle.wait(_MAX_WAIT_S)
        if not keep:
            self._remove()
        self._release()

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._next is None:
                    self._idle.set()
                    return
                (snapshot,), self._next = self._next, None
            try:
                self._remove() if snapshot is None else self._write(snapshot)
            except (OSError, ValueError, msgspec.MsgspecError):
                pass  # a full disk, or names that cannot be encoded: the choice itself is not touched
            except BaseException:
                self._idle.set()
                raise

    def _write(self, snapshot: _Snapshot) -> None:
        if self._path is None:
            directory = recovery_directory(make=True)
            if directory is None:
                return
            prune(directory)
            self._path = directory / f"{identity(self._session)}-{os.getpid()}{SUFFIX}"
        data = msgspec.json.encode(_kept(self._session, snapshot))
        if len(data) <= MAX_BYTES:
            descriptor = write_private(self._path, data, locked=True)
            self._release()
            self._descriptor = descriptor

    def _remove(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._release()

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def _kept(session: Session, snapshot: _Snapshot) -> Kept:
    def packed(mask: bytes) -> bytes:
        return zlib.compress(moved_mask(mask, snapshot.tree, session.file_tree), 6)

    return Kept(
        checkpoint=sources_of(session),
        config=str(session.config_path.absolute()),
        tensors=digest_of(session.file_tree),
        common=packed(snapshot.masks[None]),
        stages=tuple((stage, packed(snapshot.masks[stage.name])) for stage in snapshot.stages),
        shown=snapshot.shown,
        **snapshot.settings._asdict(),
        when=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
