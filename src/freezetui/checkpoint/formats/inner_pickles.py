"""Checks the pickles besides the one with the weights, which torch unpickles too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from freezetui import numbers
from freezetui.checkpoint.formats.detect import container
from freezetui.checkpoint.formats.torch_legacy import read_legacy
from freezetui.checkpoint.formats.torch_zip import read_zip
from freezetui.checkpoint.formats.zip_directory import ZipDirectory
from freezetui.checkpoint.pickles.globals import calls, danger, together
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.sources.base import Stream
from freezetui.errors import CheckpointError

_MAX_READ, _HEAD = 2**26, 64


class Named(NamedTuple):
    """The globals that several pickles name.

    Attributes:
        foreign, called: as in an Archive.
        unread: how many of the pickles are corrupt or too large.
    """

    foreign: tuple[str, ...]
    called: tuple[str, ...]
    unread: int

    def warnings(self) -> Iterator[str]:
        """Yield the warnings about them."""
        yield from filter(None, (danger(self.foreign), calls(self.called)))
        if self.unread:
            objects = numbers.plural(self.unread, "object")
            yield f"{objects} besides the weights not checked; torch would run what they name when loading"


def named_in(files: Iterable[tuple[Stream, int]], source: str) -> Named:
    """Return the globals that files inside another file name; each is written by torch.save, or a pickle.

    Args:
        files: and the size of each, in bytes.
        source: the file that contains them, for messages.
    """
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    unread = 0
    for file, size in files:
        try:
            found.append(_named(file, size, source))
        except CheckpointError:
            unread += 1
    return Named(together(each for each, _ in found), together(each for _, each in found), unread)


def _named(file: Stream, size: int, source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    file.seek(0)
    kind = container(file.read(min(size, _HEAD)))
    file.seek(0)
    if kind == "zip":
        archive = read_zip(ZipDirectory(file, size, source), source)
        return archive.foreign, archive.called
    if size > _MAX_READ:
        raise CheckpointError(f"{source} contains a pickle that is too large.")
    data = file.read(size)
    if kind == "legacy":
        archive = read_legacy(data, size, source)
        return archive.foreign, archive.called
    unpickled = read_pickle(data, source)
    return unpickled.foreign, unpickled.called
