"""The checkpoints that were opened lately, and those below a directory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from freezetui.checkpoint.sources.urls import is_url, shown_url
from freezetui.config.paths import ENDINGS
from freezetui.session.options import Options
from freezetui.state import keeps_state, read_private, state_directory, write_private

_NAME = "recent.json"
_MAX_BYTES, _MAX_ENTRIES = 256 * 2**10, 30
#: Limits of the search below a directory: levels, files looked at, seconds, checkpoints found.
_MAX_DEPTH, _MAX_LOOKED_AT, _MAX_SECONDS, _MAX_FOUND = 5, 50_000, 3.0, 300
#: A directory with one of these is a checkpoint itself.
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json", "model_index.json", ".metadata")
#: Directories that are never looked into, besides hidden ones.
_SKIPPED = frozenset(["__pycache__", "node_modules", "site-packages"])


class View(msgspec.Struct, frozen=True):
    """How a checkpoint was looked at.

    Attributes:
        opened: expanded modules.
        unfolded: the first block of each run that is shown as single blocks though it could be one line.
        cursor: the line of the cursor.
        filters: the newest last.
    """

    opened: tuple[str, ...] = ()
    unfolded: tuple[str, ...] = ()
    cursor: str = ""
    filters: tuple[str, ...] = ()


class Recent(msgspec.Struct, frozen=True):
    """A checkpoint that was opened: its path, or its URL without user and query, when, and its view."""

    source: str
    when: float
    view: View = View()


class Candidate(msgspec.Struct, frozen=True):
    """A checkpoint below a directory: its path, its bytes, and when it was written."""

    path: str
    bytes: int
    when: float


def recent() -> list[Recent]:
    """Return what was opened lately and is still there, the newest first; [] if nothing is kept."""
    return [each for each in _kept() if is_url(each.source) or os.path.lexists(each.source)]


def remembered(options: Options) -> View:
    """Return how a checkpoint was looked at the last time; an empty view if that is not known."""
    source = _named(options)
    return next((each.view for each in _kept() if each.source == source), View())


def note_opened(options: Options, view: View | None = None) -> None:
    """Remember what is open, and `view` if given; only for what one path names, and never an error."""
    directory = state_directory() if keeps_state() and not options.more else None
    if directory is None:
        return
    source = _named(options)
    shown = Recent(source, time.time(), remembered(options) if view is None else view)
    entries = [shown, *(each for each in recent() if each.source != source)]
    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
        write_private(directory / _NAME, msgspec.json.encode(entries[:_MAX_ENTRIES]))


def _kept() -> list[Recent]:
    directory = state_directory() if keeps_state() else None
    if directory is None:
        return []
    try:
        read = msgspec.json.decode(read_private(directory / _NAME, _MAX_BYTES), type=list[Recent])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    return read[:_MAX_ENTRIES]


def _named(options: Options) -> str:
    source = options.source
    return shown_url(source) if is_url(source) else os.path.realpath(source)


def checkpoints_below(directory: str) -> list[Candidate]:
    """Return the checkpoints below a directory, the newest first; reads names only, within limits."""
    found = sorted(_walk(directory), key=lambda each: each.when, reverse=True)
    return found[:_MAX_FOUND]


def _walk(directory: str) -> Iterator[Candidate]:
    end, looked_at, found = time.monotonic() + _MAX_SECONDS, 0, 0
    waiting = [(directory, 0)]
    while waiting and found < _MAX_FOUND:
        at, depth = waiting.pop(0)
        try:
            with os.scandir(at) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            continue
        names = {entry.name for entry in entries}
        if depth and not names.isdisjoint(_INDEXES):
            yield _candidate(at, entries)
            found += 1
            continue
        if "pyvenv.cfg" in names:
            continue
        for entry in entries:
            looked_at += 1
            if looked_at > _MAX_LOOKED_AT or time.monotonic() > end:
                return
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    if depth < _MAX_DEPTH and not entry.name.startswith(".") and entry.name not in _SKIPPED:
                        waiting.append((entry.path, depth + 1))
                elif Path(entry.name).suffix in ENDINGS and entry.is_file():
                    yield _candidate(entry.path, [entry])
                    found += 1


def _candidate(path: str, entries: list[os.DirEntry[str]]) -> Candidate:
    size, when = 0, 0.0
    for entry in entries:
        with contextlib.suppress(OSError):
            if Path(entry.name).suffix in ENDINGS and entry.is_file():
                status = entry.stat()
                size, when = size + status.st_size, max(when, status.st_mtime)
    return Candidate(path, size, when)
