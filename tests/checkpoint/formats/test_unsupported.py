"""Files that are not checkpoints: each is refused in one line, with what to do."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 553433881\n"

STARTS = {
    "lfs": (LFS, "git-lfs pointer", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page", "download link"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page", "download link"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "ONNX model", "exported from"),
    "gguf": (b"GGUF\x03\0\0\0", "truncated GGUF", "incomplete; download it again"),
    "gzip": (gzip.compress(b"weights"), "gzip", "gunzip"),
    "zstd": (b"\x28\xb5\x2f\xfd rest", "zstd", "unzstd"),
    "bzip2": (bz2.compress(b"weights"), "bzip2", "bunzip2"),
    "xz": (lzma.compress(b"weights"), "xz", "unxz"),
    "openssl": (b"Salted__" + bytes(range(200, 240)), "encrypted", "Decrypt"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5", "Convert"),
    "index": (
        b'{"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}',
        "None of the 1 shards",
        "Download them",
    ),
    "damaged index": (
        b'{"metadata": {}, "weight_map": {"a": 1}}',
        "not a valid shard index: weight_map is malformed",
        "Download",
    ),
    "json": (b'{"architectures": ["Bert"]}', "JSON", "torch.save"),
    "text": (b"these are not weights\n", "text file", "torch.save"),
    "zeros": (bytes(4096), "nothing but zeros", "get the file again"),
    "pickle": (pickle.dumps({"a": [1, 2]}), "plain Python pickle", "torch.save"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "empty zip", "torch.save"),
    "bytes": (b"\xde\xad\xbe\xef" * 8, "not a checkpoint", "safetensors"),
    "short": (b"\x80", "not a checkpoint", "safetensors"),
}


def refused(path: Path | str, **options: str) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, **options)
    error = caught.value
    assert error.hint
    assert str(error).isprintable()  # one line, and nothing that a terminal would obey
    return error


@pytest.mark.parametrize("kind", STARTS)
def test_files_of_other_kinds(tmp_path: Path, kind: str) -> None:
    content, message, hint = STARTS[kind]
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    error = refused(path)
    assert str(path) in error.message
    assert message in error.message
    assert hint in error.hint


def test_archives_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no data.pkl, so it was not written by torch.save" in refused(path).message
    with zipfile.ZipFile(path, "a") as archive:  # all that is left by torch.save if pickling raises
        archive.writestr("x/.data/serialization_id", "1")
    assert "torch.save failed" in refused(path).message
    np.savez(path.with_suffix(".npz"), a=np.ones(2))
    assert "NumPy" in refused(path.with_suffix(".npz")).message
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(path, "x.zip")
    assert "tar" in refused(tmp_path / "x.tar").message


@pytest.mark.parametrize("inside", ["", "epoch"])
def test_directory_of_checkpoints_names_them(tmp_path, inside):
    for step in (1000, 500):
        folder = tmp_path / inside / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    (tmp_path / "logs").mkdir()
    names = ", ".join(str(Path(inside, f"checkpoint-{step}")) for step in (500, 1000))
    assert refused(tmp_path).hint == f"Pass a directory below it: {names}."


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere.pth").message
    assert "contains no checkpoint" in refused(tmp_path).message
    (tmp_path / "empty.pth").touch()
    assert "is empty" in refused(tmp_path / "empty.pth").message
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe").message
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read" in refused(tmp_path / "loop").message
    assert "cannot be read" in refused("a\0b").message
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # the whole path may be longer than a name may be
    assert "not a regular file" in refused(tmp_path / "socket").message
    for device in ("/dev/zero", "/dev/null"):
        assert "not a regular file" in refused(device).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(LFS)
    path.chmod(0)
    assert "Permission denied" in refused(path).message


def test_names_of_files_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\u202egpj.pth"
    path.write_bytes(LFS)
    assert "\\x1b[31m\\u202egpj" in refused(path).message


@pytest.mark.torch
def test_files_without_a_state_dict(write: Callable[..., Path]) -> None:
    import torch
    from torch import nn

    assert "no state_dict" in refused(write({"epoch": 3, "loss": 0.5})).message
    assert "1 tensor" in refused(write(torch.ones(3))).message
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], momentum=0.9)
    assert "no state_dict" in refused(write({"optimizer": optimizer.state_dict()})).message


@pytest.mark.torch
def test_a_key_that_leads_nowhere_names_those_that_lead(write: Callable[..., Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = write({"model": {"a": torch.ones(2)}, "ema": {"a": torch.ones(2)}})
    error = refused(path, key="emma")
    assert "'emma'" in error.message
    assert "model" in error.hint
    assert "ema" in error.hint
    assert open_checkpoint(path, key="ema").key == "ema"
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert "--key does not apply" in refused(tmp_path / "x.safetensors", key="ema").message
