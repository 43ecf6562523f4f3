"""Diagnoses trainable tensors that did not change."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding, Unchanged

NO_GRADIENT, ZERO, NEAR_ZERO = "no gradient", "zero gradient", "gradient near zero"
PRECISION = "update below the precision"

#: Below this fraction of the model's largest gradient there is only float32 rounding noise.
_NOISE = 1e-6

#: A report's reason -> the key of its finding; the other two keys are more specific than a reason.
_KEYS = {
    NO_GRADIENT: "no_gradient",
    ZERO: "zero_gradient",
    NEAR_ZERO: "noise_gradient",
    PRECISION: "precision",
}
_CUT_OFF, _ONE_BYTE, _NOT_REACHED = "reentrant", "one_byte", "not_reached"


def unchanged_tensors(result: RunResult) -> tuple[Unchanged, ...]:
    """Return the trainable parameters that did not change by their gradient."""
    largest = max(result.gradients.values(), default=0.0)
    return tuple(
        Unchanged(name, _reason(result.gradients.get(name), largest))
        for name in result.trainable
        if name not in result.trained
    )


def _reason(gradient: float | None, largest: float) -> str:
    if gradient is None:
        return NO_GRADIENT
    if gradient == 0.0:
        return ZERO
    return NEAR_ZERO if gradient <= _NOISE * largest else PRECISION


def explain_unchanged(
    model: nn.Module, result: RunResult, control: RunResult | None, unchanged: Sequence[Unchanged]
) -> list[Finding]:
    """Return one finding per cause.

    Args:
        result: of the plan's run.
        control: the run with everything trainable; None if there was none.
    """
    parameters = dict(model.named_parameters())
    names: dict[str, list[str]] = {key: [] for key in (*_KEYS.values(), _CUT_OFF, _ONE_BYTE, _NOT_REACHED)}
    for tensor in unchanged:
        key = _KEYS[tensor.reason]
        if parameters[tensor.name].dtype.itemsize == 1:
            key = _ONE_BYTE
        elif tensor.reason == NO_GRADIENT and control is not None and control.gradients.get(tensor.name):
            key = _CUT_OFF
        elif tensor.reason in (NO_GRADIENT, ZERO) and _did_not_run(tensor.name, result):
            key = _NOT_REACHED
        names[key].append(tensor.name)
    return [finding(key, found) for key, found in names.items() if found]


def _did_not_run(name: str, result: RunResult) -> bool:
    """Whether the module that owns this parameter was not called, though the model was."""
    return bool(result.ran) and name.rpartition(".")[0] not in result.ran
