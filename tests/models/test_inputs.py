"""An input for models of many kinds, and none where none fits."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from freezetui.errors import ModelError
from freezetui.models.inputs.search import find_input
from freezetui.models.outputs import tensors_of
from freezetui.models.spec import Factory, parse_factory

OWN = Factory("module", "package", "factory")


class Wrapped(nn.Module):
    """A model made of its layers and one expression."""

    def __init__(self, forward: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.expression = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.expression(self, x)


class Timed(Wrapped):
    """Reads images and one time each, as a diffusion model does."""

    def forward(self, x: Tensor, t: Tensor) -> Any:  # type: ignore[override]
        return self.conv(x) + self.times(t)[:, :, None, None]


class Pairs(Wrapped):
    """Reads two images, as a perceptual distance does."""

    def forward(self, left: Tensor, right: Tensor) -> Any:  # type: ignore[override]
        return (self.conv(left) * self.conv(right)).mean()


class Example(Wrapped):
    """Carries its own example, as a Lightning module may."""

    example_input_array = torch.zeros(1, 2, 9)


MODELS: dict[str, tuple[Any, str]] = {
    "conv": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), "images 4x64x64"),
    "fixed size": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3)),
        "images 1x28x28",
    ),
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), "vectors 6"),
    "transformer": (
        lambda: Wrapped(
            lambda m, x: m.encoder(m.tokens(x) + m.places(torch.arange(x.shape[1]))),
            tokens=nn.Embedding(9, 8),
            places=nn.Embedding(12, 8),
            encoder=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        ),
        "tokens 8",
    ),
    "lstm": (
        lambda: Wrapped(lambda m, x: m.head(m.lstm(x)[0]), lstm=nn.LSTM(5, 6), head=nn.Linear(6, 2)),
        "sequences 16x5",
    ),
    "signals": (lambda: nn.Sequential(nn.Conv1d(2, 4, 9)), "signals 2x16"),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3)), "volumes 1x16x16x16"),
    "generator": (lambda: nn.Sequential(nn.ConvTranspose2d(10, 4, 4), nn.BatchNorm2d(4)), "seeds 10x1x1"),
    "diffusion": (
        lambda: Timed(None, times=nn.Embedding(100, 4), conv=nn.Conv2d(3, 4, 3)),
        "images 3x64x64 and 1 x times",
    ),
    "distance": (lambda: Pairs(None, conv=nn.Conv2d(3, 4, 3)), "2 x images 3x64x64"),
    "example": (
        lambda: Example(lambda m, x: m.conv(x), conv=nn.Conv1d(2, 4, 3)),
        "the model's example_input_array",
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_an_input_is_found_and_the_model_trains_on_it(kind: str) -> None:
    factory, text = MODELS[kind]
    model = factory()
    model.eval()
    random = torch.get_rng_state()
    example, tried = find_input(model, OWN, {})
    assert example is not None and (example.text, tried) == (text, ())
    assert not any(module.training for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    args, kwargs = example.batch(3, 7, "cpu", torch.float32)
    again, _ = example.batch(3, 7, "cpu", torch.float32)
    other, _ = example.batch(3, 8, "cpu", torch.float32)
    assert all(map(torch.equal, args, again)) and not all(map(torch.equal, args, other))
    assert args[0].shape == (3, *example.shape)
    outputs = tensors_of(model.train()(*args, **kwargs))
    sum(output.sum() for output in outputs).backward()  # type: ignore[union-attr]
    assert any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("squeezenet1_1", (3, 64, 64)),
        ("lraspp_mobilenet_v3_large", (3, 64, 64)),
        ("raft_small", (3, 128, 128)),
        ("ssdlite320_mobilenet_v3_large", (3, 128, 128)),
    ],
)
def test_known_models_of_every_task_train_on_their_recipe(name: str, shape: tuple[int, ...]) -> None:
    none = {} if name.startswith(("squeeze", "raft")) else {"weights_backbone": None}
    model = get_model(name, weights=None, **none)
    example, tried = find_input(model, parse_factory(f"torchvision:{name}"), {})
    assert example is not None and (example.shape, tried) == (shape, ())
    args, kwargs = example.batch(2, 0, "cpu", torch.float32)
    assert tensors_of(model.train()(*args, **kwargs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "fcos_resnet50_fpn", "mc3_18", "inception_v3"],
)
def test_large_models_train_on_their_recipe(name: str) -> None:
    options = {"weights_backbone": None} if "_fpn" in name else {}
    if "rcnn" in name:  # its heads run on so many regions of each image; by default 512
        options["box_batch_size_per_image"] = 32
    model = get_model(name, weights=None, **options)
    example, tried = find_input(model, parse_factory(f"torchvision:{name}"), {})
    assert example is not None and not tried
    args, kwargs = example.batch(2, 0, "cpu", torch.float32)
    with torch.no_grad():  # what a graph would hold of them is gigabytes
        assert tensors_of(model.train()(*args, **kwargs))


def test_a_given_shape_is_the_only_one_tried() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    example, _ = find_input(model, OWN, {}, (3, 17, 19))
    assert example is not None and example.shape == (3, 17, 19)
    with pytest.raises(
        ModelError, match=r"RuntimeError: .*expected input\[2, 5, 17, 19\] to have 3 channels"
    ):
        find_input(model, OWN, {}, (5, 17, 19))


def test_a_model_that_takes_nothing_says_why() -> None:
    def fail(model: nn.Module, x: Tensor) -> Any:
        raise KeyError("needs\na graph")

    example, tried = find_input(Wrapped(fail, conv=nn.Conv2d(3, 4, 3)), OWN, {})
    assert example is None
    assert tried[0] == "images 3x64x64: KeyError: 'needs\\na graph'"
    assert find_input(nn.Identity(), OWN, {})[1] == ("no layer reveals the input shape",)


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    cache: Any = None


def test_every_floating_point_tensor_of_an_output_is_reached_once_and_in_order() -> None:
    a, b, c, d = (torch.zeros(n + 1) for n in range(4))
    nested = OrderedDict(out=[a, {"x": b, "ids": torch.arange(3)}], more=Output(c, (d, a), "text"), none=None)
    found = tensors_of(nested)
    assert [id(t) for t in found] == [id(t) for t in (a, b, c, d)]
    assert tensors_of(a)[0] is a and tensors_of("text") == []


def test_a_large_given_input_is_not_drawn_before_the_check_runs_it() -> None:
    """20 GB in one batch: it goes straight to the device of the check."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    started = time.process_time()
    example, _ = find_input(model, OWN, {}, (3, 30000, 30000))
    assert example is not None and example.shape == (3, 30000, 30000)
    assert time.process_time() - started < 20  # drawing it takes minutes
