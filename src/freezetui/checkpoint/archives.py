"""The containers that hold a pickle: the zip that torch writes, and the older run of pickles."""

from __future__ import annotations

import sys
from mmap import mmap
from typing import Any, NamedTuple

from freezetui.checkpoint.modules import is_script
from freezetui.checkpoint.script import Declared, declared
from freezetui.checkpoint.unpickle import Unpickled, read_pickle
from freezetui.checkpoint.zipdir import STORED, Member, ZipDirectory
from freezetui.errors import CheckpointError

_MOST_PICKLE = 2**29
#: A packed pickle may be so much larger than its packed bytes, and so large in any case.
_MOST_RATIO, _ALWAYS_UNPACKED = 64, 2**24
_PREAMBLE = 3


class Archive(NamedTuple):
    """What an archive holds.

    Attributes:
        value: the object, made of stand-ins.
        foreign: the foreign globals that its pickle names.
        declared: of TorchScript, what its code declares of each class.
    """

    value: Any
    foreign: tuple[str, ...]
    declared: Declared = {}


def read_zip(directory: ZipDirectory, source: str) -> Archive:
    """The object in a zip archive's `data.pkl`.

    Raises:
        CheckpointError: no such archive, or a damaged one.
    """
    unpickled = read_pickle(_pickle_bytes(directory, source), source)
    code = declared(directory) if is_script(unpickled.value) else {}
    return Archive(unpickled.value, unpickled.foreign, code)


def zip_storages(directory: ZipDirectory, source: str) -> dict[str, Member]:
    """The members that hold storages, by key: `archive/data/0` -> "0"; of torch.export `weight_0`.

    Raises:
        CheckpointError: the storages were written on a machine of the other byte order.
    """
    if has_pickle(directory):
        top, folder = _data_pickle(directory, source).name.removesuffix("data.pkl"), "data/"
    else:
        top, folder = next(directory.members()).name.partition("/")[0] + "/", "data/weights/"
    found: dict[str, Member] = {}
    for member in directory.members():
        if member.name.startswith(top + folder):
            found[member.name[len(top + folder) :]] = member
        elif member.name == top + "byteorder" and member.size < 16:
            _check_order(directory.read(member) != b"big", source)
        elif member.name.startswith("serialized_state_dict"):
            raise CheckpointError(
                f"{source} is of torch.export before 2.7, which keeps its weights in an archive inside.",
                "Load it and save its state_dict with torch.save to check it.",
            )
    return found


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
    return Archive(unpickled.value, unpickled.foreign)


def legacy_storages(data: mmap, source: str) -> dict[str, tuple[int, int]]:
    """Where each storage of a legacy file lies: key -> (offset, bytes).

    Behind the keys stand, for each in turn, an int64 count of elements and the elements.

    Raises:
        CheckpointError: a damaged file, or one written on a machine of the other byte order.
    """
    pickles = _legacy_pickles(data, source)
    system, storages, keys = pickles[2].value, pickles[_PREAMBLE].storages, pickles[-1].value
    if isinstance(system, dict):
        _check_order(system.get("little_endian") is not False, source)
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


def _pickle_bytes(directory: ZipDirectory, source: str) -> bytes:
    member = _data_pickle(directory, source)
    most = _MOST_PICKLE
    if member.method != STORED:
        most = min(most, max(_ALWAYS_UNPACKED, _MOST_RATIO * member.packed))
    if member.size > most:
        raise CheckpointError(f"{source} claims a pickle of {member.size:,} bytes.", "It may be hostile.")
    return directory.read(member)


def has_pickle(directory: ZipDirectory) -> bool:
    """Whether torch.save or torch.jit.save wrote an archive."""
    return any(_is_pickle(member.name) for member in directory.members())


def _data_pickle(directory: ZipDirectory, source: str) -> Member:
    """torch writes `data.pkl` first, so that the search ends at once."""
    for member in directory.members():
        if _is_pickle(member.name):
            _check_alone(directory, source)
            return member
    what, hint = _other_zip([member.name for _, member in zip(range(100), directory.members(), strict=False)])
    raise CheckpointError(f"{source} is a zip archive, but {what}.", hint)


def _is_pickle(name: str) -> bool:
    return name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1


def _check_alone(directory: ZipDirectory, source: str) -> None:
    """Of two, torch takes whichever its search hits, and its search does not mind capitals."""
    if (
        directory.mentions(b"data.pkl") > 1
        and sum(_is_pickle(m.name.lower()) for m in directory.members()) > 1
    ):
        raise CheckpointError(
            f"{source} holds more than one data.pkl, so that others may read another model.",
            "It may be hostile.",
        )


def _other_zip(names: list[str]) -> tuple[str, str]:
    if any(name.endswith("/archive_format") for name in names):
        return "one of torch.export without weights", "Save the exported program again."
    if any(name.endswith(".npy") for name in names):
        return "one of NumPy arrays (.npz)", "Convert it to a PyTorch state_dict first."
    if any(name.endswith(".weights.h5") for name in names):
        return "one that Keras wrote", "Convert it to a PyTorch state_dict first."
    return "not one that torch.save wrote: it has no data.pkl", "Unpack it, and pass the checkpoint inside."


def _check_order(little: bool, source: str) -> None:
    if little != (sys.byteorder == "little"):
        order = "little" if little else "big"
        raise CheckpointError(
            f"{source} was written on a {order}-endian machine; this one is {sys.byteorder}-endian.",
            "Load it there and save it as safetensors.",
        )


def _cut_short(source: str) -> CheckpointError:
    return CheckpointError(
        f"{source} breaks off before its last tensor.",
        "The download or the copy was cut short; fetch it again.",
    )
