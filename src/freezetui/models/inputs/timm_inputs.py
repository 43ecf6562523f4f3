"""Images for a model of timm: of the size that it was built for, if it has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from freezetui.models.inputs.draws import Candidate, Draw

#: Sides for models that take any: small ones are fast, but some have large strides.
_SIDES = (64, 128, 224, 256)


def timm_candidates(model: nn.Module, arguments: Mapping[str, Any]) -> Iterator[Candidate]:
    """Yield images by the argument `img_size`, the patch embedding's size and the model's own config."""
    config: Any = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    size = config.get("input_size") if hasattr(config, "get") else None
    if not (isinstance(size, (tuple, list)) and len(size) == 3):
        return
    channels = int(arguments.get("in_chans", getattr(model, "in_chans", size[0])) or size[0])
    built: Any = arguments.get("img_size") or getattr(getattr(model, "patch_embed", None), "img_size", None)
    if built:
        yield _images(channels, built)
    elif config.get("fixed_input_size"):
        yield _images(channels, size[1:])
    for side in _SIDES:
        yield _images(channels, side)
    yield _images(channels, size[1:])


def _images(channels: int, size: Any) -> Candidate:
    sides = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    return Candidate((Draw("images", (channels, int(sides[0]), int(sides[1]))),))
