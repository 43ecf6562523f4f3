"""M1 to M4 and M6: statistics that a forward moves, and twins in which they are held or may move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from freezetui.freeze.rules import Rule
from freezetui.training.config import FreezeConfig
from support.traps import Case, Net, assert_as_planted, between, images, moved, told


class MeanVar(nn.Module):
    """A BatchNorm as tutorials write it: `mean` and `var`."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))
        if affine:
            self.gamma, self.beta = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean, var = x.mean(0), x.var(0)
            with torch.no_grad():
                self.mean = 0.9 * self.mean + 0.1 * mean
                self.var = 0.9 * self.var + 0.1 * var
        else:
            mean, var = self.mean, self.var
        x = (x - mean) / (var + 1e-5).sqrt()
        return x * self.gamma + self.beta if hasattr(self, "gamma") else x


class Renorm(MeanVar):
    """BatchRenorm: written in a helper, in place, with a changing r_max."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("r_max", torch.tensor(1.0))
        self.register_buffer("d_max", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.update(x.detach())
        return (x - self.mean) / (self.var + 1e-5).sqrt() * self.r_max * self.gamma + self.beta

    def update(self, x: Tensor) -> None:
        self.mean.lerp_(x.mean(0), 0.1)
        self.var.mul_(0.9).add_(0.1 * x.var(0))
        self.r_max.add_(0.013)
        self.d_max[:] = self.d_max + 0.1


class Functional(nn.Module):
    """Hands its own buffers to F.batch_norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.register_buffer("moving_mean", torch.zeros(4))
        self.register_buffer("moving_variance", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, self.moving_mean, self.moving_variance, self.weight, self.bias, self.training, 0.1
        )


class PowerIteration(nn.Linear):
    """An own spectral norm: `u0`, as SNGAN's ports name it."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("u0", torch.randn(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            v = functional.normalize(self.u0 @ self.weight)
            u = functional.normalize(v @ self.weight.t())
            if self.training:
                self.u0[:] = u
        return functional.linear(x, self.weight / (u @ self.weight @ v.t()), self.bias)


class Whitening(MeanVar):
    """Writes what a local name stands for, and with a foreach function."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            with torch.no_grad():
                torch._foreach_mul_([mean, var], 0.9)
                mean.add_(0.1 * x.mean(0))
                var.add_(0.1 * x.var(0))
        return (x - mean) / (var + 1e-5).sqrt()


class FrozenParameters(nn.Module):
    """Statistics as parameters that its constructor froze."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return (x - self.mean) * self.weight


class Average(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(4))

    def update(self, x: Tensor) -> None:
        self.value.lerp_(x, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        self.update(x)
        return self.value


class OfChild(nn.Module):
    """Has its child keep the statistics: by a method, by a call, or by writing there itself."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.linear, self.average, self.way = nn.Linear(4, 4), Average(), way

    def forward(self, x: Tensor) -> Tensor:
        mean = x.detach().mean(0)
        if self.training and self.way == "method":
            self.average.update(mean)
        elif self.training and self.way == "call":
            self.average(mean)
        elif self.training:
            self.average.value.copy_(mean)
        return self.linear(x - self.average.value)


class ByRoot(Net):
    """The root writes the statistics of its frozen body."""

    def __init__(self) -> None:
        super().__init__(OfChild("none"))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.body.average.value.lerp_(x.mean(0), 0.1)
        return self.head(self.body.linear(x))


class Noisy(nn.Linear):
    """Has a buffer, and reads `training` for its noise: no norm."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x + torch.randn_like(x) * self.scale if self.training else x


class OwnTrain(Net):
    """Its train() puts the norm back into train mode, past the norm's own train()."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.training = mode
        return self


