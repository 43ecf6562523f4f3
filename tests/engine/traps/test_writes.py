"""M5, M7, M8, M10, M12, M16 and M17: code that writes what is frozen, and twins that write what may be."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MinMaxObserver, MovingAverageMinMaxObserver, disable_observer
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from support.traps import Case, Net, assert_as_planted, between, floats, moved, tokens, told

# --- M5


class Named(nn.Embedding):
    """A subclass, as libraries have them."""


class Ranked(nn.Module):
    """An own lookup with its own max_norm."""

    def __init__(self, max_norm: float | None = 0.5) -> None:
        super().__init__()
        self.weight, self.max_norm = nn.Parameter(torch.randn(5, 4)), max_norm

    def forward(self, x: Tensor) -> Tensor:
        return functional.embedding(x, self.weight, max_norm=self.max_norm)


class Unnamed(Ranked):
    def forward(self, x: Tensor) -> Tensor:
        return functional.embedding(x, self.weight, None, 0.5)


class Outside(Net):
    """The root looks up what its body holds."""

    def __init__(self) -> None:
        super().__init__(nn.Embedding(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.embedding(x, self.body.weight, max_norm=0.5))


class Bagged(nn.Module):
    def __init__(self, max_norm: float | None = 0.5) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(5, 4, max_norm=max_norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.bag(x[:, None])


class FunctionalBag(Ranked):
    def forward(self, x: Tensor) -> Tensor:
        return functional.embedding_bag(x[:, None], self.weight, max_norm=self.max_norm)


class SometimesLooked(nn.Embedding):
    """Only with tokens that the first steps do not have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else functional.embedding(x, self.weight, max_norm=0.5)


def long_row(kind: type) -> nn.Module:
    """Return a table with one row that is longer than its max_norm, of a token that no batch has."""
    table = kind(50, 4, max_norm=1.0)
    with torch.no_grad():
        table.weight.mul_(0.1)
        table.weight[40] = 3.0
    return table


M5 = {
    "Embedding": moved(lambda: Net(nn.Embedding(5, 4, max_norm=0.5)), "M5", "body.weight", batch=tokens),
    "subclass": moved(lambda: Net(Named(5, 4, max_norm=0.5)), "M5", "body.weight", batch=tokens),
    "EmbeddingBag": moved(lambda: Net(Bagged()), "M5", "body.bag.weight", batch=tokens),
    "own attribute": moved(lambda: Net(Ranked()), "M5", "body.weight", batch=tokens),
    "own constant": moved(lambda: Net(Unnamed()), "M5", "body.weight", batch=tokens),
    "functional bag": moved(lambda: Net(FunctionalBag()), "M5", "body.weight", batch=tokens),
    "looked up outside": moved(Outside, "M5", "body.weight", batch=tokens),
    "a row that the batch lacks": moved(
        lambda: Net(long_row(nn.Embedding)), "M5", "body.weight", batch=tokens
    ),
    "long row, bag": moved(
        lambda: Net(nn.Sequential(nn.Unflatten(0, (-1, 1)), long_row(nn.EmbeddingBag))),
        "M5",
        "body.1.weight",
        batch=tokens,
    ),
    "in eval only": moved(lambda: Net(SometimesLooked(5, 4)), "M5", "body.weight", batch=tokens),
}
M5_TWINS = {
    "no max_norm": Case(lambda: Net(nn.Embedding(5, 4)), batch=tokens),
    "never reached": Case(lambda: Net(nn.Embedding(5, 4, max_norm=100.0)), batch=tokens),
    "trains": Case(
        lambda: nn.Sequential(nn.Embedding(5, 4, max_norm=0.5), nn.Linear(4, 3)), freeze=("1",), batch=tokens
    ),
    "own without": Case(lambda: Net(Ranked(None)), batch=tokens),
    "bag": Case(lambda: Net(Bagged(None)), batch=tokens),
}

# --- M7


