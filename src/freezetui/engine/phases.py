"""Takes one more step, and finds the phase in which frozen tensors change and what came before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from freezetui.engine.further import digests, named_tensors
from freezetui.engine.loop import Loop
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.errors import ModelError

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer step"
#: What changed before, and not in this step.
ONCE = "forward or backward, once"
#: What changed in further passes, between which the mode changes, and not in this step.
SWITCH = "forward, train() or eval()"

#: Copies are made of smaller tensors only.
_MAX_COPIED = 2**22
#: An average moves a tensor straight towards another, or is that close to it already.
_STRAIGHT, _CLOSE = 0.999, 1e-4


@dataclass(frozen=True)
class Phases:
    """What one more step did to the tensors in question.

    Attributes:
        phase: name -> the first phase that changed it; absent if none did.
        gradient: name -> what .grad held when the optimizer stepped, before its hooks.
        averaged: those that moved towards another tensor of their shape, or that are as good as equal to it.
    """

    phase: Mapping[str, str]
    gradient: Mapping[str, Literal["none", "zero", "some"]]
    averaged: frozenset[str] = field(default=frozenset())


def one_more_step(under_test: ModelUnderTest, names: Iterable[str]) -> Phases:
    """Take a step and compare these tensors after each phase."""
    loop, watched = Loop(under_test), tuple(names)
    found: dict[str, str] = {}
    before = digests(under_test.model, watched)
    copies = _copies(under_test, watched)

    def record(phase: str) -> None:
        nonlocal before
        now = digests(under_test.model, watched)
        found.update({n: phase for n in before if now.get(n) != before[n] and n not in found})
        before = now

    gradients: dict[str, Literal["none", "zero", "some"]] = {}
    try:
        loss = loop.forward(0)
        record(FORWARD)
        loop.backward(loss)
        record(BACKWARD)
        tensors = named_tensors(under_test.model)
        gradients = {name: _gradient(tensors[name]) for name in watched if name in tensors}
        loop.optimize()
        record(OPTIMIZER)
    except ModelError:  # it has raised only now: what was found before is kept
        pass
    return Phases(found, gradients, _averaged(under_test, copies))


def _gradient(tensor: Tensor) -> Literal["none", "zero", "some"]:
    if tensor.grad is None:
        return "none"
    dense = tensor.grad.to_dense() if tensor.grad.is_sparse else tensor.grad
    return "some" if bool(dense.any()) else "zero"


def _copies(
    under_test: ModelUnderTest, names: Iterable[str]
) -> dict[str, tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
    """Return name -> a copy of the tensor, and every other that may be averaged into it, with its copy."""
    tensors = named_tensors(under_test.model)
    alike: dict[object, list[Tensor]] = defaultdict(list)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and 1 < tensor.numel() <= _MAX_COPIED:
            alike[name.rpartition(".")[2], tensor.shape].append(tensor)
    found = {}
    for name in names:
        if name in tensors and (group := alike.get((name.rpartition(".")[2], tensors[name].shape))):
            others = [(other, _copy(other)) for other in group if other is not tensors[name]]
            found[name] = _copy(tensors[name]), others
    return found


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().double().clone()


@torch.no_grad()
def _averaged(
    under_test: ModelUnderTest, before: Mapping[str, tuple[Tensor, list[tuple[Tensor, Tensor]]]]
) -> frozenset[str]:
    """Return those that this step moved towards a tensor of the same shape, or that are close to one.

    An average may be taken before the optimizer changes the other tensor, or afterwards.
    """
    tensors = named_tensors(under_test.model)
    return frozenset(
        name
        for name, (start, others) in before.items()
        if name in tensors
        and any(
            _is_average(start, tensors[name].double(), each)
            for other, earlier in others
            for each in (earlier, other.double())
        )
    )


def _is_average(start: Tensor, now: Tensor, other: Tensor) -> bool:
    gap, change, size = other - start, now - start, other.norm()
    if size == 0 or size < 0.01 * start.norm():  # what shrinks moves towards every tensor of zeros
        return False
    if gap.norm() <= _CLOSE * size:
        return True
    straight = (gap * change).sum() / (gap.norm() * change.norm()).clamp_min(1e-300)
    return bool(straight > _STRAIGHT)
