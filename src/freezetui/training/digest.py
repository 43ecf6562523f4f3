"""Digests of tensors' bits: two digests are equal if the bits are."""

from __future__ import annotations

import ctypes
import hashlib
from functools import partial
from typing import Any

import torch
from torch import nn

try:
    from xxhash import xxh3_128 as _hash
except ImportError:  # the check may run in an environment without it; ten times slower
    _hash: Any = partial(hashlib.blake2b, digest_size=16)  # type: ignore[no-redef]

_CHUNK_BYTES = 64 * 2**20


def digest(tensor: torch.Tensor) -> bytes:
    """Return 16 bytes over dtype, shape and raw bits; NaN equals the same NaN, -0.0 differs from 0.0.

    Supports any dtype, layout and device; a contiguous tensor on the CPU is read in place, without a copy.
    """
    hasher = _hash(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    for part in _parts(tensor.detach()):
        flat = part.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        for chunk in torch.split(flat, _CHUNK_BYTES):
            hasher.update(_bytes(chunk.cpu()))
    return hasher.digest()


def digest_state(model: nn.Module) -> dict[str, bytes]:
    """Return name -> digest of every parameter and buffer, tied ones under each name, but read once."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    known: dict[int, bytes] = {}
    for _, tensor in named:
        if id(tensor) not in known:
            known[id(tensor)] = digest(tensor)
    return {name: known[id(tensor)] for name, tensor in named}


def _bytes(flat: torch.Tensor) -> ctypes.Array[ctypes.c_ubyte]:
    """Return the memory of a uint8 tensor on the CPU; after `numpy()` no observer could resize it."""
    return (ctypes.c_ubyte * flat.numel()).from_address(flat.data_ptr())


def _parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the plain tensors with the bits of any tensor: sparse, quantized or wrapped (DTensor)."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return [part for name in names for part in _parts(getattr(tensor, name).detach())]
    if tensor.is_quantized:
        return [tensor.int_repr()]
    if tensor.layout != torch.strided:
        return [tensor.to_dense()]
    return [tensor]