class Fused(nn.Module):
    """Observers that are held as attributes of a layer, and called on its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.observer = nn.Linear(4, 4), MinMaxObserver()

    def forward(self, x: Tensor) -> Tensor:
        self.observer(x)
        return self.linear(x)


class LearnedStep(nn.Module):
    """A quantizer with a moving maximum of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("max_seen", torch.zeros(1))
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.max_seen.copy_(torch.maximum(self.max_seen * 0.9, x.detach().abs().max()))
        return self.linear(x)


def quiet(module: nn.Module) -> nn.Module:
    module.apply(disable_observer)
    return module


M7 = {
    "FakeQuantize": told(lambda: Net(between(FakeQuantize(MovingAverageMinMaxObserver))), "M7"),
    "observer": told(lambda: Net(between(MovingAverageMinMaxObserver())), "M7"),
    "attribute": told(lambda: Net(Fused()), "M7", "body.observer.min_val", "body.observer.max_val"),
    "own": told(lambda: Net(LearnedStep()), "M8", "body.max_seen"),
}
M7_TWINS = {
    "disabled": Case(lambda: Net(between(quiet(FakeQuantize(MovingAverageMinMaxObserver))))),
    "in what trains": Case(lambda: Net(head=between(FakeQuantize(MovingAverageMinMaxObserver)))),
}

# --- M8


