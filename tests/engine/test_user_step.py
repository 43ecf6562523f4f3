"""The user's own training step and batch, as a script has them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from freezetui.config.schema import ConfigData
from freezetui.engine.batches import arguments_of
from freezetui.engine.check import check as whole_check
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.errors import ModelError
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.sanity.protocol import CheckRequest
from freezetui.sanity.report import SanityReport
from freezetui.sanity.training import Training
from support.reports import by_code

SCRIPT = """
    import torch
    from torch.nn import functional as F

    g = torch.Generator().manual_seed(0)
    calls = []

    def batch():
        return torch.randn(8, 4, generator=g), torch.randint(3, (8,), generator=g)

    def plain(model, optimizer, device):
        x, y = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        return loss

    def keeps_zeros(model, optimizer, device):
        x, y = batch()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    def accumulates(model, optimizer, device):
        loss = F.cross_entropy(model(batch()[0]), batch()[1])
        loss.backward()
        calls.append(loss.item())
        if len(calls) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return calls[-1]

    def two_steps(model, optimizer, device):
        for _ in range(2):
            loss = plain(model, optimizer, device)
        return {"loss": loss}

    def scaled(model, optimizer, device):
        scaler = torch.amp.GradScaler(device.type)
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(batch()[0]), batch()[1])).backward()
        scaler.step(optimizer)
        scaler.update()

    def closure(model, optimizer, device):
        def again():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch()[0]), batch()[1])
            loss.backward()
            return loss
        return optimizer.step(again)

    def thaws(model, optimizer, device):
        for p in model.parameters():
            p.requires_grad_(True)
        return plain(model, optimizer, device)

    def clips(model, optimizer, device):
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.1, 0.1)
        return plain(model, optimizer, device)

    def averages(model, optimizer, device):
        loss = plain(model, optimizer, device)
        with torch.no_grad():
            for mean, p in zip(model.body.parameters(), model.student.parameters(), strict=True):
                mean.lerp_(p, 0.01)
        return loss

    def only_loss(model, optimizer, device):
        return F.cross_entropy(model(batch()[0]), batch()[1])

    def no_step(model, optimizer, device):
        only_loss(model, optimizer, device).backward()

    def own_optimizer(model, optimizer, device):
        plain(model, torch.optim.SGD(model.parameters(), 0.1), device)

    def raises(model, optimizer, device):
        raise KeyError("label")

    number = 3

    def images():
        return [torch.randn(4), torch.randn(4)]

    def by_step(step):
        return torch.full((8, 4), float(step)) + torch.randn(8, 4, generator=g)

    def on_device(device):
        return {"x": torch.randn(8, 4, generator=g, device=device)}

    def labeled():
        return batch()

    def wide():
        return torch.randn(8, 5)

    def nothing():
        return None
"""


OWN_MODEL = """
    import torch
    from torch import nn

    seen = []

    class Only(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)

        def forward(self, *, features):
            seen.append(features.shape)
            return super().forward(features)

    def batch():
        return {"features": torch.randn(5, 4)}
