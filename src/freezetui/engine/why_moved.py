"""Diagnoses frozen parameters that changed."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from freezetui.engine.further import named_tensors
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.phases import BACKWARD, ONCE, OPTIMIZER, SWITCH, Phases, one_more_step
from freezetui.engine.run import RunResult
from freezetui.engine.usage import watch_forward
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding


def why_moved(under_test: ModelUnderTest, result: RunResult) -> list[Finding]:
    """Return one finding per cause for the frozen parameters that changed; trains one more step."""
    explained = result.unfrozen | result.vanished
    moved = [n for n in result.frozen if n in result.moved and n not in explained]
    if not moved:
        return []
    findings = []
    if replaced := [name for name in moved if name in result.replaced]:
        findings.append(finding("replaced_frozen", replaced))
    moved = [name for name in moved if name not in result.replaced]
    phases = one_more_step(under_test, moved)
    renormed = watch_forward(under_test).renormed
    tensors, modules = named_tensors(under_test.model), dict(under_test.model.named_modules())
    trained = TrainedMemory(under_test.model)
    by_cause: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in moved:
        phase = phases.phase.get(name) or _later(name, result)
        shared = name in tensors and trained.has_part_of(tensors[name])
        key = _cause(modules.get(name.rpartition(".")[0]), name, phase, phases, shared)
        if name in renormed and phase not in (OPTIMIZER, BACKWARD):
            key = "max_norm"
        by_cause[key, phase].append(name)
    return findings + [finding(key, names, phase=phase) for (key, phase), names in by_cause.items()]


def _later(name: str, result: RunResult) -> str:
    """Return the phase of what one more step does not repeat."""
    if name in result.further.in_train:
        return SWITCH
    return "forward in eval mode" if name in result.further.in_eval else ONCE


def _cause(module: nn.Module | None, name: str, phase: str, phases: Phases, shared: bool) -> str:
    """Return the finding's key for a frozen parameter of a module that changes in this phase."""
    if phase not in (OPTIMIZER, BACKWARD) and getattr(module, "max_norm", None) is not None:
        return "max_norm"
    if shared:
        return "shared_memory"
    if phase == OPTIMIZER:
        gradient = phases.gradient.get(name, "none")
        if gradient == "none":
            return "averaged" if name in phases.averaged else "optimizer_hook"
        return "decayed" if gradient == "zero" else "left_gradient"
    return "averaged" if name in phases.averaged else "writes_weight"


class TrainedMemory:
    """The memory of the parameters that train."""

    def __init__(self, model: nn.Module) -> None:
        found = ((p, _addresses(p)) for p in model.parameters() if p.requires_grad)
        self._addresses = [(p, addresses) for p, addresses in found if addresses is not None]

    def has_part_of(self, tensor: Tensor) -> bool:
        """Whether another tensor shares this memory, in whole or in part."""
        mine = _addresses(tensor)
        return mine is not None and any(
            p is not tensor and mine[0] <= last and first <= mine[1] for p, (first, last) in self._addresses
        )


def _addresses(tensor: Tensor) -> tuple[int, int] | None:
    """Return the addresses of the first and the last byte; None for a tensor without memory of its own."""
    if tensor.layout != torch.strided or not tensor.numel():
        return None
    try:
        start = tensor.data_ptr()
    except RuntimeError:
        return None
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (start, start + (reach + 1) * tensor.element_size() - 1) if start else None
