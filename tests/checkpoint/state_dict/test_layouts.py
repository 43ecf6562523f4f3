"""Files that other tools than a plain torch.save of a state_dict wrote: each opens as what it is."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from freezetui.checkpoint.open import open_checkpoint
from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint
from freezetui.errors import CheckpointError

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in checkpoint.tensors}


def shapes_of(tensors: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def refusal(checkpoint: Checkpoint) -> str:
    """Why its weights cannot be loaded."""
    with pytest.raises(CheckpointError) as error, open_weights(checkpoint):
        pass
    return str(error.value)


@pytest.mark.parametrize("tool", ["cloudpickle", "dill"])
def test_a_module_pickled_with_its_class(tool: str) -> None:
    """Written by cloudpickle 3.1 and dill 0.4 from a script: the class is in the file, as code."""
    checkpoint = open_checkpoint(SAMPLES / f"by_value_{tool}.pth")
    assert shapes(checkpoint) == {"scale": (2,), "stem.weight": (3, 2), "stem.bias": (3,)}
    assert checkpoint.format == "pickled nn.Module"
    assert checkpoint.module_types[""] == "__main__.Net"
    assert any(name.startswith(tool) for name in checkpoint.foreign)
    assert "do not load it unless you trust it" in checkpoint.warnings[0]


def test_an_instance_of_a_class_inside_a_class(write: Callable[..., Path]) -> None:
    """Pickle protocol 2 asks for it as `getattr(Outer, "Inner")`."""
    gone = sys.modules["gone_classes"] = ModuleType("gone_classes")
    exec("class Outer:\n    class Inner:\n        pass", gone.__dict__)
    try:
        path = write({"model": model().state_dict(), "settings": gone.Outer.Inner()})
    finally:
        del sys.modules["gone_classes"]
    checkpoint = open_checkpoint(path)
    assert shapes(checkpoint) == shapes_of(model().state_dict())
    assert checkpoint.skipped[0].what.endswith("Inner object")


@pytest.mark.parametrize("kind", ["compiled", "traced"])
def test_whole_modules_of_torchs_compilers(write: Callable[..., Path], kind: str) -> None:
    whole = torch.compile(model()) if kind == "compiled" else torch.fx.symbolic_trace(model())
    checkpoint = open_checkpoint(write(whole))
    assert shapes(checkpoint) == shapes_of(model().state_dict())
    assert [tensor.kind for tensor in checkpoint.tensors] == ["parameter"] * 4 + ["buffer"] * 3
    if kind == "compiled":
        assert checkpoint.prefix == "_orig_mod."
        assert "torch.load would run" in str(checkpoint.warnings)
    else:
        assert checkpoint.prefix == ""
        assert "GraphModule" in checkpoint.module_types[""]
        assert "would import torch.fx.graph_module.reduce_graph_module" in str(checkpoint.warnings)


@pytest.mark.parametrize(
    "key",
    ["resampler", "upsampler", "rescaler", "optimus", "optimized_model", "Sampler2Net", "rngnet", "sampler"],
)
def test_the_only_state_dict_under_a_key_that_sounds_like_another_thing(
    write: Callable[..., Path], key: str
) -> None:
    checkpoint = open_checkpoint(write({key: model().state_dict(), "epoch": 3}))
    assert checkpoint.key == key
    assert shapes(checkpoint) == shapes_of(model().state_dict())


@pytest.mark.parametrize(
    "key",
    [
        "optimizer",
        "optimizer_G",
        "optimizerD",
        "optimizer_states",
        "optim1",
        "amp_scaler",
        "gradScaler",
        "lr_schedulers",
        "cuda_rng_state",
        "hyper_parameters",
        "data_sampler_state",
    ],
)
def test_keys_that_lead_to_no_model(write: Callable[..., Path], key: str) -> None:
    other = {"a": torch.ones(2), "b": torch.ones(3)}
    checkpoint = open_checkpoint(write({key: {"state": other}, "mine": model().state_dict()}))
    assert checkpoint.choices == ("mine",)
    assert checkpoint.skipped[0].key == key


@pytest.mark.parametrize("depth", [1, 5, 15])
def test_a_state_dict_levels_down(write: Callable[..., Path], depth: int) -> None:
    value: Any = model().state_dict()
    for level in range(depth):
        value = {f"level{level}": value}
    assert shapes(open_checkpoint(write(value))) == shapes_of(model().state_dict())


def test_a_state_dict_in_a_long_list(write: Callable[..., Path]) -> None:
    checkpoint = open_checkpoint(write([*({"step": step} for step in range(64)), model().state_dict()]))
    assert checkpoint.key == "64"
    assert shapes(checkpoint) == shapes_of(model().state_dict())


def test_keys_that_are_not_hashed_are_shown(write: Callable[..., Path]) -> None:
    net = model()
    deep: Any = ()
    for _ in range(10):
        deep = (deep,)
    saved = {"model": net.state_dict(), tuple(range(40)): 1, deep: 2, frozenset((1, 2)): 3, net[0].weight: 4}
    checkpoint = open_checkpoint(write(saved))
    assert shapes(checkpoint) == shapes_of(net.state_dict())
    assert [entry.what for entry in checkpoint.skipped] == ["1", "2", "3", "4"]
    assert [entry.key for entry in checkpoint.skipped[:2]] == ["(tuple)"] * 2


def test_a_whole_optimizer_beside_a_whole_module(write: Callable[..., Path]) -> None:
    """Its state is a dict with parameters for keys."""
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    checkpoint = open_checkpoint(write({"model": net, "optimizer": optimizer}))
    assert shapes(checkpoint) == shapes_of(net.state_dict())
    assert not checkpoint.foreign


def megatron() -> dict[str, Any]:
    embedding = {
        "word_embeddings": {"weight": torch.ones(5, 2)},
        "position_embeddings": {"weight": torch.ones(7, 2)},
    }
    encoder = {f"layers.{i}.mlp.dense_h_to_4h.weight": torch.ones(8, 2) for i in range(2)}
    inner = {"embedding": embedding, "encoder": encoder | {"layers.0._extra_state": None}, "pooler": {}}
    return {"model": {"language_model": inner}, "iteration": 10, "checkpoint_version": 3.0}


def test_megatrons_dicts_are_one_model(write: Callable[..., Path]) -> None:
    path = write(megatron())
    checkpoint = open_checkpoint(path)
    assert shapes(checkpoint) == {
        "language_model.embedding.word_embeddings.weight": (5, 2),
        "language_model.embedding.position_embeddings.weight": (7, 2),
        "language_model.encoder.layers.0.mlp.dense_h_to_4h.weight": (8, 2),
        "language_model.encoder.layers.1.mlp.dense_h_to_4h.weight": (8, 2),
    }
    assert checkpoint.choices == ("model",)
    assert not checkpoint.warnings
    assert shapes(open_checkpoint(path, key="model.language_model.encoder")).keys() == {
        "layers.0.mlp.dense_h_to_4h.weight",
        "layers.1.mlp.dense_h_to_4h.weight",
    }


def test_dicts_that_are_several_models_stay_several(write: Callable[..., Path]) -> None:
    state = model().state_dict()
    for saved in ({"netG": state, "netD": state}, {"model": {"model": state, "ema": state}}):
        checkpoint = open_checkpoint(write(saved))
        assert len(checkpoint.choices) == 2
        assert len(checkpoint.tensors) == len(state)


def zero3(**changes: Any) -> dict[str, Any]:
    """Return what rank 0 of a ZeRO-3 run saves: placeholders, and the shapes of the whole."""
    names = {"model.embed.weight": (96, 32), "model.layer.weight": (32, 32), "lm_head.weight": (96, 32)}
    module: dict[str, Tensor] = {name: torch.empty(0, dtype=torch.bfloat16) for name in names}
    module["model.inv_freq"] = torch.ones(4)
    frozen = {"model.embed.weight": torch.Size(names["model.embed.weight"])}
    return {
        "module": module,
        "buffer_names": ["model.inv_freq"],
        "param_shapes": [{"model.layer.weight": torch.Size((32, 32))}],
        "frozen_param_shapes": frozen,
        "frozen_param_fragments": {name: torch.zeros(1536) for name in frozen},
        "shared_params": {"lm_head.weight": "model.embed.weight"},
        "ds_version": "0.15",
    } | changes


def test_one_rank_of_zero3_has_the_shapes_of_the_whole(write: Callable[..., Path]) -> None:
    checkpoint = open_checkpoint(write(zero3()))
    found = {t.name: (t.shape, t.dtype, t.kind, t.requires_grad, t.bytes) for t in checkpoint.tensors}
    assert found == {
        "model.embed.weight": ((96, 32), "bfloat16", "parameter", False, 96 * 32 * 2),
        "model.layer.weight": ((32, 32), "bfloat16", "parameter", True, 32 * 32 * 2),
        "lm_head.weight": ((96, 32), "bfloat16", "parameter", False, 96 * 32 * 2),
        "model.inv_freq": ((4,), "float32", "buffer", None, 16),
    }
    tied = [t.storage for t in checkpoint.tensors if t.shape == (96, 32)]
    assert tied[0] == tied[1]
    assert checkpoint.choices == ("module",)
    assert [w for w in checkpoint.warnings if "one rank" in w and "zero_to_fp32" in w]
    assert "one rank of a checkpoint that DeepSpeed ZeRO-3 partitioned" in refusal(checkpoint)


def test_zero1_has_its_tensors_and_is_loaded(write: Callable[..., Path]) -> None:
    state = model().state_dict()
    listed = [{name: tensor.shape for name, tensor in state.items()}]
    checkpoint = open_checkpoint(write({"module": state, "param_shapes": listed, "ds_version": "0.15"}))
    assert shapes(checkpoint) == shapes_of(state)
    assert not checkpoint.warnings
    with open_weights(checkpoint) as weights:
        assert weights.storage(checkpoint.tensors[0]).nbytes == 24


ODD_SHAPES = {
    "none": None,
    "negative": [{"a": (-1, 3)}],
    "huge": {"a": (2**62, 2**62)},
    "deep": {"a": ((1,),)},
}


@pytest.mark.parametrize("odd", ODD_SHAPES)
def test_shapes_that_cannot_be_are_not_taken(write: Callable[..., Path], odd: str) -> None:
    saved = {"module": {"a": torch.empty(0)}, "param_shapes": ODD_SHAPES[odd], "shared_params": {"b": "a"}}
    checkpoint = open_checkpoint(write(saved))
    assert shapes(checkpoint) == {"a": (0,)}


def arrays() -> dict[str, Any]:
    return {
        "backbone.conv1.weight": np.zeros((8, 3, 7, 7), np.float32),
        "backbone.conv1.norm.running_mean": np.zeros(8, np.float64),
        "anchors": np.arange(4),
        "scale": np.array(1.5, np.float16),
        "transposed": np.zeros((2, 3), np.float32).T,
        "mask": np.zeros(3, bool),
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickled_dict_of_arrays(tmp_path: Path, protocol: int) -> None:
    """detectron2's model zoo."""
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": arrays(), "__author__": "zoo"}, protocol))
    checkpoint = open_checkpoint(path)
    assert shapes(checkpoint) == shapes_of(arrays())
    assert [t.dtype for t in checkpoint.tensors] == [str(a.dtype) for a in arrays().values()]
    assert [t.bytes for t in checkpoint.tensors] == [a.nbytes for a in arrays().values()]
    assert all(tensor.untrainable_reason for tensor in checkpoint.tensors)
    assert not checkpoint.foreign
    assert "contains NumPy arrays, not tensors" in refusal(checkpoint)
    advice = checkpoint.warnings[0].partition("convert it: ")[2]
    assert shapes(converted(advice, path, tmp_path)) == shapes_of(arrays())