class Clipped(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


class Standardized(nn.Linear):
    """Weight standardization that writes back, under no_grad, only while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.weight.copy_(self.weight - self.weight.mean(1, keepdim=True) * 0.5)
        return super().forward(x)


class ScalesBody(Net):
    """A model that writes the weight of a child, only while the whole trains, or while the weight does."""

    def __init__(self, by_flag: bool = False) -> None:
        super().__init__()
        self.by_flag = by_flag

    def forward(self, x: Tensor) -> Tensor:
        if self.body.weight.requires_grad if self.by_flag else self.training:
            self.body.weight.data.mul_(0.99)
        return super().forward(x)


class Reassigned(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = self.weight.data * 0.99
        return super().forward(x)


class Constrained(nn.Linear):
    """A max norm constraint in the backward of its own output."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x.requires_grad_())
        out.register_hook(lambda grad: (self.weight.data.mul_(0.9), None)[1])
        return out


class EveryTenth(nn.Linear):
    """Acts only every tenth call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls % 10 == 0:
            self.weight.data.mul_(0.9)
        return super().forward(x)


class InEval(nn.Linear):
    """Merges something into its weight when it is used in eval, as re-parametrized layers do."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.weight.data.add_(0.01)
        return super().forward(x)


class ByBatch(nn.Linear):
    """Resets dead units, which some batches have."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if not torch.equal(x, floats(0)[0][0]) and x[0, 0] > 0.3:
            self.weight.data[0] += 0.1
        return out


class ForwardHook(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head.register_forward_hook(lambda *_: (self.body.weight.data.mul_(0.99), None)[1])


class AccumulateHook(Net):
    """Writes the frozen body when a gradient of the head has arrived."""

    def __init__(self, writes: str = "body") -> None:
        super().__init__()
        weight = getattr(self, writes).weight
        self.head.weight.register_post_accumulate_grad_hook(lambda p: (weight.data.mul_(0.99), None)[1])


class BackwardHook(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head.register_full_backward_hook(lambda *_: (self.body.weight.data.mul_(0.99), None)[1])


class OptimizerHook(Net):
    """Registers a hook for all optimizers; it takes itself off with the model."""

    def __init__(self, register: object, writes: str = "body") -> None:
        super().__init__()

        def hook(*_: object) -> None:
            getattr(self, writes).weight.data.mul_(0.99)

        HOOKS.append(register(hook))


class GradientHook(OptimizerHook):
    """The hook gives the frozen weight a gradient."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def hook(*_: object) -> None:
            self.body.weight.grad = torch.ones(4, 4)

        HOOKS.append(register_optimizer_step_pre_hook(hook))


HOOKS: list[object] = []


class Codebook(nn.Module):
    """A VQ layer with an EMA codebook as a parameter."""

    def __init__(self, gated: bool = True) -> None:
        super().__init__()
        self.embed, self.gated = nn.Parameter(torch.randn(6, 4)), gated

    def forward(self, x: Tensor) -> Tensor:
        index = torch.cdist(x, self.embed).argmin(1)
        if self.training or not self.gated:
            with torch.no_grad():
                self.embed[index] += 0.1 * (x - self.embed[index])
        return x + (self.embed[index] - x).detach()


class BufferCodebook(nn.Module):
    """The same as buffers, with cluster sizes."""

    def __init__(self, gated: bool = True) -> None:
        super().__init__()
        self.register_buffer("embed", torch.randn(6, 4))
        self.register_buffer("cluster_size", torch.zeros(6))
        self.gated = gated

    def forward(self, x: Tensor) -> Tensor:
        index = torch.cdist(x, self.embed).argmin(1)
        hot = functional.one_hot(index, 6).float()
        if self.training or not self.gated:
            self.cluster_size.data.mul_(0.9).add_(hot.sum(0), alpha=0.1)
            self.embed.data.copy_(0.9 * self.embed + 0.1 * hot.t() @ x.detach())
        return x + (self.embed[index] - x).detach()


class RootCodebook(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        index = torch.cdist(x, self.codebook).argmin(1)
        self.codebook[index] = 0.9 * self.codebook[index] + 0.1 * x.detach()
        return self.head(self.codebook[index] + x)


class Experts(nn.Module):
    """A router whose bias buffer balances the load."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 2)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.register_buffer("expert_bias", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.gate(x).sigmoid()
        first = (scores + self.expert_bias).argmax(1) == 0
        self.expert_bias += 0.01 * torch.sign(torch.tensor([0.5, -0.5]) + first.float().mean())
        return torch.where(first[:, None], self.experts[0](x), self.experts[1](x)) * scores.sum(1)[:, None]


class Counting(nn.Linear):
    """Counts its steps, in whole numbers or in floats."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(4, 4)
        self.register_buffer("steps", torch.zeros((), dtype=dtype))
        self.register_buffer("updates", torch.zeros(1, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.updates.add_(2)
        return super().forward(x)


class Numbered(nn.Linear):
    """Whole numbers as a parameter, as quantized layers have them."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.q = nn.Parameter(torch.arange(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        self.q.data.add_(1)
        return super().forward(x)


class Cached(nn.Linear):
    """Caches what it has computed, outside of the state dict."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("last", torch.zeros(8, 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x.detach()
        return super().forward(x)


M8 = {
    "clipped": moved(lambda: Net(Clipped(4, 4)), "M8", "body.weight", words="forward"),
    "standardized": moved(
        lambda: Net(Standardized(4, 4)), "M8", "body.weight", words="forward", norms="update"
    ),
    "of a child, while the whole trains": moved(ScalesBody, "M8", "body.weight", words="forward"),
    "reassigned": moved(lambda: Net(Reassigned(4, 4)), "M8", "body.weight", words="forward"),
    "in backward": moved(lambda: Net(Constrained(4, 4)), "M8", "body.weight", words="backward"),
    "every tenth call": moved(lambda: Net(EveryTenth(4, 4)), "M8", "body.weight", words="forward"),
    "in eval": moved(lambda: Net(InEval(4, 4)), "M8", "body.weight", words="eval"),
    "by the batch": moved(lambda: Net(ByBatch(4, 4)), "M8", "body.weight", words="forward"),
    "forward hook": moved(ForwardHook, "M8", "body.weight", words="forward"),
    "gradient hook": moved(AccumulateHook, "M8", "body.weight", words="backward"),
    "backward hook": moved(BackwardHook, "M8", "body.weight", words="backward"),
    "step post hook": moved(
        lambda: OptimizerHook(register_optimizer_step_post_hook), "M8", "body.weight", words="optimizer step"
    ),
    "step pre hook": moved(
        lambda: OptimizerHook(register_optimizer_step_pre_hook), "M8", "body.weight", words="optimizer step"
    ),
    "step pre hook, gradient": moved(GradientHook, "M8", "body.weight", words="optimizer step"),
    "codebook": moved(
        lambda: Net(between(Codebook())), "M8", "body.1.embed", words="forward", norms="update"
    ),
    "codebook buffers, gated": told(
        lambda: Net(between(BufferCodebook())),
        "M8",
        "body.1.embed",
        "body.1.cluster_size",
        norms="update",
    ),
    "whole numbers as a parameter": told(lambda: Net(Numbered()), "M8", "body.q"),
    "codebook in eval": moved(lambda: Net(between(Codebook(False))), "M8", "body.1.embed"),
    "codebook buffers": told(
        lambda: Net(between(BufferCodebook(False))), "M8", "body.1.embed", "body.1.cluster_size"
    ),
    "codebook on the root": told(RootCodebook, "M8", "codebook"),
    "expert bias": told(lambda: Net(Experts()), "M8", "body.expert_bias"),
    "expert bias beside its gate": told(
        lambda: Net(Experts()), "M8", "body.expert_bias", train=("body.gate",)
    ),
}
M8_TWINS = {
    "writes what trains": Case(lambda: Net(head=nn.Sequential(Clipped(4, 3)))),
    "hook on what trains": Case(lambda: AccumulateHook("head")),
    "step hook on what trains": Case(lambda: OptimizerHook(register_optimizer_step_post_hook, "head")),
    "whole counters": Case(lambda: Net(Counting(torch.int64))),
    "float counters": Case(lambda: Net(Counting(torch.float32))),
    "codebook that trains": Case(lambda: Net(head=between(BufferCodebook()))),
    "gated codebook": Case(lambda: Net(between(Codebook())), notes=("N6",)),
    "standardized, gated": Case(lambda: Net(Standardized(4, 4))),
    "of a child, as the fix says": Case(lambda: ScalesBody(by_flag=True)),
    "gated codebook buffers": Case(lambda: Net(between(BufferCodebook())), notes=("N6",)),
    "cache": Case(lambda: Net(Cached()), notes=("M8",)),
    "experts that train": Case(lambda: Net(head=Experts()), notes=("S3",)),
}

# --- M10 and M12


class Leaves(nn.Linear):
    def __init__(self, value: float = 1.0) -> None:
        super().__init__(4, 4)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        self.weight.grad = torch.full_like(self.weight, self.value)
        return super().forward(x)


class OwnBackward(Net):
    """Differentiates by itself, into a frozen weight."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            weight = self.body.weight.detach().requires_grad_()
            (grad,) = torch.autograd.grad(functional.linear(x, weight).square().sum(), weight)
        self.body.weight.grad = grad
        return super().forward(x)


class ZeroFilled(Net):
    """Fills missing gradients with zeros, as old zero_grad did, when a gradient arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.head.weight.register_hook(self.fill)

    def fill(self, grad: Tensor) -> None:
        for p in self.parameters():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad


M10 = {
    "left in forward": moved(lambda: Net(Leaves()), "M10", "body.weight"),
    "own backward": moved(OwnBackward, "M10", "body.weight"),
    "left by a hook": moved(
        lambda: _hooked(lambda net: setattr(net.body.bias, "grad", torch.ones(4))), "M10", "body.bias"
    ),
    "zeros": moved(lambda: Net(Leaves(0.0)), "M12", "body.weight"),
    "zeros by a hook": moved(ZeroFilled, "M12", "body.weight", "body.bias"),
    "zeros in backward": moved(
        lambda: _hooked(lambda net: setattr(net.body.weight, "grad", torch.zeros(4, 4))),
        "M12",
        "body.weight",
    ),
}


def _hooked(act: object) -> Net:
    net = Net()
    net.head.register_full_backward_hook(lambda *_: (act(net), None)[1])
    return net


# --- M16


class Averaging(nn.Module):
    """A student, and a frozen teacher that its forward averages."""

    def __init__(self, decay: float = 0.9, frozen_student: bool = False, copies: bool = False) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.teacher = copy.deepcopy(self.body)
        self.decay, self.copies = decay, copies
        with torch.no_grad():
            self.teacher.weight.add_(0.0 if frozen_student else 0.1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.update()
        with torch.no_grad():
            aim = self.teacher(x)
        return torch.cat([self.head(self.body(x)), self.body(x) - aim], 1)

    @torch.no_grad()
    def update(self) -> None:
        for mine, other in zip(self.teacher.parameters(), self.body.parameters(), strict=True):
            if self.copies and not other.requires_grad:
                mine.copy_(other)
            else:
                mine.mul_(self.decay).add_(other, alpha=1 - self.decay)


class LerpAveraging(Averaging):
    @torch.no_grad()
    def update(self) -> None:
        for mine, other in zip(self.teacher.parameters(), self.body.parameters(), strict=True):
            mine.data.lerp_(other.data, 0.1)


M16 = {
    "of what trains": moved(Averaging, "M16", "teacher.weight", "teacher.bias", freeze=("teacher",)),
    "by lerp": moved(LerpAveraging, "M16", "teacher.weight", "teacher.bias", freeze=("teacher",)),
    "of what is frozen": moved(lambda: Averaging(0.9, True), "M16", freeze=("teacher", "body")),
}
M16_TWINS = {
    "copies what is frozen": Case(
        lambda: Averaging(0.9, True, True), freeze=("teacher", "body"), notes=("N6",)
    ),
}

# --- M17


class Slices(nn.Module):
    """Two parameters of different shape on one memory."""

    def __init__(self, first: int = 0, last: int = 4) -> None:
        super().__init__()
        memory = torch.randn(last + 4 if first else 6, 4)
        self.body, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 6, bias=False)
        self.body.weight = nn.Parameter(memory[first:last])
        self.head.weight = nn.Parameter(memory[last:] if first else memory)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.body(x), self.head.weight)


class Transposed(Net):
    """Decoder weights that are a transposed view of the encoder's."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False))
        self.head.weight = nn.Parameter(self.body.weight.data.t())


class DataTied(Net):
    """Tied by .data, in another shape."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        self.scale = nn.Parameter(torch.ones(16))
        self.scale.data = self.body.weight.data.view(-1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale[:4]


class BufferTied(Net):
    """A buffer of the frozen body is a view of a weight that trains."""

    def __init__(self) -> None:
        super().__init__(head=nn.Linear(4, 4))
        self.body.register_buffer("key", self.head.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x) @ self.body.key)


M17 = {
    "slices": moved(Slices, "M17", "body.weight"),
    "transposed": moved(Transposed, "M17", "body.weight"),
    "tied by data": moved(DataTied, "M17", "body.weight"),
    "buffer": told(BufferTied, "M17", "body.key"),
}
M17_TWINS = {
    "side by side in one memory": Case(lambda: Slices(2, 6)),
    "frozen on both sides": Case(lambda: nn.Sequential(Slices(), nn.Linear(6, 3)), freeze=("0",)),
}

TRAPS = {
    f"{code} {name}": case
    for code, cases in {"M5": M5, "M7": M7, "M8": M8, "M10": M10, "M16": M16, "M17": M17}.items()
    for name, case in cases.items()
}
TWINS = {
    f"{code} {name}": case
    for code, cases in {
        "M5": M5_TWINS,
        "M7": M7_TWINS,
        "M8": M8_TWINS,
        "M16": M16_TWINS,
        "M17": M17_TWINS,
    }.items()
    for name, case in cases.items()
}


@pytest.fixture(autouse=True)
def _no_hooks_left() -> object:
    yield
    while HOOKS:
        HOOKS.pop().remove()


@pytest.mark.parametrize("case", TRAPS)
def test_what_writes_frozen_tensors_is_told(case: str) -> None:
    assert_as_planted(TRAPS[case])


@pytest.mark.parametrize("case", TWINS)
def test_a_twin_that_writes_what_may_move_is_clean(case: str) -> None:
    assert_as_planted(TWINS[case])
