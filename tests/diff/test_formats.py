"""One model in every container that holds more than a state_dict: the same weights are the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from gguf.quants import quantize
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff

from .conftest import told

pytestmark = pytest.mark.filterwarnings("ignore")
Q = gguf.GGMLQuantizationType


def lightning(model: nn.Module, path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "optimizer_states": []}, path)


def script(model: nn.Module, path: Path) -> None:
    torch.jit.script(model).save(path)


def export(model: nn.Module, path: Path) -> None:
    torch.export.save(torch.export.export(model, (torch.ones(1, 3, 4, 4),)), path)


def wrapped(model: nn.Module, path: Path) -> None:
    torch.save(nn.DataParallel(model).state_dict(), path)


WRITERS: dict[str, Callable[[nn.Module, Path], None]] = {
    "nn.Module": lambda model, path: torch.save(model, path),
    "Lightning": lightning,
    "TorchScript": script,
    "torch.export": export,
    "DataParallel": wrapped,
}


def test_the_same_model_in_every_container(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[3].bias[1] += 0.5
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    plain = open_checkpoint(tmp_path / "plain.pth")
    for kind, write in WRITERS.items():
        for number, each in enumerate((model, other)):
            write(each, tmp_path / f"{number}.pt")
        same, changed = (open_checkpoint(tmp_path / f"{number}.pt") for number in (0, 1))
        assert diff(plain, same).identical, kind
        assert diff(same, plain).identical, kind
        report = diff(plain, changed)
        assert {t.name for t in report.tensors if t.status != "identical"} == {"3.bias"}, kind
        assert (told(report, "3.bias").changed, told(report, "3.bias").max_delta) == (1, 0.5), kind
        assert diff(same, changed).exit_code == 1, kind


def test_gguf_against_safetensors_and_its_own_quantization(tmp_path):
    values = torch.randn(64, 256)
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}.gguf")
        writer = gguf.GGUFWriter(paths[-1], "llama")
        writer.add_block_count(1)
        kept, moved = values.numpy(), (values + number).numpy()
        writer.add_tensor("a.weight", kept)
        writer.add_tensor("b.weight", quantize(kept, Q.BF16), raw_dtype=Q.BF16)
        writer.add_tensor("c.weight", quantize(kept, Q.Q8_0), raw_dtype=Q.Q8_0)
        writer.add_tensor("d.weight", quantize(moved, Q.Q8_0), raw_dtype=Q.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    torch.save({f"{name}.weight": values for name in "abcd"}, tmp_path / "x.pth")
    one, other = map(open_checkpoint, paths)
    report = diff(one, other)
    assert [t.status for t in report.tensors] == ["identical", "identical", "identical", "changed"]
    assert told(report, "d.weight").changed is None  # its bytes differ, what they mean is not read
    against = diff(open_checkpoint(tmp_path / "x.pth"), one)
    assert [t.status for t in against.tensors] == ["identical", "cast", "unread", "unread"]
    assert json.dumps([t.reason for t in against.tensors]).count("cannot be compared") == 2
