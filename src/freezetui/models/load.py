"""Loads a checkpoint's bytes as torch tensors, without unpickling and without ever writing to a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from freezetui.checkpoint.storage import open_weights
from freezetui.checkpoint.types import Checkpoint, StorageKey, TensorInfo
from freezetui.checkpoint.weights import Weights
from freezetui.errors import CheckpointError, ModelError
from freezetui.text import printable

QUANTIZED = (torch.qint8, torch.quint8, torch.qint32)
CPU = torch.device("cpu")


def load_tensors(checkpoint: Checkpoint, device: torch.device = CPU) -> dict[str, Tensor]:
    """Return every tensor by name; tied names are one tensor object.

    On the CPU the tensors are views of a private map of the file: pages are read on first access, and
    writing to a tensor never writes to the file. They are copied to another device one by one.

    Raises:
        ModelError: a dtype that cannot be loaded, or a tensor that reaches beyond its storage.
        CheckpointError: the file's bytes cannot be read.
    """
    with open_weights(checkpoint) as weights, ExitStack() as stack:
        from_file, from_map = _SafetensorsFiles(stack, device), _Map(weights)
        loaded: dict[tuple[object, ...], Tensor] = {}
        tensors: dict[str, Tensor] = {}
        for info in checkpoint.tensors:
            if info.packing is not None:
                raise _unmappable(info.name, info.packing.what)
            place = weights.safetensors(info)
            known = place or (info.storage or StorageKey(info.name), info.shape, info.dtype)
            if known not in loaded:
                loaded[known] = from_file.tensor(info, *place) if place else from_map.tensor(info).to(device)
            tensors[info.name] = loaded[known]
    return tensors


class _SafetensorsFiles:
    """The safetensors files of a checkpoint, each opened on first use and closed by `stack`."""

    def __init__(self, stack: ExitStack, device: torch.device) -> None:
        self._stack, self._device = stack, device
        self._files: dict[str, Callable[[str], Tensor]] = {}

    def tensor(self, info: TensorInfo, path: str, name: str) -> Tensor:
        """Return the tensor that the file at `path` calls `name`."""
        dtype = _dtype(info)
        try:
            tensor = self._file(path)(name)
        except (SafetensorError, OSError) as error:
            problem = printable(" ".join(str(error).split())[:200])
            raise CheckpointError(
                f"{printable(path)}: {printable(name)} cannot be read: {problem}.", "Download the file again."
            ) from None
        if (tensor.dtype, tuple(tensor.shape)) != (dtype, info.shape):
            raise CheckpointError(f"{printable(path)} has changed since it was opened.", "Open it again.")
        return tensor

    def _file(self, path: str) -> Callable[[str], Tensor]:
        if path not in self._files:
            opened: Any = safe_open(path, framework="pt", device=str(self._device))
            self._files[path] = self._stack.enter_context(opened).get_tensor
        return self._files[path]


class _Map:
    """The tensors of every other format, as views of whole storages in a private map."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._storages: dict[tuple[str, str], Tensor] = {}

    def tensor(self, info: TensorInfo) -> Tensor:
        """Return the tensor; those of one storage share their memory."""
        storage = info.storage or StorageKey(info.name)
        place = storage.key, info.dtype
        if place not in self._storages:
            self._storages[place] = _flat(info, self._weights.storage(info))
        return _strided(self._storages[place], info, storage)


def _unmappable(name: str, what: str) -> ModelError:
    return ModelError(
        f"{name} cannot be memory-mapped: it is a {what} tensor, not a dense one.",
        "Save it as a dense tensor to check this file.",
    )


def _dtype(info: TensorInfo) -> torch.dtype:
    dtype = getattr(torch, info.dtype, None)
    if not isinstance(dtype, torch.dtype) or dtype in QUANTIZED:
        raise ModelError(
            f"{info.name}: weights of dtype {info.dtype} cannot be loaded for training.",
            "Use a checkpoint from before quantization.",
        )
    return dtype


def _flat(info: TensorInfo, raw: memoryview) -> Tensor:
    """Return a whole storage as one dimension."""
    dtype = _dtype(info)
    count = raw.nbytes // dtype.itemsize
    return torch.frombuffer(raw, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _strided(flat: Tensor, info: TensorInfo, storage: StorageKey) -> Tensor:
    stride = storage.stride if storage.stride is not None else torch.empty(info.shape, device="meta").stride()
    try:
        view = flat.as_strided(info.shape, stride, storage.offset)
    except RuntimeError:
        raise ModelError(
            f"{info.name}: shape {list(info.shape)} reaches beyond its {flat.numel()} stored elements.",
            "The file is corrupt; download it again.",
        ) from None
    if "conj" in storage.read_as and view.is_complex():
        view = view.conj().resolve_conj()
    return -view if "neg" in storage.read_as else view
