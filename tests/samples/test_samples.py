"""The sample checkpoints: what they show, that they are really trained, and what they are built by."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from freezetui.checkpoint.open import open_checkpoint
from freezetui.freeze.tree import ParamTree
from freezetui.model_spec import ModelSpec
from freezetui.models.build import build_model
from freezetui.recognition.catalog import recognize

ROOT = Path(__file__).resolve().parents[2]
SAMPLES, EXAMPLES = ROOT / "sample_ckpts", ROOT / "examples"

BUILT_BY = {
    "vgg_digits.pth": f"{EXAMPLES}/vgg_digits.py:vgg_digits",
    "shufflenet_digits.safetensors": "torchvision:shufflenet_v2_x0_5",
    "conv_digits_training.pt": f"{EXAMPLES}/conv_digits.py:conv_digits",
    "tiny_transformer.pth": f"{EXAMPLES}/tiny_transformer.py:tiny_transformer",
}


def state_dict(name: str) -> dict[str, Tensor]:
    """Return the weights as torch and safetensors load them, unwrapped by hand."""
    path = SAMPLES / name
    if name.endswith(".safetensors"):
        return load_file(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        loaded: Any = torch.load(path, weights_only=True)
    if "optimizer" in loaded:
        return {key.removeprefix("module."): tensor for key, tensor in loaded["model"].items()}
    return loaded


def built(name: str) -> nn.Module:
    checkpoint = open_checkpoint(str(SAMPLES / name))
    arguments = {"num_classes": 10} if name.startswith("shufflenet") else {}
    spec = ModelSpec(BUILT_BY[name], arguments)
    return build_model(spec, checkpoint, recognize(checkpoint.tensors)).model.eval()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The examples' own data, imported as the examples import it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("digits")


def test_every_sample_is_known_here_and_all_are_small() -> None:
    checkpoints = [path for path in SAMPLES.iterdir() if path.suffix in (".pth", ".pt", ".safetensors")]
    assert {path.name for path in checkpoints} == set(BUILT_BY)
    assert sum(path.stat().st_size for path in checkpoints) < 8e6
    readme = (SAMPLES / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in BUILT_BY)


@pytest.mark.parametrize("name", BUILT_BY)
def test_it_opens_with_the_names_shapes_and_dtypes_that_torch_loads(name: str) -> None:
    opened = {t.name: (t.shape, t.dtype) for t in open_checkpoint(str(SAMPLES / name)).tensors}
    loaded = {k: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for k, t in state_dict(name).items()}
    assert opened == loaded


@pytest.mark.parametrize("name", BUILT_BY)
def test_its_builder_takes_the_weights_strictly(name: str) -> None:
    loaded, model = state_dict(name), built(name).state_dict()
    assert model.keys() == loaded.keys()
    assert all(torch.equal(model[key], tensor) for key, tensor in loaded.items())


@pytest.mark.parametrize(
    ("name", "size"),
    [("vgg_digits.pth", 32), ("shufflenet_digits.safetensors", 64), ("conv_digits_training.pt", 32)],
)
def test_it_reads_digits(name: str, size: int, digits: ModuleType) -> None:
    _, _, images, labels = digits.load_digits(size)
    assert digits.accuracy(built(name), images, labels) >= 0.95


def test_the_transformer_has_learned_its_text() -> None:
    letters = torch.tensor(list((ROOT / "LICENSE").read_bytes()[:65]))
    logits = built("tiny_transformer.pth")(letters[None, :-1])
    assert F.cross_entropy(logits[0], letters[1:]) < math.log(128) / 2


def test_vgg_has_exactly_the_names_of_torchvision_and_runs_in_its_vgg16() -> None:
    loaded = state_dict("vgg_digits.pth")
    with torch.device("meta"):
        vgg = torchvision.models.vgg16()
    assert list(loaded) == list(vgg.state_dict())
    for path, module in list(vgg.named_modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            outputs, inputs = loaded[f"{path}.weight"].shape[:2]
            convolution = isinstance(module, nn.Conv2d)
            narrow = nn.Conv2d(inputs, outputs, 3, padding=1) if convolution else nn.Linear(inputs, outputs)
            parent, _, name = path.rpartition(".")
            setattr(vgg.get_submodule(parent), name, narrow)
    vgg.load_state_dict(loaded)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(vgg.eval()(images), built("vgg_digits.pth")(images))


@pytest.mark.parametrize("name", ["vgg_digits.pth", "shufflenet_digits.safetensors"])
def test_it_is_recognized(name: str) -> None:
    recognition = recognize(open_checkpoint(str(SAMPLES / name)).tensors)
    expected = {"vgg_digits.pth": "torchvision:vgg16"}.get(name, BUILT_BY[name])
    assert recognition is not None and recognition.model.architecture == expected


def test_the_training_checkpoint_is_unwrapped_and_its_optimizer_passed_over() -> None:
    checkpoint = open_checkpoint(str(SAMPLES / "conv_digits_training.pt"))
    assert (checkpoint.key, checkpoint.prefix) == ("model", "module.")
    assert {"optimizer", "epoch", "args"} <= {passed.key for passed in checkpoint.skipped}
    assert {t.name for t in checkpoint.tensors if t.kind == "buffer"} == {
        f"{layer}.{buffer}"
        for layer in (1, 4)
        for buffer in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_the_transformers_tie_is_seen_and_its_blocks_repeat() -> None:
    checkpoint = open_checkpoint(str(SAMPLES / "tiny_transformer.pth"))
    tree = ParamTree(checkpoint.tensors)
    ties = {frozenset(tree.tensors[i].name for i in group) for group in tree.tie_groups.values()}
    assert ties == {frozenset({"tok_embed.weight", "lm_head.weight"})}
    blocks = [
        {t.name[9:]: t.shape for t in checkpoint.tensors if t.name.startswith(f"layers.{i}.")}
        for i in range(6)
    ]
    assert blocks[0] and all(block == blocks[0] for block in blocks)
