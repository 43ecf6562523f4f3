"""Real files into real models: strictly, and bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torchvision.models import DenseNet, ShuffleNetV2, get_model

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError, ModelError
from freezetui.model_spec import ModelSpec
from freezetui.models import load
from freezetui.models.build import Built, build_model, fill
from freezetui.models.load import load_tensors
from freezetui.recognition.catalog import recognize

Save = Callable[..., Checkpoint]
FILE = Path(__file__).resolve().parents[1] / "support" / "factories.py"


def build_known(checkpoint: Checkpoint, **options: Any) -> Built:
    """Build what names and shapes alone tell."""
    recognition = recognize(checkpoint.tensors)
    assert recognition is not None
    return build_model(recognition.model, checkpoint, recognition, **options)


def same_bits(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("model", ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_a_known_model_is_rebuilt_bit_for_bit(save: Save, model: str, name: str) -> None:
    trained = get_model(model, weights=None, num_classes=4)
    for running in trained.buffers():
        running.add_(3)
    checkpoint = save(trained, name)
    random = torch.get_rng_state()
    phases: list[str] = []
    built = build_known(checkpoint, progress=phases.append)
    assert same_bits(built.model.state_dict(), trained.state_dict())
    assert built.spec == ModelSpec(f"torchvision:{model}", {"num_classes": 4}, (3, 64, 64))
    assert built.example is not None and built.example.shape == (3, 64, 64)
    assert phases == ["build", "input", "load"]
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in built.model.modules())


def narrow_vgg() -> nn.Module:
    """Every name of a VGG11, an eighth of its widths, one cell per channel in front of the head."""
    model = get_model("vgg11", weights=None, num_classes=10)
    channels, features = 1, []
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            layer = nn.Conv2d(channels, layer.out_channels // 8, 3, padding=1)
            channels = layer.out_channels
        features.append(layer)
    model.features = nn.Sequential(*features)
    model.avgpool = nn.AdaptiveAvgPool2d((1, 1))
    widths = iter([(channels, 32), (32, 16), (16, 10)])
    model.classifier = nn.Sequential(
        *(nn.Linear(*next(widths)) if isinstance(layer, nn.Linear) else layer for layer in model.classifier)
    )
    return model


NARROW: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "vgg11": (narrow_vgg, 1),
    "resnet50": (lambda: get_model("resnet50", weights=None, num_classes=7, width_per_group=8), 3),
    "densenet121": (lambda: DenseNet(8, (6, 12, 24, 16), 16), 3),
    "shufflenet_v2": (lambda: ShuffleNetV2([4, 8, 4], [8, 16, 32, 64, 128]), 3),
}


@pytest.mark.parametrize("name", NARROW)
def test_other_widths_are_built_and_compute_the_same(save: Save, name: str) -> None:
    factory, channels = NARROW[name]
    trained = factory().eval()
    checkpoint = save(trained)
    built = build_known(checkpoint)
    assert built.example is not None and built.example.shape == (channels, 64, 64)
    (images,), _ = built.example.batch(2, 0, "cpu", built.dtype)
    with torch.no_grad():
        assert torch.equal(built.model.eval()(images), trained(images))


def test_a_width_that_shapes_do_not_tell_is_refused(save: Save) -> None:
    checkpoint = save(get_model("mobilenet_v2", weights=None, width_mult=0.25))
    assert recognize(checkpoint.tensors) is None
    with pytest.raises(ModelError, match="with a different shape"):
        build_model(ModelSpec("torchvision:mobilenet_v2"), checkpoint)


@pytest.mark.parametrize(
    ("arguments", "drop", "add", "said"),
    [
        ({}, "0.bias", "", "1 missing: 0.bias"),
        (
            {"classes": 4, "width": 9},
            "",
            "",
            "4 with a different shape: 0.weight ([8, 5] in the file, [9, 5] in the model)",
        ),
    ],
)
def test_loading_is_strict(save: Save, arguments: dict[str, Any], drop: str, add: str, said: str) -> None:
    state = {"0.weight": torch.ones(8, 5), "0.bias": torch.ones(8)}
    state |= {"2.weight": torch.ones(3, 8), "2.bias": torch.ones(3)}
    state |= {add: torch.ones(1)} if add else {}
    state.pop(drop, None)
    with pytest.raises(ModelError) as caught:
        build_model(ModelSpec(f"{FILE}:mlp", arguments), save(state))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_new_head_and_an_old_one_are_told_and_not_refused(save: Save) -> None:
    state = {"0.weight": torch.ones(8, 5), "0.bias": torch.ones(8)}
    state |= {"2.weight": torch.ones(3, 8), "2.bias": torch.ones(3), "9.bias": torch.ones(1)}
    built = build_model(ModelSpec(f"{FILE}:mlp", {"classes": 4}), save(state))
    assert built.names.unplaced == ("9.bias",)
    assert built.names.missing == ("2.weight", "2.bias")
    assert [reshaped.file_shape for reshaped in built.names.reshaped] == [(3, 8), (3,)]
    assert built.model[0].weight.eq(1).all() and built.model[2].weight.std() > 0.1


def test_a_long_list_of_names_is_cut(save: Save) -> None:
    checkpoint = save({f"layer{i}.weight": torch.ones(1) for i in range(1000)})
    with pytest.raises(
        ModelError, match=r"1,000 unexpected: layer0\.weight, layer1\.weight, layer2\.weight and 997 more"
    ) as caught:
        build_model(ModelSpec(f"{FILE}:mlp"), checkpoint)
    assert len(str(caught.value)) < 500


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(tokens).transpose(1, 2)).transpose(1, 2))


def test_ties_stay_ties_and_may_be_absent(save: Save) -> None:
    model = Tied()
    checkpoint = save(model)
    tensors = load_tensors(checkpoint)
    assert tensors["head.weight"] is tensors["embed.weight"]
    state = model.state_dict()
    without = save({n: t for n, t in state.items() if n not in ("head.weight", "norm.num_batches_tracked")})
    fresh = Tied()
    fresh(torch.zeros(2, 3, dtype=torch.int64))
    fill(fresh, without)
    assert same_bits(fresh.state_dict(), state)
    assert fresh.head.weight is fresh.embed.weight


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_runs_in_the_dtype_of_its_file(save: Save, dtype: torch.dtype) -> None:
    state = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype).state_dict()
    built = build_model(ModelSpec(f"{FILE}:mlp"), save(state))
    assert built.dtype == dtype and built.example is not None
    assert same_bits(built.model.state_dict(), state)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_tensors_of_every_kind_are_torchs_own_bits(tmp_path: Path, legacy: bool) -> None:
    base = torch.randn(40)
    state = {
        "transposed": torch.randn(3, 5).t(),
        "slice": base[4:10],
        "overlap": base[8:20].view(3, 4),
        "expanded": torch.ones(1).expand(1000),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3),
        "half": torch.randn(7).half(),
        "bfloat": torch.randn(7).bfloat16(),
        "complex": torch.randn(3, dtype=torch.complex64),
        "flags": torch.tensor([True, False]),
    }
    path = tmp_path / "kinds.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    loaded = load_tensors(open_checkpoint(str(path)))
    assert same_bits(loaded, state)
    assert loaded["slice"].data_ptr() + 16 == loaded["overlap"].data_ptr()


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_writing_to_a_loaded_tensor_leaves_the_file_alone(save: Save, name: str) -> None:
    checkpoint = save(nn.Linear(50, 100), name)
    before = Path(checkpoint.source).read_bytes()
    tensors = load_tensors(checkpoint)
    for tensor in tensors.values():
        tensor.zero_()
    assert not any(tensor.count_nonzero() for tensor in tensors.values())
    assert Path(checkpoint.source).read_bytes() == before
    assert all(tensor.count_nonzero() for tensor in load_tensors(checkpoint).values())


def test_a_safetensors_file_of_any_alignment_is_loaded(tmp_path: Path) -> None:
    header = b'{"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},'
    header += b'"y":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}}'
    data = bytes([1, 2, 3]) + struct.pack("<2f", 0.5, 2.0)
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    loaded = load_tensors(open_checkpoint(str(path)))
    assert same_bits(loaded, {"x": torch.tensor([1, 2, 3], dtype=torch.uint8), "y": torch.tensor([0.5, 2.0])})


def test_tensors_are_loaded_straight_to_a_device(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device stands for one whose memory is not the CPU's; safetensors knows none such."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    loaded = load_tensors(save(model), torch.device("meta"))
    assert {name: tensor.shape for name, tensor in loaded.items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }
    assert {tensor.device.type for tensor in loaded.values()} == {"meta"}
    asked = []

    def opened(path: str, framework: str, device: str) -> Any:
        asked.append((path, device))
        return safe_open(path, framework, device="cpu")

    monkeypatch.setattr(load, "safe_open", opened)
    checkpoint = save(model, "model.safetensors")
    assert same_bits(load_tensors(checkpoint, torch.device("cuda:1")), model.state_dict())
    assert asked == [(checkpoint.source, "cuda:1")]


def test_ties_of_the_file_are_one_tensor_on_every_device(save: Save) -> None:
    loaded = load_tensors(save(Tied()), torch.device("meta"))
    assert loaded["head.weight"] is loaded["embed.weight"]


def test_a_safetensors_file_that_has_changed_is_refused(save: Save) -> None:
    checkpoint = save(nn.Linear(2, 3), "model.safetensors")
    save(nn.Linear(20, 30), "model.safetensors")
    with pytest.raises(CheckpointError, match="changed since"):
        load_tensors(checkpoint)
    save(nn.Linear(3, 2, bias=False), "model.safetensors")
    path = Path(checkpoint.source)
    path.write_bytes(path.read_bytes().ljust(checkpoint.size, b"\0")[: checkpoint.size])
    with pytest.raises(CheckpointError):
        load_tensors(checkpoint)
