"""S3 to S8 and N6: what trains, what does not, and what is cut off; with twins in which all of it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from support.traps import Case, Net, assert_as_planted, told


class Head(nn.Module):
    """A linear layer, and beside it `spare`, which `use` may reach."""

    def __init__(self, use: Callable[[nn.Module, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.linear, self.spare, self.use = nn.Linear(4, 3), nn.Linear(4, 3), use

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if self.use is None else self.linear(x) + self.use(self.spare, x)


def without_gradients(spare: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return spare(x)


def inference(spare: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return spare(x).clone()


def dropped(spare: nn.Module, x: Tensor) -> Tensor:
    """LayerDrop at a rate that skips it in every step of a check."""
    return x[:, :3] if spare.training and torch.rand(()) < 0.9999 else spare(x)


def used(use: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Net(head=Head(use))


SPARE = ("head.spare.weight", "head.spare.bias")
UNTRAINED = {
    "no_grad": without_gradients,
    "detach": lambda spare, x: spare(x).detach(),
    "data": lambda spare, x: spare(x).data,
    "inference mode": inference,
    "item": lambda spare, x: x.sum() * spare(x).sum().item(),
    "argmax": lambda spare, x: spare(x).argmax(1, keepdim=True).float(),
    "dead ReLU": lambda spare, x: (spare(x) - 1e6).relu(),
    "times zero": lambda spare, x: 0 * spare(x),
    "round": lambda spare, x: spare(x).round(),
    "sign": lambda spare, x: spare(x).sign(),
    "clamp": lambda spare, x: spare(x).clamp(50, 60),
    "hard sigmoid": lambda spare, x: functional.hardsigmoid(spare(x) + 50),
    "saturated tanh": lambda spare, x: torch.tanh(1e6 * (spare(x).abs() + 1)),
    "closed gate": lambda spare, x: torch.where(spare(x) > 1e9, spare(x), torch.zeros_like(x[:, :3])),
    "dropout of everything": lambda spare, x: functional.dropout(spare(x), 1.0),
    "functional, detached": lambda spare, x: functional.linear(x, spare.weight, spare.bias).detach(),
    "functional, dead": lambda spare, x: 0 * functional.linear(x, spare.weight, spare.bias),
}


class ZeroGate(nn.Module):
    """A zero-initialized gate: what is behind it gets no gradient in the first step, then it does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.tanh(self.gate) * self.spare(x)


class Listed(nn.Module):
    """Parameters in lists and on the root, which have no forward of their own."""

    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(4, 3)) for _ in range(2)])
        self.scales = nn.ParameterDict({"a": nn.Parameter(torch.ones(3))})
        self.bias = nn.Parameter(torch.zeros(3))
        self.detached = detached

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        last, scale = self.weights[1], self.scales["a"]
        if self.detached:
            last, scale = last.detach(), scale.detach()
        return (x @ self.weights[0] + x @ last) * scale + self.bias


class Experts(nn.Module):
    """The router always takes the first expert."""

    def __init__(self, functional_use: bool = False) -> None:
        super().__init__()
        self.body, self.functional_use = nn.Linear(4, 4), functional_use
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 3)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.experts[0](self.body(x))


class Stacked(nn.Module):
    """Experts in one tensor per layer, only one of them chosen by a functional call."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        chosen = self.experts[0]
        return functional.linear(x, chosen.weight, chosen.bias)


class Coarse(nn.Module):
    """A weight in a coarse dtype that a small part of the loss depends on."""

    def __init__(self, share: float, dtype: torch.dtype = torch.bfloat16, value: float = 1.0) -> None:
        super().__init__()
        self.share, self.linear = share, nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.full((3,), value, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.share * self.scale.float()


class Reentrant(nn.Module):
    def __init__(self, inner: nn.Module, reentrant: bool = True) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


class Residual(nn.Module):
    """A frozen first layer feeds a checkpointed block, and a head beside it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.body, self.block, self.head = nn.Linear(4, 4), block, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.block(x) + self.head(x)


def one_byte(dtype: torch.dtype = torch.float8_e4m3fn, name: str = "scale") -> nn.Module:
    net = Net()
    net.head.register_parameter(name, nn.Parameter(torch.ones(3).to(dtype)))
    return net