def converted(advice: str, path: Path, folder: Path) -> Checkpoint:
    """Return what comes of following the advice, which must be loadable."""
    code = advice.replace("FILE", repr(str(path))).replace("'model.pth'", repr(str(folder / "model.pth")))
    exec(code, {"torch": torch, "pickle": pickle})
    checkpoint = open_checkpoint(folder / "model.pth")
    with open_weights(checkpoint) as weights:
        assert all(weights.storage(tensor) is not None for tensor in checkpoint.tensors)
    return checkpoint


def test_arrays_that_torch_saved(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write({"model": arrays()})
    checkpoint = open_checkpoint(path)
    assert shapes(checkpoint) == shapes_of(arrays())
    assert shapes(
        converted(checkpoint.warnings[0].partition("convert it: ")[2], path, tmp_path)
    ) == shapes_of(arrays())


def test_arrays_beside_a_state_dict_are_passed_over(write: Callable[..., Path]) -> None:
    checkpoint = open_checkpoint(write({"model": model().state_dict(), "history": np.zeros((3, 4))}))
    assert shapes(checkpoint) == shapes_of(model().state_dict())
    assert checkpoint.skipped[0].what == "NumPy array, 3x4 float64"
    assert not checkpoint.warnings


def test_a_pickled_network(tmp_path: Path) -> None:
    """StyleGAN's: modules in a plain pickle, each storage a file of its own inside."""
    path = tmp_path / "network.pkl"
    net = model().half()
    net[1].weight = net[1].bias
    path.write_bytes(pickle.dumps({"G_ema": net, "training_set_kwargs": {}}))
    checkpoint = open_checkpoint(path)
    assert shapes(checkpoint) == shapes_of(net.state_dict())
    assert [t.dtype for t in checkpoint.tensors] == ["float16"] * 6 + ["int64"]
    assert [t.kind for t in checkpoint.tensors] == ["parameter"] * 4 + ["buffer"] * 3
    assert checkpoint.format == "pickled nn.Module"
    assert checkpoint.tensors[2].storage == checkpoint.tensors[3].storage != checkpoint.tensors[0].storage
    assert "torch.storage._load_from_bytes" in checkpoint.warnings[0]
    assert "plain Python pickle" in refusal(checkpoint)
    advice = checkpoint.warnings[-1].partition("convert it: ")[2]
    assert shapes(converted(advice, path, tmp_path)) == shapes_of(net.state_dict())


def test_a_plain_pickle_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": 1, "b": "c"}))
    with pytest.raises(
        CheckpointError, match=r"plain Python pickle without tensors or NumPy arrays \(dict of 2 entries\)"
    ):
        open_checkpoint(path)
