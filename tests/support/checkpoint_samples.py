"""What is saved for the tests of the readers."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = ("zip", "legacy")


def odd_state_dict() -> dict[str, Tensor]:
    """Tensors of every kind that a reader may trip over."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LSTM(4, 5, num_layers=2))
    tensors = dict(model.state_dict())
    shared = torch.randn(6, 4)
    tensors |= {
        "bf16.weight": torch.randn(3, 2).bfloat16(),
        "fp16.weight": torch.randn(3).half(),
        "fp8.weight": torch.randn(4).to(torch.float8_e4m3fn),
        "double": torch.randn(2, dtype=torch.float64),
        "complex": torch.randn(2, dtype=torch.complex64),
        "ids": torch.arange(7),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "transposed.weight": torch.randn(4, 6).t(),
        "expanded": torch.randn(1, 3).expand(5, 3),
        "embed.weight": shared,
        "head.weight": shared,
        "rows": shared[2:4],
        "columns": shared[:, 1:3],
        "naïve.\N{SNOWMAN}": torch.zeros(1),
    }
    return tensors


def training_checkpoint() -> dict[str, Any]:
    """Return what a training loop saves, with objects of other classes in it."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "epoch": 12,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, data=Path("x")),
        "best_acc1": torch.tensor(76.1),
        3: "an integer key",
        ("tuple", 1): None,
    }


def zipped(pickled: bytes, path: Path, **members: bytes) -> Path:
    """Write a file as torch does, with this `data.pkl`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, content in members.items():
            archive.writestr(f"x/{name}", content)
    return path
