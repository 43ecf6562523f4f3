"""Steps as the user's script takes them: its optimizer, its rate, and a freeze after training has begun."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn

from freezetui.config.schema import ConfigData
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.updates import Updates
from freezetui.errors import ModelError
from freezetui.freeze.rules import Rule
from freezetui.json_lines import encode
from freezetui.sanity.protocol import CheckRequest, Training, decode_request
from freezetui.sanity.report import SanityReport
from support.reports import by_code
from support.traps import Clipped, floats

OPTIMIZERS = """
    import torch

    class Zeros(torch.optim.AdamW):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        p.grad = torch.zeros_like(p)
            return super().step(closure)

    class Decays:
        \"\"\"Not a subclass of torch's.\"\"\"
        def __init__(self, params, lr=0.1):
            self.param_groups, self.state = [{"params": list(params), "lr": lr}], {}
        def zero_grad(self):
            for p in self.param_groups[0]["params"]:
                p.grad = None
        @torch.no_grad()
        def step(self):
            for p in self.param_groups[0]["params"]:
                p.mul_(0.9).sub_(0 if p.grad is None else 0.1 * p.grad)

    class Flat(Decays):
        \"\"\"One vector of all parameters, as wrappers for mixed precision have it.\"\"\"
        @torch.no_grad()
        def step(self):
            params = self.param_groups[0]["params"]
            weights = torch.cat([p.flatten() for p in params])
            grads = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params])
            weights -= self.param_groups[0]["lr"] * (grads + 0.1 * weights)
            for p, new in zip(params, weights.split([p.numel() for p in params])):
                p.copy_(new.view_as(p))

    class Lookahead(torch.optim.SGD):
        \"\"\"Slow weights of all parameters; the same where no gradient has arrived.\"\"\"
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                for p in group["params"]:
                    slow = self.state[p].setdefault("slow", p.detach().clone())
                    slow.lerp_(p.detach(), 0.5)
                    p.data.copy_(slow)

    class Broken(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("no step today")

    number = 3
"""


class Net(nn.Module):
    """body -> head; the tests freeze the body."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.to(dtype)  # the same numbers whatever torch draws in that dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.to(self.body.weight.dtype)))


def check(model: nn.Module | None = None, **training: object) -> SanityReport:
    config = ConfigData(rules=(Rule("freeze", "body"),))
    under_test = ModelUnderTest(model or Net(), floats, torch.device("cpu"))
    return check_model(under_test, config, training=Training(**training))


@pytest.fixture(scope="module")
def optimizers(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("script") / "own_optimizers.py"
    path.write_text("\n".join(line[4:] for line in OPTIMIZERS.splitlines()))
    return str(path)


MOMENTUM = {"momentum": 0.9}
WARM = {
    "adamw": ("M10", {"optimizer": "adamw", "warm": "zeros"}),
    "adam": ("M10", {"optimizer": "adam", "warm": "zeros"}),
    "nadam": ("M10", {"optimizer": "nadam", "warm": "zeros"}),
    "momentum": ("M10", {"optimizer": "sgd", "optimizer_arguments": MOMENTUM, "warm": "zeros"}),
    "sgd": ("M11", {"optimizer": "sgd", "warm": "before-step"}),
    "adamw before step": ("M11", {"warm": "before-step"}),
    "rmsprop before step": ("M11", {"optimizer": "rmsprop", "warm": "before-step"}),
    "decay": ("M12", {"optimizer": "sgd", "weight_decay": 0.1, "lr": 0.1, "warm": "zeros"}),
}


@pytest.mark.parametrize("case", WARM)
def test_a_freeze_after_training_began_moves_with_its_cause_and_is_clean_otherwise(case: str) -> None:
    code, options = WARM[case]
    report = check(**options)
    assert (report.verdict, set(by_code(report))) == ("moved", {code})
    assert by_code(report)[code].tensors == report.frozen.moved == ("body.weight", "body.bias")
    assert "config.apply(model)" in by_code(report)[code].fix
    assert report.own is not None and report.own.frozen.moved == report.frozen.moved
    twin = check(**{**options, "warm": "none"})  # the same script with zero_grad() and a freeze between steps
    assert (twin.verdict, twin.findings) == ("held", ())
    assert check(**{**options, "warm": ""}).verdict == "held"


def test_nothing_that_would_move_is_nothing_that_moves() -> None:
    """Plain SGD with neither momentum nor decay leaves a zero gradient without effect."""
    assert check(optimizer="sgd", warm="zeros").verdict == "held"


def test_what_has_no_weight_decay_is_not_said_to_apply_it() -> None:
    """L-BFGS goes on along directions that it has kept for all parameters together."""
    report = check(optimizer="lbfgs", warm="zeros")
    assert (report.verdict, set(by_code(report))) == ("moved", {"M10"})


@pytest.mark.parametrize("named", ["Zeros", "Decays", "Flat"])
def test_an_optimizer_that_moves_what_has_no_gradient(optimizers: str, named: str) -> None:
    report = check(optimizer=f"{optimizers}:{named}")
    assert (report.verdict, set(by_code(report))) == ("moved", {"M14"})
    assert named in by_code(report)["M14"].message
    assert "parameter_groups" in by_code(report)["M14"].fix


def test_other_optimizers_are_clean(optimizers: str) -> None:
    for named in (f"{optimizers}:Lookahead", "lbfgs", "torch.optim:RAdam", "SGD", "adafactor"):
        report = check(optimizer=named)
        assert (report.verdict, report.findings) == ("held", ()), named
        assert report.own is not None and report.own.trainable.moved == 2


LOST = {
    "bfloat16, rate of fine-tuning": (torch.bfloat16, {"lr": 1e-5}, "update is at most 1e-05"),
    "bfloat16, sgd": (torch.bfloat16, {"optimizer": "sgd", "lr": 1e-6}, "bfloat16 values there are"),
    "float16": (torch.float16, {"lr": 1e-6}, "float16 values there are"),
    "float32": (torch.float32, {"optimizer": "sgd", "lr": 1e-10}, "float32 values there are"),
}


@pytest.mark.parametrize("case", LOST)
def test_updates_that_the_dtype_loses_are_told_with_numbers(case: str) -> None:
    dtype, options, words = LOST[case]
    report = check(Net(dtype), **options)
    assert (report.verdict, set(by_code(report))) == ("held", {"S4"})
    assert by_code(report)["S4"].tensors == ("head.weight", "head.bias")
    assert words in by_code(report)["S4"].message
    assert report.own is not None
    assert {still.reason for still in report.own.trainable.still} == {"update below the precision"}
    assert not check(Net(dtype), lr=0.01).findings


def test_a_tensor_that_loses_most_of_its_elements_is_named() -> None:
    model = Net(torch.bfloat16)
    with torch.no_grad():
        model.head.weight.fill_(1)
        model.head.weight[0, 0] = 1e-3
    report = check(model, lr=2e-4)
    messages = {finding.tensors: finding.message for finding in report.findings}
    assert "leaves up to 92% of the elements with a gradient unchanged" in messages[("head.weight",)]


def test_an_update_lost_by_both_optimizers_is_told_once() -> None:
    model = Net(torch.bfloat16)
    with torch.no_grad():
        model.head.bias.fill_(1e4)  # 64 apart
    assert [still.name for still in check(model).trainable.still] == ["head.bias"]
    report = check(model, optimizer="sgd", lr=1e-6)
    assert [still.name for still in report.trainable.still] == ["head.bias"]
    assert [(found.code, found.tensors) for found in report.findings] == [
        ("S4", ("head.weight", "head.bias"))
    ]
    # With a rate at which the user's optimizer changes it, only the check's own step loses it.
    report = check(model, optimizer="sgd", lr=1e4)
    assert [(found.code, found.tensors) for found in report.findings] == [("S4", ("head.bias",))]


def test_a_rate_of_zero_makes_no_update() -> None:
    report = check(lr=0)
    assert set(by_code(report)) == {"S5"} and report.verdict == "held"
    assert "AdamW(lr=0" in by_code(report)["S5"].message
    assert report.own is not None and report.own.trainable.still[0].reason == "no update"


def test_a_loss_that_diverges_with_the_users_rate_is_told_and_taken_back() -> None:
    class Scaled(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).exp()

    report = check(Scaled(), optimizer="sgd", lr=1e30)
    assert set(by_code(report)) == {"N4"} and "SGD(lr=1e+30" in by_code(report)["N4"].message
    assert report.own is not None and report.own.losses[-1] is None
    assert (report.verdict, None in report.losses) == ("held", False)


def test_what_the_models_own_code_moves_is_not_blamed_on_the_optimizer() -> None:
    model = Net()
    model.body = Clipped(4, 4)
    report = check(model, optimizer="adamw", warm="none")
    assert (report.verdict, set(by_code(report))) == ("moved", {"M8"})


def test_an_optimizer_that_cannot_be_used_is_told(optimizers: str) -> None:
    wrong = {
        "adamv": "has no optimizer 'adamv'",
        f"{optimizers}:Broken": r"The step of Broken.* raised RuntimeError: no step today\. .*line \d+",
        f"{optimizers}:number": "is an int, not a class of optimizers",
        f"{optimizers}:Zero": "Did you mean",
        "nowhere.py:Zeros": "no such file: nowhere.py",
        "no_such_package:Zeros": "correct --optimizer",
        "a b:c": "does not name anything",
    }
    for named, words in wrong.items():
        with pytest.raises(ModelError, match=words):
            check(optimizer=named)
    with pytest.raises(ModelError, match=r"--optimizer sgd: SGD\(rho=0.1\) raised TypeError"):
        check(optimizer="sgd", optimizer_arguments={"rho": 0.1})


def test_a_check_without_options_takes_no_other_steps_and_a_request_carries_them(tmp_path: Path) -> None:
    assert check().own is None
    asked = CheckRequest(checkpoint="x", training=Training(optimizer="sgd", lr=0.1, warm="zeros"))
    assert decode_request(encode(asked)) == asked


class InitializesOnce(nn.Linear):
    """Sets its weight in its first forward, as ActNorm does."""

    ready = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.weight.data.div_(x.std() + 1)
            self.ready = True
        return super().forward(x)


def test_what_only_the_first_forward_writes_is_told_with_its_cause() -> None:
    model = Net()
    model.body = InitializesOnce(4, 4)
    report = check(model, lr=1e-3)
    assert (report.verdict, report.frozen.moved) == ("moved", ("body.weight",))
    assert by_code(report)["M8"].tensors == ("body.weight",)
    assert "once" in by_code(report)["M8"].message


class ThawsLater(nn.Linear):
    """Sets its own flag in a later forward."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.weight.requires_grad_(self.calls > 2)
        return super().forward(x)


def test_a_flag_that_the_model_sets_back_is_not_blamed_on_the_optimizer() -> None:
    model = Net()
    model.body = ThawsLater(4, 4)
    report = check(model, lr=1e-3)
    assert set(by_code(report)) == {"F6"}
    assert by_code(report)["F6"].tensors == ("body.weight",)


@pytest.mark.parametrize(
    ("rate", "dtype"), [(0.01, torch.float32), (0.02, torch.float32), (1e-7, torch.bfloat16)]
)
def test_the_updates_are_those_of_the_users_optimizer(rate: float, dtype: torch.dtype) -> None:
    model = Net(dtype)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.fill_(2.0)
    report = check(model, optimizer="adamw", lr=rate, weight_decay=0.0)
    # AdamW's first steps change every element by its rate; in bfloat16, so little is lost.
    lost = dtype == torch.bfloat16
    for update in report.updates.values():
        assert update is not None
        assert update == pytest.approx(0.0 if lost else rate / 2, rel=0.1)
    assert set(report.updates) == {"head.weight", "head.bias"}
    assert report.updates_by.startswith("AdamW(")
    renamed = msgspec.structs.replace(report, files={"head.weight": ("fc.w", "fc.v")}).in_file_names()
    assert set(renamed.updates) == {"fc.w", "fc.v", "head.bias"}


def test_updates_of_zeros_and_of_complex_weights() -> None:
    zeros = nn.Parameter(torch.zeros(3))
    turned = nn.Parameter(torch.full((4,), 1 + 1j))
    unused, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
    updates = Updates([zeros, turned, unused, frozen])
    for _ in range(2):
        zeros.grad, turned.grad, frozen.grad = map(torch.ones_like, (zeros, turned, frozen))
        updates.begin()
        torch.optim.SGD([zeros, turned, frozen], lr=0.5).step()
        updates.end()
    assert updates.largest == {id(zeros): float("inf"), id(turned): pytest.approx(0.5 / 2**0.5, rel=0.5)}
