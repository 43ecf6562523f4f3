"""A check in the modes that a script trains in: dtype, autocast, torch.compile."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.errors import ModelError
from freezetui.formatting.report import cost
from freezetui.freeze.rules import Rule
from freezetui.sanity.report import SanityReport
from freezetui.sanity.training import Training


class Net(nn.Module):
    """body -> head, and what its forward has computed in."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(16, 16), nn.Linear(16, 3)
        self.seen: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.body(x))
        self.seen.add(out.dtype)
        return out


def floats(step: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    return (torch.randn(8, 16, generator=torch.Generator().manual_seed(step)),), {}


def check(model: Net, **training: object) -> SanityReport:
    config = ConfigData(rules=(Rule("freeze", "body"),))
    return check_model(
        ModelUnderTest(model, floats, torch.device("cpu")), config, training=Training(**training)
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_and_batches_in_another_dtype(dtype: str) -> None:
    model = Net().double() if dtype == "float32" else Net()
    report = check(model, dtype=dtype, optimizer="sgd", lr=0.1)
    assert (report.verdict, report.modes) == ("held", dtype)
    assert model.seen == {getattr(torch, dtype)} == {parameter.dtype for parameter in model.parameters()}
    assert f"on cpu, {dtype}" in "; ".join(cost(report))
    assert report.own is not None and report.own.trainable.moved == 2


@pytest.mark.parametrize("dtype", ["", "bfloat16", "float16"])
def test_autocast_leaves_the_weights_as_they_are(dtype: str) -> None:
    model = Net()
    report = check(model, amp=True, dtype=dtype, lr=1e-4)
    assert (report.verdict, report.modes) == ("held", f"autocast to {dtype or 'bfloat16'}")
    assert model.seen == {getattr(torch, dtype or "bfloat16")}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert report.own is not None and (report.own.steps, len(report.own.losses)) == (3, 3)
    assert report.own.trainable.moved == 2


def test_steps_that_a_scaler_skips_do_not_count() -> None:
    """Gradients of float16 overflow at the first scales: scripts then skip the step and halve the scale."""

    class Large(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 1e3

    report = check(Large(), amp=True, dtype="float16", lr=1e-4)
    assert report.own is not None
    assert (len(report.own.losses), report.own.trainable.moved) == (3, 2)


def test_autocast_to_float32_is_refused() -> None:
    with pytest.raises(ModelError, match="bfloat16 or float16"):
        check(Net(), amp=True, dtype="float32")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(16, 16), nn.Linear(16, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def test_a_compiled_model_is_checked_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    report = check(Plain(), compile=True, lr=1e-3)
    assert (report.verdict, report.modes) == ("held", "compiled")
    assert [(f.code, f.severity, f.tensors) for f in report.findings] == [
        ("S3", "note", ("spare.weight", "spare.bias"))
    ]


def test_without_a_compiler_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    with pytest.raises(
        ModelError, match=r"torch\.compile failed: .*No working C\+\+ compiler.*--compile"
    ) as told:
        check(Plain(), compile=True)
    assert "\n" not in str(told.value)
