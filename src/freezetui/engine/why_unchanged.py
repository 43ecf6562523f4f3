"""Diagnoses trainable tensors that did not change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import nn

from freezetui.engine.further import named_tensors
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.run import RunResult
from freezetui.engine.usage import watch_forward
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding, Unchanged

NO_GRADIENT, ZERO, NEAR_ZERO = "no gradient", "zero gradient", "gradient near zero"
PRECISION, NO_UPDATE = "update below the precision", "no update"

#: Below this fraction of the model's largest gradient it is rounding noise of float32, or has vanished.
NOISE = 1e-6

#: A report's reason -> the key of its finding; the other two keys are more specific than a reason.
_KEYS = {
    NO_GRADIENT: "no_gradient",
    ZERO: "zero_gradient",
    NEAR_ZERO: "noise_gradient",
    PRECISION: "precision",
}
_REENTRANT, _ONE_BYTE, _NOT_REACHED, _REPLACED = "reentrant", "one_byte", "not_reached", "replaced"


def unchanged_tensors(result: RunResult) -> tuple[Unchanged, ...]:
    """Return the trainable parameters that did not change by their gradient."""
    largest = max(result.gradients.values(), default=0.0)
    changed = result.trained | result.empty
    return tuple(
        Unchanged(
            name, NO_UPDATE if name in result.replaced else _reason(result.gradients.get(name), largest)
        )
        for name in result.trainable
        if name not in changed
    )


def _reason(gradient: float | None, largest: float) -> str:
    if gradient is None:
        return NO_GRADIENT
    if gradient == 0.0:
        return ZERO
    return NEAR_ZERO if gradient <= NOISE * largest else PRECISION


def explain_unchanged(
    under_test: ModelUnderTest,
    result: RunResult,
    control: RunResult | None,
    unchanged: Sequence[Unchanged],
    losing: Collection[str] = (),
) -> list[Finding]:
    """Return one finding per cause; none for what the model's own code has frozen, which is a finding itself.

    Args:
        result: of the plan's run.
        control: the run with everything trainable; None if there was none.
        losing: what loses the updates of the user's optimizer, too, which is a finding itself.
    """
    tensors = named_tensors(under_test.model)
    names: dict[str, list[str]] = {
        key: [] for key in (*_KEYS.values(), _REENTRANT, _ONE_BYTE, _NOT_REACHED, _REPLACED)
    }
    idle, refrozen = _idle(under_test, result, unchanged), result.refrozen
    for tensor in unchanged:
        if tensor.name in refrozen or (tensor.reason == PRECISION and tensor.name in losing):
            continue
        if tensor.name in result.replaced or tensor.name in result.vanished:
            key = _REPLACED
        elif tensor.name in tensors and tensors[tensor.name].dtype.itemsize == 1:
            key = _ONE_BYTE
        elif tensor.reason == NO_GRADIENT and control is not None and control.gradients.get(tensor.name):
            key = _REENTRANT
        elif tensor.name in idle:
            key = _NOT_REACHED
        else:
            key = _KEYS[tensor.reason]
        names[key].append(tensor.name)
    return [finding(key, found) for key, found in names.items() if found]


def _idle(under_test: ModelUnderTest, result: RunResult, unchanged: Sequence[Unchanged]) -> set[str]:
    """Return those without a gradient that took no part in a forward pass: neither their module nor they."""
    modules = dict(under_test.model.named_modules(remove_duplicate=False))
    silent = {u.name for u in unchanged if u.reason in (NO_GRADIENT, ZERO)}
    idle = {name for name in silent if result.ran and not _ran(modules, name, result)}
    return idle - watch_forward(under_test).used if idle else idle


def _ran(modules: Mapping[str, nn.Module], name: str, result: RunResult) -> bool:
    """Whether the module that owns this parameter was called; for one that cannot be called, its parent."""
    path = name.rpartition(".")[0]
    while path and _is_container(modules.get(path)):
        path = path.rpartition(".")[0]
    return path in result.ran


def _is_container(module: nn.Module | None) -> bool:
    """Whether a module only holds others, or parameters, and has no forward."""
    return module is not None and type(module).forward is nn.Module.forward
