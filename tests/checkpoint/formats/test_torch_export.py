"""Archives of torch.export, in the layouts of today and of torch before 2.7, against its own answer."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._export.serde.schema import SCHEMA_VERSION
from torch._export.serde.serialize import _TORCH_TO_SERIALIZE_DTYPE, serialize
from torch.export import ExportedProgram

from freezetui.checkpoint.formats.torch_export import _DTYPES
from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError
from freezetui.models.load import load_tensors

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    """Tied weights, a frozen bias, buffers of both sorts, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3, bias=False)
        self.tied = self.head
        self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64).to(torch.bfloat16))
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.encoder.bias.requires_grad_(False)
        self.constant = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Use all of them."""
        hidden = self.norm(self.encoder(x))
        return self.tied(hidden) * self.scale + self.head(hidden) + self.constant + self.passing.sum()


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Net(), (torch.ones(2, 3),))


def saved(program: ExportedProgram, path: Path, layout: str) -> Path:
    if layout == "new":
        torch.export.save(program, path)
        return path
    # As torch.export.save wrote it before 2.7; torch.export.load still reads it.
    artifact = serialize(program)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        for what in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{what}.pt", getattr(artifact, what))
    return path


@pytest.mark.parametrize("layout", ["new", "old"])
def test_what_torch_export_saved(program: ExportedProgram, tmp_path: Path, layout: str) -> None:
    path = saved(program, tmp_path / "net.pt2", layout)
    loaded = torch.export.load(path)
    expected = loaded.state_dict
    checkpoint = open_checkpoint(path)
    assert [(t.name, t.shape, f"torch.{t.dtype}", t.bytes) for t in checkpoint.tensors] == [
        (name, tuple(t.shape), str(t.dtype), t.nbytes) for name, t in expected.items()
    ]
    parameters = set(loaded.graph_signature.parameters)
    for tensor in checkpoint.tensors:
        is_parameter = tensor.name in parameters
        assert tensor.kind == ("parameter" if is_parameter else "buffer")
        assert not tensor.guessed
        assert tensor.requires_grad is (expected[tensor.name].requires_grad if is_parameter else None)
    storages = {t.name: t.storage for t in checkpoint.tensors}
    assert storages["tied.weight"] == storages["head.weight"]
    assert len({str(s) for s in storages.values()}) == len(storages) - 1
    assert checkpoint.format.startswith("torch.export")
    if layout == "new":
        assert checkpoint.skipped[0].what == "2 tensors, 20 B"


def test_every_bit(program: ExportedProgram, tmp_path: Path) -> None:
    path = saved(program, tmp_path / "net.pt2", "new")
    loaded = load_tensors(open_checkpoint(path))
    assert all(loaded[name].equal(tensor) for name, tensor in program.state_dict.items())
    assert loaded["tied.weight"] is loaded["head.weight"]


def test_the_old_layout_says_how_to_check_it(program: ExportedProgram, tmp_path: Path) -> None:
    path = saved(program, tmp_path / "net.pt2", "old")
    with pytest.raises(CheckpointError, match=r"before torch 2\.7"):
        load_tensors(open_checkpoint(path))


def test_objects_among_the_constants(program: ExportedProgram, tmp_path: Path) -> None:
    path = saved(program, tmp_path / "net.pt2", "new")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in members if name.endswith("constants_config.json"))
    custom = b'{"config": {"x": {"path_name": "custom_obj_0", "is_param": false, "use_pickle": true'
    members[name] = custom + b', "tensor_meta": null}, ' + members[name].partition(b'{"config": {')[2]
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    assert open_checkpoint(path).skipped[0].what == "2 tensors, 20 B"


def test_subclasses_are_no_plain_elements(tmp_path: Path) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(128, 128, bias=False)).to(torch.bfloat16)
    quantize_(model, Int8WeightOnlyConfig())
    path = tmp_path / "q.pt2"
    torch.export.save(torch.export.export(model, (torch.ones(1, 128, dtype=torch.bfloat16),)), path)
    checkpoint = open_checkpoint(path)
    expected = torch.export.load(path).state_dict
    assert [(t.name, t.shape) for t in checkpoint.tensors] == [
        (n, tuple(t.shape)) for n, t in expected.items()
    ]
    with pytest.raises(Exception, match="it is a subclass tensor"):
        load_tensors(checkpoint)


def test_every_dtype_of_the_schema() -> None:
    assert {int(n): str(dtype)[6:] for dtype, n in _TORCH_TO_SERIALIZE_DTYPE.items()} == _DTYPES


@pytest.mark.parametrize("layout", ["new", "old"])
def test_cut_or_changed_it_is_refused_or_read(program: ExportedProgram, tmp_path: Path, layout: str) -> None:
    content = saved(program, tmp_path / "net.pt2", layout).read_bytes()
    path = tmp_path / "damaged.pt2"
    for cut in range(1, len(content), len(content) // 40):
        path.write_bytes(content[:cut])
        with pytest.raises(CheckpointError):
            open_checkpoint(path)
    for old, new in (
        (b'"as_int": 4', b'"as_int":-4'),
        (b'"dtype": 7', b'"dtype": 0'),
        (b"path_name", b"path_nose"),
    ):
        path.write_bytes(content.replace(old, new))
        if layout == "new":
            with pytest.raises(CheckpointError, match=r"corrupt torch.export"):
                open_checkpoint(path)


def test_a_key_names_one_of_several_models(program: ExportedProgram, tmp_path: Path) -> None:
    path = saved(program, tmp_path / "net.pt2", "new")
    with pytest.raises(CheckpointError, match="no model under the key 'x'"):
        open_checkpoint(path, key="x")
    assert open_checkpoint(path, key="model").tensors == open_checkpoint(path).tensors


class Runs:
    """Pickled, it asks for a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch planted",)


@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("container", ["zip", "legacy", "pickle"])
def test_what_other_members_would_run_is_told(
    program: ExportedProgram, tmp_path: Path, layout: str, container: str
) -> None:
    """torch unpickles the sample inputs, and constants, without `weights_only`."""
    path = saved(program, tmp_path / "x.pt2", layout)
    honest = open_checkpoint(path)
    assert not honest.foreign
    assert not honest.warnings
    stream = io.BytesIO()
    if container == "pickle":
        pickle.dump(Runs(), stream, 0)
    else:
        torch.save(Runs(), stream, _use_new_zipfile_serialization=container == "zip")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    inputs = next(name for name in members if "sample_inputs/" in name or "example_inputs.pt" in name)
    others = (
        [inputs] if layout == "old" else [inputs, inputs.replace("sample_inputs/", "constants/opaque_obj_")]
    )
    for planted in others:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (members | {planted: stream.getvalue()}).items():
                archive.writestr(name, data)
        checkpoint = open_checkpoint(path)
        assert checkpoint.tensors == honest.tensors
        assert checkpoint.foreign == (f"{os.name}.system",)
        assert f"would import {os.name}.system" in checkpoint.warnings[0]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {inputs: b"nothing"}).items():
            archive.writestr(name, data)
    assert "1 object besides the weights not checked" in open_checkpoint(path).warnings[0]
