"""Frozen norms stay in eval at every forward."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from freezetui.freeze.rules import Rule
from freezetui.training.config import FreezeConfig
from freezetui.training.digest import digest_state

FREEZE = FreezeConfig(rules=(Rule("freeze", "body"),))
TRAIN = FreezeConfig()


class Net(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 2, 1), norm, nn.Dropout(0.5))
        self.head = nn.Conv1d(2, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


NORMS = {
    "BatchNorm": lambda: nn.BatchNorm1d(2),
    "BatchNorm without weights": lambda: nn.BatchNorm1d(2, affine=False),
    "BatchNorm, cumulative": lambda: nn.BatchNorm1d(2, momentum=None),
    "InstanceNorm": lambda: nn.InstanceNorm1d(2, track_running_stats=True),
    "spectral norm": lambda: spectral_norm(nn.Conv1d(2, 2, 3)),
    "spectral norm, old style": lambda: old_spectral_norm(nn.Conv1d(2, 2, 3)),
}


def drift(model: nn.Module, run: nn.Module | None = None) -> set[str]:
    buffers = dict(model.named_buffers())
    before = digest_state(model)
    model.train()
    for _ in range(2):
        (model if run is None else run)(torch.randn(4, 2, 8))
    after = digest_state(model)
    return {name for name in buffers if before[name] != after[name]}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_held_after_train_and_let_go_by_the_next_stage(norm) -> None:
    model = Net(norm())
    assert drift(model)
    names = list(model.state_dict())
    FREEZE.apply(model)
    assert drift(model) == set()
    assert list(model.state_dict()) == names
    assert model.training and model.body[2].training
    TRAIN.apply(model)
    assert drift(model)


@pytest.mark.parametrize(
    "remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_are_held_by_themselves(remake) -> None:
    model = Net(nn.BatchNorm1d(2))
    FREEZE.apply(model)
    copied = remake(model)
    TRAIN.apply(model)
    assert drift(model)
    assert drift(copied) == set()
    TRAIN.apply(copied)
    assert drift(copied)


def test_under_compile_before_and_after_unfreezing() -> None:
    torch._dynamo.reset()
    model = Net(nn.BatchNorm1d(2))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    FREEZE.apply(compiled)
    assert drift(model, compiled) == set()
    TRAIN.apply(compiled)
    assert drift(model, compiled)
    FREEZE.apply(compiled)
    assert drift(model, compiled) == set()


def test_eval_and_train_of_everything_else_are_unchanged() -> None:
    model = Net(nn.BatchNorm1d(2))
    FREEZE.apply(model)
    assert not any(m.training for m in model.eval().modules())
    assert [n for n, m in model.train().named_modules() if not m.training] == ["body.1"]


def test_children_of_a_held_norm_still_follow() -> None:
    class Composite(nn.BatchNorm1d):
        def __init__(self) -> None:
            super().__init__(2)
            self.drop = nn.Dropout()

    model = Net(Composite())
    FREEZE.apply(model)
    model.eval().train()
    assert not model.body[1].training
    assert model.body[1].drop.training


def test_a_norm_beside_trainable_weights_runs() -> None:
    model = Net(nn.BatchNorm1d(2, affine=False))
    applied = FreezeConfig(rules=(Rule("freeze", "head"),)).apply(model)
    assert applied.norms == ()
    assert drift(model)


def test_a_model_without_parameters_has_no_frozen_norms() -> None:
    assert FreezeConfig().apply(nn.BatchNorm1d(2, affine=False)).norms == ()


def test_frozen_modules_stay_in_eval_with_their_dropout() -> None:
    model = nn.ModuleDict(
        {"body": nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.LayerNorm(2)), "head": nn.Linear(2, 2)}
    )
    model["head"].drop = nn.Dropout()
    freeze = FreezeConfig(rules=(Rule("freeze", "body"),), frozen_modules="eval")
    freeze.apply(model)
    model.train()
    assert not any(module.training for module in model["body"].modules())
    assert all(module.training for module in model["head"].modules())
    FreezeConfig(rules=freeze.rules).apply(model)
    model.train()
    assert all(module.training for module in model.modules())
    FreezeConfig(default="freeze", frozen_modules="eval").apply(model)
    assert not any(module.training for module in model.train().modules())
