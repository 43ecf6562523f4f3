"""A config applied to live models, as a training script does."""

from __future__ import annotations

import importlib
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import TensorInfo
from freezetui.config import sync
from freezetui.config.schema import Count, Expect, ModelSection, Stage, fingerprint
from freezetui.config.sync import config_from_plan
from freezetui.errors import ConfigError, PatternError
from freezetui.freeze import live_plan, regexes
from freezetui.freeze.patterns import Pattern
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.regexes import Budget
from freezetui.freeze.rules import Rule, resolve
from freezetui.freeze.tree import ParamTree
from freezetui.models.saved_names import guesses
from freezetui.session.session import Options, Session
from freezetui.training.apply import apply_checked
from freezetui.training.config import FreezeConfig


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.head = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.block = nn.Linear(4, 4)
        self.out = nn.Linear(4, 5, bias=False)
        self.out.weight = self.embed.weight


FREEZE_BODY = FreezeConfig(rules=(Rule("freeze", "body"),))


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters(remove_duplicate=False)}


def wrap_fsdp_like(model: nn.Module) -> nn.Module:
    model.body = nn.ModuleDict({"_fsdp_wrapped_module": model.body})
    return nn.ModuleDict({"_fsdp_wrapped_module": model})


def wrap_nested_parallel(model: nn.Module) -> nn.Module:
    model.body = nn.DataParallel(model.body)
    return model


