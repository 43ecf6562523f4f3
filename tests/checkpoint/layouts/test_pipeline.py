"""Directories of several models are one model, each part under its directory's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.errors import CheckpointError
from freezetui.models.load import load_tensors

DIFFUSERS = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
    "requires_safety_checker": True,
}


def parts() -> dict[str, dict[str, Tensor]]:
    """Weights by directory; names are the same in each."""
    torch.manual_seed(0)
    return {
        name: {f"layers.{i}.weight": torch.randn(3, 4) for i in range(4)}
        for name in ("unet", "vae", "text_encoder")
    }


def written(folder: Path) -> Path:
    """Write a pipeline: one model in a file, one in shards, one in a pickle."""
    models = parts()
    for name in (*models, "scheduler"):
        (folder / name).mkdir()
    (folder / "model_index.json").write_text(json.dumps(DIFFUSERS))
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    save_file(models["unet"], folder / "unet" / "diffusion_pytorch_model.safetensors")
    where = {name: f"shard-{index % 2}.safetensors" for index, name in enumerate(models["vae"])}
    for shard in set(where.values()):
        held = {name: models["vae"][name] for name in where if where[name] == shard}
        save_file(held, folder / "vae" / shard)
    index = folder / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    torch.save(models["text_encoder"], folder / "text_encoder" / "pytorch_model.bin")
    return folder


def test_a_pipeline_of_diffusers(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(written(tmp_path))
    expected = {f"{part}.{name}": value for part, held in parts().items() for name, value in held.items()}
    assert [tensor.name for tensor in checkpoint.tensors] == list(expected)
    assert checkpoint.label == "diffusers StableDiffusionPipeline"
    assert len(checkpoint.parts) == 4
    assert not checkpoint.warnings
    loaded = load_tensors(checkpoint)
    assert loaded.keys() == expected.keys()
    assert all(loaded[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize("layout", ["0_Transformer", ""])
def test_modules_of_sentence_transformers(tmp_path: Path, layout: str) -> None:
    modules = [{"idx": 0, "name": "0", "path": layout}, {"path": "1_Pooling"}, {"path": "2_Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    for name in {layout, "1_Pooling", "2_Dense"} - {""}:
        (tmp_path / name).mkdir()
    save_file({"embeddings.weight": torch.ones(5, 2)}, tmp_path / layout / "model.safetensors")
    torch.save({"linear.weight": torch.ones(2, 2)}, tmp_path / "2_Dense" / "pytorch_model.bin")
    checkpoint = open_checkpoint(tmp_path)
    front = f"{layout}." if layout else ""
    assert [t.name for t in checkpoint.tensors] == [f"{front}embeddings.weight", "2_Dense.linear.weight"]
    assert checkpoint.label == "sentence-transformers"
    assert load_tensors(checkpoint)["2_Dense.linear.weight"].shape == (2, 2)


def test_a_model_alone_stays_what_it_is(tmp_path: Path) -> None:
    """Most sentence-transformers hold weights in their own directory only."""
    (tmp_path / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "1_Pooling"}]))
    save_file({"embeddings.weight": torch.ones(5, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "safetensors"
    assert checkpoint.model.architecture == "transformers:BertModel"


@pytest.mark.parametrize(
    "index",
    [
        [],
        {},
        3,
        [{"path": "../outside"}],
        [{"path": "/etc"}],
        [{"path": 3}],
        {"../outside": ["a", "b"]},
        {"..": []},
    ],
    ids=str,
)
def test_an_index_leads_nowhere_else(tmp_path: Path, index: Any) -> None:
    (tmp_path / "outside").mkdir()
    save_file({"secret": torch.ones(1)}, tmp_path / "outside" / "model.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    name = "modules.json" if isinstance(index, list) else "model_index.json"
    (folder / name).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="contains no checkpoint"):
        open_checkpoint(folder)


def test_a_damaged_part_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(CheckpointError, match="unet"):
        open_checkpoint(folder)


def test_a_key_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match="--key does not apply to a pipeline"):
        open_checkpoint(written(tmp_path), key="unet")