class Packed(nn.Module):
    """A layer with a weight in float8, which it unpacks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4).to(torch.float8_e4m3fn))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.float(), self.bias)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))


TRAPS = {
    **{f"S3 {name}": told(used(use), "S3", *SPARE) for name, use in UNTRAINED.items()},
    "S3 list": told(lambda: Listed(True), "S3", "weights.1", "scales.a"),
    "S4 bfloat16": told(lambda: Net(head=Coarse(1e-4)), "S4", "head.scale"),
    "S4 float16": told(lambda: Net(head=Coarse(3e-5, torch.float16)), "S4", "head.scale"),
    "S4 decay moves it": told(lambda: Net(head=Coarse(1e-4, value=100.0)), "S4", "head.scale"),
    "S4 large weight": told(lambda: Net(head=Coarse(1e-2, value=1e4)), "S4", "head.scale"),
    "S6 layer": told(
        lambda: Residual(Reentrant(nn.Linear(4, 4))), "S6", "block.inner.weight", "block.inner.bias"
    ),
    "S6 block": told(lambda: Residual(Reentrant(mlp())), "S6"),
    "S6 two": told(lambda: Residual(nn.Sequential(Reentrant(mlp()), Reentrant(mlp()))), "S6"),
    "S6 between layers": told(
        lambda: Net(head=nn.Sequential(Reentrant(nn.Linear(4, 4)), nn.Linear(4, 3))),
        "S6",
        "head.0.inner.weight",
        "head.0.inner.bias",
    ),
    "S6 all that trains": Case(lambda: Net(head=Reentrant(nn.Linear(4, 3))), "S6", None, "inconclusive"),
    "S7": told(one_byte, "S7", "head.scale"),
    "S7 e5m2": told(lambda: one_byte(torch.float8_e5m2, "gain"), "S7", "head.gain"),
    "S7 in use": told(lambda: Net(head=Packed()), "S7", "head.weight"),
    "S8": Case(Net, "S8", (), "inconclusive", freeze=("**",)),
    "S8 by modules": Case(Net, "S8", (), "inconclusive", freeze=("body", "head")),
    "S8 convolution": Case(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "S8", (), "inconclusive", freeze=("*",)
    ),
}

UNDECIDED = {
    name: Case(lambda use=use: Gated(use), "N7", (), "inconclusive", freeze=("body",))
    for name, use in UNTRAINED.items()
    if name not in ("no_grad", "inference mode", "item", "functional, detached")
}


class Gated(nn.Module):
    """Everything that trains is behind something that passes no gradient on."""

    def __init__(self, use: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.use = nn.Linear(4, 4), nn.Linear(4, 3), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.head, self.body(x))


# --- cut off from the loss, and frozen by the flag all the same


class Teacher(nn.Module):
    """A student that learns from a frozen twin."""

    def __init__(self, mode: Callable[[], object] = torch.no_grad, in_eval: bool = False) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        self.body, self.mode, self.in_eval = copy.deepcopy(self.student), mode, in_eval
        for p in self.body.parameters():
            p.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.in_eval:
            self.body.eval()
        with self.mode():
            aim = self.body(x)
        return (self.student(x) - aim.clone()).square()


class Perceptual(Net):
    """A frozen loss network compares what the head made."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            aim = self.body(x)
        return (self.body(self.head(x)) - aim).square().mean(1)


class Features(Net):
    """Computes the frozen body's features once and keeps them."""

    kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.body(x).detach()
        return self.head(self.kept)


class Toggled(Net):
    """Turns the frozen body's flags off for its own forward, as GANs do for the other network."""

    def forward(self, x: Tensor) -> Tensor:
        for p in self.body.parameters():
            p.requires_grad = False
        return super().forward(x)


class OwnContext(Net):
    """Asks the flags whether a gradient is needed."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(any(p.requires_grad for p in self.body.parameters())):
            x = self.body(x)
        return self.head(x)


class Decorated(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        self.body.eval()
        return self.body(x)


CUT_OFF = {
    "teacher": Case(Teacher, notes=("N6", "S3")),
    "teacher in eval": Case(lambda: Teacher(in_eval=True), notes=("N6", "S3")),
    "teacher in inference mode": Case(lambda: Teacher(torch.inference_mode), notes=("N6", "S3")),
    "linear probe": Case(Decorated, notes=("N6",)),
    "loss network": Case(Perceptual),
    "kept features": Case(Features, notes=("N6",)),
    "flags toggled inside": Case(Toggled, notes=("N6",)),
    "asks the flags": Case(OwnContext),
}

TWINS = {
    "used": Case(used(lambda spare, x: spare(x))),
    "ReLU": Case(used(lambda spare, x: spare(x).relu())),
    "straight through": Case(used(lambda spare, x: spare(x) + (spare(x).round() - spare(x)).detach())),
    "functional": Case(used(lambda spare, x: functional.linear(x, spare.weight, spare.bias))),
    "dropout": Case(used(lambda spare, x: functional.dropout(spare(x), 0.5))),
    "zero-initialized gate": Case(lambda: Net(head=ZeroGate())),
    "list": Case(lambda: Listed(False)),
    "expert not taken": Case(Experts, notes=("S3",)),
    "expert not taken, functional": Case(Stacked, notes=("S3",)),
    "layer dropped at random": Case(used(dropped), notes=("S3",)),
    "bfloat16": Case(lambda: Net(head=Coarse(1.0))),
    "float16": Case(lambda: Net(head=Coarse(1.0, torch.float16))),
    "float32, small": Case(lambda: Net(head=Coarse(1e-3, torch.float32))),
    "checkpointed": Case(lambda: Residual(Reentrant(mlp(), False))),
    "checkpointed after what trains": Case(
        lambda: nn.Sequential(nn.Linear(4, 4), Reentrant(nn.Linear(4, 4)), nn.Linear(4, 3)), freeze=("2",)
    ),
    "softmax": Case(lambda: Net(head=nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)))),
    "attention": Case(lambda: Net(head=SelfAttention()), notes=("S3",)),
    **{f"cut off: {name}": case for name, case in CUT_OFF.items()},
}


class SelfAttention(nn.Module):
    """MultiheadAttention uses the weight of `out_proj` without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x[None]
        return self.attention(x, x, x)[0]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("case", TRAPS)
def test_what_does_not_train_is_told(case: str) -> None:
    assert_as_planted(TRAPS[case])


@pytest.mark.parametrize("case", UNDECIDED)
def test_where_no_gradient_changes_anything_the_check_is_inconclusive(case: str) -> None:
    assert_as_planted(UNDECIDED[case])


@pytest.mark.parametrize("case", TWINS)
def test_a_twin_that_trains_is_clean(case: str) -> None:
    assert_as_planted(TWINS[case])
