"""Files that torch before 1.6 wrote: a run of pickles, then the storages."""

from __future__ import annotations

from mmap import mmap

from freezetui.checkpoint.formats.byte_order import check_byte_order
from freezetui.checkpoint.pickles.globals import together
from freezetui.checkpoint.pickles.unpickle import Unpickled, read_pickle
from freezetui.checkpoint.state_dict.assemble import Archive
from freezetui.errors import CheckpointError

_PREAMBLE = 3


def read_legacy(data: bytes | mmap, size: int, source: str) -> Archive:
    """The object in a file that torch before 1.6 wrote.

    Args:
        data: the file, or its beginning as far as the storages.
        size: of the whole file, in bytes.

    Raises:
        CheckpointError: a damaged file, or one that breaks off.
    """
    pickles = _legacy_pickles(data, source)
    unpickled = pickles[_PREAMBLE]
    bytes_due = sum(8 + itemsize * elements for itemsize, elements in unpickled.storages.values())
    if pickles[-1].end + bytes_due > size:
        raise _cut_short(source)
    keys = pickles[-1].value
    there = {key for key in keys if type(key) is str} if isinstance(keys, list) else set()
    sizes = {key: width * count for key, (width, count) in unpickled.storages.items() if key in there}
    # torch unpickles all five.
    foreign = together(each.foreign for each in pickles)
    return Archive(unpickled.value, foreign, together(each.called for each in pickles), sizes=sizes)


def legacy_storages(data: mmap, source: str) -> dict[str, tuple[int, int]]:
    """Where each storage of a legacy file lies: key -> (offset, bytes).

    Behind the keys stand, for each in turn, an int64 count of elements and the elements.

    Raises:
        CheckpointError: a damaged file, or one written on a machine of the other byte order.
    """
    pickles = _legacy_pickles(data, source)
    system, storages, keys = pickles[2].value, pickles[_PREAMBLE].storages, pickles[-1].value
    if isinstance(system, dict):
        check_byte_order(system.get("little_endian") is not False, source)
    places: dict[str, tuple[int, int]] = {}
    at = pickles[-1].end
    for key in keys if isinstance(keys, list) else ():
        if type(key) is not str or key not in storages:
            raise CheckpointError(f"{source} holds a storage that no tensor uses.", "Save the file again.")
        nbytes = int.from_bytes(data[at : at + 8], "little") * storages[key][0]
        places[key] = at + 8, nbytes
        at += 8 + nbytes
        if at > len(data):
            raise _cut_short(source)
    return places


def _legacy_pickles(data: bytes | mmap, source: str) -> list[Unpickled]:
    """Magic number, protocol version, system info, the object, the storage keys; the storages come behind."""
    pickles: list[Unpickled] = []
    for index in range(_PREAMBLE + 2):
        start = pickles[-1].end if pickles else 0
        pickles.append(read_pickle(data, source, start, legacy=index == _PREAMBLE))
    return pickles


def _cut_short(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} breaks off before its last tensor.",
        "The download or the copy was cut short; fetch it again.",
    )