class TrainsBody(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.body.train()
        return super().forward(x)


class TrainsInForward(Net):
    def forward(self, x: Tensor) -> Tensor:
        for module in self.body.modules():
            module.training = True
        return super().forward(x)


class AlwaysBatch(nn.Module):
    """Uses and moves batch statistics in eval too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, training=True)


class Middle(Net):
    """A norm without parameters on the root, between a frozen body and a trained head."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)))


class HeldByParent(Net):
    """The root holds the running mean of what its frozen body returns."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.training:
            self.running_mean.lerp_(x.detach().mean(0), 0.1)
        return self.head(x - self.running_mean)


def conv(*layers: nn.Module) -> Net:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), *layers)
    return Net(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))


STATS = ("running_mean", "running_var", "num_batches_tracked")


def at(path: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name in names or STATS)


UPDATE = {"norms": "update"}
TRAPS = {
    "BatchNorm1d": told(lambda: Net(between(nn.BatchNorm1d(4))), "M1", *at("body.1"), **UPDATE),
    "BatchNorm2d": told(lambda: conv(nn.BatchNorm2d(4)), "M1", *at("body.1"), **UPDATE, batch=images),
    "cumulative": told(lambda: Net(between(nn.BatchNorm1d(4, momentum=None))), "M1", *at("body.1"), **UPDATE),
    "without weights": told(
        lambda: Net(between(nn.BatchNorm1d(4, affine=False))), "M1", *at("body.1"), **UPDATE
    ),
    "mean and var": told(lambda: Net(between(MeanVar())), "M1", *at("body.1", "mean", "var"), **UPDATE),
    "renorm": told(
        lambda: Net(between(Renorm())), "M1", *at("body.1", "mean", "var", "r_max", "d_max"), **UPDATE
    ),
    "F.batch_norm": told(
        lambda: Net(between(Functional())), "M1", *at("body.1", "moving_mean", "moving_variance"), **UPDATE
    ),
    "whitening": told(lambda: Net(between(Whitening(False))), "M1", *at("body.1", "mean", "var"), **UPDATE),
    "on the root": told(lambda: Middle(nn.BatchNorm1d(4, affine=False)), "M1", *at("norm")),
    "own, on the root": told(lambda: Middle(MeanVar(affine=False)), "M1", *at("norm", "mean", "var")),
    "one bias trains": told(
        lambda: Net(between(nn.BatchNorm1d(4, affine=False))), "M1", *at("body.1"), train=("body.0.bias",)
    ),
    "held by a parent": told(HeldByParent, "M1", "running_mean"),
    "of a child": told(lambda: Net(OfChild("method")), "M8", "body.average.value", **UPDATE),
    "written by the root": told(ByRoot, "M8", "body.average.value"),
    "frozen parameters": moved(
        lambda: Net(between(FrozenParameters())), "M8", "body.1.mean", **UPDATE, train=("body.1.weight",)
    ),
    "own train()": moved(lambda: OwnTrain(between(nn.BatchNorm1d(4))), "M2", *at("body.1")),
    "train in forward": moved(lambda: TrainsInForward(between(nn.BatchNorm1d(4))), "M2", *at("body.1")),
    "train in forward, own norm": moved(
        lambda: TrainsInForward(between(MeanVar())), "M2", *at("body.1", "mean", "var")
    ),
    "batch statistics always": moved(
        lambda: Net(between(AlwaysBatch())), "M2", *at("body.1", "running_mean", "running_var")
    ),
    "momentum 0": told(
        lambda: Net(between(nn.BatchNorm1d(4, momentum=0.0))), "M3", "body.1.num_batches_tracked", **UPDATE
    ),
    "momentum 0, 2d": told(
        lambda: conv(nn.BatchNorm2d(4, momentum=0.0)),
        "M3",
        "body.1.num_batches_tracked",
        **UPDATE,
        batch=images,
    ),
    "momentum 0, no weights": told(
        lambda: Net(between(nn.BatchNorm1d(4, momentum=0.0, affine=False))),
        "M3",
        "body.1.num_batches_tracked",
        **UPDATE,
    ),
    "InstanceNorm": told(
        lambda: conv(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        "M4",
        *at("body.1", *STATS[:2]),
        **UPDATE,
        batch=images,
    ),
    "InstanceNorm, no weights": told(
        lambda: conv(nn.InstanceNorm2d(4, track_running_stats=True)),
        "M4",
        *at("body.1", *STATS[:2]),
        **UPDATE,
        batch=images,
    ),
    "InstanceNorm on the root": told(
        lambda: Middle(
            nn.Sequential(
                nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()
            )
        ),
        "M4",
        *at("norm.1", *STATS[:2]),
    ),
    "spectral": told(
        lambda: Net(between(spectral_norm(nn.Linear(4, 4)))),
        "M6",
        *at("body.1.parametrizations.weight.0", "_u", "_v"),
        **UPDATE,
    ),
    "spectral, old": told(
        lambda: Net(between(old_spectral_norm(nn.Linear(4, 4)))),
        "M6",
        *at("body.1", "weight_u", "weight_v"),
        **UPDATE,
    ),
    "spectral, convolution": told(
        lambda: conv(spectral_norm(nn.Conv2d(4, 4, 3))),
        "M6",
        *at("body.1.parametrizations.weight.0", "_u", "_v"),
        **UPDATE,
        batch=images,
    ),
    "power iteration": told(lambda: Net(between(PowerIteration())), "M1", "body.1.u0", **UPDATE),
}

TWINS = {
    "BatchNorm": Case(lambda: Net(between(nn.BatchNorm1d(4)))),
    "BatchNorm2d": Case(lambda: conv(nn.BatchNorm2d(4), nn.ReLU()), batch=images),
    "cumulative": Case(lambda: Net(between(nn.BatchNorm1d(4, momentum=None)))),
    "without weights": Case(lambda: Net(between(nn.BatchNorm1d(4, affine=False)))),
    "mean and var": Case(lambda: Net(between(MeanVar()))),
    "mean and var without weights": Case(lambda: Net(between(MeanVar(False)))),
    "renorm": Case(lambda: Net(between(Renorm()))),
    "F.batch_norm": Case(lambda: Net(between(Functional()))),
    "whitening": Case(lambda: Net(between(Whitening(False)))),
    "power iteration": Case(lambda: Net(between(PowerIteration()))),
    "frozen parameters": Case(lambda: Net(between(FrozenParameters())), notes=("N3",)),
    "by a child's method": Case(lambda: Net(OfChild("method"))),
    "by a child's call": Case(lambda: Net(OfChild("call"))),
    "in a child": Case(lambda: Net(OfChild("write"))),
    "body.train() in forward": Case(lambda: TrainsBody(between(nn.BatchNorm1d(4)))),
    "noise": Case(lambda: Net(Noisy())),
    "own train() of others": Case(lambda: OwnTrain(head=nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)))),
    "norm that trains": Case(lambda: Net(head=nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)))),
    "own norm that trains": Case(lambda: Net(head=nn.Sequential(MeanVar(), nn.Linear(4, 3)))),
    "norm without weights in what trains": Case(
        lambda: Net(head=nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))),
        notes=("S3",),
    ),
    "norm on the root that trains": Case(lambda: Middle(nn.BatchNorm1d(4))),
    "only the norms' biases": Case(
        lambda: Net(between(nn.BatchNorm1d(4))), train=("body.1.bias",), notes=("N6",)
    ),
    "fixed statistics": Case(lambda: Net(between(nn.BatchNorm1d(4, track_running_stats=False)))),
    "momentum 0": Case(lambda: Net(between(nn.BatchNorm1d(4, momentum=0.0)))),
    "InstanceNorm": Case(
        lambda: conv(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), batch=images
    ),
    "InstanceNorm without tracking": Case(
        lambda: conv(nn.InstanceNorm2d(4, affine=True)), batch=images, notes=("S3",)
    ),
    "spectral": Case(lambda: Net(between(spectral_norm(nn.Linear(4, 4))))),
    "spectral, old": Case(lambda: Net(between(old_spectral_norm(nn.Linear(4, 4))))),
    "spectral that trains": Case(lambda: Net(head=spectral_norm(nn.Linear(4, 3)))),
    "LayerNorm": Case(lambda: Net(between(nn.LayerNorm(4), nn.GELU()))),
}


def test_noise_in_a_frozen_module_stays() -> None:
    """Only what its own code writes makes a module a norm, which is kept in eval."""
    net = Net(between(Noisy(), MeanVar()))
    applied = FreezeConfig(rules=(Rule("freeze", "body"),)).apply(net)
    assert applied.norms == ("body.2",)
    assert net.train().body[1].training and not net.body[2].training


@pytest.mark.parametrize("case", TRAPS)
def test_statistics_that_move_are_told(case: str) -> None:
    assert_as_planted(TRAPS[case])


@pytest.mark.parametrize("case", TWINS)
def test_a_twin_whose_statistics_hold_or_may_move_is_clean(case: str) -> None:
    assert_as_planted(TWINS[case])
