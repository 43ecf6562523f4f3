"""An input for models that users wrote: found on copies, by their source and by what errors say."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MovingAveragePerChannelMinMaxObserver
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from freezetui.errors import ModelError
from freezetui.model_spec import ModelSpec
from freezetui.models.build import build_model
from freezetui.models.inputs.hints import Hint, hint_of
from freezetui.models.inputs.search import find_input
from freezetui.models.outputs import tensors_of
from freezetui.models.spec import Factory
from support import own_models, tiny_transformers

PER_CHANNEL = torch.per_channel_symmetric
OWN = Factory("file", "own_models.py", "factory")
FILE = Path(own_models.__file__)
KINDS = [
    name
    for name, value in vars(own_models).items()
    if isinstance(value, type) and issubclass(value, nn.Module) and not name.startswith("_")
]


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = getattr(own_models, name)()
    if name == "LazyNet":
        model(torch.zeros(2, 3, 20, 20))
    if hasattr(model, "training_step"):
        model.forward = model.training_step
    return model


def state_of(model: nn.Module) -> dict[str, Any]:
    """Every tensor's bits, every module's own attributes."""
    tensors = {
        name: None if nn.parameter.is_lazy(t) else t.detach().clone()
        for name, t in model.state_dict(keep_vars=True).items()
    }
    attributes = {
        (path, key): value
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (bool, int, float, str))
    }
    return {**tensors, **attributes}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    def alike(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b

    return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)


def trains_on(model: nn.Module, example: Any) -> bool:
    args, kwargs = example.batch(2, 3, "cpu", torch.float32)
    outputs = [out for out in tensors_of(model.train()(*args, **kwargs)) if out.requires_grad]
    sum(out.sum() for out in outputs).backward()  # type: ignore[union-attr]
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_an_input_is_found_the_model_is_untouched_and_trains_on_it(name: str) -> None:
    model = made(name)
    before, random = state_of(model), torch.get_rng_state()
    example, tried = find_input(model, OWN, {})
    assert example is not None, tried
    assert same(state_of(model), before) and torch.equal(torch.get_rng_state(), random)
    assert trains_on(model, example)


class Locked(nn.Module):
    """Cannot be copied, and writes to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.norm = nn.BatchNorm1d(5)
        self.fc = nn.Linear(5, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.extra = nn.Linear(2, 2)
        return self.extra(self.fc(self.norm(x)))


def test_a_model_that_cannot_be_copied_is_put_back() -> None:
    model = Locked()
    before = state_of(model)
    example, _ = find_input(model, OWN, {})
    assert example is not None and example.text == "vectors 5"
    assert same(state_of(model), before) and not hasattr(model, "extra")


class Observed(nn.Module):
    """An observer whose statistics are allocated by the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.observe = FakeQuantize(
            MovingAveragePerChannelMinMaxObserver,
            -128,
            127,
            ch_axis=1,
            dtype=torch.qint8,
            qscheme=PER_CHANNEL,
        )
        self.register_buffer("seen", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        if not self.seen.numel():
            self.seen = x.detach().abs().amax(0)
        return self.observe(self.fc(x))


@pytest.mark.parametrize(
    "name", ["MadeInForward", "TrainingStepOnly", "InsideDataParallel", "LazyNet", "ActNormFlow"]
)
def test_what_a_first_forward_makes_is_loaded(save: Any, name: str) -> None:
    trained = made(name)
    example, _ = find_input(trained, OWN, {})
    assert example is not None
    args, kwargs = example.batch(4, 1, "cpu", torch.float32)
    trained(*args, **kwargs)
    built = build_model(ModelSpec(f"{FILE}:{name}"), save(trained))
    assert same(dict(built.model.state_dict()), dict(trained.state_dict()))
    assert built.example is not None and trains_on(built.model, built.example)


def test_empty_buffers_take_the_files_shapes(save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Observed()
    trained(torch.randn(4, 6))
    monkeypatch.setattr(own_models, "Observed", Observed, raising=False)
    built = build_model(ModelSpec("support.own_models:Observed"), save(trained))
    assert built.model.get_buffer("observe.scale").shape == (3,)
    assert same(dict(built.model.state_dict()), dict(trained.state_dict()))
    assert built.names.reshaped == () and not built.names.missing


def test_a_given_input_is_computed_on_no_cpu_and_its_error_names_the_line() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    started = time.process_time()
    example, _ = find_input(model, OWN, {}, (3, 30000, 30000))
    assert example is not None and example.shape == (3, 30000, 30000)
    assert time.process_time() - started < 5
    with pytest.raises(ModelError) as caught:
        find_input(made("PointNet"), OWN, {}, (4, 32))
    assert "AssertionError: points must be (B, 3, N)" in caught.value.message
    assert f"{FILE}, line" in caught.value.hint and caught.value.hint.endswith("in forward.")
    example, _ = find_input(made("DualEncoder"), OWN, {}, (3, 40, 40))
    assert example is not None and example.text == "images 3x40x40 and tokens 12"


@pytest.mark.parametrize("name", tiny_transformers.FAMILIES)
def test_transformers_models_compute_their_own_loss(name: str) -> None:
    model = tiny_transformers.build(name)
    example, tried = find_input(model, Factory("module", "transformers", name), {})
    assert example is not None, tried
    _, kwargs = example.batch(2, 0, "cpu", torch.float32)
    assert isinstance(model(**kwargs).loss, Tensor) or name.startswith("DetrFor")
    assert not name.startswith(("Llava", "CLIP")) or "pixel_values" in kwargs


class Trained(nn.Module):
    """Hands its batch on to a model of transformers, as a Lightning module does."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_transformers.build("BertForMaskedLM")

    def forward(self, batch: Any) -> Any:
        return self.model(**batch).loss


class Detector(nn.Module):
    """Hands its images and targets on to a model of torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)

    def forward(self, images: Any, targets: Any = None) -> Any:
        return self.model(images, targets)


@pytest.mark.parametrize(
    ("kind", "text"), [(Trained, "tokens 16 and labels 16"), (Detector, "images 3x64x64")]
)
def test_a_wrapper_takes_what_the_librarys_model_inside_takes(kind: type, text: str) -> None:
    model = kind()
    example, tried = find_input(model, OWN, {})
    assert example is not None and example.text.startswith(text), tried
    assert trains_on(model, example)


def test_timm_models_read_images_of_the_size_they_were_built_for() -> None:
    arguments = {"model_name": "vit_tiny_patch16_224", "img_size": 48, "num_classes": 3}
    timm = pytest.importorskip("timm")
    model = timm.create_model(**arguments)
    example, _ = find_input(model, Factory("module", "timm", "create_model"), arguments)
    assert example is not None and example.shape == (3, 48, 48)


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("mat1 and mat2 shapes cannot be multiplied (2x400 and 784x10)", Hint("sizes", 400, 784)),
        ("a and b must have same reduction dim, but got [2, 400] X [784, 10].", Hint("sizes", 400, 784)),
        ("expected input[2, 4, 8, 8] to have 3 channels, but got 4 channels instead", Hint("sizes", 4, 3)),
        ("The size of tensor a (12) must match the size of tensor b (10)", Hint("sizes", 12, 10)),
        ("input.size(-1) must be equal to input_size. Expected 10, got 5", Hint("sizes", 5, 10)),
        ("Input height (64) doesn't match model (224).", Hint("sizes", 64, 224)),
        ("Cannot forward sequence of length 64, block size is only 20", Hint("sizes", 64, 20)),
        ("The shape of the 2D attn_mask is torch.Size([4, 4]), but should be (4, 16).", Hint("sizes", 4, 16)),
        ("Expected tensor for argument #1 'indices' to have one of: Long; but got Float",
         Hint("integers")),
        ("mat1 and mat2 must have the same dtype, but got Long and Float", Hint("floats")),
        ("index out of range in self", Hint("bound")),
        ("not enough values to unpack (expected 4, got 3)", Hint("higher")),
        ("too many values to unpack (expected 3)", Hint("lower")),
        ("no idea", Hint("none")),
    ],
)  # fmt: skip
def test_what_an_error_says(message: str, hint: Hint) -> None:
    assert hint_of(RuntimeError(message)) == hint
    assert hint_of(KeyError("image")) == Hint("key", name="image")


def test_a_draw_without_a_shape_is_said_to_be_of_one_value() -> None:
    from freezetui.models.inputs.draws import Draw

    assert Draw("labels", ()).text == "labels of one value" and Draw("tokens", (16,)).text == "tokens 16"
