"""Files that open, but of which bytes are missing: told at opening by the tensor's name, and never loaded."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.errors import CheckpointError
from support.checkpoint_samples import odd_state_dict, zipped


def told(path: Path) -> str:
    """Return the warning about the damage; the check refuses with the same."""
    checkpoint = open_checkpoint(path)
    with pytest.raises(CheckpointError) as error, open_weights(checkpoint):
        pass
    warning = next(warning for warning in checkpoint.warnings if warning.startswith("corrupt"))
    assert warning.partition(": ")[2] in str(error.value)
    return warning


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Write the archive with members changed, or left out where `change` says None."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)
    return path


STATE = {"first": torch.ones(3), "second": torch.ones(4, 5), "third": torch.ones(2)}


def test_a_storage_that_is_not_in_the_zip(write: Callable[..., Path]) -> None:
    path = rewritten(write(STATE), lambda name, data: None if name.endswith("data/1") else data)
    assert "the data of 1 tensor is missing, or smaller than the header says (second)" in told(path)


@pytest.mark.parametrize("left", [0, 79])
def test_a_storage_that_is_shorter_than_claimed(write: Callable[..., Path], left: int) -> None:
    path = rewritten(write(STATE), lambda name, data: data[:left] if name.endswith("data/1") else data)
    assert "(second)" in told(path)


def tensor(storage: int, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> bytes:
    """Return a tensor as torch pickles it, over a storage that claims so many floats."""

    class Storage:
        def __init__(self, pid: Any) -> None:
            self.pid = pid

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return value.pid if isinstance(value, Storage) else None

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Tensor):
                return torch._utils._rebuild_tensor_v2, value.args
            return NotImplemented

    class Tensor:
        args = (
            Storage(("storage", torch.FloatStorage, "0", "cpu", storage)),
            offset,
            size,
            stride,
            False,
            None,
        )

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"w": Tensor()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("claimed", "offset", "size", "stride"),
    [
        (4, 0, (1024, 1024, 1024), (1024 * 1024, 1024, 1)),
        (2**30, 0, (1024, 1024, 1024), (1024 * 1024, 1024, 1)),
        (4, 1, (4,), (1,)),
        (4, 0, (2, 2), (3, 1)),
        (4, 0, (-4,), (1,)),
        (4, 0, (4,), (-1,)),
        (4, -1, (4,), (1,)),
        (4, 0, (2, 2), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage(
    tmp_path: Path, claimed: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    pickled = tensor(claimed, offset, size, stride)
    path = zipped(pickled, tmp_path / "x.pth", **{"data/0": bytes(16)})
    assert "(w)" in told(path)


def test_a_legacy_storage_that_is_not_listed(write: Callable[..., Path]) -> None:
    path = write({"w": torch.ones(300)}, "legacy")
    data = path.read_bytes()
    key = open_checkpoint(path).tensors[0].storage
    assert key is not None
    at = data.rindex(key.key.encode())  # behind the object stands the list of the storages
    path.write_bytes(data[:at] + b"9" * len(key.key) + data[at + len(key.key) :])
    assert "(w)" in told(path)


def test_a_torch_export_archive_without_a_member(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    torch.export.save(torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),)), path)
    rewritten(path, lambda name, data: None if name.endswith("weight_0") else data)
    assert "the data of 1 tensor is missing" in told(path)


def test_a_gguf_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(8))
    checkpoint = open_checkpoint(path)
    assert checkpoint.warnings == ("no tensors: the file contains only a vocabulary, or is corrupt",)
    with pytest.raises(CheckpointError, match="no tensors"), open_weights(checkpoint):
        pass


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_views_ties_and_empty_tensors_are_no_damage(write: Callable[..., Path], container: str) -> None:
    checkpoint = open_checkpoint(write(odd_state_dict(), container))
    assert not [warning for warning in checkpoint.warnings if "corrupt" in warning]
    with open_weights(checkpoint) as weights:
        assert all(weights.storage(tensor) is not None for tensor in checkpoint.tensors)
