"""read_file: one file -> Checkpoint; detects the format and calls its reader."""

from __future__ import annotations

from freezetui.checkpoint.formats.detect import container
from freezetui.checkpoint.sources.base import OpenFile
from freezetui.checkpoint.types import Checkpoint, Found
from freezetui.errors import CheckpointError, TruncatedError

#: How many bytes of a legacy file to read first: over a network, and locally; and how many at most.
_FIRST_FETCH, _FIRST_READ, _MAX_READ = 1 << 12, 1 << 20, 1 << 30


def read_file(opened: OpenFile, key: str | None, found: Found | None = None) -> Checkpoint:
    """Return the Checkpoint in one file. Each reader is imported on demand: most users open one format.

    Args:
        key: dotted key of the dict that holds the state_dict; None chooses the most likely one.
        found: see `Found`; only called for zip archives, which take longest to read.

    Raises:
        CheckpointError: it is not a checkpoint; the message says what it looks like, the hint what to do.
    """
    file, size, head, name = opened
    kind = container(head)
    if kind == "safetensors":
        from freezetui.checkpoint.formats.safetensors import read_safetensors

        return read_safetensors(file, size, name, key)
    if kind == "zip":
        return _read_zip(opened, key, found)
    if kind == "gguf":
        from freezetui.checkpoint.formats.gguf import read_gguf

        return read_gguf(file, size, name, key)
    if kind == "legacy":
        return _read_legacy(opened, key)
    if kind == "pickle":
        from freezetui.checkpoint.formats.plain_pickle import read_plain_pickle

        return read_plain_pickle(opened, key)
    from freezetui.checkpoint.formats.unsupported import describe_unsupported

    what, hint = describe_unsupported(head)
    raise CheckpointError(f"{name} {what}.", hint)


def _read_zip(opened: OpenFile, key: str | None, found: Found | None) -> Checkpoint:
    from freezetui.checkpoint.formats.torch_zip import has_pickle, read_zip
    from freezetui.checkpoint.formats.zip_directory import ZipDirectory
    from freezetui.checkpoint.state_dict.assemble import build_checkpoint

    file, size, _, name = opened
    directory = ZipDirectory(file, size, name)
    if not has_pickle(directory):
        from freezetui.checkpoint.formats.torch_export import contents, read_pt2

        exported = contents(directory)
        if exported.weights or exported.old:
            return read_pt2(file, directory, exported, name, key)
    return build_checkpoint(read_zip(directory, name), name, "zip", key, found)


def _read_legacy(opened: OpenFile, key: str | None) -> Checkpoint:
    from freezetui.checkpoint.formats.torch_legacy import read_legacy
    from freezetui.checkpoint.state_dict.assemble import build_checkpoint

    file, size, _, name = opened
    # Not mapped, since a file that shrinks while it is mapped would kill the process. The pickles come first,
    # and their length is known only after reading them.
    length = _FIRST_FETCH if not hasattr(file, "fileno") else _FIRST_READ
    while True:
        file.seek(0)
        try:
            archive = read_legacy(file.read(min(length, size)), size, name)
        except TruncatedError:
            if length >= min(size, _MAX_READ):
                raise
            length *= 2
            continue
        return build_checkpoint(archive, name, "legacy pickle", key)
