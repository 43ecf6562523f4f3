"""Traps of which the loading is a part: the checkpoint is a file, the model a factory in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.protocol import CheckRequest
from freezetui.sanity.report import SanityReport
from support.traps import Net


class TiedHead(nn.Module):
    """A language model whose head has the memory of its embedding."""

    def __init__(self, tie: Callable[[nn.Parameter], nn.Parameter]) -> None:
        super().__init__()
        self.body, self.mid, self.head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = tie(self.body.weight)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.mid(self.body(input_ids)))


class Averaging(nn.Module):
    """Keeps an average of its network, as torch's own wrapper does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def forward(self, x: Tensor) -> Tensor:
        self.average.update_parameters(self.net)
        return self.net(x)


class Merging(nn.Module):
    """A low-rank adapter that eval() adds to the frozen weight, and train() takes out again."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(64, 64), nn.Linear(64, 2), nn.Linear(2, 64)
        self.merged = False

    def train(self, mode: bool = True) -> nn.Module:
        if mode == self.merged:
            product = (self.up.weight @ self.down.weight).detach()
            self.base.weight.data += -product if mode else product
            self.merged = not mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self.base(x) + self.up(self.down(x))


class LongRow(nn.Module):
    """A functional lookup, with one row in thousands that is longer than its max_norm."""

    def __init__(self, max_norm: float) -> None:
        super().__init__()
        self.body, self.head = nn.Parameter(torch.randn(4000, 4)), nn.Linear(4, 3)
        self.body.data[3999] = 20.0
        self.max_norm = max_norm

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(functional.embedding(input_ids, self.body, max_norm=self.max_norm))


class Tabular(nn.Module):
    """Reads one column of numbers per embedding, and calls itself by another name than `self`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Embedding(5, 4) for _ in range(3)])
        self.norm, self.head = nn.BatchNorm1d(5), nn.Linear(17, 2)

    def forward(me, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        found = [layer(x_cat[:, i]) for i, layer in enumerate(me.body)]
        return me.head(torch.cat([*found, me.norm(x_cont)], 1))


class ShortNames(nn.Module):
    """A norm whose statistics are called mu and sigma."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("mu", torch.zeros(4))
        self.register_buffer("sigma", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mu += 0.1 * (x.detach().mean(0) - self.mu)
            self.sigma += 0.1 * (x.detach().std(0) - self.sigma)
        return (x - self.mu) / self.sigma * self.scale


def tied() -> nn.Module:
    return TiedHead(lambda weight: weight)


def tied_by_memory() -> nn.Module:
    return TiedHead(lambda weight: nn.Parameter(weight.data.view(5, 4)))


def averaging() -> nn.Module:
    return Averaging()


def parallel() -> nn.Module:
    return Net(nn.DataParallel(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))))


def merging() -> nn.Module:
    return Merging()


def long_row() -> nn.Module:
    return LongRow(10.0)


def short_rows() -> nn.Module:
    return LongRow(50.0)


def tabular() -> nn.Module:
    return Tabular()


def stepping() -> nn.Module:
    """Return a model whose trainable half is updated within backward, to save the gradients' memory."""
    model = Net()

    def step(parameter: nn.Parameter) -> None:
        with torch.no_grad():
            parameter.sub_(parameter.grad, alpha=0.01)
        parameter.grad = None

    for parameter in model.head.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    return model


def short_names() -> nn.Module:
    return Net(nn.Sequential(nn.Linear(4, 4), ShortNames()))


def quantized() -> nn.Module:
    """Return a model with fused observers, which resize their buffers in a first forward."""
    model = Net().train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    return quantization.prepare_qat(model)


def report(directory: Path, factory: str, *freeze: str, norms: str = "freeze") -> SanityReport:
    """Save the model that a factory of this file makes, and check it as the command line does."""
    torch.manual_seed(0)
    file = directory / "model.pth"
    torch.save(globals()[factory]().state_dict(), file)
    config = ConfigData(rules=tuple(Rule("freeze", each) for each in freeze), norm_statistics=norms)
    spec = ModelSpec(f"{__file__}:{factory}")
    return check(CheckRequest(checkpoint=str(file), model=spec, config=config, device="cpu"))


AVERAGE = ("average.module.0.weight", "average.module.0.bias")


@pytest.mark.parametrize(
    ("factory", "freeze", "code", "tensors", "words", "verdict"),
    [
        ("tied", ("body",), "N10", ("head.weight",), "no rule names it", "held"),
        ("tied_by_memory", ("body",), "N10", ("head.weight",), "no rule names it", "held"),
        ("averaging", ("average",), "M16", AVERAGE, "averages", "moved"),
        ("merging", ("base",), "M8", ("base.weight",), "train() or eval()", "moved"),
        ("long_row", ("body",), "M5", ("body",), "max_norm", "moved"),
        ("quantized", ("body",), "M7", None, "observers", "held"),
    ],
)
def test_a_trap_is_told(
    tmp_path: Path,
    factory: str,
    freeze: tuple[str, ...],
    code: str,
    tensors: tuple[str, ...] | None,
    words: str,
    verdict: str,
) -> None:
    told = report(tmp_path, factory, *freeze)
    assert told.verdict == verdict
    found = [finding for finding in told.findings if finding.code == code]
    assert len(found) == 1, told.findings
    assert words in found[0].message
    assert tensors is None or found[0].tensors == tensors


@pytest.mark.parametrize(
    ("factory", "freeze"),
    [
        ("tied", ("body", "head")),
        ("tied", ("mid",)),
        ("parallel", ("body.module.0",)),
        ("tabular", ("body",)),
        ("short_rows", ("body",)),
        ("short_names", ("body",)),
        ("stepping", ("body",)),
    ],
)
def test_a_twin_is_held_without_a_word(tmp_path: Path, factory: str, freeze: tuple[str, ...]) -> None:
    told = report(tmp_path, factory, *freeze)
    assert (told.verdict, told.findings) == ("held", ())


def test_all_statistics_of_a_norm_have_one_cause(tmp_path: Path) -> None:
    told = report(tmp_path, "short_names", "body", norms="update")
    assert [finding.tensors for finding in told.findings] == [("body.1.mu", "body.1.sigma")]
    assert told.findings[0].code == "M1"