WRAPPERS = {
    "plain": lambda m: m,
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "parallel": nn.DataParallel,
    "parallel of compiled": lambda m: nn.DataParallel(torch.compile(m, backend="eager")),
    "compiled of parallel": lambda m: torch.compile(nn.DataParallel(m), backend="eager"),
    "parallel inside": wrap_nested_parallel,
    "fsdp names": wrap_fsdp_like,
    "peft names": lambda m: nn.ModuleDict({"base_model": nn.ModuleDict({"model": m})}),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_flags_names_and_norms_through_every_wrapper(wrap) -> None:
    net = Net()
    applied = FREEZE_BODY.apply(wrap(net))
    assert applied.frozen == ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias")
    assert applied.trainable == ("head.weight", "head.bias")
    assert applied.counts == Expect(Count(4, 24), Count(2, 9))
    assert applied.norms == ("body.1",)
    assert {n.split(".")[0]: on for n, on in flags(net).items()} == {"body": False, "head": True}


def test_a_module_that_is_really_called_module_keeps_its_name() -> None:
    model = nn.ModuleDict({"module": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    FreezeConfig(rules=(Rule("freeze", "module"),)).apply(model)
    assert flags(model) == {
        "module.weight": False,
        "module.bias": False,
        "head.weight": True,
        "head.bias": True,
    }


@pytest.mark.parametrize(
    ("rules", "trains"),
    [
        ((Rule("freeze", "embed"),), False),
        ((Rule("freeze", "**"), Rule("train", "out.weight")), True),
        ((Rule("freeze", "out"), Rule("train", "embed")), True),
    ],
)
def test_a_tie_is_one_switch_and_the_last_rule_on_any_of_its_names_wins(rules, trains) -> None:
    model = Tied()
    applied = FreezeConfig(rules=rules).apply(model)
    assert flags(model)["embed.weight"] == flags(model)["out.weight"] == trains
    counts = applied.counts
    assert counts.frozen.elements + counts.trainable.elements == 20 + 20
    assert counts.frozen.tensors + counts.trainable.tensors == 3


def test_two_parameters_on_one_memory_are_tied() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.data)
    FreezeConfig(rules=(Rule("freeze", "1"),)).apply(model)
    assert flags(model) == {"0.weight": False, "1.weight": False}


def test_the_next_stage_unfreezes_and_lets_norms_run_again() -> None:
    config = FreezeConfig(
        rules=(Rule("freeze", "body"),),
        expect=Expect(Count(4, 24), Count(2, 9)),
        stages=(Stage("head", 1), Stage("all", 1, (Rule("train", "**"),), lr_scale=0.5)),
    )
    model = Net()
    assert config.apply(model, stage="head").norms == ("body.1",)
    assert not model.train().body[1].training
    assert config.apply(model, stage="all").norms == ()
    assert model.body[1].training
    assert all(flags(model).values())
    assert config.parameter_groups(model, lr=0.1, stage="all")[0]["lr"] == 0.05
    with pytest.raises(ConfigError, match="with the same stage"):
        config.parameter_groups(model, lr=0.1)


def test_a_frozen_parameter_loses_its_stale_gradient() -> None:
    model = Net()
    model(torch.randn(2, 1, 4, 4)).sum().backward()
    FREEZE_BODY.apply(model)
    assert model.body[0].weight.grad is None
    assert model.head.weight.grad is not None


def test_statistics_may_run_where_the_config_says_update() -> None:
    model = Net()
    FREEZE_BODY.apply(model)
    update = FreezeConfig(rules=FREEZE_BODY.rules, norm_statistics="update")
    assert update.apply(model).norms == ()
    assert model.body[1].training


def with_fingerprint(model: nn.Module, **changes: object) -> FreezeConfig:
    return FreezeConfig(model=ModelSection(fingerprint=fingerprint(next(guesses(model)).tensors)), **changes)


MISMATCHES = {
    "counts": (
        with_fingerprint(Tied(), expect=Expect(Count(1, 20), Count(2, 20))),
        r"frozen: expected 1 tensor \(20 elements\), found 0 \(0\)",
    ),
    "fingerprint": (
        FreezeConfig(rules=FREEZE_BODY.rules, expect=Expect(Count(4, 24, "sha256:another"))),
        "as many frozen tensors as recorded, 4, but with different names or shapes",
    ),
}


@pytest.mark.parametrize(("config", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_another_model_is_refused_untouched_unless_asked_for(config, message) -> None:
    model = Net()
    model.head.weight.requires_grad_(False)
    with pytest.raises(ConfigError, match=message):
        config.apply(model)
    assert not model.head.weight.requires_grad
    config.apply(model, strict=False)
    assert model.head.weight.requires_grad


def test_what_trains_informs_and_never_refuses() -> None:
    other = with_fingerprint(Tied(), rules=FREEZE_BODY.rules, expect=Expect(Count(4, 24), Count(2, 8)))
    assert len(other.apply(Net()).frozen) == 4


def test_fingerprint_of_a_file_that_keeps_one_name_of_a_tie() -> None:
    model = Tied()
    (embed,) = (t for t in next(guesses(model)).tensors if t.name == "embed.weight")
    expect = Expect(Count(1, 20, fingerprint([embed])))
    applied = FreezeConfig(rules=(Rule("freeze", "embed"),), expect=expect).apply(model)
    assert applied.frozen == ("embed.weight", "out.weight")


def test_a_pattern_that_matches_nothing_names_the_closest() -> None:
    with pytest.raises(PatternError, match="Closest: head"):
        FreezeConfig(rules=(Rule("freeze", "haed"),)).apply(Net())


def test_lazy_parameters_are_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"1\.weight is a lazy parameter.*forward pass"):
        FreezeConfig().apply(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2)))


class Presumed(nn.Module):
    """Parameters that are called as buffers are; one is frozen by its module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Linear(3, 3)
        self.attention.u = nn.Parameter(torch.ones(3))
        self.attention.window = nn.Parameter(torch.ones(3), requires_grad=False)
        self.head = nn.Linear(3, 2)


def test_a_parameter_with_the_name_of_a_buffer_is_frozen_with_its_module(tmp_path: Path) -> None:
    torch.save(Presumed().state_dict(), tmp_path / "model.pth")
    tensors = open_checkpoint([str(tmp_path / "model.pth")]).tensors
    rules = (Rule("freeze", "attention"),)
    plan = FreezePlan(ParamTree(tensors), bytes(resolve(rules, ParamTree(tensors))))
    config = config_from_plan(plan, ModelSection(), FreezeConfig(), ("train", rules))
    config = msgspec.structs.replace(config, stages=(Stage("all", rules=(Rule("train", "**"),)),))
    for checkpoint in (None, tmp_path / "model.pth"):
        model = Presumed()
        applied = config.apply(model, checkpoint=checkpoint)
        assert applied.frozen == tuple(f"attention.{name}" for name in ("weight", "bias", "u", "window"))
        config.apply(model, stage="all", checkpoint=checkpoint)
        assert {name for name, train in flags(model).items() if not train} == {"attention.window"}


def test_a_frozen_window_keeps_its_flag_where_other_modules_are_frozen(tmp_path: Path) -> None:
    torch.save(Presumed().state_dict(), tmp_path / "model.pth")
    session = Session(Options(str(tmp_path / "model.pth")))
    session.choose(None, (Rule("freeze", "head"),))
    config = FreezeConfig.load(session.save())
    for checkpoint in (None, tmp_path / "model.pth"):
        model = Presumed()
        config.apply(model, checkpoint=checkpoint)
        assert [name for name, train in flags(model).items() if train] == [
            f"attention.{name}" for name in ("weight", "bias", "u")
        ]


def test_a_rule_for_what_the_model_has_as_a_buffer_says_so() -> None:
    model = Net()
    model.register_buffer("mean", torch.zeros(3))
    tensors = [
        TensorInfo(name, tuple(t.shape), "float32", "parameter") for name, t in model.named_parameters()
    ]
    saved = [*tensors, TensorInfo("mean", (3,), "float32", "parameter", guessed=True)]
    config = FreezeConfig(rules=(Rule("freeze", "mean"),))
    with pytest.raises(ConfigError, match="'mean' matches only buffers of the model"):
        apply_checked(config, model, saved)
    with pytest.raises(ConfigError, match="'mean' matches only tensors that the model has no place for"):
        apply_checked(config, Net(), saved)


def test_an_integer_parameter_is_left_alone() -> None:
    model = nn.Linear(2, 2)
    model.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    applied = FreezeConfig().apply(model)
    assert applied.trainable == ("weight", "bias")
    assert not model.codes.requires_grad


def test_groups_hold_each_trainable_parameter_once() -> None:
    model = Tied()
    config = FreezeConfig(rules=(Rule("freeze", "block.bias"),))
    config.apply(model)
    (group,) = config.parameter_groups(model, lr=0.1)
    assert [tuple(p.shape) for p in group["params"]] == [(5, 4), (4, 4)]
    optimizer = torch.optim.AdamW(config.parameter_groups(model, lr=0.1), weight_decay=0.01)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[0]["weight_decay"] == 0.01


def test_groups_spare_vectors_the_decay() -> None:
    model = Net()
    FreezeConfig().apply(model)
    groups = FreezeConfig().parameter_groups(model, lr=0.1, weight_decay=0.3)
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(0.3, {2, 4}), (0.0, {1})]


@pytest.mark.parametrize(
    ("config", "prepare", "message"),
    [
        (FREEZE_BODY, lambda model: None, r"requires_grad of body\.0\.weight and 3 more is not"),
        (
            FreezeConfig(default="freeze"),
            lambda model: model.requires_grad_(False),
            "no parameters to optimize",
        ),
    ],
    ids=["not applied", "all frozen"],
)
def test_groups_refuse(config, prepare, message) -> None:
    model = Net()
    prepare(model)
    with pytest.raises(ConfigError, match=message):
        config.parameter_groups(model, lr=0.1)


def test_the_public_config_loads_what_the_face_saves(tmp_path: Path) -> None:
    from freezetui import FreezeConfig as Public

    path = tmp_path / "net.freeze.yaml"
    FREEZE_BODY.save(path)
    loaded = Public.load(path)
    assert isinstance(loaded, FreezeConfig)
    assert str(loaded.apply(Net())) == (
        "frozen 4 tensors, 24 elements; trainable 2 tensors, 9 elements; 1 norm layer stays in eval"
    )


def test_a_typo_in_a_later_stage_is_told_before_the_training() -> None:
    later = Stage("all", rules=(Rule("train", "hed"),))
    with pytest.raises(PatternError, match="hed"):
        msgspec.structs.replace(FREEZE_BODY, stages=(later,)).apply(Net())


@pytest.mark.parametrize("rules", [("**", ""), ("a", ""), ("**", "b")])
def test_copies_of_what_the_model_ties_fit_as_long_as_no_rule_trains_one(rules) -> None:
    file = ParamTree([TensorInfo(f"{n}.weight", (4, 4), "float32", "parameter", None) for n in "ab"])
    freeze, train = rules
    given = (Rule("freeze", freeze), *([Rule("train", train)] if train else []))
    plan = FreezePlan(file, resolve(given, file))
    model = nn.ModuleDict({n: nn.Linear(4, 4, bias=False) for n in "ab"})
    model["b"].weight = model["a"].weight
    config = config_from_plan(plan, ModelSection(), FreezeConfig(), ("train", given))
    if not train:
        assert len(config.apply(model).frozen) == 2
    else:
        with pytest.raises(ConfigError, match=r"b\.weight trains, but both become one live parameter"):
            config.apply(model)


def test_all_patterns_of_a_config_and_its_stages_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds together, however many stages there are.

    What is applied is matched on the live names that are guessed, on the model, and on what is recorded; the
    rules of another stage once.
    """
    applying = importlib.import_module("freezetui.training.apply")
    matched: list[str] = []
    budgets: list[Budget] = []

    class Recorded(Budget):
        def __init__(self) -> None:
            super().__init__()
            budgets.append(self)

    def spans(pattern: Pattern, tree: ParamTree) -> list[tuple[int, int]]:
        matched.append(pattern.text)
        return whole(pattern, tree)

    whole = Pattern.spans
    monkeypatch.setattr(applying, "Budget", Recorded)
    for module in (regexes, sync, live_plan):
        monkeypatch.setattr(module, "Budget", None)  # what made one of its own would fail
    monkeypatch.setattr(Pattern, "spans", spans)
    stages = tuple(Stage(name, rules=(Rule("train", f"re:head.{name}.*"),)) for name in ("w", "b"))
    model = Net()
    config = FreezeConfig(
        rules=(Rule("freeze", "re:.*"),), stages=stages, expect=Expect(Count(6, 33), Count(0, 0))
    )
    config.apply(model, "b")
    assert len(budgets) == 1
    assert matched == ["re:.*", "re:head.b.*"] * 3 + ["re:head.w.*"]
    assert [name for name, train in flags(model).items() if train] == ["head.bias"]
