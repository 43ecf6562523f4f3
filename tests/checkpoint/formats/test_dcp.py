"""Folders that torch.distributed.checkpoint wrote, against its own reader."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed import checkpoint as dcp

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.errors import CheckpointError
from support.distributed import save_distributed

pytestmark = pytest.mark.filterwarnings("ignore")


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2).to(torch.bfloat16))
    optimizer = torch.optim.AdamW(model[:2].parameters())
    model[:2](torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def save(state: dict[str, Any], folder: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Write it; return what torch's own reader says of each tensor."""
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    entries = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
    return {
        name: (tuple(entry.size), str(entry.properties.dtype))
        for name, entry in entries.items()
        if hasattr(entry, "size")
    }


def test_a_state_dict(tmp_path: Path) -> None:
    model, _ = trained()
    theirs = save(dict(model.state_dict()), tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert {t.name: (t.shape, f"torch.{t.dtype}") for t in checkpoint.tensors} == theirs
    assert [t.name for t in checkpoint.tensors] == list(model.state_dict())
    assert [t.bytes for t in checkpoint.tensors] == [t.nbytes for t in model.state_dict().values()]
    assert checkpoint.format == "distributed state_dict"
    assert not checkpoint.foreign
    files = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert checkpoint.size == pytest.approx(files, rel=0.01)


@pytest.mark.parametrize("name", ["os.system", "Path"])
def test_what_the_metadata_would_run_is_told(tmp_path: Path, name: str) -> None:
    """torch's own reader is a bare pickle.load: behind pathlib, too, it runs what is named."""
    save(dict(trained()[0].state_dict()), tmp_path)
    metadata = tmp_path / ".metadata"
    call = b"\x80\x04\x8c\x07pathlib\x8c" + bytes([len(name)]) + name.encode() + b"\x93\x8c\x02id\x85R0"
    metadata.write_bytes(call + metadata.read_bytes()[2:])
    checkpoint = open_checkpoint(tmp_path)
    told = checkpoint.foreign, len(checkpoint.warnings)
    assert told == (((f"pathlib.{name}",), 1) if name == "os.system" else ((), 0))


def test_a_training_state(tmp_path: Path) -> None:
    model, optimizer = trained()
    state = {
        "model": model.state_dict(),
        "optim": optimizer.state_dict(),
        "epoch": 3,
        "ema": model.state_dict(),
    }
    theirs = save(state, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    ours = {f"model.{t.name}": (t.shape, f"torch.{t.dtype}") for t in checkpoint.tensors}
    assert ours == {name: head for name, head in theirs.items() if name.startswith("model.")}
    assert (checkpoint.key, checkpoint.choices) == ("model", ("model", "ema"))
    passed = {entry.key: entry.what for entry in checkpoint.skipped}
    assert passed["optim"].startswith("12 tensors, ")
    assert "epoch" in passed
    assert len(open_checkpoint(tmp_path, key="ema").tensors) == len(checkpoint.tensors)


def test_the_bytes_in_one_piece_in_rows_and_in_blocks(tmp_path: Path) -> None:
    state = {"a": torch.randn(5, 4), "b": torch.randn(7), "c": torch.tensor(3), "d": torch.randn(4, 6).t()}
    for how in ({}, {"by_rows": True}, {"by_blocks": True}):
        folder = tmp_path / "_".join(how or ["whole"])
        save_distributed(state, folder, **how)
        checkpoint = open_checkpoint(folder)
        with open_weights(checkpoint) as weights:
            for info in checkpoint.tensors:
                if info.name in "ad" and "by_blocks" in how:
                    with pytest.raises(CheckpointError, match=r"split across files.*dcp_to_torch"):
                        weights.storage(info)
                    continue
                if info.name == "d":  # saved with its strides, which the metadata do not say
                    continue
                assert bytes(weights.storage(info)) == state[info.name].numpy().tobytes(), (info, how)


def test_a_piece_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    save_distributed({"a": torch.randn(5, 4), "b": torch.randn(7)}, tmp_path, by_rows=True)
    checkpoint = open_checkpoint(tmp_path)
    data = next(tmp_path.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-100])
    with (
        open_weights(checkpoint) as weights,
        pytest.raises(CheckpointError, match="does not contain the data"),
    ):
        weights.storage(checkpoint.tensors[-1])
    data.write_bytes(bytes(10_000))
    with open_weights(checkpoint) as weights, pytest.raises(CheckpointError):
        weights.storage(checkpoint.tensors[0])


class Runs:
    """Pickled, it asks for a call."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch planted",)


def test_what_an_object_beside_the_tensors_would_run_is_told(tmp_path: Path) -> None:
    """torch's planner loads what is not a tensor without `weights_only`."""
    model, optimizer = trained()
    others = {f"rate{number}": number % 7 for number in range(300)}
    save({"model": model.state_dict(), "optim": optimizer.state_dict(), **others}, tmp_path)
    assert not open_checkpoint(tmp_path).foreign
    assert not open_checkpoint(tmp_path).warnings
    save({"model": model.state_dict(), **others, "planted": Runs()}, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.foreign == (f"{os.name}.system",)
    assert f"would import {os.name}.system" in checkpoint.warnings[0]
    pieces = tmp_path / "__0_0.distcp"
    pieces.write_bytes(pieces.read_bytes().replace(b"data.pkl", b"date.pkl"))
    assert open_checkpoint(tmp_path).warnings[-1].startswith("8 objects besides the weights not checked")


def missing_data(directory: Path) -> str:
    """Return the warning about missing data; the check refuses with the same."""
    checkpoint = open_checkpoint(directory)
    with pytest.raises(CheckpointError) as error, open_weights(checkpoint):
        pass
    warning = next(warning for warning in checkpoint.warnings if warning.startswith("corrupt"))
    assert warning.partition(": ")[2] in str(error.value)
    return warning


def test_a_file_of_pieces_that_is_missing(tmp_path: Path) -> None:
    save({"a": torch.ones(300), "b": torch.ones(2, 2)}, tmp_path)
    (tmp_path / "__0_0.distcp").unlink()
    assert "the data of 2 tensors is missing, or smaller than the header says (a, b)" in missing_data(
        tmp_path
    )


def test_a_file_of_pieces_that_is_truncated(tmp_path: Path) -> None:
    save({"a": torch.ones(300), "b": torch.ones(2, 2)}, tmp_path)
    pieces = tmp_path / "__0_0.distcp"
    index = dcp.FileSystemReader(tmp_path).read_metadata().storage_data
    last = max(index, key=lambda place: index[place].offset).fqn
    pieces.write_bytes(pieces.read_bytes()[:-1])
    assert f"the data of 1 tensor is missing, or smaller than the header says ({last})" in missing_data(
        tmp_path
    )


def test_a_tensor_larger_than_its_pieces_or_without_one(tmp_path: Path) -> None:
    save({"a": torch.ones(300), "b": torch.ones(2, 2)}, tmp_path)
    metadata = dcp.FileSystemReader(tmp_path).read_metadata()
    metadata.state_dict_metadata["a"].size = torch.Size([300_000])
    metadata.storage_data = {k: v for k, v in metadata.storage_data.items() if k.fqn != "b"}
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    assert "the data of 2 tensors is missing, or smaller than the header says (a, b)" in missing_data(
        tmp_path
    )
    metadata.storage_data = {"of": "another writer"}
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    assert not open_checkpoint(tmp_path).warnings


def test_pieces_that_a_compressor_wrote_are_not_corrupt(tmp_path: Path) -> None:
    save({"a": torch.ones(300_000)}, tmp_path)
    metadata = dcp.FileSystemReader(tmp_path).read_metadata()
    for info in metadata.storage_data.values():
        info.length, info.transform_descriptors = 100, ["zstd"]
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    assert not open_checkpoint(tmp_path).warnings


def test_other_files_called_metadata(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / ".metadata").write_bytes(pickle.dumps({"not": "ours"}))
    assert [tensor.name for tensor in open_checkpoint(tmp_path).tensors] == ["a"]


def test_a_damaged_one_hides_nothing_else(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / ".metadata").write_bytes(b"nothing")
    assert [tensor.name for tensor in open_checkpoint(tmp_path).tensors] == ["a"]


def test_over_a_network(tmp_path: Path) -> None:
    import fsspec

    save(dict(trained()[0].state_dict()), tmp_path)
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path), "/dcp", recursive=True)
    assert open_checkpoint("memory://dcp").tensors == open_checkpoint(tmp_path).tensors
    files.rm("/dcp", recursive=True)


def test_damaged(tmp_path: Path) -> None:
    save(dict(trained()[0].state_dict()), tmp_path)
    content = (tmp_path / ".metadata").read_bytes()
    for cut in range(1, len(content), 50):
        (tmp_path / ".metadata").write_bytes(content[:cut])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path)
    for at in range(0, len(content), 7):
        changed = bytearray(content)
        changed[at] ^= 0x15
        (tmp_path / ".metadata").write_bytes(changed)
        try:
            open_checkpoint(tmp_path)
        except CheckpointError as error:
            assert str(error).isprintable()
