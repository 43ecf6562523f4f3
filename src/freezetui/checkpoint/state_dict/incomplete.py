"""Checkpoints whose tensors can be shown, but not loaded: why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freezetui import numbers
from freezetui.checkpoint.state_dict.search import Candidate
from freezetui.checkpoint.types import ITEMSIZE, StorageKey, TensorInfo
from freezetui.text import listed, printable


def why_incomplete(
    chosen: Candidate, source: str, container: str, is_partitioned: bool, damaged: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Why no weights can be loaded of what was chosen, and the warning about it; "" and none where they can.

    Args:
        container: how the file is packed, as in a Checkpoint's format.
        damaged: the names of tensors whose bytes are not all in the file.
    """
    if damaged:
        return damage(damaged, source)
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
            f"{source} holds NumPy arrays, not tensors. Where you trust it, convert it in Python: {convert}.",
            (f"NumPy arrays, which are shown and cannot train; where you trust it, convert: {convert}",),
        )
    return "", ()


def damage(names: Sequence[str], source: str) -> tuple[str, tuple[str, ...]]:
    """What is told of tensors whose bytes are not all there: why they cannot be loaded, and the warning."""
    count = numbers.plural(len(names), "tensor")
    lost = f"the data of {count} is missing, or smaller than the header says ({listed(names)})"
    again = "download or save the file again"
    return f"{source} is damaged: {lost}; {again}.", (f"damaged: {lost}; {again}",)


def beyond(tensors: Sequence[TensorInfo], sizes: Mapping[str, int]) -> list[str]:
    """The names of the tensors that reach beyond the bytes of their storage, or whose storage is not there.

    Args:
        sizes: the bytes of each storage by its key.
    """
    return [
        tensor.name
        for tensor in tensors
        if tensor.packing is None and tensor.storage is not None and tensor.elements
        if _reach(tensor, tensor.storage) > sizes.get(tensor.storage.key, -1)
    ]


def _reach(tensor: TensorInfo, place: StorageKey) -> int:
    """How many bytes of its storage a tensor needs from the start."""
    last = tensor.elements - 1
    if place.stride is not None:
        last = sum((size - 1) * step for size, step in zip(tensor.shape, place.stride, strict=True))
    return (place.offset + last + 1) * ITEMSIZE.get(tensor.dtype, 0)