"""


class Net(nn.Module):
    def __init__(self, student: bool = False) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.student = nn.Linear(4, 4) if student else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.stack(x) if isinstance(x, list) else x
        return self.head(self.body(x) + self.student(x))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("script") / "own_script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return str(path)


def check(student: bool = False, **training: object) -> SanityReport:
    torch.manual_seed(0)
    config = ConfigData(rules=(Rule("freeze", "body"),))
    under_test = ModelUnderTest(Net(student), None, torch.device("cpu"), reason="none was looked for")
    return check_model(under_test, config, training=Training(**training))


@pytest.mark.parametrize("name", ["plain", "accumulates", "two_steps", "scaled", "closure"])
def test_steps_as_people_write_them_hold(script: str, name: str) -> None:
    report = check(step=f"{script}:{name}")
    assert (report.verdict, report.findings, report.forward) == ("held", (), True)
    assert (report.trainable.moved, report.frozen.unproven) == (2, ())
    assert report.own is not None and report.own.trainable.moved == 2
    assert (
        len(report.losses)
        == len(report.own.losses)
        == (3 if name in ("plain", "accumulates", "closure") else 0)
    )


STEPS = {
    "keeps_zeros": ("M10", {"warm": "none"}),
    "plain": ("M11", {"warm": "before-step"}),
    "thaws": ("F6", {}),
    "clips": ("M8", {}),
    "averages": ("M16", {"student": True}),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_the_users_step_does_to_frozen_weights_is_told_with_its_cause(script: str, name: str) -> None:
    code, options = STEPS[name]
    report = check(step=f"{script}:{name}", **options)
    assert report.verdict == "moved"
    assert set(by_code(report)) == {code}
    assert by_code(report)[code].tensors == report.frozen.moved == ("body.weight", "body.bias")
    assert code in ("M10", "M11") or "your own step" in by_code(report)[code].message


def test_a_late_freeze_with_a_step_that_clears_gradients_holds(script: str) -> None:
    assert check(step=f"{script}:plain", warm="none").verdict == "held"
    assert check(step=f"{script}:plain", lr=0).own.trainable.still[0].reason == "no update"


WRONG = {
    "only_loss": "returned a loss, and called neither backward",
    "no_step": "took no optimizer step",
    "own_optimizer": "without the optimizer that it is given",
    "raises": r"own_script.py:raises raised KeyError: 'label'\. .*own_script.py, line \d+, in raises",
    "number": "is an int, not a function",
    "labeled": r"does not take the arguments \(model, optimizer, device\)",
    "missing": "has no missing",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_step_that_is_not_one_is_one_line(script: str, name: str) -> None:
    with pytest.raises(ModelError, match=WRONG[name]) as told:
        check(step=f"{script}:{name}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["images", "by_step", "on_device", "labeled"])
def test_batches_as_people_make_them(script: str, name: str) -> None:
    report = check(batch=f"{script}:{name}")
    assert (report.verdict, report.forward, report.findings) == ("held", True, ())


@pytest.mark.parametrize(
    "batch", [torch.ones(8, 4), (torch.ones(8, 4), torch.ones(8)), {"x": torch.ones(8, 4)}]
)
def test_a_saved_batch(tmp_path: Path, batch: object) -> None:
    torch.save(batch, tmp_path / "batch.pt")
    assert check(batch=str(tmp_path / "batch.pt")).verdict == "held"


def test_a_batch_that_does_not_fit_is_told_as_one(script: str, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"--batch .*wide does not fit the model: its forward raised .*line \d+"
    ):
        check(batch=f"{script}:wide")
    with pytest.raises(ModelError, match="returned None"):
        check(batch=f"{script}:nothing")
    torch.save({"x": Net()}, tmp_path / "code.pt")
    with pytest.raises(ModelError, match="holds more than tensors, and is not unpickled"):
        check(batch=str(tmp_path / "code.pt"))
    (tmp_path / "bad.pt").write_bytes(b"no file of torch")
    with pytest.raises(ModelError, match=r"bad\.pt"):
        check(batch=str(tmp_path / "bad.pt"))
    with pytest.raises(ModelError, match="no such file"):
        check(batch=str(tmp_path / "none.pt"))


def test_what_a_batch_stands_for() -> None:
    x, y = torch.ones(2), torch.zeros(2)

    class Module(nn.Module):
        def __init__(self, forward: object) -> None:
            super().__init__()
            self.forward = forward

    def given(batch: object, forward: object) -> object:
        return arguments_of(batch, Module(forward))

    assert given(x, lambda x: x) == ((x,), {})
    assert given([x, y], lambda images: x) == (([x, y],), {})
    assert given((x, y), lambda a, b: x) == ((x, y), {})
    assert given((x, y), lambda a: x) == ((x,), {})
    assert given((x, y), lambda a, b=None: x) == ((x, y), {})
    assert given(((x,), {"mask": y}), lambda x, mask: x) == ((x,), {"mask": y})
    assert given({"a": x, "b": y}, lambda *, a, b: x) == ((), {"a": x, "b": y})
    assert given((x, y), lambda batch, batch_idx: x) == (((x, y), 0), {})
    assert given({"a": x}, lambda inputs: x) == (({"a": x},), {})
    assert given({"a": x}, lambda batch: x) == (({"a": x},), {})
    assert given({"a": x}, lambda **inputs: x) == ((), {"a": x})


def test_a_script_beside_the_check_brings_its_own_input(script: str, tmp_path: Path, monkeypatch) -> None:
    """Neither is tried on the CPU first, nor is an input searched for."""
    (tmp_path / "own_model.py").write_text(textwrap.dedent(OWN_MODEL))
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "linear.pth")
    monkeypatch.chdir(tmp_path)
    asked = CheckRequest(
        checkpoint="linear.pth",
        model=ModelSpec("own_model:Only"),
        config=ConfigData(rules=(Rule("freeze", "bias"),)),
        device="cpu",
        training=Training(batch="own_model:batch"),
    )
    assert whole_check(asked).verdict == "held"
    import own_model

    assert set(own_model.seen) == {torch.Size([5, 4])}
