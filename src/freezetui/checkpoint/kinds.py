"""Buffers told from parameters where a plain state_dict does not say."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from freezetui.checkpoint.tensors import Kind, TensorInfo, can_require_grad

_STATISTICS = frozenset(("running_mean", "running_var", "num_batches_tracked"))
_BUFFERS = re.compile(
    r"inv_freq|(original_)?inv_freq|position_ids|token_type_ids|relative_position_index|attn_mask|masked_bias|"
    r"causal_mask|mask|(weight|bias)_[uv]|_[uv]|rel_pos_index|anchors?|anchor_grid|pixel_(mean|std)|"
    r"(cos|sin)_cached|freqs_c(is|os)|window|filters?_bank|mel_basis"
)
_PARAMETERS = re.compile(
    r".*(weight|bias)(_\w+)?|gamma|beta|in_proj_\w+|.*embed\w*|cls_token|scale|logit_scale"
)


def told_apart(tensors: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The same tensors, `kind` settled by name and dtype where it is unknown; `guessed` where it may err."""
    return tuple(
        tensor if tensor.kind != "unknown" else _settled(tensor, tensor.name.rpartition(".")[2])
        for tensor in tensors
    )


def _settled(tensor: TensorInfo, last: str) -> TensorInfo:
    if last in ("weight", "bias") and can_require_grad(tensor.dtype):
        return _as(tensor, "parameter", False)
    if last in _STATISTICS:
        return _as(tensor, "buffer", False)
    if not can_require_grad(tensor.dtype) or _BUFFERS.fullmatch(last):
        return _as(tensor, "buffer", True)
    return _as(tensor, "parameter", _PARAMETERS.fullmatch(last) is None)


def _as(tensor: TensorInfo, kind: Kind, guessed: bool) -> TensorInfo:
    return TensorInfo(
        tensor.name, tensor.shape, tensor.dtype, kind, tensor.requires_grad, tensor.storage, guessed
    )


def renamed(tensors: Iterable[TensorInfo], prefix: str) -> list[TensorInfo]:
    """The tensors without `prefix`, which every name must carry."""
    cut = len(prefix)
    return [msgspec.structs.replace(tensor, name=tensor.name[cut:]) for tensor in tensors]
