"""Writes what the benchmarks open into benchmarks/.cache, about 1.2 GB, once."""

from __future__ import annotations

from pathlib import Path

CACHE = Path(__file__).resolve().parent / ".cache"
VGG_PTH, VGG_SAFETENSORS = CACHE / "vgg16.pth", CACHE / "vgg16.safetensors"
MANY_PTH, MANY_SAFETENSORS = CACHE / "experts.pth", CACHE / "experts.safetensors"


def make() -> None:
    """Write a VGG16 with random weights, and 100,000 small tensors with the names of a mixture of experts."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    CACHE.mkdir(exist_ok=True)
    vgg = torchvision.models.vgg16().state_dict()
    names = [
        f"model.layers.{layer}.mlp.experts.{expert}.{weight}.weight"
        for layer in range(50)
        for expert in range(1000)
        for weight in ("w1", "w2")
    ]
    many = {name: torch.zeros(4, 8) for name in names}
    for state, zipped, safe in ((vgg, VGG_PTH, VGG_SAFETENSORS), (many, MANY_PTH, MANY_SAFETENSORS)):
        torch.save(state, zipped)
        save_file(state, safe)


if __name__ == "__main__":
    make()
