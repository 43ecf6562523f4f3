"""Batches for torchvision's detection models: images of any size, and in train mode their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, nn


def detection_batch(
    model: nn.Module, shape: tuple[int, ...], label: int
) -> Callable[[int, Generator | None, torch.dtype], tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return a factory of image lists with two boxes each, and masks and keypoints if there is a head.

    Keeps the model from scaling its images up to 800 pixels, which would take a hundred times longer.
    """
    _, height, width = shape
    transform: Any = getattr(model, "transform", None)
    if getattr(transform, "fixed_size", None) is None:
        transform.min_size = (min(height, width),)
    heads: Any = getattr(model, "roi_heads", None)
    has_mask = heads is not None and heads.has_mask()
    keypoints = heads.keypoint_predictor.kps_score_lowres.out_channels if _has_keypoint(heads) else 0

    def target(generator: Generator | None) -> dict[str, torch.Tensor]:
        corners = torch.rand(2, 4, generator=generator) * 0.4 + torch.tensor([0.0, 0.0, 0.5, 0.5])
        boxes = corners * torch.tensor([width, height, width, height])
        found = {"boxes": boxes, "labels": torch.full((2,), label)}
        if has_mask:
            found["masks"] = torch.ones(2, height, width, dtype=torch.uint8)
        if keypoints:
            inside = torch.rand(2, keypoints, 2, generator=generator) * (
                boxes[:, None, 2:] - boxes[:, None, :2]
            )
            found["keypoints"] = torch.cat([inside + boxes[:, None, :2], torch.ones(2, keypoints, 1)], dim=2)
        return found

    def make(
        size: int, generator: Generator | None, dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        images = [torch.rand(shape, generator=generator).to(dtype) for _ in range(size)]
        return (images, [target(generator) for _ in range(size)]), {}

    return make


def _has_keypoint(heads: Any) -> bool:
    return heads is not None and bool(heads.has_keypoint())
