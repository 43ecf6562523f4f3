"""open_checkpoint gives torch's own answer on files that torch wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from support.checkpoint_samples import CONTAINERS, odd_state_dict, training_checkpoint

Write = Callable[..., Path]


def same_as_torch(checkpoint: Checkpoint, expected: dict[str, Tensor]) -> None:
    """Names in order, shapes, dtypes, strides and ties."""
    tensors = checkpoint.tensors
    assert [t.name for t in tensors] == list(expected)
    assert [t.shape for t in tensors] == [tuple(t.shape) for t in expected.values()]
    assert [f"torch.{t.dtype}" for t in tensors] == [str(t.dtype) for t in expected.values()]
    assert [t.bytes for t in tensors] == [t.nbytes for t in expected.values()]
    for tensor, torchs in zip(tensors, expected.values(), strict=True):
        assert tensor.storage is not None
        assert tensor.storage.offset == torchs.storage_offset()
        stride = tensor.storage.stride or torch.empty(tensor.shape, device="meta").stride()
        assert torchs.numel() == 0 or stride == torchs.stride()
    assert groups([(t.storage, t.shape) for t in tensors if t.elements]) == groups(
        [
            (t.untyped_storage().data_ptr(), t.storage_offset(), t.shape, t.stride())
            for t in expected.values()
            if t.numel()
        ]
    )


def groups(identities: list[Any]) -> list[int]:
    """For each tensor the first one that is tied to it."""
    return [identities.index(identity) for identity in identities]


@pytest.mark.parametrize("container", CONTAINERS)
def test_state_dict(write: Write, container: str) -> None:
    tensors = odd_state_dict()
    if container == "legacy":
        del tensors["fp8.weight"]  # torch itself refuses to write it there
    path = write(tensors, container)
    checkpoint = open_checkpoint(path)
    same_as_torch(checkpoint, torch.load(path))
    assert checkpoint.format == f"{'zip' if container == 'zip' else 'legacy pickle'} state_dict"
    assert checkpoint.source == str(path)
    assert checkpoint.size == path.stat().st_size
    assert all(tensor.requires_grad is None for tensor in checkpoint.tensors)
    assert (checkpoint.key, checkpoint.prefix, checkpoint.choices) == ("", "", ("",))
    assert not checkpoint.foreign
    assert not checkpoint.warnings


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, container: str, protocol: int) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    path = tmp_path / "file.pth"
    for value in (model.state_dict(), model):
        zipped = container == "zip"
        torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        same_as_torch(open_checkpoint(path), model.state_dict())


@pytest.mark.parametrize("container", CONTAINERS)
def test_training_checkpoint(write: Write, container: str) -> None:
    saved = training_checkpoint()
    checkpoint = open_checkpoint(write(saved, container))
    same_as_torch(checkpoint, saved["model"])
    assert (checkpoint.key, checkpoint.choices, checkpoint.unwrapped) == ("model", ("model",), "key 'model'")
    assert checkpoint.format == f"{'zip' if container == 'zip' else 'legacy pickle'} checkpoint"
    passed = {entry.key: entry.what for entry in checkpoint.skipped}
    assert passed == {
        "epoch": "12",
        "optimizer": "12 tensors, 224 B",
        "args": "argparse.Namespace object",
        "best_acc1": "1 tensor, 4 B",
        "3": "'an integer key'",
        "(tuple)": "None",
    }
    assert not checkpoint.foreign  # what trainers write runs nothing
    assert not checkpoint.warnings
    assert checkpoint.module_paths == ("", "0", "1")


@pytest.mark.parametrize("container", CONTAINERS)
def test_module_whose_class_is_missing(
    write: Write, gone_module: Callable[[], nn.Module], container: str
) -> None:
    model = gone_module()
    path = write(model, container)
    expected = model.state_dict()
    del sys.modules["gone_project"]
    checkpoint = open_checkpoint(path)
    same_as_torch(checkpoint, expected)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for tensor in checkpoint.tensors:
        assert tensor.kind == ("parameter" if tensor.name in parameters else "buffer")
        assert tensor.requires_grad is (tensor.name in parameters and parameters[tensor.name].requires_grad)
        assert not tensor.guessed
    assert checkpoint.module_types == {
        path: f"{type(module).__module__}.{type(module).__name__}"
        for path, module in model.named_modules(remove_duplicate=False)
    }
    assert checkpoint.format.endswith("pickled nn.Module")
    assert checkpoint.foreign == ("gone_project.Net",)


def test_module_in_a_checkpoint_beside_a_metric(write: Write) -> None:
    model = nn.Linear(2, 2)
    checkpoint = open_checkpoint(write({"best": torch.tensor(1.0), "ema": model, "model": model, "epoch": 3}))
    same_as_torch(checkpoint, model.state_dict())
    assert checkpoint.key == "model"


def test_data_parallel_module(write: Write) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    checkpoint = open_checkpoint(write(nn.DataParallel(model)))
    same_as_torch(checkpoint, model.state_dict())
    assert checkpoint.prefix == "module."
    assert checkpoint.module_types[""] == "torch.nn.modules.container.Sequential"


def test_parameters_in_a_dict_keep_their_flag(write: Write) -> None:
    frozen, trained = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    checkpoint = open_checkpoint(write({"a": frozen, "b": trained, "c": torch.ones(1)}))
    assert [tensor.requires_grad for tensor in checkpoint.tensors] == [False, True, None]
    assert [tensor.guessed for tensor in checkpoint.tensors] == [False, False, True]


def test_sparse_quantized_and_meta_tensors_show_shape_and_dtype(write: Write) -> None:
    saved = {
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(4).to_sparse_csr(),
        "meta": torch.empty(5, 2, dtype=torch.float16, device="meta"),
    }
    checkpoint = open_checkpoint(write(saved))
    assert {t.name: (t.shape, t.dtype) for t in checkpoint.tensors} == {
        "sparse": ((3, 3), "float32"),
        "csr": ((4, 4), "float32"),
        "meta": ((5, 2), "float16"),
    }


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")
def test_quantized_tensor(write: Write) -> None:
    saved = {"q": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)}
    (tensor,) = open_checkpoint(write(saved)).tensors
    assert (tensor.shape, tensor.dtype, tensor.kind) == ((2, 3), "qint8", "buffer")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    path = tmp_path / "script.pt"
    torch.jit.trace(model.eval(), torch.ones(1, 1, 3, 3)).save(path)
    checkpoint = open_checkpoint(path)
    expected = model.state_dict()
    assert {t.name: t.shape for t in checkpoint.tensors} == {n: tuple(t.shape) for n, t in expected.items()}
    assert {t.name for t in checkpoint.tensors if t.kind == "parameter"} == {
        n for n, _ in model.named_parameters()
    }
    assert checkpoint.format == "TorchScript"


def test_an_expanded_view_may_claim_more_than_there_is_memory(write: Write) -> None:
    (tensor,) = open_checkpoint(write({"weight": torch.zeros(1).expand(10**12)})).tensors
    assert tensor.elements == 10**12
    assert tensor.bytes == 4 * 10**12


@pytest.mark.parametrize("network", ["alex", "squeeze", "vgg"])
def test_real_weights_of_an_installed_package(network: str) -> None:
    spec = find_spec("lpips")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "weights" / "v0.1" / f"{network}.pth"
    same_as_torch(open_checkpoint(path), torch.load(path, map_location="cpu"))


def test_safetensors(tmp_path: Path) -> None:
    tensors = {
        name: tensor.clone().contiguous()
        for name, tensor in odd_state_dict().items()
        if tensor.dtype != torch.complex64
    }
    path = tmp_path / "file.bin"
    save_file(tensors, path, metadata={"format": "pt", "shape": "not a tensor's", "dtype": "nor this"})
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "safetensors"
    assert {(t.name, t.shape, f"torch.{t.dtype}") for t in checkpoint.tensors} == {
        (name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()
    }
    assert all(tensor.storage is None and tensor.requires_grad is None for tensor in checkpoint.tensors)


def test_safetensors_with_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"module._orig_mod.weight": torch.ones(2), "module._orig_mod.bias": torch.ones(2)}, path)
    checkpoint = open_checkpoint(path)
    assert [tensor.name for tensor in checkpoint.tensors] == ["weight", "bias"]
    assert checkpoint.prefix == "module._orig_mod."


def test_names_the_control_characters_of_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.pth"
    torch.save({"weight": torch.ones(2)}, path)
    assert open_checkpoint(path).source == str(path)


def test_reading_needs_neither_torch_nor_numpy(write: Write, tmp_path: Path) -> None:
    files = [
        write(odd_state_dict()),
        write(nn.Linear(2, 2), "legacy", "legacy.pth"),
        tmp_path / "x.safetensors",
    ]
    save_file({"weight": torch.ones(2)}, files[2])
    code = (
        "import sys\n"
        "from freezetui.checkpoint.open import open_checkpoint\n"
        "from freezetui.checkpoint.storage import open_weights\n"
        "for path in sys.argv[1:]:\n"
        "    checkpoint = open_checkpoint(path)\n"
        "    with open_weights(checkpoint) as weights: weights.storage(checkpoint.tensors[0])\n"
        "heavy = {'torch', 'numpy', 'textual', 'rich', 'zipfile', 'safetensors'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_length_of_a_safetensors_header_may_look_like_a_pickle(tmp_path: Path) -> None:
    """640 is 80 02 in bytes, the start of a pickle of protocol 2; 67,324,752 would be that of a zip."""
    path = tmp_path / "file.safetensors"
    for length in range(600, 1600, 8):
        header = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
        path.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
        assert open_checkpoint(path).format == "safetensors", length
