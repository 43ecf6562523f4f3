"""Lightning checkpoints, and copies of the weights beside the model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from freezetui.checkpoint.open import open_checkpoint

Write = Callable[..., Path]

CONTAINERS = ["zip", "legacy"]
MONITOR = "ModelCheckpoint{'monitor': 'val/loss.mean', 'mode': \"min\", 'every_n_train_steps': 0}"


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.fixture
def gone_class() -> Iterator[type]:
    """A class whose package is missing by the time the file is read."""
    project = ModuleType("gone_config")
    sys.modules["gone_config"] = project
    exec("class Config:\n    def __init__(self): self.lr, self.widths = 0.1, [3, 4]", project.__dict__)
    yield project.Config
    sys.modules.pop("gone_config", None)


def trained(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return optimizer


def lightning(model: nn.Module, config: Any) -> dict[str, Any]:
    """Return the keys that Lightning 2 writes, with what its loops and callbacks keep."""
    optimizer = trained(model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    progress = {"total": {"ready": 3, "completed": 3}, "current": {"ready": 1, "completed": 1}}
    return {
        "epoch": 12,
        "global_step": 1200,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"net.{name}": value for name, value in model.state_dict().items()},
        "loops": {
            "fit_loop": {"state_dict": {}, "epoch_progress": progress},
            "validate_loop": {"state_dict": {}, "epoch_loop.state_dict": {}},
        },
        "callbacks": {
            MONITOR: {
                "best_model_score": torch.tensor(0.25),
                "best_k_models": {"runs/{epoch}'.ckpt": torch.tensor(0.25)},
                "kth_value": torch.tensor(0.25),
                "dirpath": "runs",
            },
            "EarlyStopping{'monitor': 'val/loss'}": {"wait_count": 0, "best_score": torch.tensor(0.25)},
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "MixedPrecision": {"scale": 65536.0, "_growth_tracker": 3},
        "hparams_name": "kwargs",
        "hyper_parameters": {"config": config, "class_weights": torch.ones(2), "lr": 0.1},
        "datamodule_hyper_parameters": {"batch_size": 32},
    }


def optimizer_bytes(states: list[dict[str, Any]]) -> tuple[int, int]:
    """Tensors and bytes of the optimizers' state, as torch counts them."""
    tensors = [value for s in states for state in s["state"].values() for value in state.values()]
    return len(tensors), sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("container", CONTAINERS)
def test_lightning(write: Write, gone_class: type, container: str) -> None:
    model = network()
    saved = lightning(model, gone_class())
    path = write(saved, container, "last.ckpt")
    del sys.modules["gone_config"]
    checkpoint = open_checkpoint(path)
    assert {t.name: (t.shape, f"torch.{t.dtype}", t.bytes) for t in checkpoint.tensors} == {
        name: (tuple(value.shape), str(value.dtype), value.nbytes)
        for name, value in saved["state_dict"].items()
    }
    assert (checkpoint.key, checkpoint.choices, checkpoint.warnings) == ("state_dict", ("state_dict",), ())
    assert checkpoint.foreign == ("gone_config.Config",)
    passed = {entry.key: entry.what for entry in checkpoint.skipped}
    assert passed.keys() == saved.keys() - {"state_dict"}
    count, nbytes = optimizer_bytes(saved["optimizer_states"])
    assert passed["optimizer_states"] == f"{count} tensors, {nbytes} B"
    assert (passed["epoch"], passed["global_step"]) == ("12", "1200")
    assert passed["callbacks"] == "4 tensors, 16 B"


def test_lightning_with_an_ema_callback(write: Write) -> None:
    """A key with braces, quotes and dots leads to it."""
    model = network()
    saved = lightning(model, None)
    callback = "EMA{'decay': 0.999, 'keys': [\"a.b\"]}"
    saved["callbacks"][callback] = {"ema_state_dict": network().state_dict(), "updates": 3}
    path = write(saved)
    checkpoint = open_checkpoint(path)
    copy = f"callbacks.{callback}.ema_state_dict"
    assert (checkpoint.key, checkpoint.choices) == ("state_dict", ("state_dict", copy))
    (warning,) = checkpoint.warnings
    assert (
        warning
        == f"multiple state_dicts found; showing state_dict; --key (K in the TUI) chooses another: {copy}"
    )
    chosen = open_checkpoint(path, key=copy)
    assert chosen.key == copy
    assert [t.name for t in chosen.tensors] == list(model.state_dict())


