"""Reads files written by torch before 1.6: a run of pickles, then the storages."""

from __future__ import annotations

from mmap import mmap

from freezetui.checkpoint.formats.byte_order import check_byte_order
from freezetui.checkpoint.pickles.globals import together
from freezetui.checkpoint.pickles.unpickle import Unpickled, read_pickle
from freezetui.checkpoint.state_dict.assemble import Archive
from freezetui.errors import DOWNLOAD_AGAIN, CheckpointError

_PREAMBLE = 3


def read_legacy(data: bytes | mmap, size: int, source: str) -> Archive:
    """Return the object in a file written by torch before 1.6.

    Args:
        data: the file, or its start up to the storages.
        size: of the whole file, in bytes.

    Raises:
        CheckpointError: the file is corrupt or truncated.
    """
    pickles = _legacy_pickles(data, source)
    unpickled = pickles[_PREAMBLE]
    bytes_due = sum(8 + itemsize * elements for itemsize, elements in unpickled.storages.values())
    if pickles[-1].end + bytes_due > size:
        raise _truncated(source)
    keys = pickles[-1].value
    stored = {key for key in keys if type(key) is str} if isinstance(keys, list) else set()
    sizes = {key: width * count for key, (width, count) in unpickled.storages.items() if key in stored}
    # torch unpickles all five pickles.
    foreign = together(each.foreign for each in pickles)
    return Archive(unpickled.value, foreign, together(each.called for each in pickles), sizes=sizes)


def legacy_storages(data: bytes | mmap, source: str, size: int | None = None) -> dict[str, tuple[int, int]]:
    """Return the position of each storage of a legacy file: key -> (offset, bytes).

    After the keys come, for each of them in turn, an int64 count of elements and the elements.

    Args:
        data: the file; or its start up to the storages, if `size` is that of the whole file in bytes: the
            counts are then those in the pickle.

    Raises:
        TruncatedError: the start is too short.
        CheckpointError: the file is corrupt, or was written on a machine of the other byte order.
    """
    pickles = _legacy_pickles(data, source)
    system, storages, keys = pickles[2].value, pickles[_PREAMBLE].storages, pickles[-1].value
    if isinstance(system, dict):
        check_byte_order(system.get("little_endian") is not False, source)
    places: dict[str, tuple[int, int]] = {}
    at = pickles[-1].end
    for key in keys if isinstance(keys, list) else ():
        if type(key) is not str or key not in storages:
            raise CheckpointError(
                f"{source} contains a storage that no tensor refers to.", "Save the file again."
            )
        itemsize, count = storages[key]
        if size is None:
            count = int.from_bytes(data[at : at + 8], "little")
        nbytes = itemsize * max(0, count)
        places[key] = at + 8, nbytes
        at += 8 + nbytes
        if at > (len(data) if size is None else size):
            raise _truncated(source)
    return places


def _legacy_pickles(data: bytes | mmap, source: str) -> list[Unpickled]:
    """Return the pickles before the storages: magic, protocol version, system info, object, storage keys."""
    pickles: list[Unpickled] = []
    for index in range(_PREAMBLE + 2):
        start = pickles[-1].end if pickles else 0
        pickles.append(read_pickle(data, source, start, legacy=index == _PREAMBLE))
    return pickles


def _truncated(source: str) -> CheckpointError:
    return CheckpointError(f"{source} is truncated before its last tensor.", DOWNLOAD_AGAIN)
