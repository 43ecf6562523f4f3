"""One file -> Checkpoint: looks at its first bytes and calls the reader."""

from __future__ import annotations

import mmap

from freezetui.checkpoint.sniff import Opened, container
from freezetui.checkpoint.tensors import Checkpoint
from freezetui.errors import CheckpointError

_FIRST_GUESS = 1 << 12


def read_file(opened: Opened, key: str | None) -> Checkpoint:
    """The Checkpoint in one file. The readers are imported when they are needed: the face opens one file.

    Args:
        key: the dotted key of the dict that holds the state_dict; None chooses.

    Raises:
        CheckpointError: it is no checkpoint; the message says what it seems to be, the hint what to do.
    """
    file, size, head, name = opened
    kind = container(head)
    if kind == "safetensors":
        from freezetui.checkpoint.safetensors import read_safetensors

        return read_safetensors(file, size, name, key)
    if kind == "zip":
        from freezetui.checkpoint.archives import read_zip
        from freezetui.checkpoint.layout import lay_out

        return lay_out(read_zip(file, size, name), name, "zip", key)
    if kind == "gguf":
        from freezetui.checkpoint.gguf import read_gguf

        return read_gguf(file, size, name, key)
    if kind == "legacy":
        return _read_legacy(opened, key)
    from freezetui.checkpoint.refusals import seems

    what, hint = seems(head)
    raise CheckpointError(f"{name} {what}.", hint)


def _read_legacy(opened: Opened, key: str | None) -> Checkpoint:
    from freezetui.checkpoint.archives import read_legacy
    from freezetui.checkpoint.layout import lay_out

    file, size, _, name = opened
    if hasattr(file, "fileno"):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return lay_out(read_legacy(data, size, name), name, "legacy pickle", key)
    # Where every byte is fetched, as many as the pickles take: only reading them tells.
    length = _FIRST_GUESS
    while True:
        file.seek(0)
        try:
            archive = read_legacy(file.read(length), size, name)
        except CheckpointError:
            if length >= size:
                raise
            length *= 2
            continue
        return lay_out(archive, name, "legacy pickle", key)
