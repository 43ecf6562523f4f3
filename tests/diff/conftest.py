"""What the tests of the diff share: checkpoints before and after, and what changed between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.matching import Matching
from freezetui.diff.report import DiffReport, TensorDiff
from freezetui.diff.run import diff

State = dict[str, Tensor]


def small_model() -> nn.Module:
    """Return a stem with a norm that is often frozen, an embedding, a head."""
    return nn.ModuleDict(
        {
            "stem": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)),
            "embed": nn.Embedding(50, 16),
            "head": nn.Linear(16, 4),
        }
    )


def paired(matching: Matching) -> set[tuple[str, str]]:
    """Return which name is paired with which."""
    return {(p.before.name, p.after.name) for p in matching.pairs if p.before and p.after}


@pytest.fixture
def state() -> State:
    """The state_dict of `small_model`."""
    return {name: tensor.clone() for name, tensor in small_model().state_dict().items()}


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., DiffReport]:
    """compared(before, after, config=""): the diff of two state_dicts, by a config of this text."""

    def run(before: State, after: State, config: str = "", stage: str | None = None) -> DiffReport:
        paths = tmp_path / "before.pth", tmp_path / "after.pth"
        for path, tensors in zip(paths, (before, after), strict=True):
            torch.save(tensors, path)
        path = None
        if config:
            path = tmp_path / "c.freeze.yaml"
            path.write_text(f"freezetui: 1\n{config}")
        return diff(*map(open_checkpoint, paths), path, stage)

    return run


def told(report: DiffReport, name: str) -> TensorDiff:
    """Return what is said of one tensor."""
    return next(tensor for tensor in report.tensors if tensor.name == name)
