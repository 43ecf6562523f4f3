"""Additions without PEFT, as loralib's: a config of their file leaves the base model alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from freezetui import FreezeConfig
from freezetui.engine.check import check
from freezetui.errors import ConfigError, FreezeTuiError
from freezetui.formatting.python_code import python_code
from freezetui.freeze.rules import Rule
from freezetui.model_spec import ModelSpec
from freezetui.session.session import Options, Session


class LoraLinear(nn.Linear):
    """As loralib's: the additions are parameters of the layer itself."""

    def __init__(self, inside: int, outside: int, rank: int = 2) -> None:
        super().__init__(inside, outside)
        self.lora_A = nn.Parameter(torch.randn(rank, inside) / 4)
        self.lora_B = nn.Parameter(torch.zeros(outside, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T


class Wrapped(nn.Module):
    """The additions and the layer are modules of a module."""

    def __init__(self, inside: int, outside: int, rank: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)
        self.lora_down, self.lora_up = (
            nn.Linear(inside, rank, bias=False),
            nn.Linear(rank, outside, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.lora_up(self.lora_down(x))


class Net(nn.Module):
    layer: type[nn.Module] = LoraLinear

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": self.layer(8, 8)}) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = torch.relu(block["fc"](x))
        return self.head(self.norm(x))


class WrappedNet(Net):
    layer = Wrapped


def marked(model: nn.Module) -> nn.Module:
    """As loralib's mark_only_lora_as_trainable."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "lora_" in name
    return model


def build() -> nn.Module:
    return marked(Net())


#: What is saved beside the additions, by the end of its name or its first segment.
BESIDE = {"nothing": (), "biases": ("bias",), "the head": ("head",)}


def saved(path: Path, net: type[nn.Module] = Net, beside: str = "nothing") -> Path:
    also = BESIDE[beside]
    state = net().state_dict()
    kept = {n: t for n, t in state.items() if "lora_" in n or n.endswith(also) or n.startswith(also)}
    torch.save(kept if also else {n: t for n, t in state.items() if "lora_" in n}, path)
    return path


def planned(path: Path, *rules: Rule) -> tuple[Path, Session]:
    session = Session(Options(str(path)))
    session.choose(None, list(rules))
    return session.save(), session


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("net", [Net, WrappedNet])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("rule", [Rule("freeze", "blocks.0"), Rule("train", "**"), Rule("freeze", "**")])
@pytest.mark.parametrize("is_there", [True, False])
def test_apply_and_the_code_set_what_is_in_the_file_and_nothing_else(
    tmp_path: Path, net: type[nn.Module], beside: str, rule: Rule, is_there: bool
) -> None:
    path = saved(tmp_path / "lora.pth", net, beside)
    config, session = planned(path, rule)
    chosen = {t.name: bool(m) for t, m in zip(session.tree.tensors, session.plan.mask(), strict=True)}
    model, plain = marked(net()), marked(net())
    before = flags(model)
    if not is_there:
        path.unlink()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*of the base model.*")
            FreezeConfig.load(config).apply(model)
    except FreezeTuiError as error:
        assert not is_there and "checkpoint=PATH" in str(error) and "\n" not in str(error)
    else:
        assert flags(model) == before | chosen
    namespace: dict[str, Any] = {}
    exec(python_code(session.checkpoint, session.tree, {"": session.plan.mask()}), namespace)
    namespace["freeze"](plain)
    assert flags(plain) == before | chosen


def test_a_base_that_trains_is_told_with_the_rule_that_freezes_it(tmp_path: Path) -> None:
    config, _ = planned(saved(tmp_path / "lora.pth"), Rule("freeze", "blocks.0"))
    model = Net()
    with pytest.warns(UserWarning, match="embed.weight and 9 more of the base model train too") as told:
        FreezeConfig.load(config).apply(model)
    (message,) = {str(each.message) for each in told}
    rule = message.rpartition("freeze: ")[2]
    assert model.get_parameter("embed.weight").requires_grad
    config.write_text(config.read_text().replace("rules:\n", f"rules:\n  - freeze: {rule}\n"))
    with pytest.warns(UserWarning, match="embed.bias and 8 more of the base model train"):
        FreezeConfig.load(config).apply(model)
    assert not model.get_parameter("embed.weight").requires_grad


def test_a_file_of_the_base_alone_leaves_the_additions_to_train(tmp_path: Path) -> None:
    torch.save({n: t for n, t in Net().state_dict().items() if "lora_" not in n}, tmp_path / "base.pth")
    config, _ = planned(tmp_path / "base.pth", Rule("freeze", "{embed,norm}"))
    applied = FreezeConfig.load(config).apply(Net(), checkpoint=tmp_path / "base.pth")
    assert {name for name in applied.trainable if "lora_" in name} == set(applied.new) and len(
        applied.new
    ) == 4
    config, _ = planned(tmp_path / "base.pth", Rule("freeze", "blocks"))
    with pytest.raises(ConfigError, match=r"nothing for them: .* Add a rule below: train: '\*\*\.lora_\*'$"):
        FreezeConfig.load(config).apply(Net())
    rules = Rule("freeze", "blocks"), Rule("train", "**.lora_*")
    loaded = msgspec.structs.replace(FreezeConfig.load(config), rules=rules)
    trainable = loaded.apply(Net(), checkpoint=tmp_path / "base.pth").trainable
    assert {name for name in trainable if "blocks" in name} == set(applied.new)


def test_a_file_of_the_whole_model_is_not_an_adapters(tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "whole.pth")
    config, session = planned(tmp_path / "whole.pth", Rule("freeze", "**"), Rule("train", "**.lora_{A,B}"))
    assert not session.is_adapter
    model = Net()
    FreezeConfig.load(config).apply(model)
    assert flags(model) == flags(marked(Net()))


def test_the_check_holds_the_additions_that_are_frozen(tmp_path: Path) -> None:
    path = saved(tmp_path / "lora.pth")
    _, session = planned(path, Rule("freeze", "blocks.0"))
    session.name_architecture(ModelSpec(f"{Path(__file__)}:build", input=(6,)))
    report = check(session.request())
    assert report.verdict == "held", report.findings
    assert report.frozen.tensors == 2 + 10 and report.trainable.tensors == 2
    assert not report.frozen.unproven and not report.findings
    session.name_architecture(ModelSpec(f"{Path(__file__)}:Net", input=(6,)))
    (found,) = check(session.request()).findings
    assert (found.key, len(found.tensors)) == ("base_trains", 10)
    assert found.fix.endswith("add a rule: freeze: embed.weight")
