"""Diagnoses frozen tensors that changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from freezetui.engine.loop import Loop
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.run import RunResult
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding
from freezetui.training.digest import digest

_COUNTER = "num_batches_tracked"
_SPECTRAL = ("_u", "_v", "weight_u", "weight_v")


def why_moved(under_test: ModelUnderTest, result: RunResult) -> list[Finding]:
    """Return one finding per cause for the frozen parameters that changed; trains one more step."""
    moved = [name for name in result.frozen if name in result.moved and not result.final_flags.get(name)]
    if not moved:
        return []
    by_cause: dict[tuple[str, str], list[str]] = defaultdict(list)
    phases = _phases(under_test, moved)
    for name in moved:
        by_cause[_cause(under_test.model, name, phases[name]), phases[name]].append(name)
    return [finding(key, names, phase=phase) for (key, phase), names in by_cause.items()]


def why_drifted(model: nn.Module, result: RunResult) -> list[Finding]:
    """Return one finding per cause for the buffers under frozen modules that changed."""
    drifted = [n for n in result.frozen_buffers if n in result.moved and not _is_counter(model, n)]
    by_cause: dict[str, list[str]] = defaultdict(list)
    for name in drifted:
        path = name.rpartition(".")[0]
        siblings = {n.rpartition(".")[2] for n in drifted if n.rpartition(".")[0] == path}
        by_cause[_drift(model.get_submodule(path), name, siblings, path in result.held)].append(name)
    return [finding(key, names) for key, names in by_cause.items()]


def _is_counter(model: nn.Module, name: str) -> bool:
    """Whether a buffer is one whole number that no norm owns, such as a step counter."""
    path, _, last = name.rpartition(".")
    buffer = model.get_submodule(path)._buffers.get(last)
    return buffer is not None and buffer.numel() == 1 and not buffer.is_floating_point() and last != _COUNTER


def _cause(model: nn.Module, name: str, phase: str) -> str:
    """Return the finding's key for a frozen parameter that changes in this phase."""
    module = dict(model.named_modules()).get(name.rpartition(".")[0])
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
        return "max_norm"
    parameters = dict(model.named_parameters(remove_duplicate=False))
    first, last = _addresses(parameters[name])
    trained = (_addresses(parameter) for parameter in parameters.values() if parameter.requires_grad)
    if any(first <= end and start <= last for start, end in trained):
        return "shared_memory"
    return "left_gradient" if phase == "optimizer step" else "writes_weight"


def _drift(module: nn.Module, name: str, drifted: Iterable[str], held: bool) -> str:
    """Return the finding's key for a buffer; only one that must stay in eval counts against the freeze."""
    if held:
        return "norm_in_train_mode"
    kind, attribute = type(module).__name__, name.rpartition(".")[2]
    if attribute in _SPECTRAL:
        return "spectral_norm"
    if attribute in ("running_mean", "running_var", _COUNTER):
        if "InstanceNorm" in kind or "SyncBatchNorm" in kind:
            return "tracking_norm"
        return "batch_counter" if set(drifted) == {_COUNTER} else "batch_norm"
    return "observer" if "Observer" in kind or "FakeQuant" in kind else "writes_buffer"


def _addresses(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the addresses of the first and the last element."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + reach * tensor.element_size()


def _phases(under_test: ModelUnderTest, names: Iterable[str]) -> Mapping[str, str]:
    """Return the phase of one more step in which each of these parameters changes."""
    loop = Loop(under_test)
    found: dict[str, str] = {}
    before = _digests(under_test.model, names)

    def record(phase: str) -> None:
        nonlocal before
        now = _digests(under_test.model, names)
        found.update({name: phase for name in names if now[name] != before[name] and name not in found})
        before = now

    loss = loop.forward(0)
    record("forward")
    loop.backward(loss)
    record("backward")
    loop.optimize()
    record("optimizer step")
    return {name: found.get(name, "forward or backward, once") for name in names}


def _digests(model: nn.Module, names: Iterable[str]) -> dict[str, bytes]:
    parameters: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    return {name: digest(parameters[name]) for name in names}
