"""Configs that freezetui 0.1.0 saved: they load, apply, and gain the fingerprint when saved again."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

from freezetui.config.codec import read_config
from freezetui.errors import ConfigError
from freezetui.session.session import Options, Session
from freezetui.training.config import FreezeConfig

HERE = Path(__file__).parent / "saved_by_0_1_0"
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_ckpts"


def example(name: str) -> nn.Module:
    model: nn.Module = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))[name]()
    return model


def transformer() -> nn.Module:
    model: nn.Module = runpy.run_path(str(ROOT / "examples" / "tiny_transformer.py"))["tiny_transformer"]()
    return model


CONFIGS = {
    "vgg_features.freeze.yaml": ("vgg_digits.pth", lambda: example("vgg_digits"), 26),
    "vgg_stages.freeze.yaml": ("vgg_digits.pth", lambda: example("vgg_digits"), 26),
    "shufflenet_head.freeze.yaml": (
        "shufflenet_digits.safetensors", lambda: shufflenet_v2_x0_5(num_classes=10), 168,
    ),
    "conv_biases.freeze.yaml": ("conv_digits_training.pt", lambda: example("conv_digits"), 5),
    "transformer_last_block.freeze.json": ("tiny_transformer.pth", transformer, 61),
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_applies_and_gains_the_fingerprint(name: str, tmp_path: Path) -> None:
    file, build, frozen = CONFIGS[name]
    config = FreezeConfig.load(HERE / name)
    assert config.expect is None or not config.expect.frozen.fingerprint
    applied = config.apply(build())
    assert applied.counts.frozen.tensors == frozen
    session = Session(Options(str(SAMPLES / file), config=HERE / name))
    assert session.saved.refused == () and session.totals.frozen.tensors == frozen
    saved = read_config(session.save(tmp_path / name))
    assert saved.expect is not None and saved.expect.frozen.fingerprint.startswith("sha256:")
    assert (saved.default, saved.rules, saved.expect.frozen.tensors) == (config.default, config.rules, frozen)
    assert FreezeConfig.load(tmp_path / name).apply(build()) == applied


@pytest.mark.torch
def test_frozen_counts_decide_where_no_fingerprint_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"  # no checkpoint beside it
    path.write_text((HERE / "vgg_features.freeze.yaml").read_text())
    config = FreezeConfig.load(path)
    model = example("vgg_digits")
    model.features[0] = nn.Conv2d(1, 8, 5)
    with pytest.raises(ConfigError, match="frozen: expected 26 tensors"):
        config.apply(model)
