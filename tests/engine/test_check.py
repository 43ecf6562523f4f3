"""The check on tiny models, each built around one cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint
from torchvision.models import get_model

from freezetui.checkpoint.types import TensorInfo
from freezetui.config.schema import ConfigData, Stage
from freezetui.engine.check import check as whole_check
from freezetui.engine.check import check_model
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.names import what_differs
from freezetui.errors import ConfigError, ModelError
from freezetui.formatting.report import headline
from freezetui.freeze.name_map import LiveTensor, NameMap
from freezetui.freeze.rules import Rule
from freezetui.json_lines import encode
from freezetui.model_spec import ModelSpec
from freezetui.models.name_map import paired
from freezetui.recognition import catalog
from freezetui.sanity.protocol import CheckRequest, decode_request
from freezetui.sanity.report import SanityReport
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.training.apply import apply
from support.traps import Clipped, Net, between, floats


def tokens(step: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    return (torch.arange(8) % 5,), {}


def check(
    model: nn.Module,
    batch: Callable[..., object] | None = floats,
    freeze: tuple[str, ...] = ("body",),
    norms: str = "freeze",
    **options: object,
) -> SanityReport:
    under_test = ModelUnderTest(model, batch, torch.device("cpu"), reason="" if batch else "for the test")
    config = ConfigData(rules=tuple(Rule("freeze", p) for p in freeze), norm_statistics=norms)
    return check_model(under_test, config, **options)


def codes(report: SanityReport) -> dict[str, tuple[str, ...]]:
    return {finding.code: finding.tensors for finding in report.findings}


def test_a_freeze_that_holds() -> None:
    seen = []
    report = check(Net(between(nn.BatchNorm1d(4), nn.Dropout())), progress=seen.append)
    assert (report.verdict, report.exit_code) == ("held", 0)
    assert (report.frozen.tensors, report.frozen.held, report.frozen.unproven) == (4, 4, ())
    assert (report.trainable.tensors, report.trainable.moved) == (2, 2)
    assert (report.buffers.tensors, report.buffers.held) == (3, 3)
    assert len(report.losses) == report.steps == 3
    assert set(report.gradients) == {"head.weight", "head.bias"}
    assert set(report.updates) == set(report.gradients)
    # The gradients are scaled to the norm of all weights, and the head's are the only ones.
    assert all(0.001 < update < 1 for update in report.updates.values())
    assert "the check's own" in report.updates_by
    assert report.cost is not None
    assert 0 < report.cost.memory_bytes < report.cost.control_memory_bytes
    assert [(e.phase, e.done) for e in seen] == [
        *(("step", i) for i in range(3)),
        *(("control", i) for i in range(3)),
        ("compare", 3),
    ]


class OwnTrain(nn.Module):
    """Its own train() puts the norm back into train mode, past the norm's own train."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


class BackwardWriter(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x.requires_grad_())
        out.register_hook(self.shrink)
        return out

    def shrink(self, grad: Tensor) -> None:
        self.weight.data.mul_(0.9)


