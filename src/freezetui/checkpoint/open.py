"""open_checkpoint: a path or a URL, a file or a directory -> Checkpoint."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from freezetui.checkpoint.layouts.directory import read_directory, read_source
from freezetui.checkpoint.sources import source_of
from freezetui.checkpoint.types import Checkpoint, Found


def open_checkpoint(
    source: str | Path | Sequence[str | Path],
    *,
    key: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
    found: Found | None = None,
) -> Checkpoint:
    """Read a checkpoint's header.

    Nothing that the file names is imported or run, no file is written, and from a URL only the ranges that
    contain the header are fetched.

    Args:
        source: path or URL of a file, a shard index or a directory; or several files as one.
        key: dotted key of the dict that holds the state_dict; None chooses the most likely one.
        progress: called from this thread with a few words, if there are several files to read.
        found: see `Found`; only called for zip archives, which take longest to read.

    Raises:
        CheckpointError: it is not a checkpoint; the message says what it looks like, the hint what to do.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    opened = [source_of(each) for each in sources]
    with _collector_paused():
        if len(opened) > 1:
            from freezetui.checkpoint.layouts.shards import read_several

            checkpoint = read_several(opened, key, progress)
        elif opened[0].is_directory():
            checkpoint = read_directory(opened[0], key, progress)
        else:
            checkpoint = read_source(opened[0], key, progress, found)
    return msgspec.structs.replace(checkpoint, source=", ".join(map(str, sources)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which half a million new objects, none of them garbage, would trigger."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
