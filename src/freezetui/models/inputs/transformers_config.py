"""The sizes of a transformers config that an input depends on, wherever in the config they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from freezetui.models.inputs.draws import Draw

#: Parts of a config, in the order in which a size is looked up.
_PARTS = (
    "text_config", "vision_config", "image_config", "audio_config", "encoder", "decoder", "text_encoder",
    "audio_encoder", "backbone_config", "qformer_config", "speech_encoder", "thinker_config",
)  # fmt: skip


class Facts:
    """What is known of a model of transformers.

    Args:
        names: the parameters of its forward.
    """

    int64, bool = torch.int64, torch.bool

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        self.model, self.names = model, names
        self.config: Any = model.config
        self.class_name = type(model).__name__

    def get(self, *names: str, part: str = "", default: Any = None) -> Any:
        """Return the first of these settings that the config, or the part of it, or any part has."""
        configs = [*([getattr(self.config, part, None)] if part else []), *_configs(self.config)]
        for name in names:
            for config in configs:
                value = _setting(config, name)
                if value is not None:
                    return value
        return default

    @cached_property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        embedding: Any = None
        try:
            embedding = self.model.get_input_embeddings()  # type: ignore[operator]
        except Exception:
            embedding = None
        rows = getattr(embedding, "num_embeddings", 0)
        return int(rows or self.get("vocab_size", part="text_config", default=100))

    @property
    def vocabulary_of_output(self) -> int:
        """How many classes a CTC head has."""
        return int(self.get("vocab_size", default=32))

    @cached_property
    def decoder_vocabulary(self) -> int:
        """How many token ids its decoder has."""
        return int(self.get("vocab_size", part="decoder", default=self.vocabulary))

    @cached_property
    def length(self) -> int:
        """How many tokens a text has."""
        most = self.get(
            "max_position_embeddings", "n_positions", "max_seq_len", part="text_config", default=512
        )
        return max(4, min(16, int(most) - 4)) if isinstance(most, int) and most > 0 else 16

    @cached_property
    def image_token(self) -> int | None:
        """The id that stands for a feature of an image; None if images are not mixed with tokens."""
        found = self.get("image_token_id", "image_token_index")
        mixed = "input_ids" in self.names and "pixel_values" in self.names
        return int(found) if mixed and isinstance(found, int) and 0 <= found < self.vocabulary else None

    @cached_property
    def image_tokens(self) -> int:
        """How many of those tokens one image takes; 0 if there are none."""
        if self.image_token is None:
            return 0
        known = self.get("num_query_tokens", "mm_tokens_per_image", "image_seq_length", default=0)
        side, patch = self.pixels[-1], self.get("patch_size", part="vision_config", default=0)
        if "image_grid_thw" in self.names:
            return 4
        if self.get("num_query_tokens", default=0) or self.get("mm_tokens_per_image", default=0):
            return int(known)
        if not isinstance(patch, int) or not patch:
            return int(known or 1)
        count = (side // patch) ** 2
        scale = self.get("scale_factor", "pixel_shuffle_ratio", "downsample_ratio", default=1)
        if self.class_name.startswith(("Idefics3", "SmolVLM")) and isinstance(scale, int):
            return max(1, count // scale**2)
        if self.class_name.startswith("InternVL") and isinstance(scale, float):
            return max(1, int(count * scale**2))
        full = self.get("vision_feature_select_strategy", default="") == "full"
        return count + int(full)

    def ids(self) -> Draw:
        """Return the token ids of one text: no special ones, except for images and the end."""
        low, high = self._ordinary()
        extra = self.image_tokens
        length = self.length + extra
        fixed = tuple((i, self.image_token or 0) for i in range(1, 1 + extra))
        if self.class_name.startswith("Kosmos2"):
            length += int(self.get("latent_query_num", default=8))
        end = self.get("eos_token_id", part="text_config")
        if (
            isinstance(end, int)
            and 0 <= end < self.vocabulary
            and getattr(self.config, "is_encoder_decoder", False)
        ):
            fixed += ((length - 1, end),)
        if self.class_name == "LongformerForQuestionAnswering":
            separator = int(self.get("sep_token_id", default=2))
            fixed += tuple((place, separator) for place in (4, 5, length - 1))
        shape = (2, length) if self.class_name.endswith("ForMultipleChoice") else (length,)
        return Draw("tokens", shape, "integers", high, low, fixed=fixed)

    def _ordinary(self) -> tuple[int, int]:
        """Return the longest range of ids without special ones."""
        special = {-1, self.vocabulary}
        for config in _configs(self.config):
            for name, value in vars(config).items():
                if isinstance(value, int) and name.endswith(("token_id", "token_index")):
                    special |= {value} if 0 <= value < self.vocabulary else set()
        places = sorted(special)
        low, high = max(pairwise(places), key=lambda pair: pair[1] - pair[0])
        return low + 1, high

    @cached_property
    def pixels(self) -> tuple[int, ...]:
        """The shape of an image, or of a video."""
        parts = ("vision_config", "image_config", "encoder")
        part = next((name for name in parts if hasattr(self.config, name)), "")
        size: Any = self.get("image_size", "crop_size", "img_size", part=part, default=64)
        sides = tuple(size.values()) if isinstance(size, dict) else size
        sides = tuple(sides) if isinstance(sides, (tuple, list)) else (sides, sides)
        sides = sides if len(sides) > 1 else sides * 2
        channels = int(self.get("num_channels", "in_channels", "in_chans", part=part, default=3))
        frames = self.get("num_frames", "frames_per_clip", part=part, default=0)
        image = (channels, int(sides[-2]), int(sides[-1]))
        if self.class_name.startswith(("Idefics", "SmolVLM")):
            return (1, *image)
        return (int(frames), *image) if isinstance(frames, int) and frames > 0 else image

    @property
    def patch_width(self) -> int:
        """How many numbers a flattened patch has in Qwen's vision models."""
        get, part = self.get, "vision_config"
        patch, time = (
            get("patch_size", part=part, default=14),
            get("temporal_patch_size", part=part, default=2),
        )
        return int(get("in_channels", "in_chans", part=part, default=3) * time * patch**2)

    @property
    def wave(self) -> tuple[int, ...]:
        """The shape of a sound: a spectrogram where the model reads one, else samples."""
        if (
            self.get("num_mel_bins", default=0)
            and isinstance(self.get("max_length"), int)
            and "AST" in self.class_name
        ):
            return int(self.get("max_length")), int(self.get("num_mel_bins"))
        strides = self.get("conv_stride", part="encoder", default=())
        samples = 48 * math.prod(strides) + 64 if strides else 3200
        channels = self.get("audio_channels", default=0)
        return (int(channels), samples) if channels and "Encodec" in self.class_name else (samples,)

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels of a time series, as a shape; () if it has one."""
        count = self.get("num_input_channels", default=0) or self.get("input_size", default=1)
        return (int(count),) if count > 1 or self.get("num_input_channels", default=0) else ()

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(getattr(self.config, "num_labels", 2) or 2)


def _configs(config: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a config and its parts."""
    yield config
    for name in _PARTS:
        part = getattr(config, name, None)
        if part is not None and part is not config and hasattr(part, "to_dict") and depth < 3:
            yield from _configs(part, depth + 1)


def _setting(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # a property of a config may refuse
        return None
