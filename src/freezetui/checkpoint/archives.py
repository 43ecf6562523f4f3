"""The containers that hold a pickle: the zip that torch writes, and the older run of pickles."""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple

from freezetui.checkpoint.tensors import ITEMSIZE
from freezetui.checkpoint.unpickle import LegacyUnpickler, Unpickler
from freezetui.checkpoint.zipdir import Member, ZipDirectory
from freezetui.errors import CheckpointError

#: The first pickle of a file that torch before 1.6 wrote: the number 0x1950a86a20f9469cfc6c.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_MOST_PICKLE = 4 * 2**30


class Unpacked(NamedTuple):
    """The object that an archive holds, inert, and the foreign globals that its pickle names."""

    value: Any
    foreign: tuple[str, ...]


def read_zip(file: BinaryIO, size: int, source: str) -> Unpacked:
    """The object in a zip archive's `data.pkl`.

    Raises:
        CheckpointError: no such archive, or a damaged one.
    """
    directory = ZipDirectory(file, size, source)
    member = _data_pickle(directory, source)
    unpickler = Unpickler(io.BytesIO(directory.read(member)), source)
    return Unpacked(unpickler.next(), tuple(unpickler.foreign))


def read_legacy(file: BinaryIO, source: str) -> Unpacked:
    """The object in a file that torch before 1.6 wrote: magic, version, system, then the object.

    Raises:
        CheckpointError: a damaged one.
    """
    file.seek(0)
    unpickler = LegacyUnpickler(file, source)
    _skip_preamble(unpickler)
    return Unpacked(unpickler.next(), tuple(unpickler.foreign))


def legacy_storages(file: BinaryIO, size: int, source: str) -> dict[str, tuple[int, int]]:
    """Where each storage of a legacy file lies: key -> (offset, bytes).

    Behind the object stand the keys in order, then per storage an int64 count of elements and the data.

    Raises:
        CheckpointError: a damaged file.
    """
    file.seek(0)
    unpickler = LegacyUnpickler(file, source)
    _skip_preamble(unpickler)
    unpickler.next()
    itemsizes = {str(s[2]): ITEMSIZE.get(str(s[1]), 0) for s in unpickler.storages if len(s) > 2}
    keys = unpickler.next()
    places: dict[str, tuple[int, int]] = {}
    position = file.tell()
    for key in keys if isinstance(keys, list) else ():
        file.seek(position)
        nbytes = int.from_bytes(file.read(8), "little") * itemsizes.get(str(key), 0)
        places[str(key)] = (position + 8, nbytes)
        position += 8 + nbytes
        if position > size:
            raise CheckpointError(f"{source} breaks off before its last tensor.", "Fetch the file again.")
    return places


def zip_storages(directory: ZipDirectory, source: str) -> dict[str, Member]:
    """The members that hold storages, by key: `archive/data/0` -> "0".

    Raises:
        CheckpointError: the storages were written on a big-endian machine.
    """
    prefix = _data_pickle(directory, source).name.removesuffix("data.pkl")
    found: dict[str, Member] = {}
    for member in directory.members():
        if member.name.startswith(prefix + "data/"):
            found[member.name[len(prefix) + 5 :]] = member
        elif member.name == prefix + "byteorder" and directory.read(member).strip() == b"big":
            raise CheckpointError(
                f"{source} was written on a big-endian machine.", "Save it again on this one."
            )
    return found


def _data_pickle(directory: ZipDirectory, source: str) -> Member:
    """torch writes `data.pkl` first, so that the search ends at once."""
    for member in directory.members():
        if member.name.rpartition("/")[2] == "data.pkl" and member.name.count("/") <= 1:
            if member.size > _MOST_PICKLE:
                raise CheckpointError(
                    f"{source} claims a pickle of {member.size:,} bytes.", "It may be hostile."
                )
            return member
    raise CheckpointError(
        f"{source} is a zip archive, but not one that torch.save wrote: it has no data.pkl.",
        "Unpack it, and pass the checkpoint inside.",
    )


def _skip_preamble(unpickler: Unpickler) -> None:
    """Read past magic number, protocol version and system info."""
    for _ in range(3):
        unpickler.next()
