"""TorchScript archives, scripted and traced, against what torch.jit.load says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.models.load import load_tensors

pytestmark = pytest.mark.filterwarnings("ignore")


class Block(nn.Module):
    """Buffers whose names tell nothing, a tensor that is no buffer, a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rbf", torch.ones(3))
        self.w = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("passing", torch.ones(1), persistent=False)
        self.linear = nn.Linear(2, 2)
        self.plain = torch.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.w + self.rbf.sum() + self.plain + self.passing


class Net(nn.Module):
    """Two of them, a tied weight, and a module that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(2, 2)
        self.head.weight = self.blocks[0].linear.weight
        self.unused = nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_it_is_what_torch_loads(tmp_path: Path, how: str) -> None:
    torch.manual_seed(0)
    model, path = Net().eval(), tmp_path / "net.pt"
    script = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(1, 2))
    script.save(path)
    loaded = torch.jit.load(path)
    expected = loaded.state_dict()
    parameters = dict(loaded.named_parameters(remove_duplicate=False))
    checkpoint = open_checkpoint(path)
    assert [(t.name, t.shape, f"torch.{t.dtype}") for t in checkpoint.tensors] == [
        (name, tuple(t.shape), str(t.dtype)) for name, t in expected.items()
    ]
    for tensor in checkpoint.tensors:
        assert tensor.kind == ("parameter" if tensor.name in parameters else "buffer")
        assert not tensor.guessed
        assert tensor.requires_grad is (tensor.name in parameters and parameters[tensor.name].requires_grad)
    storages = {tensor.name: tensor.storage for tensor in checkpoint.tensors}
    assert storages["head.weight"] == storages["blocks.0.linear.weight"]
    values = load_tensors(checkpoint)
    assert all(values[name].equal(tensor) for name, tensor in expected.items())


def test_without_its_code_the_kinds_are_guesses(tmp_path: Path) -> None:
    import zipfile

    path, bare = tmp_path / "net.pt", tmp_path / "bare.pt"
    torch.jit.script(Net()).save(path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(bare, "w") as copy:
        for name in archive.namelist():
            if "/code/" not in name:
                copy.writestr(name, archive.read(name))
    tensors = {tensor.name: tensor for tensor in open_checkpoint(bare).tensors}
    assert tensors["blocks.0.rbf"].guessed
    assert tensors["unused.1.running_mean"].kind == "buffer"


def test_the_lists_of_a_scripted_convolution_are_no_danger(tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Conv2d(1, 1, 3))).save(tmp_path / "net.pt")
    assert open_checkpoint(tmp_path / "net.pt").warnings == ()