EMA_LAYOUTS = [
    ({"params": "model", "params_ema": "ema"}, "params_ema"),
    ({"model": "model", "ema": "ema"}, "model"),
    ({"model": "model", "model_ema": "ema"}, "model"),
    ({"state_dict": "model", "state_dict_ema": "ema"}, "state_dict"),
    ({"model": "model", "ema_state_dict": "ema"}, "model"),
    ({"net": "model", "ema.model": "ema"}, "net"),
]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("keys", "expected"), EMA_LAYOUTS, ids=[" ".join(keys) for keys, _ in EMA_LAYOUTS])
def test_the_copy_beside_the_model_is_a_choice(
    write: Write, keys: dict[str, str], expected: str, container: str
) -> None:
    model = network()
    states = {"model": model.state_dict(), "ema": {n: v * 0.9 for n, v in model.state_dict().items()}}
    optimizer = trained(model)
    saved = {key: states[which] for key, which in keys.items()}
    path = write({**saved, "optimizer": optimizer.state_dict(), "epoch": 3}, container)
    checkpoint = open_checkpoint(path)
    assert (checkpoint.key, set(checkpoint.choices)) == (expected, set(keys))
    (other,) = keys.keys() - {expected}
    assert checkpoint.warnings == (
        f"multiple state_dicts found; showing {expected}; --key (K in the TUI) chooses another: {other}",
    )
    passed = {entry.key: entry.what for entry in checkpoint.skipped}
    assert passed.keys() == {other, "optimizer", "epoch"}
    count, nbytes = optimizer_bytes([optimizer.state_dict()])
    assert passed["optimizer"] == f"{count} tensors, {nbytes} B"
    for key in keys:
        chosen = open_checkpoint(path, key=key)
        assert [(t.name, t.shape) for t in chosen.tensors] == [
            (name, tuple(value.shape)) for name, value in saved[key].items()
        ]
        storages = {t.storage.key for t in chosen.tensors if t.storage}
        assert len(storages) == len(chosen.tensors)


def test_a_list_of_shadow_parameters_is_no_choice(write: Write) -> None:
    model = network()
    shadow = [parameter.detach().clone() for parameter in model.parameters()]
    ema = {"decay": 0.99, "num_updates": 4, "shadow_params": shadow, "collected_params": None}
    checkpoint = open_checkpoint(write({"model": model.state_dict(), "ema": ema}))
    assert (checkpoint.key, checkpoint.choices, checkpoint.warnings) == ("model", ("model",), ())
    nbytes = sum(tensor.nbytes for tensor in shadow)
    assert {entry.key: entry.what for entry in checkpoint.skipped} == {
        "ema": f"{len(shadow)} tensors, {nbytes} B"
    }


def test_an_averaged_model(write: Write) -> None:
    model = network()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(model)
    path = write({"model": model.state_dict(), "ema": averaged.state_dict()})
    assert open_checkpoint(path).choices == ("model", "ema")
    chosen = open_checkpoint(path, key="ema")
    names = [chosen.prefix + t.name for t in chosen.tensors]
    assert names == list(averaged.state_dict())
    assert {t.name: t.shape for t in chosen.tensors if t.name != "n_averaged"} == {
        f"module.{name}": tuple(value.shape) for name, value in model.state_dict().items()
    }


def test_modules_beside_each_other(write: Write) -> None:
    model, copy = network(), network()
    path = write({"model": model, "ema": copy, "epoch": -1})
    checkpoint = open_checkpoint(path)
    assert (checkpoint.key, checkpoint.choices) == ("model", ("model", "ema"))
    assert checkpoint.warnings == (
        "multiple state_dicts found; showing model; --key (K in the TUI) chooses another: ema",
    )
    assert [t.name for t in open_checkpoint(path, key="ema").tensors] == list(copy.state_dict())


def test_a_copy_that_lies_deeper_is_not_taken_for_the_model(write: Write) -> None:
    """`model` is a familiar key, `ema.model` the copy's."""
    model = network()
    path = write({"net": model.state_dict(), "ema": {"model": network().state_dict(), "decay": 0.9}})
    checkpoint = open_checkpoint(path)
    assert (checkpoint.key, checkpoint.choices) == ("net", ("net", "ema.model"))
    assert {entry.key: entry.what for entry in checkpoint.skipped}.keys() == {"ema"}
