"""Explains why the weights of some checkpoints cannot be loaded, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freezetui import numbers
from freezetui.checkpoint.state_dict.search import Candidate
from freezetui.checkpoint.types import ITEMSIZE, StorageKey, TensorInfo
from freezetui.text import listed, printable


def why_incomplete(
    chosen: Candidate, source: str, container: str, is_partitioned: bool, corrupt: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return why the weights cannot be loaded, and the warnings about it; "" and () if they can.

    Args:
        container: the container format, as in a Checkpoint's format.
        corrupt: the names of tensors whose bytes are not all in the file.
    """
    if corrupt:
        return missing_data(corrupt, source)
    if is_partitioned:
        join = "join the ranks with DeepSpeed's zero_to_fp32.py"
        return (
            f"{source} is one rank of a checkpoint that DeepSpeed ZeRO-3 partitioned: {join}.",
            (f"one rank of a checkpoint that DeepSpeed ZeRO-3 partitioned: only shapes are known; {join}",),
        )
    if chosen.arrays:
        load = (
            "pickle.load(open(FILE, 'rb'))"
            if container == "pickle"
            else "torch.load(FILE, weights_only=False)"
        )
        path = "".join(f"[{printable(repr(key))}]" for _, key in chosen.above)
        convert = f"torch.save({{k: torch.as_tensor(v) for k, v in {load}{path}.items()}}, 'model.pth')"
        return (
            f"{source} contains NumPy arrays, not tensors. If you trust it, convert it in Python: {convert}.",
            (f"NumPy arrays, which are not trainable; if you trust the file, convert it: {convert}",),
        )
    return "", ()


def missing_data(names: Sequence[str], source: str) -> tuple[str, tuple[str, ...]]:
    """Return why tensors cannot be loaded whose bytes are not all in the file, and the warnings about it."""
    count = numbers.plural(len(names), "tensor")
    lost = f"the data of {count} is missing, or smaller than the header says ({listed(names)})"
    again = "download or save the file again"
    return f"{source} is corrupt: {lost}; {again}.", (f"corrupt: {lost}; {again}",)


def beyond(tensors: Sequence[TensorInfo], sizes: Mapping[str, int]) -> list[str]:
    """Return the names of tensors that extend beyond their storage, or whose storage is missing.

    Args:
        sizes: storage key -> bytes.
    """
    return [
        tensor.name
        for tensor in tensors
        if tensor.packing is None and tensor.storage is not None and tensor.elements
        if _reach(tensor, tensor.storage) > sizes.get(tensor.storage.key, -1)
    ]


def _reach(tensor: TensorInfo, place: StorageKey) -> int:
    """Return how many bytes a tensor needs from the start of its storage."""
    last = tensor.elements - 1
    if place.stride is not None:
        last = sum((size - 1) * step for size, step in zip(tensor.shape, place.stride, strict=True))
    return (place.offset + last + 1) * ITEMSIZE.get(tensor.dtype, 0)
