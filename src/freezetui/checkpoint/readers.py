"""One file -> Checkpoint: looks at its first bytes and calls the reader."""

from __future__ import annotations

from freezetui.checkpoint.sniff import Opened, container
from freezetui.checkpoint.tensors import Checkpoint
from freezetui.errors import CheckpointError, CutShortError

#: How much of a legacy file is read at first: where every byte is fetched, and on this machine.
_FIRST_FETCH, _FIRST_READ, _MOST_READ = 1 << 12, 1 << 20, 1 << 30


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
        return _read_zip(opened, key)
    if kind == "gguf":
        from freezetui.checkpoint.gguf import read_gguf

        return read_gguf(file, size, name, key)
    if kind == "legacy":
        return _read_legacy(opened, key)
    from freezetui.checkpoint.refusals import seems

    what, hint = seems(head)
    raise CheckpointError(f"{name} {what}.", hint)


def _read_zip(opened: Opened, key: str | None) -> Checkpoint:
    from freezetui.checkpoint.archives import has_pickle, read_zip
    from freezetui.checkpoint.layout import lay_out
    from freezetui.checkpoint.zipdir import ZipDirectory

    file, size, _, name = opened
    directory = ZipDirectory(file, size, name)
    if not has_pickle(directory):
        from freezetui.checkpoint.pt2 import contents, read_pt2

        found = contents(directory)
        if found.weights or found.old:
            return read_pt2(file, directory, found, name, key)
    return lay_out(read_zip(directory, name), name, "zip", key)


def _read_legacy(opened: Opened, key: str | None) -> Checkpoint:
    from freezetui.checkpoint.archives import read_legacy
    from freezetui.checkpoint.layout import lay_out

    file, size, _, name = opened
    # Not mapped: a file that shrinks under a map ends the process. The pickles stand first, and only reading
    # them tells how long they are.
    length = _FIRST_FETCH if not hasattr(file, "fileno") else _FIRST_READ
    while True:
        file.seek(0)
        try:
            archive = read_legacy(file.read(min(length, size)), size, name)
        except CutShortError:
            if length >= min(size, _MOST_READ):
                raise
            length *= 2
            continue
        return lay_out(archive, name, "legacy pickle", key)
