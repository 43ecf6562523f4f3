"""Reads zip archives written by torch.save, torch.jit.save and torch.export."""

from __future__ import annotations

from mmap import mmap

from freezetui.checkpoint.formats.byte_order import check_byte_order
from freezetui.checkpoint.formats.torchscript import declared
from freezetui.checkpoint.formats.zip_directory import STORED, Member, ZipDirectory
from freezetui.checkpoint.pickles.forgetting import CannotForgetError
from freezetui.checkpoint.pickles.unpickle import read_pickle
from freezetui.checkpoint.state_dict.assemble import Archive
from freezetui.checkpoint.state_dict.modules import is_script
from freezetui.errors import CheckpointError

_MAX_PICKLE = 2**29
#: How much a compressed pickle may expand, as a ratio; and the size that is always allowed.
_MAX_RATIO, _ALWAYS_UNPACKED = 64, 2**24


def read_zip(directory: ZipDirectory, source: str) -> Archive:
    """Return the object in a zip archive's `data.pkl`.

    Raises:
        CheckpointError: the archive has none, or is corrupt.
    """
    member = _data_pickle(directory, source)
    top = member.name.removesuffix("data.pkl")
    sizes = _sizes(directory, top)
    pickled = _pickle_bytes(directory, member, source)
    directory.release()  # before the objects of 100,000 tensors take memory
    try:
        unpickled = read_pickle(pickled, source, given_back=True, forgetful=True)
    except CannotForgetError:
        unpickled = read_pickle(_pickle_bytes(directory, member, source), source, given_back=True)
    code = declared(directory) if is_script(unpickled.value) else {}
    return Archive(unpickled.value, unpickled.foreign, unpickled.called, code, sizes)


def _sizes(directory: ZipDirectory, top: str) -> list[int] | dict[str, int]:
    """Return the bytes of each storage, by its number or by its key."""
    prefix = f"{top}data/"
    sizes = directory.ordered_sizes(prefix)
    if sizes is not None:
        return sizes
    members = ((m.name, m.size) for m in directory.members() if m.name.startswith(prefix))
    return {name[len(prefix) :]: size for name, size in members}


def zip_storages(directory: ZipDirectory, source: str) -> dict[str, Member]:
    """Return the members with storages by key: `archive/data/0` -> "0"; of torch.export `weight_0`.

    Raises:
        CheckpointError: the storages were written on a machine of the other byte order.
    """
    if has_pickle(directory):
        top, inner = _data_pickle(directory, source).name.removesuffix("data.pkl"), "data/"
    else:
        top, inner = next(directory.members()).name.partition("/")[0] + "/", "data/weights/"
    found: dict[str, Member] = {}
    for member in directory.members():
        if member.name.startswith(top + inner):
            found[member.name[len(top + inner) :]] = member
        elif member.name == top + "byteorder" and member.size < 16:
            check_byte_order(directory.read(member) != b"big", source)
        elif member.name.startswith("serialized_state_dict"):
            raise CheckpointError(
                f"{source} is a torch.export archive from before torch 2.7; its weights are in a nested zip.",
                "Load it with torch.export.load and save its state_dict with torch.save.",
            )
    return found


def _pickle_bytes(directory: ZipDirectory, member: Member, source: str) -> bytes | mmap:
    limit = _MAX_PICKLE
    if member.method != STORED:
        limit = min(limit, max(_ALWAYS_UNPACKED, _MAX_RATIO * member.packed))
    if member.size > limit:
        raise CheckpointError(
            f"{source} declares a pickle of {member.size:,} bytes; the limit for this archive is {limit:,}.",
            "It may be malicious.",
        )
    return directory.read_mapped(member)


def has_pickle(directory: ZipDirectory) -> bool:
    """Whether an archive was written by torch.save or torch.jit.save."""
    return any(_is_pickle(member.name) for member in directory.members())


def _data_pickle(directory: ZipDirectory, source: str) -> Member:
    """Return `data.pkl`; torch writes it first, so the search ends immediately."""
    for member in directory.members():
        if _is_pickle(member.name):
            _check_alone(directory, source)
            return member
    what, hint = _other_zip([member.name for _, member in zip(range(100), directory.members(), strict=False)])
    raise CheckpointError(f"{source} is {what}.", hint)


def _is_pickle(name: str) -> bool:
    return name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1


def _check_alone(directory: ZipDirectory, source: str) -> None:
    """Refuse several `data.pkl`: torch loads whichever its case-insensitive search finds."""
    if (
        directory.mentions(b"data.pkl") > 1
        and sum(_is_pickle(m.name.lower()) for m in directory.members()) > 1
    ):
        raise CheckpointError(
            f"{source} contains more than one data.pkl, so different tools may load different models.",
            "It may be malicious.",
        )


def _other_zip(names: list[str]) -> tuple[str, str]:
    if any(name.endswith("/archive_format") for name in names):
        return "a torch.export archive without weights", "Save the exported program again."
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)", "Convert it to a PyTorch state_dict first."
    if any(name.endswith(".weights.h5") for name in names):
        return "a Keras archive", "Convert it to a PyTorch state_dict first."
    if any(name.endswith("/.data/serialization_id") for name in names):  # which torch.save writes first
        return (
            "a zip archive with no data.pkl: torch.save failed before it wrote the weights",
            "Save them again, and see what torch.save raises.",
        )
    return (
        "a zip archive with no data.pkl, so it was not written by torch.save",
        "Unpack it, and pass the checkpoint inside.",
    )
