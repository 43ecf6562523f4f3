"""Checkpoints behind URLs: the same answer as the file, for the bytes of the header alone."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.sources.ranges import Ranges
from freezetui.checkpoint.storage import open_weights
from freezetui.errors import CheckpointError, MissingFileError
from support.loopback import Served, served

remote = importlib.import_module("freezetui.checkpoint.sources.remote")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as state:
        yield state


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def hundred_megabytes() -> dict[str, NDArray[np.float32]]:
    """Return a few large tensors and two hundred small ones."""
    large = {f"layers.{i}.large.weight": zeros(1000, 5000) for i in range(5)}
    small = {f"layers.{i}.{kind}": zeros(3) for i in range(100) for kind in ("norm.weight", "norm.bias")}
    return large | small


FORMATS = ("safetensors", *(pytest.param(name, marks=pytest.mark.torch) for name in ("zip", "legacy")))


def written(folder: Path, format: str, tensors: dict[str, NDArray[np.float32]]) -> Path:
    path = folder / f"model.{format}"
    if format == "safetensors":
        save_file(tensors, path)
    else:
        import torch

        state = {name: torch.from_numpy(values) for name, values in tensors.items()}
        torch.save(state, path, _use_new_zipfile_serialization=format == "zip")
    return path


def header_bytes(path: Path, format: str) -> int:
    """Return how much of the file the header takes: of a zip the pickle and the directory."""
    data = path.read_bytes()
    if format == "safetensors":
        return 8 + int.from_bytes(data[:8], "little")
    if format == "legacy":
        return data.index(b"\0" * 4096)
    with zipfile.ZipFile(path) as archive:
        pickled = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
        return pickled.file_size + len(data) - archive.start_dir


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_costs_its_header(tmp_path: Path, server: Served, format: str) -> None:
    path = written(tmp_path, format, hundred_megabytes())
    here, there = open_checkpoint(path), open_checkpoint(f"{server.url}/{path.name}")
    assert there.tensors == here.tensors
    assert there.size == here.size == path.stat().st_size > 100_000_000
    assert there.source == f"{server.url}/{path.name}"
    assert server.sent <= path.stat().st_size / 100
    assert server.sent <= 2 * header_bytes(path, format)


def test_shards_cost_their_headers(tmp_path: Path, server: Served) -> None:
    names = [f"layers.{i}.weight" for i in range(40)]
    where = {name: f"model-{i // 10}.safetensors" for i, name in enumerate(names)}
    for shard in set(where.values()):
        save_file({n: zeros(1000, 100) for n in names if where[n] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    told: list[str] = []
    checkpoint = open_checkpoint(
        f"{server.url}/model.safetensors.index.json?download=true", progress=told.append
    )
    assert [tensor.name for tensor in checkpoint.tensors] == names
    assert told[-1] == "headers: 4 of 4 files"
    assert server.sent < 50_000
    assert all(r.endswith("?download=true") for r in server.requests)
    (tmp_path / "model-2.safetensors").unlink()
    checkpoint = open_checkpoint(f"{server.url}/model.safetensors.index.json")
    assert len(checkpoint.tensors) == 30
    assert "model-2.safetensors, with 10 tensors" in checkpoint.warnings[0]


def test_a_folder_with_its_config(tmp_path: Path) -> None:
    import fsspec

    save_file({"a.weight": zeros(3)}, tmp_path / "model.safetensors")
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "model.safetensors"), "/organization/model/model.safetensors")
    files.pipe("/organization/model/config.json", b'{"architectures": ["LlamaForCausalLM"]}')
    checkpoint = open_checkpoint("memory://organization/model")
    assert [tensor.name for tensor in checkpoint.tensors] == ["a.weight"]
    assert checkpoint.model.architecture == "transformers:LlamaForCausalLM"
    files.rm("/organization", recursive=True)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_server_that_falters_is_asked_again(tmp_path: Path, server: Served, breaks: bool) -> None:
    path = written(tmp_path, "safetensors", {"a": zeros(5000)})
    server.failures, server.breaks = 2, breaks
    assert len(open_checkpoint(f"{server.url}/{path.name}").tensors) == 1
    server.failures = 100
    with pytest.raises(CheckpointError, match="cannot be read") as raised:
        open_checkpoint(f"{server.url}/{path.name}")
    assert str(raised.value).isprintable()


@pytest.mark.torch
def test_a_server_without_ranges_is_told(tmp_path: Path, server: Served) -> None:
    path = written(tmp_path, "zip", {"a": zeros(500_000)})
    server.ranges = False
    with pytest.raises(CheckpointError, match=r"without range-request support.* Download the file"):
        open_checkpoint(f"{server.url}/{path.name}")


@pytest.mark.parametrize(
    ("status", "message"), [(404, "does not exist"), (401, "access denied"), (403, "access denied")]
)
def test_a_server_that_says_no_is_asked_once(server: Served, status: int, message: str) -> None:
    server.status = status
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(f"{server.url}/model.pth")
    assert isinstance(raised.value, MissingFileError) == (status == 404)
    assert len(server.requests) <= 2  # HEAD, then GET where HEAD is not allowed


def test_a_silent_server_is_left(monkeypatch: pytest.MonkeyPatch, server: Served, tmp_path: Path) -> None:
    path = written(tmp_path, "safetensors", {"a": zeros(5)})
    monkeypatch.setattr(remote, "READ_SECONDS", 0.1)
    server.delay = 0.5
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(f"{server.url}/{path.name}")


def test_nobody_listens() -> None:
    with pytest.raises(CheckpointError, match="cannot be read") as raised:
        open_checkpoint("http://127.0.0.1:9/model.pth")
    assert "network" in raised.value.hint


def test_secrets_of_a_url_are_not_shown() -> None:
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint("http://user:password@127.0.0.1:9/model.pth?token=secret")
    assert "password" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "module", "hint"),
    [
        ("s3://bucket/model.pth", "s3fs", "freezetui[s3]"),
        ("gs://bucket/model.pth", "gcsfs", "freezetui[gs]"),
        ("hf://organization/model", "huggingface_hub", "freezetui[hf]"),
        ("https://127.0.0.1:9/x", "aiohttp", "freezetui[http]"),
    ],
)
def test_a_missing_backend_names_its_extra(url: str, module: str, hint: str) -> None:
    code = (
        "import sys\n"
        "sys.modules[sys.argv[2]] = None\n"
        "from freezetui.checkpoint.open import open_checkpoint\n"
        "from freezetui.errors import CheckpointError\n"
        "try: open_checkpoint(sys.argv[1])\n"
        "except CheckpointError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url, module], capture_output=True, text=True, check=True
    )
    assert "not installed" in done.stdout
    assert hint in done.stdout


def test_an_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="foo"):
        open_checkpoint("foo://host/model.pth")
    path = written(tmp_path, "safetensors", {"a": zeros(5)})
    assert open_checkpoint(path.as_uri()).tensors == open_checkpoint(path).tensors


def test_the_sanity_step_says_that_it_needs_the_weights(tmp_path: Path, server: Served) -> None:
    path = written(tmp_path, "safetensors", {"a": zeros(5)})
    checkpoint = open_checkpoint(f"{server.url}/{path.name}")
    with pytest.raises(CheckpointError, match="is remote"), open_weights(checkpoint):
        pass


def test_ranges_are_fetched_once() -> None:
    data = bytes(range(256)) * 100
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return data[start:stop]

    file = Ranges(fetch, len(data))
    for start, size in ((0, 10), (5, 4000), (20_000, 10), (19_000, 3000), (25_590, 100), (0, 30_000)):
        file.seek(start)
        assert file.read(size) == data[start : start + size]
    pieces = sorted(asked)
    assert all(before[1] <= after[0] for before, after in pairwise(pieces))
    assert file.fetched == len(data)
    short = Ranges(lambda start, stop: b"", 10)
    with pytest.raises(ConnectionError):
        short.read(5)
