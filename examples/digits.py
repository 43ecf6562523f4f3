"""Loads scikit-learn's digits as images: 1,797 handwritten digits that ship with the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def load_digits(size: int, mirror: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images, training labels, test images and test labels.

    Args:
        size: side of the square images, enlarged from 8; images are float32 of shape (N, 3, size, size).
        mirror: whether to swap left and right, which makes the digits new to a trained model.
    """
    from sklearn import datasets

    raw = datasets.load_digits()
    images = torch.tensor(raw.images, dtype=torch.float32)[:, None] / 8 - 1
    if mirror:
        images = images.flip(3)
    images = F.interpolate(images, size=(size, size), mode="bilinear").repeat(1, 3, 1, 1)
    labels = torch.tensor(raw.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of correct answers, from 0 to 1."""
    model.eval()
    return (model(images).argmax(1) == labels).float().mean().item()
