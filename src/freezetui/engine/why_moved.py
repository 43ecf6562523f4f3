"""Why a frozen tensor moved: the causes that a live model tells, with what to do about each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from freezetui.engine.loop import Loop
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.run import RunResult
from freezetui.sanity.report import Finding, Severity
from freezetui.training.digest import digest

#: Cause -> what happened, what to do; the codes are the rows of the README's table.
MOVED: dict[str, tuple[str, str]] = {
    "M5": (
        "frozen, and moved: max_norm makes the embedding's forward rewrite its own weight, in eval too",
        "set max_norm=None on the frozen embedding",
    ),
    "M8": (
        "frozen, and moved: the model's own code writes the weight in its {phase}",
        "make the model write it only while it trains, or not at all",
    ),
    "M10": (
        "frozen, and moved: something leaves a gradient in .grad, and the optimizer uses it",
        "set p.grad = None after freezing, and give the optimizer trainable parameters only",
    ),
    "M17": (
        "frozen, and moved: it shares its memory with a tensor that trains",
        "freeze both or train both",
    ),
}

DRIFTED: dict[str, tuple[str, str]] = {
    "M1": (
        "running statistics of frozen BatchNorm move in train mode",
        "set norm_statistics: freeze, which keeps frozen norms in eval",
    ),
    "M2": (
        "a frozen norm is kept in eval, and its statistics moved: the model's own code runs it in train mode",
        "take the norm out of the model's own train(), and do not set .training on it",
    ),
    "M3": (
        "only the batch counter of a frozen BatchNorm moves (momentum 0)",
        "harmless; norm_statistics: freeze stops it too",
    ),
    "M4": (
        "running statistics of frozen InstanceNorm or SyncBatchNorm move in train mode",
        "set norm_statistics: freeze, which keeps frozen norms in eval",
    ),
    "M6": (
        "the vectors of a frozen spectral norm move in train mode, and with them the weight in effect",
        "set norm_statistics: freeze, which keeps frozen norms in eval",
    ),
    "M7": (
        "observers under frozen modules move, in eval too",
        "call torch.ao.quantization.disable_observer on the frozen modules",
    ),
    "M8": (
        "the model's own code rewrites buffers of frozen modules",
        "make the model write them only while it trains; caches and counters are harmless",
    ),
}

_COUNTER = "num_batches_tracked"
_SPECTRAL = ("_u", "_v", "weight_u", "weight_v")


def why_moved(under_test: ModelUnderTest, plan: RunResult) -> list[Finding]:
    """One finding per cause for the frozen parameters that moved; trains one more step to see when."""
    moved = [name for name in plan.frozen if name in plan.moved and not plan.flags.get(name)]
    if not moved:
        return []
    by_cause: dict[tuple[str, str], list[str]] = defaultdict(list)
    phases = _phases(under_test, moved)
    for name in moved:
        by_cause[_cause(under_test.model, name, phases[name]), phases[name]].append(name)
    return [
        Finding("error", code, tuple(names), MOVED[code][0].format(phase=phase), MOVED[code][1])
        for (code, phase), names in by_cause.items()
    ]


def why_drifted(model: nn.Module, plan: RunResult) -> list[Finding]:
    """One finding per cause for the buffers under frozen modules that changed."""
    drifted = [name for name in plan.frozen_buffers if name in plan.moved]
    by_cause: dict[str, list[str]] = defaultdict(list)
    for name in drifted:
        path = name.rpartition(".")[0]
        siblings = {n.rpartition(".")[2] for n in drifted if n.rpartition(".")[0] == path}
        by_cause[_drift(model.get_submodule(path), name, siblings, path in plan.held)].append(name)
    return [Finding(_severity(code), code, tuple(names), *DRIFTED[code]) for code, names in by_cause.items()]


def _severity(code: str) -> Severity:
    """Only what was promised to hold speaks against the freeze; what was allowed to run is a note."""
    return "error" if code == "M2" else "warning" if code in ("M7", "M8") else "note"


def _cause(model: nn.Module, name: str, phase: str) -> str:
    module = dict(model.named_modules()).get(name.rpartition(".")[0])
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
        return "M5"
    parameters = dict(model.named_parameters(remove_duplicate=False))
    first, last = _addresses(parameters[name])
    trained = (_addresses(parameter) for parameter in parameters.values() if parameter.requires_grad)
    if any(first <= end and start <= last for start, end in trained):
        return "M17"
    return "M10" if phase == "optimizer step" else "M8"


def _drift(module: nn.Module, name: str, drifted: Iterable[str], held: bool) -> str:
    if held:
        return "M2"
    kind, attribute = type(module).__name__, name.rpartition(".")[2]
    if attribute in _SPECTRAL:
        return "M6"
    if attribute in ("running_mean", "running_var", _COUNTER):
        if "InstanceNorm" in kind or "SyncBatchNorm" in kind:
            return "M4"
        return "M3" if set(drifted) == {_COUNTER} else "M1"
    return "M7" if "Observer" in kind or "FakeQuant" in kind else "M8"


def _addresses(tensor: torch.Tensor) -> tuple[int, int]:
    """Of the first and the last element."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + reach * tensor.element_size()


def _phases(under_test: ModelUnderTest, names: Iterable[str]) -> Mapping[str, str]:
    """In which phase of a further step each of these parameters moves."""
    loop = Loop(under_test)
    found: dict[str, str] = {}
    before = _digests(under_test.model, names)

    def look(phase: str) -> None:
        nonlocal before
        now = _digests(under_test.model, names)
        found.update({name: phase for name in names if now[name] != before[name] and name not in found})
        before = now

    loss = loop.forward(0)
    look("forward")
    loop.backward(loss)
    look("backward")
    loop.optimize()
    look("optimizer step")
    return {name: found.get(name, "forward or backward, once") for name in names}


def _digests(model: nn.Module, names: Iterable[str]) -> dict[str, bytes]:
    parameters: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    return {name: digest(parameters[name]) for name in names}
