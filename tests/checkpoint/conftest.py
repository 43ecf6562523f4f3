"""What the tests of the readers share: files that torch and safetensors themselves wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(object, container="zip"): the file that torch.save makes of it."""

    def save(value: Any, container: str = "zip", name: str = "file.pth") -> Path:
        import torch

        path = tmp_path / name
        torch.save(value, path, _use_new_zipfile_serialization=container == "zip")
        return path

    return save


@pytest.fixture
def gone_module() -> Iterator[Callable[[], nn.Module]]:
    """Makes a model of a class whose package is missing by the time the file is read."""
    source = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("shift", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(3), persistent=False)
        self.register_buffer("nothing", None)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 2, bias=False)
        self.twin = self.head
        self.stem[0].weight.requires_grad_(False)
"""
    project = ModuleType("gone_project")
    sys.modules["gone_project"] = project
    exec(source, project.__dict__)
    yield project.Net
    sys.modules.pop("gone_project", None)
