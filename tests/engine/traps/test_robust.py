"""Models that rename, replace or hide their tensors, of every kind: one clear answer, never a traceback."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from freezetui.errors import FreezeTuiError
from support.traps import Case, Net, assert_as_planted, between, floats, moved, tokens, told


class Renames(nn.Module):
    """Moves its weight to another name in its first forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        if "weight" in self._parameters:
            weight = self.weight
            del self.weight
            self.register_parameter("kernel", weight)
        return x @ self.kernel


class Drops(nn.Linear):
    """Folds its bias away in its first forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.bias = None
        return super().forward(x)


class Adds(nn.Linear):
    """Registers another parameter in its first forward."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(4))
        return super().forward(x) * self.scale


class Replaces(nn.Linear):
    """Puts a new parameter with other values under its name."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight = nn.Parameter(self.weight.detach() * 0.9, requires_grad=self.weight.requires_grad)
        return super().forward(x)


class TiesInForward(Net):
    """Puts the weight of the body under the name of another one."""

    def __init__(self) -> None:
        super().__init__(head=nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.head.weight = self.body.weight
        return super().forward(x)


class ReplacesAlike(nn.Linear):
    """Puts a new parameter with the same values under its name, as moving to a device does."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight = nn.Parameter(self.weight.detach().clone(), requires_grad=self.weight.requires_grad)
        return super().forward(x)


class Unparametrizes(nn.Module):
    """Removes its weight norm in its first forward."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = weight_norm(nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        if parametrize.is_parametrized(self.linear):
            parametrize.remove_parametrizations(self.linear, "weight")
        return self.linear(x)


class SwapsModule(Net):
    """Replaces a whole layer after the first call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            self.body = nn.Sequential(nn.Linear(4, 4))
        return super().forward(x)


class LosesBuffer(nn.Linear):
    """Renames a buffer, and removes another."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("start", torch.zeros(4))
        self.register_buffer("empty", None)
        self.register_buffer("nothing", torch.zeros(0))

    def forward(self, x: Tensor) -> Tensor:
        if "start" in self._buffers:
            del self.start
            self.register_buffer("later", x.detach().mean(0))
        return super().forward(x)


class NoEval(nn.Linear):
    """Cannot run in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            raise ValueError("needs a checkpoint to sample from")
        return super().forward(x)


class Fragile(nn.Linear):
    """Raises on what only a later batch has."""

    def forward(self, x: Tensor) -> Tensor:
        if not any(torch.equal(x, floats(step)[0][0]) for step in range(3)):
            raise ValueError("not seen before")
        return super().forward(x)


class Odd(nn.Module):
    """Parameters of no dimension, without elements, not contiguous, complex."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.tensor(1.5))
        self.none = nn.Parameter(torch.zeros(0, 4))
        self.turned = nn.Parameter(torch.randn(4, 8).t()[:4])
        self.wave = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64))
        self.register_buffer("phase", torch.zeros((), dtype=torch.complex64))
        self.register_buffer("mask", torch.ones(4).expand(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.zero + self.none.sum(0)
        return x @ self.turned + (x.to(torch.complex64) @ self.wave).real


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Embedding(5, 4), nn.EmbeddingBag(5, 3, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, None]) * self.body(x).sum()


class SparseBuffer(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("graph", torch.eye(4).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return torch.sparse.mm(self.graph, super().forward(x).t()).t()


def scripted(body: nn.Module) -> nn.Module:
    return torch.jit.script(body)


def traced(body: nn.Module) -> nn.Module:
    return torch.jit.trace(body, floats(0)[0][0])


def quantized() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(between(nn.ReLU()), {nn.Linear}, torch.qint8)


class Spread(nn.Module):
    """Data parallel inside, and an expanded buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.DataParallel(between(nn.BatchNorm1d(4))), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def compiled() -> nn.Module:
    return Net(torch.compile(between(nn.BatchNorm1d(4)), backend="eager"))


class Nothing(nn.Linear):
    def forward(self, x: Tensor) -> None:
        return None


class Deleted(Net):
    """Frees its frozen body after it has computed what it needs."""

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "body"):
            self.kept = self.body(x).detach()
            del self.body
        return self.head(self.kept)


TRAPS = {
    "drops a frozen bias": Case(lambda: Net(Drops(4, 4)), "N13", ("body.bias",), "inconclusive"),
    "frees its body": Case(Deleted, "N13", ("body.weight", "body.bias"), "inconclusive"),
    "swaps a module": Case(SwapsModule, "N13", ("body.weight", "body.bias"), "inconclusive"),
    "unparametrizes": Case(lambda: Net(Unparametrizes()), "N13", None, "inconclusive"),
    "replaces": moved(lambda: Net(Replaces(4, 4)), "M8", "body.weight"),
    "replaces what trains": told(lambda: Net(head=Replaces(4, 3)), "S1", "head.weight"),
    "ties what trains to what is frozen": told(TiesInForward, "S1", "head.weight"),
}
TWINS = {
    "renames": Case(lambda: Net(Renames()), notes=("N13",)),
    "adds": Case(lambda: Net(Adds(4, 4))),
    "replaces by the same": Case(lambda: Net(ReplacesAlike(4, 4)), notes=("N6",)),
    "no eval": Case(lambda: Net(NoEval(4, 4)), notes=("N12",)),
    "fragile": Case(lambda: Net(Fragile(4, 4)), notes=("N12",)),
    "odd": Case(lambda: Net(Odd())),
    "odd, training": Case(lambda: Net(head=Odd())),
    "sparse gradient": Case(Sparse, batch=tokens),
    "sparse gradient in the control run": Case(Sparse, freeze=("head",), batch=tokens),
    "sparse buffer": Case(lambda: Net(SparseBuffer())),
    "scripted": Case(lambda: Net(scripted(between(nn.BatchNorm1d(4), nn.Dropout())))),
    "scripted head": Case(lambda: Net(head=scripted(between(nn.BatchNorm1d(4)))), notes=("S3",)),
    "traced": Case(lambda: Net(traced(between(nn.ReLU())))),
    "data parallel": Case(Spread),
    "compiled": Case(compiled),
}
ANY = {
    "loses a buffer": lambda: Net(LosesBuffer()),
    "quantized": lambda: Net(quantized()),
    "all quantized": lambda: Net(quantized(), quantized()),
    "nothing": lambda: Net(head=Nothing(4, 3)),
    "scripted whole": lambda: scripted(Net()),
    "lazy": lambda: Net(nn.LazyLinear(4)),
}


@pytest.mark.parametrize("case", TRAPS)
def test_what_changes_its_own_tensors_is_told(case: str) -> None:
    assert_as_planted(TRAPS[case])


@pytest.mark.parametrize("case", TWINS)
def test_unusual_models_are_held(case: str) -> None:
    assert_as_planted(TWINS[case])


@pytest.mark.parametrize("case", ANY)
def test_there_is_always_an_answer(case: str) -> None:
    try:
        report = Case(ANY[case]).report()
    except FreezeTuiError as error:
        assert error.message
    else:
        assert report.verdict in ("held", "inconclusive") and (report.verdict == "held" or report.findings)
