"""F1, F2 and F6: flags that are not what was set, and attributes that only look like flags."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from support.traps import Case, Net, assert_as_planted, moved, told


def with_parameter_flag(name: str, value: object = False) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Net()
        for parameter in net.body.parameters():
            setattr(parameter, name, value)
        return net

    return make


def with_module_flag(name: str, value: object = False) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Net()
        setattr(net.body, name, value)
        return net

    return make


class FrozenInInit(Net):
    """The model's own constructor sets the flag on a module."""

    def __init__(self) -> None:
        super().__init__()
        self.body.trainable = False


class FrozenItself(nn.Linear):
    """A layer that believes it has frozen itself."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.requires_grad = False


class OwnTrainable(nn.Linear):
    """Its own attribute, set by an argument and read by others."""

    def __init__(self, trainable: bool = False) -> None:
        super().__init__(4, 4)
        self.trainable = trainable


class ReadTrainable(Net):
    """Sets the attribute on a layer, and reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.body.trainable = False

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.body.trainable or torch.is_grad_enabled()):
            return super().forward(x)


class OwnSwitch(nn.Linear):
    """Hands its argument on to its parameters."""

    def __init__(self, requires_grad: bool = True) -> None:
        super().__init__(4, 4)
        self.requires_grad = requires_grad
        self.weight.requires_grad_(requires_grad)


class ByProperty(nn.Linear):
    @property
    def trainable(self) -> bool:
        return self.weight.requires_grad


class ByUpdate(nn.Linear):
    """Takes its options as keywords, and reads one in a closure."""

    def __init__(self, **options: object) -> None:
        super().__init__(4, 4)
        self.__dict__.update(options)

    def forward(self, x: Tensor) -> Tensor:
        def scale() -> float:
            return 1.0 if self.trainable else 0.5

        return super().forward(x) * scale()


class UnfreezesInForward(Net):
    def forward(self, x: Tensor) -> Tensor:
        for parameter in self.body.parameters():
            parameter.requires_grad = True
        return super().forward(x)


class UnfreezesInTrain(Net):
    """train() sets everything to trainable, as YOLO's trainers did."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        return self.requires_grad_(True)


class UnfreezesOnce(Net):
    """Trains the body in every second call, and freezes it again in the next."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.body.requires_grad_(self.calls % 2 == 0)
        return super().forward(x)


class UnfreezesLater(Net):
    """Unfreezes gradually: the body trains from the fifth call on."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= 5:
            self.body.requires_grad_(True)
        return super().forward(x)


class UnfreezesUnused(Net):
    """Sets the flag of a part that nothing reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.body.spare = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.body.spare.requires_grad_(True)
        return super().forward(x)


class FreezesInForward(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.head.bias.requires_grad_(False)
        return super().forward(x)


class FreezesInTrain(Net):
    """Its train() freezes stages, as backbones of mmdetection do."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.head[0].requires_grad_(False)
        return self


def staged() -> nn.Module:
    return FreezesInTrain(head=nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)))


MISSPELLED = (
    *(
        "require_grad",
        "required_grad",
        "requires_grads",
        "requeires_grad",
        "requries_grad",
        "requires_gradient",
    ),
    *("requires_grad_", "trainable"),
)
TRAPS = {
    **{
        f"F1 {name}": told(with_parameter_flag(name), "F1", "body.weight", "body.bias") for name in MISSPELLED
    },
    **{
        f"F2 {name}": told(with_module_flag(name), "F2", "body")
        for name in ("requires_grad", "trainable", "require_grad", "requires_grad_")
    },
    "F2 in the constructor": told(FrozenInInit, "F2", "body"),
    "F2 on itself": told(lambda: Net(FrozenItself()), "F2", "body"),
    "F6 in forward": moved(UnfreezesInForward, "F6", "body.weight", "body.bias"),
    "F6 in train()": moved(UnfreezesInTrain, "F6", "body.weight", "body.bias"),
    "F6 for one step": moved(UnfreezesOnce, "F6", "body.weight", "body.bias"),
    "F6 later": Case(UnfreezesLater, "F6", ("body.weight", "body.bias"), "inconclusive"),
    "F6 unused": Case(UnfreezesUnused, "F6", ("body.spare.weight", "body.spare.bias"), "inconclusive"),
    "F6 frozen": Case(FreezesInForward, "F6", ("head.bias",), "inconclusive"),
    "F6 frozen in train()": Case(staged, "F6", ("head.0.weight", "head.0.bias"), "inconclusive"),
}
TWINS = {
    "library's own": Case(with_module_flag("_requires_grad")),
    "library's own, on parameters": Case(with_parameter_flag("_requires_grad")),
    "own trainable": Case(lambda: Net(OwnTrainable())),
    "read elsewhere": Case(ReadTrainable),
    "own switch": Case(lambda: Net(OwnSwitch())),
    "own switch, off": Case(lambda: Net(OwnSwitch(False))),
    "property": Case(lambda: Net(ByProperty(4, 4))),
    "read in a closure": Case(lambda: Net(ByUpdate(trainable=False))),
    "agrees": Case(with_module_flag("trainable", True)),
    "other attributes of parameters": Case(with_parameter_flag("allreduce", True)),
    "sets what it is": Case(lambda: SetsWhatItIs(), notes=("N6",)),
}


class SetsWhatItIs(Net):
    """Sets its flags in train() as the config does."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.body.requires_grad_(False)
        return self


@pytest.mark.parametrize("case", TRAPS)
def test_a_flag_that_is_not_what_was_set_is_told(case: str) -> None:
    assert_as_planted(TRAPS[case])


@pytest.mark.parametrize("case", TWINS)
def test_what_only_looks_like_a_flag_is_not(case: str) -> None:
    assert_as_planted(TWINS[case])
