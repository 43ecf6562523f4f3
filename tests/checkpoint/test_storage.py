"""The bytes that the engine reads are those that torch reads, and the file stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.errors import CheckpointError
from support.checkpoint_samples import CONTAINERS, odd_state_dict


def read(weights: Weights, info: TensorInfo) -> Tensor:
    dtype = getattr(torch, info.dtype)
    storage = weights.storage(info)
    if not len(storage):
        return torch.empty(info.shape, dtype=dtype)
    flat = torch.frombuffer(storage, dtype=dtype)
    if info.storage is None:
        return flat.view(info.shape)
    stride = info.storage.stride or torch.empty(info.shape, device="meta").stride()
    return flat.as_strided(info.shape, stride, info.storage.offset)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.contiguous().view(-1).view(torch.uint8).equal(other.contiguous().view(-1).view(torch.uint8))


@pytest.mark.parametrize("container", [*CONTAINERS, "safetensors"])
def test_every_bit(write: Callable[..., Path], tmp_path: Path, container: str) -> None:
    tensors = odd_state_dict()
    if container == "safetensors":
        path = tmp_path / "x.safetensors"
        tensors = {n: t.clone().contiguous() for n, t in tensors.items() if t.dtype != torch.complex64}
        save_file(tensors, path)
    else:
        tensors = {n: t for n, t in tensors.items() if container == "zip" or n != "fp8.weight"}
        path = write(tensors, container)
    checkpoint = open_checkpoint(path)
    with open_weights(checkpoint) as weights:
        for info in checkpoint.tensors:
            assert same_bits(read(weights, info), tensors[info.name]), info.name


@pytest.mark.parametrize("container", [*CONTAINERS, "safetensors"])
def test_who_writes_to_the_view_changes_no_file(
    write: Callable[..., Path], tmp_path: Path, container: str
) -> None:
    path = tmp_path / "x.safetensors"
    if container == "safetensors":
        save_file({"a": torch.ones(1000)}, path)
    else:
        path = write({"a": torch.ones(1000)}, container)
    before, changed = path.read_bytes(), path.stat().st_mtime_ns
    checkpoint = open_checkpoint(path)
    with open_weights(checkpoint) as weights:
        values = torch.frombuffer(weights.storage(checkpoint.tensors[0]), dtype=torch.float32)
        values.zero_()
    assert values.sum() == 0  # the view outlives the context
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == changed


def test_a_file_that_has_changed_is_refused(write: Callable[..., Path]) -> None:
    path = write({"a": torch.ones(1000)})
    checkpoint = open_checkpoint(path)
    write({"a": torch.ones(2000)})
    with pytest.raises(CheckpointError, match="changed since"), open_weights(checkpoint):
        pass
    os.truncate(path, 100)
    with pytest.raises(CheckpointError), open_weights(checkpoint):
        pass
    path.unlink()
    with pytest.raises(CheckpointError, match="does not exist"), open_weights(checkpoint):
        pass


def test_a_file_larger_than_the_memory(tmp_path: Path) -> None:
    """It takes no room on the disk: all of it is a hole."""
    nbytes = max(2**36, 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 16 * 16
    path = tmp_path / "x.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (nbytes // 4, nbytes)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + nbytes)
    checkpoint = open_checkpoint(path)
    with open_weights(checkpoint) as weights:
        view = weights.storage(checkpoint.tensors[0])
        assert (len(view), bytes(view[-4:])) == (nbytes, bytes(4))
