"""open_checkpoint: a path or a URL, a file or a folder -> Checkpoint."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from freezetui.checkpoint.layouts.folder import read_folder, read_source
from freezetui.checkpoint.sources import source_of
from freezetui.checkpoint.types import Checkpoint


def open_checkpoint(
    source: str | Path | Sequence[str | Path],
    *,
    key: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Checkpoint:
    """Read a checkpoint's header.

    Nothing that the file names is imported or run, no file is written, and of a URL only the ranges that
    the header takes are fetched.

    Args:
        source: a path or a URL of a file, an index of shards or a folder; or several files as one.
        key: the dotted key of the dict that holds the state_dict; None chooses.
        progress: called with a few words, from this thread, while there is more than one file to read.

    Raises:
        CheckpointError: it is not a checkpoint; the message says what it seems to be, the hint what to do.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    opened = [source_of(each) for each in sources]
    with _collector_paused():
        if len(opened) > 1:
            from freezetui.checkpoint.layouts.shards import read_several

            checkpoint = read_several(opened, key, progress)
        elif opened[0].is_directory():
            checkpoint = read_folder(opened[0], key, progress)
        else:
            checkpoint = read_source(opened[0], key, progress)
    return msgspec.structs.replace(checkpoint, source=", ".join(map(str, sources)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Half a million new objects, none of them garbage, would set off the collector a hundred times."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