class Unfreezer(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.requires_grad_(True)
        return super().forward(x)


class LeavesGradients(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.weight.grad = torch.ones_like(self.weight)
        return super().forward(x)


class Overlapping(nn.Module):
    """Two parameters of different shape on one memory."""

    def __init__(self) -> None:
        super().__init__()
        memory = torch.randn(6, 4)
        self.body = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 6, bias=False)
        self.body.weight, self.head.weight = nn.Parameter(memory[:4]), nn.Parameter(memory)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


MOVED = {
    "M5": (Net(nn.Embedding(5, 4, max_norm=0.5)), tokens, "body.weight", "max_norm"),
    "M8": (Net(Clipped(4, 4)), floats, "body.weight", "in its forward"),
    "M8 backward": (Net(BackwardWriter(4, 4)), floats, "body.weight", "in its backward"),
    "F6": (Net(Unfreezer(4, 4)), floats, "body.weight", "requires_grad"),
    "M10": (Net(LeavesGradients(4, 4)), floats, "body.weight", ".grad"),
    "M17": (Overlapping(), floats, "body.weight", "shares its memory"),
}


@pytest.mark.parametrize("cause", MOVED)
def test_frozen_and_moved(cause: str) -> None:
    model, batch, name, words = MOVED[cause]
    report = check(model, batch)
    assert (report.verdict, report.exit_code) == ("moved", 1)
    assert report.frozen.moved == (name,)
    assert report.frozen.held == report.frozen.tensors - 1
    finding = report.findings[0]
    assert (finding.severity, finding.code, finding.tensors) == ("error", cause.split()[0], (name,))
    assert words in finding.message and finding.fix


STATISTICS = {
    "M1": (nn.BatchNorm1d(4), 3),
    "M3": (nn.BatchNorm1d(4, momentum=0.0), 1),
    "M4": (
        nn.Sequential(
            nn.Unflatten(1, (2, 2)), nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.Flatten()
        ),
        2,
    ),
    "M6": (spectral_norm(nn.Linear(4, 4)), 2),
}


@pytest.mark.parametrize("cause", STATISTICS)
def test_statistics_of_frozen_norms_hold_or_drift_as_the_config_says(cause: str) -> None:
    norm, drifting = STATISTICS[cause]
    report = check(Net(between(norm)), norms="freeze")
    assert (report.verdict, report.buffers.drifted) == ("held", ())
    report = check(Net(between(norm)), norms="update")
    assert report.verdict == "held"
    assert len(report.buffers.drifted) == drifting
    assert codes(report)[cause] == report.buffers.drifted
    assert all(finding.severity == "note" for finding in report.findings if finding.code == cause)


def test_a_norm_put_back_into_train_mode_breaks_the_promise() -> None:
    report = check(Net(OwnTrain()))
    assert (report.verdict, report.findings[0].code) == ("moved", "M2")
    assert report.frozen.moved == ()
    assert "body.norm.running_mean" in report.buffers.drifted


class Codebook(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("usage", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.usage = self.usage + 1  # a new tensor under the old name
        return super().forward(x)


@pytest.mark.parametrize(
    ("layer", "code", "buffer"),
    [
        (Codebook(), "M8", "body.1.usage"),
        (FakeQuantize(MovingAverageMinMaxObserver), "M7", "body.1.activation_post_process.min_val"),
    ],
    ids=["own buffer", "observer"],
)
def test_other_buffers_under_frozen_modules_are_a_warning(layer: nn.Module, code: str, buffer: str) -> None:
    report = check(Net(between(layer)))
    assert buffer in codes(report)[code]
    assert report.verdict == "held"


class Unused(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.spare = nn.Linear(4, 4)


class Detached(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.inner(x).detach())


class Coarse(nn.Module):
    """A weight in bfloat16 with a small gradient."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.linear = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.share * self.scale.float()


STILL = {
    "unused": (Unused(), "S3", "head.spare.weight", "no gradient"),
    "detached": (Detached(), "S3", "head.inner.weight", "no gradient"),
    "precision": (Coarse(1e-4), "S4", "head.scale", "update below the precision"),
    "noise": (Coarse(1e-9), "S3", "head.scale", "gradient near zero"),
}


@pytest.mark.parametrize("case", STILL)
def test_trainable_and_still(case: str) -> None:
    head, code, name, reason = STILL[case]
    report = check(Net(head=head))
    assert {still.name: still.reason for still in report.trainable.still}[name] == reason
    assert name in codes(report)[code]
    assert report.verdict == "held"


def test_a_zero_gradient_is_told_from_none() -> None:
    """Where decay cannot move the weight either: it is zero."""

    class Gate(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.gate = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.relu(self.gate - 1)

    report = check(Net(head=Gate()))
    assert [(s.name, s.reason) for s in report.trainable.still] == [("head.gate", "zero gradient")]


class Reentrant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=True)


class Residual(nn.Module):
    """A frozen first layer feeds a re-entrant checkpoint, and a head beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.block, self.head = nn.Linear(4, 4), Reentrant(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.block(x) + self.head(x)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_cuts_gradients_off() -> None:
    report = check(Residual())
    assert codes(report)["S6"] == ("block.inner.weight", "block.inner.bias")


def test_everything_frozen() -> None:
    report = check(Net(), freeze=("**",))
    assert (report.verdict, report.exit_code) == ("inconclusive", 3)
    assert set(codes(report)) == {"S8"}
    assert headline(report) == "? INCONCLUSIVE: everything is frozen"
    assert report.frozen.held == 4


def test_nothing_frozen() -> None:
    report = check(Net(), freeze=())
    assert report.verdict == "inconclusive"
    assert set(codes(report)) == {"N5"}
    assert headline(report) == "? INCONCLUSIVE: nothing is frozen"
    assert report.cost is None


def test_a_stage_that_trains_everything_has_nothing_to_hold() -> None:
    rules = (Rule("freeze", "body"),)
    stages = (Stage("head"), Stage("everything", rules=(Rule("train", "**"),)))
    config = ConfigData(rules=rules, stages=stages)
    under_test = ModelUnderTest(Net(), floats, torch.device("cpu"))
    report = check_model(under_test, config, stage="everything")
    assert (report.verdict, report.exit_code, report.nothing_to_hold) == ("inconclusive", 3, True)
    assert [found.fix for found in report.findings if found.code == "N5"] == [""]
    assert headline(report).startswith("○ NOTHING TO HOLD: this stage freezes nothing; 4 of 4 trainable")


def test_the_steps_and_their_spread_are_told() -> None:
    report = check(Net(), freeze=("body",))
    assert report.loop.startswith("SGD(lr=0.01, momentum=0.9, weight_decay=0.01) on random inputs")
    assert "without your data or labels" in report.loop
    cost = report.cost
    assert cost is not None and cost.step_spread is not None and cost.control_step_spread is not None
    assert min(cost.step_spread, cost.control_step_spread) >= 0
    bare = check(Net(), freeze=("body",), batch=None)
    assert bare.loop.endswith("on random gradients, without data or a loss")


def test_a_tied_parameter_is_named_with_all_its_names() -> None:
    live = (
        LiveTensor("wte.weight", "parameter", (2,), ("wte.weight",), clean="wte.weight"),
        LiveTensor(
            "lm_head.weight", "parameter", (2,), ("wte.weight",), clean="lm_head.weight", tied_to="wte.weight"
        ),
    )
    (tied,) = what_differs(NameMap(live=live))
    assert tied.message.endswith(": wte.weight, lm_head.weight")


def test_what_no_loss_reaches_is_frozen_by_its_flag_and_named() -> None:
    body = nn.Linear(4, 4)
    body.spare = nn.Linear(4, 4)
    for freeze in ("body", "body.spare"):
        report = check(Net(body), freeze=(freeze,))
        assert (report.verdict, report.frozen.unproven) == ("held", ())
        assert codes(report)["N6"] == ("body.spare.weight", "body.spare.bias")


class Teacher(nn.Module):
    """A student, and a twin behind no_grad that it learns from."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.student = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            aim = self.body(x)
        return (self.student(x) - aim).square()


class Probe(Net):
    """A linear probe on detached features."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).detach())


class LossNetwork(Teacher):
    """A frozen network whose detached output is a part of the loss."""

    def forward(self, x: Tensor) -> Tensor:
        return self.student(x) * self.body(x).detach()


@pytest.mark.parametrize("model", [Teacher, Probe, LossNetwork])
def test_a_backbone_that_is_cut_off_from_the_loss_is_held(model: type[nn.Module]) -> None:
    report = check(model())
    assert (report.verdict, report.frozen.tensors) == ("held", 2)
    assert codes(report)["N6"] == ("body.weight", "body.bias")
    assert report.trainable.moved == report.trainable.tensors == 2


class Gate(nn.Module):
    """What comes out of `body` is multiplied, or cut, in a way that passes no gradient on."""

    def __init__(self, close: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.close = nn.Linear(4, 4), nn.Linear(4, 3), close

    def forward(self, x: Tensor) -> Tensor:
        return self.close(self.head(self.body(x)))


CLOSED = {
    "dead ReLU": lambda x: (x - 1e6).relu(),
    "times zero": lambda x: 0 * x,
    "round": torch.round,
    "closed gate": lambda x: torch.where(x > 1e9, x, torch.zeros_like(x)),
    "sign": torch.sign,
    "clamp": lambda x: x.clamp(1e6, 2e6),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_weight_decay_alone_is_no_training(kind: str) -> None:
    """Every gradient is exactly zero, and weight decay moves the bits all the same."""
    report = check(Gate(CLOSED[kind]))
    assert report.verdict == "inconclusive"
    assert (report.trainable.tensors, report.trainable.moved) == (2, 0)
    assert codes(report)["S3"] == ("head.weight", "head.bias")
    assert headline(report) == "? INCONCLUSIVE: no trainable tensor was changed by a gradient"


class Experts(nn.Module):
    """Two experts, of which the router always takes the first."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.experts[0](self.body(x))


def test_an_expert_that_this_batch_does_not_reach_is_a_note() -> None:
    report = check(Experts())
    assert report.verdict == "held"
    (found,) = [finding for finding in report.findings if finding.code == "S3"]
    assert (found.severity, found.tensors) == ("note", ("experts.1.weight", "experts.1.bias"))
    assert "did not run" in found.message


class OwnFlags(Net):
    """Its own code has attributes that look like flags."""

    def __init__(self) -> None:
        super().__init__()
        self.trainable, self._requires_grad = True, False

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.trainable else x


def test_a_modules_own_attributes_and_counters_raise_no_warning() -> None:
    model = OwnFlags()
    model.body.register_buffer("steps", torch.zeros((), dtype=torch.int64))
    model.body.register_forward_pre_hook(lambda module, inputs: (module.steps.add_(1), None)[1])
    report = check(model)
    assert report.verdict == "held" and not report.findings
    model.head.trainable = False  # set from outside, where it has no effect
    assert codes(check(model))["F2"] == ("head",)


def test_without_a_control_run_nothing_is_called_unproven() -> None:
    report = check(Net(head=Unused()), freeze=("head.spare",), control=False)
    assert (report.verdict, report.frozen.unproven, report.cost) == ("held", (), None)


def test_a_tie_counts_once_under_its_first_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mid = nn.Embedding(5, 4), nn.Linear(4, 4)
            self.out = nn.Linear(4, 5, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.mid(self.embed(x)))

    report = check(Tied(), tokens, freeze=("out",))
    assert (report.verdict, report.frozen.tensors, report.trainable.tensors) == ("held", 1, 2)


def test_without_a_forward_only_the_optimizer_is_checked() -> None:
    report = check(Net(), batch=None)
    assert (report.verdict, report.forward, report.losses) == ("inconclusive", False, ())
    assert (report.frozen.held, report.trainable.moved) == (2, 2)
    assert "N1" in codes(report)
    assert headline(report) == "? INCONCLUSIVE: no forward pass"


def test_flags_that_are_no_flags_are_named() -> None:
    model = Net()
    model.head.weight.require_grad = False
    model.head.requires_grad = False
    model.body.weight.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    report = check(model)
    found = codes(report)
    assert found["F1"] == ("head.weight",)
    assert found["F2"] == ("head",)
    assert found["N2"] == ("head.bias",)  # not the body, which the config freezes too
    assert "add a rule: freeze: head.bias" in next(f.fix for f in report.findings if f.code == "N2")


def test_the_rule_for_what_the_constructor_froze_has_the_name_in_the_file() -> None:
    torch.manual_seed(0)
    model = Net()
    model.head.requires_grad_(False)
    saved = {name.replace("head", "score"): t for name, t in model.state_dict().items()}
    names = paired(model, {name: name.replace("head", "score") for name in model.state_dict()})
    tensors = [TensorInfo(name, tuple(t.shape), "float32", "parameter") for name, t in saved.items()]
    config = ConfigData(rules=(Rule("freeze", "body"),))
    under_test = ModelUnderTest(model, floats, torch.device("cpu"), tensors=tensors, names=names)
    report = check_model(under_test, config)
    assert "add a rule: freeze: score.weight" in next(f.fix for f in report.findings if f.code == "N2")


def test_a_loss_that_is_no_number_proves_nothing() -> None:
    class Log(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    report = check(Net(head=Log(4, 3)))
    assert report.verdict == "inconclusive"
    told = next(f for f in report.findings if f.code == "N4")
    assert (told.tensors, "and head (Log) is the first" in told.message) == ((), True)
    assert headline(report) == "? INCONCLUSIVE: the loss is not a finite number"


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("where", ["body.0.weight", "body.1.running_var", "head.bias"])
def test_a_loss_that_is_no_number_names_what_the_checkpoint_has_wrong(where: str, value: str) -> None:
    model = Net(body=nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    model.state_dict()[where][0] = float(value)
    report = check(model.eval() if "running" in where else model)
    if report.verdict == "held":  # a variance that is infinite only makes its output zero
        assert (where, value) == ("body.1.running_var", "inf")
        return
    told = next(f for f in report.findings if f.code == "N4")
    assert told.tensors == (where,)
    assert "before the first step" in told.message


def test_a_forward_that_overflows_in_a_later_step_blames_no_weight_of_the_checkpoint() -> None:
    class Grows(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) * (1.0 if self.calls == 1 else float("inf"))

    told = next(f for f in check(Net(head=Grows(4, 3))).findings if f.code == "N4")
    assert told.tensors == ()
    assert "head (Grows)" in told.message


def test_trainable_tensors_that_all_stay_unchanged_prove_nothing() -> None:
    report = check(Net(head=Unused()), freeze=("body", "head.weight", "head.bias"))
    assert (report.verdict, report.trainable.moved) == ("inconclusive", 0)
    assert "N7" in codes(report)
    assert headline(report) == "? INCONCLUSIVE: no trainable tensor was changed by a gradient"


def test_flags_that_the_model_freezes_again_are_inconclusive() -> None:
    class Refreezer(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.bias.requires_grad_(False)
            return super().forward(x)

    report = check(Net(head=Refreezer(4, 3)))
    assert (report.verdict, codes(report)["F6"]) == ("inconclusive", ("head.bias",))
    assert headline(report) == "? INCONCLUSIVE: the model's own code sets requires_grad"


def test_a_model_without_anything_to_train_says_so() -> None:
    integers = nn.Module()
    integers.register_buffer("steps", torch.arange(3))
    report = check(integers, batch=None, freeze=())
    assert set(codes(report)) == {"S9", "N1"}
    assert headline(report) == "? INCONCLUSIVE: no tensor is trainable"


@pytest.mark.parametrize("freeze", [("body",), ("**",), ()])
@pytest.mark.parametrize("batch", [None, floats])
def test_every_inconclusive_check_says_why(
    batch: Callable[..., object] | None, freeze: tuple[str, ...]
) -> None:
    report = check(Net(), batch=batch, freeze=freeze)
    assert headline(report).startswith("? INCONCLUSIVE: " if report.verdict == "inconclusive" else "✓ HELD: ")


def test_a_model_that_cannot_train_as_a_whole_is_checked_without_control() -> None:
    class InPlace(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).exp().mul_(2)

    report = check(Net(InPlace(4, 4)))
    assert report.verdict == "held"
    assert "N3" in codes(report)


def test_an_error_of_the_models_own_code_is_one_line() -> None:
    class Raises(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("two\n\x1b[31mlines")

    with pytest.raises(
        ModelError, match=r"own forward raised ValueError: two lines\. Raised at .*test_check.py"
    ):
        check(Net(head=Raises(4, 3)))


@pytest.mark.parametrize(
    "head",
    [
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3, elementwise_affine=False)),
        nn.Linear(4, 3, dtype=torch.complex64),
        nn.Sequential(nn.EmbeddingBag(9, 3, sparse=True)),
    ],
    ids=["softmax", "normalized", "complex", "sparse gradient"],
)
def test_no_false_alarm_on_unusual_outputs_and_gradients(head: nn.Module) -> None:
    class Cast(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.body(x)
            if isinstance(head, nn.Linear):
                return self.head(x.to(torch.complex64))
            if isinstance(head[0], nn.EmbeddingBag):
                return torch.cat([x, self.head(torch.arange(8).reshape(8, 1))], 1)
            return self.head(x)

    report = check(Cast(head=head))
    assert (report.verdict, report.trainable.still) == ("held", ())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    report = check(Net().to(dtype), lambda step: ((floats(step)[0][0].to(dtype),), {}))
    assert (report.verdict, report.trainable.moved) == ("held", 2)


def test_many_steps_stay_finite() -> None:
    deep = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(4, 4), nn.ReLU())))
    report = check(Net(head=deep), steps=60, control=False)
    assert "N4" not in codes(report)
    assert max(map(abs, report.losses)) < 1e3


def test_what_the_model_ties_and_the_file_does_not_is_no_hold(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(4, 4), "b.weight": torch.ones(4, 4)}, tmp_path / "copies.pth")
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    model = nn.ModuleDict({'a': nn.Linear(4, 4, bias=False), 'b': nn.Linear(4, 4, bias=False)})\n"
        "    model.b.weight = model.a.weight\n"
        "    model.forward = lambda x: model.b(model.a(x))\n"
        "    return model\n".replace("model.a", "model['a']").replace("model.b", "model['b']")
    )
    asked = CheckRequest(
        checkpoint=str(tmp_path / "copies.pth"),
        model=ModelSpec(f"{tmp_path / 'tied.py'}:build", input=(4,)),
        device="cpu",
        config=ConfigData(rules=(Rule("freeze", "**"), Rule("train", "b"))),
    )
    with pytest.raises(ConfigError, match="both become one live parameter") as refused:
        whole_check(asked)
    model = nn.ModuleDict({name: nn.Linear(4, 4, bias=False) for name in "ab"})
    model["b"].weight = model["a"].weight
    with pytest.raises(ConfigError) as by_apply:
        apply(asked.config, model, checkpoint=tmp_path / "copies.pth")
    assert str(by_apply.value) == str(refused.value)
    for frozen in ConfigData(default="freeze"), ConfigData(rules=(Rule("freeze", "a"),)):
        report = whole_check(msgspec.structs.replace(asked, config=frozen))
        assert (report.verdict, report.frozen.tensors, report.trainable.tensors) == ("inconclusive", 1, 0)


def test_a_pickled_module_is_not_imported_but_suggested(tmp_path: Path) -> None:
    for model, suggested in (
        (get_model("squeezenet1_1"), "torchvision.models.squeezenet:SqueezeNet"),
        (nn.Sequential(nn.Linear(2, 2)), "SPEC"),  # torch's own classes build no model by themselves
    ):
        torch.save(model, tmp_path / "pickled.pth")
        report = whole_check(CheckRequest(checkpoint=str(tmp_path / "pickled.pth"), device="cpu"))
        fix = next(finding.fix for finding in report.findings if finding.code == "N1")
        assert f"--architecture {suggested} " in fix


def test_the_engine_recognizes_nothing_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI has hashed names and shapes once, and its request says what came of it."""
    torch.save(get_model("squeezenet1_1", num_classes=7).state_dict(), tmp_path / "net.pth")
    freeze = ConfigData(rules=(Rule("freeze", "features"),))
    request = Session(Options(str(tmp_path / "net.pth"), device="cpu", steps=1)).request(freeze)

    def refuse(tensors: object) -> None:
        raise AssertionError("recognized again")

    monkeypatch.setattr(catalog, "recognize", refuse)
    report = whole_check(decode_request(encode(request)))
    assert (report.verdict, report.architecture) == ("held", "torchvision:squeezenet1_1")
    bare = whole_check(msgspec.structs.replace(request, model=ModelSpec()))
    assert (bare.forward, bare.architecture) == (False, "")


def test_a_check_of_bare_safetensors_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"a.weight": torch.ones(64, 64), "b.weight": torch.ones(64, 64)}, path)
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    config = ConfigData(rules=(Rule("freeze", "a"),))
    report = whole_check(CheckRequest(checkpoint=str(path), config=config, device="cpu"))
    assert (report.trainable.moved, report.frozen.held) == (1, 1)
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == written


def test_dropout_in_a_frozen_module_is_a_note_until_it_is_kept_in_eval() -> None:
    def report(**options: str) -> SanityReport:
        under_test = ModelUnderTest(Net(between(nn.Dropout())), floats, torch.device("cpu"))
        return check_model(under_test, ConfigData(rules=(Rule("freeze", "body"),), **options))

    noted = report()
    assert noted.verdict == "held" and codes(noted)["N11"] == ("body.1",)
    assert "N11" not in codes(report(frozen_modules="eval"))
