"""The containers that hold a pickle: the zip that torch writes, and the older run of pickles."""

from __future__ import annotations

from freezetui.checkpoint.formats.byte_order import check_byte_order
from freezetui.checkpoint.formats.torchscript import declared
from freezetui.checkpoint.formats.zip_directory import STORED, Member, ZipDirectory
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.state_dict.assemble import Archive
from freezetui.checkpoint.state_dict.modules import is_script
from freezetui.errors import CheckpointError

_MAX_PICKLE = 2**29
#: A packed pickle may be so much larger than its packed bytes, and so large in any case.
_MAX_RATIO, _ALWAYS_UNPACKED = 64, 2**24


def read_zip(directory: ZipDirectory, source: str) -> Archive:
    """The object in a zip archive's `data.pkl`.

    Raises:
        CheckpointError: no such archive, or a damaged one.
    """
    member = _data_pickle(directory, source)
    unpickled = read_pickle(_pickle_bytes(directory, member, source), source)
    code = declared(directory) if is_script(unpickled.value) else {}
    top = member.name.removesuffix("data.pkl")
    return Archive(unpickled.value, unpickled.foreign, unpickled.called, code, _sizes(directory, top))


def _sizes(directory: ZipDirectory, top: str) -> list[int] | dict[str, int]:
    """The bytes of each storage, by its number or by its key."""
    folder = f"{top}data/"
    sizes = directory.ordered_sizes(folder)
    if sizes is not None:
        return sizes
    members = ((m.name, m.size) for m in directory.members() if m.name.startswith(folder))
    return {name[len(folder) :]: size for name, size in members}


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
            check_byte_order(directory.read(member) != b"big", source)
        elif member.name.startswith("serialized_state_dict"):
            raise CheckpointError(
                f"{source} is of torch.export before 2.7, which keeps its weights in an archive inside.",
                "Load it and save its state_dict with torch.save to check it.",
            )
    return found


def _pickle_bytes(directory: ZipDirectory, member: Member, source: str) -> bytes:
    most = _MAX_PICKLE
    if member.method != STORED:
        most = min(most, max(_ALWAYS_UNPACKED, _MAX_RATIO * member.packed))
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
