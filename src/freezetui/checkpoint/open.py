"""open_checkpoint: looks at the bytes and calls the reader."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from freezetui.checkpoint.sniff import Opened, container, opened
from freezetui.checkpoint.tensors import Checkpoint
from freezetui.errors import CheckpointError


def open_checkpoint(source: str | Path, *, key: str | None = None) -> Checkpoint:
    """Read a checkpoint's header.

    Known are zip and legacy `.pth` with state_dicts or pickled nn.Modules, TorchScript and safetensors.
    Nothing that the file names is imported or run, and the file is never written.

    Args:
        source: a path.
        key: the dotted key of the dict that holds the state_dict; None chooses.

    Raises:
        CheckpointError: it is no checkpoint; the message says what it seems to be, the hint what to do.
    """
    with opened(str(source)) as file, _collector_paused():
        checkpoint = _read(file, key)
    return msgspec.structs.replace(checkpoint, source=str(source), size=file.size)


def _read(opened: Opened, key: str | None) -> Checkpoint:
    """The readers are imported when they are needed: the face opens one file."""
    file, size, head, name = opened
    kind = container(head)
    if kind == "safetensors":
        from freezetui.checkpoint.safetensors import read_safetensors

        return read_safetensors(file, size, name, key)
    if kind == "zip":
        from freezetui.checkpoint.archives import read_zip
        from freezetui.checkpoint.layout import lay_out

        return lay_out(read_zip(file, size, name), name, "zip", key)
    if kind == "legacy":
        from freezetui.checkpoint.archives import read_legacy
        from freezetui.checkpoint.layout import lay_out

        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return lay_out(read_legacy(data, name), name, "legacy pickle", key)
    from freezetui.checkpoint.refusals import seems

    what, hint = seems(head)
    raise CheckpointError(f"{name} {what}.", hint)


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
