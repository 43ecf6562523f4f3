"""What the user's own step makes from the model and the optimizer: copies, files, schedules, workers."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.errors import ModelError
from freezetui.freeze.rules import Rule
from freezetui.sanity.report import SanityReport
from freezetui.sanity.training import Training
from support.reports import by_code

SCRIPT = """
    import copy, io
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader

    kept = {}

    def plain(model, optimizer, device, target=None):
        optimizer.zero_grad()
        x = torch.randn(8, 4)
        loss = F.mse_loss(model(x), torch.randn(8, 3) if target is None else target(x))
        loss.backward()
        optimizer.step()
        return loss

    def teacher(model, optimizer, device):
        if not kept:
            kept["teacher"] = copy.deepcopy(model).requires_grad_(False)
        return plain(model, optimizer, device, lambda x: kept["teacher"](x) + 1)

    def schedule(model, optimizer, device):
        if kept.get("of") is not optimizer:
            kept["of"] = optimizer
            kept["schedule"] = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
        loss = plain(model, optimizer, device)
        kept["schedule"].step()
        kept.setdefault("rates", []).append(optimizer.param_groups[0]["lr"])
        return loss

    def saves(model, optimizer, device):
        loss = plain(model, optimizer, device)
        file = io.BytesIO()
        torch.save(model, file)
        kept["loaded"] = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
        kept["loaded"](torch.ones(1, 4))
        return loss

    class Encoded(torch.utils.data.Dataset):
        def __init__(self, model):
            self.model = model

        def __len__(self):
            return 4

        def __getitem__(self, index):
            with torch.no_grad():
                return self.model(torch.ones(1, 4))

    def worker(model, optimizer, device):
        (target,) = DataLoader(Encoded(model), 4, num_workers=1, multiprocessing_context="fork", timeout=30)
        return plain(model, optimizer, device, lambda x: target.mean() + torch.randn(8, 3))

    def warms_up(model, optimizer, device):
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        return plain(model, optimizer, device)

    def restores(model, optimizer, device):
        best = kept.setdefault("best", copy.deepcopy(model.state_dict()))
        loss = plain(model, optimizer, device)
        model.load_state_dict({name: value.clone() for name, value in best.items()}, assign=True)
        return loss

    def runs_out(model, optimizer, device):
        target = next(kept.setdefault("data", iter([torch.ones(8, 3)] * 4)))
        return plain(model, optimizer, device, lambda x: target)

    def keeps_the_optimizer(model, optimizer, device):
        return plain(model, kept.setdefault("optimizer", optimizer), device)
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "own_script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return str(path)


def check(step: str) -> SanityReport:
    torch.manual_seed(0)
    config = ConfigData(rules=(Rule("freeze", "body"),))
    under_test = ModelUnderTest(Net(), None, torch.device("cpu"), reason="none was looked for")
    return check_model(under_test, config, training=Training(step=step))


@pytest.mark.parametrize("name", ["teacher", "schedule", "saves", "worker"])
def test_what_a_step_makes_does_not_disturb_the_check(script: str, name: str) -> None:
    report = check(f"{script}:{name}")
    assert (report.verdict, report.findings) == ("held", ())


def test_a_step_that_keeps_the_optimizer_is_told(script: str) -> None:
    with pytest.raises(ModelError, match=r"without the optimizer that it is given.*make again what"):
        check(f"{script}:keeps_the_optimizer")


def test_data_that_end_are_told_with_what_to_do(script: str) -> None:
    with pytest.raises(ModelError, match=r"raised StopIteration\. .*begin again when the data end\."):
        check(f"{script}:runs_out")


def test_a_step_that_replaces_parameters_is_told(script: str) -> None:
    report = check(f"{script}:restores")
    replaced = by_code(report)["S1"]
    assert replaced.tensors == ("head.weight", "head.bias")
    assert "your own step, or the model's own code, replaces it" in replaced.message
    assert {still.reason for still in report.trainable.still} == {"no update"}


def test_a_rate_of_zero_is_not_called_a_loss_of_precision(script: str) -> None:
    report = check(f"{script}:warms_up")
    assert by_code(report).keys() == {"S5"} and "begin above 0" in by_code(report)["S5"].fix
    assert report.own is not None
    assert {still.reason for still in report.own.trainable.still} == {"no update"}
