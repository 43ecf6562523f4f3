"""Small models with one trap each, and twins without: how the tests in engine/traps state and run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import Batch, ModelUnderTest
from freezetui.freeze.rules import Rule
from freezetui.sanity.report import SanityReport


def floats(step: int) -> Batch:
    """Return 8 examples of 4 features."""
    return (torch.randn(8, 4, generator=torch.Generator().manual_seed(step)),), {}


def tokens(step: int) -> Batch:
    """Return 8 tokens of a vocabulary of 5."""
    return ((torch.arange(8) + step) % 5,), {}


def images(step: int) -> Batch:
    """Return 4 images with 3 channels."""
    return (torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(step)),), {}


class Net(nn.Module):
    """body -> head; the tests freeze the body."""

    def __init__(self, body: nn.Module | None = None, head: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4) if body is None else body
        self.head = nn.Linear(4, 3) if head is None else head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Clipped(nn.Linear):
    """Shrinks its weight at each forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.mul_(0.9)
        return super().forward(x)


def between(*layers: nn.Module) -> nn.Module:
    """Return layers after a linear one that they share a parent with."""
    return nn.Sequential(nn.Linear(4, 4), *layers)


@dataclass(frozen=True)
class Case:
    """One model, and what its check must report.

    Attributes:
        model: makes it.
        code: of the finding; "" for a twin, in which no error and no warning may be reported.
        tensors: what the finding names, all of it; None where that does not matter.
        verdict: of the check.
        words: must be in the finding's message.
        notes: codes of notes that a twin may have.
        freeze, train: the rules' patterns; norms: the config's norm_statistics.
    """

    model: Callable[[], nn.Module]
    code: str = ""
    tensors: tuple[str, ...] | None = None
    verdict: str = "held"
    words: str = ""
    notes: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ("body",)
    train: tuple[str, ...] = ()
    norms: str = "freeze"
    batch: Callable[[int], Batch] = floats

    def report(self) -> SanityReport:
        """Check the model."""
        rules = tuple(Rule("freeze", p) for p in self.freeze) + tuple(Rule("train", p) for p in self.train)
        config = ConfigData(rules=rules, norm_statistics=self.norms)
        return check_model(ModelUnderTest(self.model(), self.batch, torch.device("cpu")), config)


def moved(model: Callable[[], nn.Module], code: str, *tensors: str, **options: object) -> Case:
    """Return a trap by which frozen tensors move."""
    return Case(model, code, tensors or None, "moved", **options)


def told(model: Callable[[], nn.Module], code: str, *tensors: str, **options: object) -> Case:
    """Return a trap that a finding tells, though frozen parameters hold."""
    return Case(model, code, tensors or None, **options)


def assert_as_planted(case: Case) -> None:
    """Assert that a trap is told once, with its cause, and that a twin is held with nothing to tell."""
    report = case.report()
    shown = "\n".join(f"{f.severity} {f.code} {f.tensors} {f.message}" for f in report.findings)
    assert report.verdict == case.verdict, shown
    if not case.code:
        wrong = [f for f in report.findings if f.severity != "note" or f.code not in case.notes]
        assert not wrong, shown
        return
    found = [f for f in report.findings if f.code == case.code and case.words in f.message]
    assert found, shown
    if case.tensors is not None:
        assert {name for f in found for name in f.tensors} == set(case.tensors), shown
        others = [f for f in report.findings if f.code != case.code and f.severity != "note"]
        assert not [f for f in others if set(f.tensors) & set(case.tensors)], shown
    assert all(f.fix for f in found), shown
