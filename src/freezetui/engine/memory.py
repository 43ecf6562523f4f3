"""Measures how much memory a training step needs in addition to the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the bytes that forward passes inside save for backward, each storage once, without weights."""
    saved: dict[int, int] = {}
    tensors = (*model.parameters(), *model.buffers())
    weights = {_address(tensor) for tensor in tensors if tensor.layout == torch.strided}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided and (address := _address(tensor)) not in weights:
            saved[address] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(saved.values())


def training_state(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of the gradients and of the optimizer's state."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = [value for entry in optimizer.state.values() for value in entry.values()]
    tensors = [p.grad for p in parameters if p.grad is not None] + [v for v in state if isinstance(v, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
