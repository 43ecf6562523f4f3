"""A checkpoint's bytes as torch tensors. Nothing is unpickled."""

from __future__ import annotations

import torch
from torch import Tensor

from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint, StorageKey, TensorInfo
from freezetui.errors import ModelError

QUANTIZED = (torch.qint8, torch.quint8, torch.qint32)


def load_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor by name, on the CPU; tied names are one tensor object.

    The tensors lie in a private map of the file: pages are read when touched, and writing to a tensor
    never writes to the file.

    Raises:
        ModelError: a dtype that cannot be loaded, or a tensor that reaches beyond its storage.
        CheckpointError: the file's bytes cannot be reached.
    """
    storages: dict[tuple[str, str], Tensor] = {}
    views: dict[tuple[object, ...], Tensor] = {}
    tensors: dict[str, Tensor] = {}
    with open_weights(checkpoint) as weights:
        for info in checkpoint.tensors:
            if info.packing is not None:
                raise _unmappable(info.name, info.packing.what)
            storage = info.storage or StorageKey(info.name)
            place, known = (storage.key, info.dtype), (storage, info.shape, info.dtype)
            if known not in views:
                if place not in storages:
                    storages[place] = _flat(info, weights.storage(info))
                views[known] = _strided(storages[place], info, storage)
            tensors[info.name] = views[known]
    return tensors


def _unmappable(name: str, what: str) -> ModelError:
    return ModelError(
        f"{name} is no block of numbers that can be mapped into memory, but a tensor of the kind {what}.",
        "Save it as a dense tensor to check this file.",
    )


def _flat(info: TensorInfo, raw: memoryview) -> Tensor:
    """A whole storage as one dimension."""
    dtype = getattr(torch, info.dtype, None)
    if not isinstance(dtype, torch.dtype) or dtype in QUANTIZED:
        raise ModelError(
            f"{info.name}: weights of dtype {info.dtype} cannot be loaded for training.",
            "Use a checkpoint from before quantization.",
        )
    count = raw.nbytes // dtype.itemsize
    return torch.frombuffer(raw, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _strided(flat: Tensor, info: TensorInfo, storage: StorageKey) -> Tensor:
    stride = storage.stride if storage.stride is not None else torch.empty(info.shape, device="meta").stride()
    try:
        return flat.as_strided(info.shape, stride, storage.offset)
    except RuntimeError:
        raise ModelError(
            f"{info.name}: shape {list(info.shape)} reaches beyond its {flat.numel()} stored elements.",
            "The file is damaged; fetch it again.",
        ) from None
