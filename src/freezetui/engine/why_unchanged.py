"""Why a trainable tensor stood still, and what the run cannot prove."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from freezetui.engine.run import RunResult
from freezetui.sanity.report import Finding, Severity, Unchanged

NO_GRADIENT, ZERO, NEAR_ZERO = "no gradient", "zero gradient", "gradient near zero"
PRECISION = "update below the precision"

#: Below this part of the model's largest gradient there is nothing but float32's rounding noise.
_NOISE = 1e-6

_STILL: dict[str, tuple[Severity, str, str, str]] = {
    NO_GRADIENT: (
        "warning",
        "S3",
        "trainable, and no gradient reached it: unused in this forward, or cut off by detach() or no_grad()",
        "freeze it if that is meant; else use it in the forward",
    ),
    ZERO: (
        "warning",
        "S3",
        "trainable, and its gradient is exactly zero: a dead ReLU, or a branch that does not count",
        "freeze it if that is meant; else look at its activations",
    ),
    NEAR_ZERO: (
        "note",
        "S3",
        "trainable, and only rounding noise reached it as gradient, as for a bias before a norm or a softmax",
        "nothing, where the model is meant to be so",
    ),
    PRECISION: (
        "warning",
        "S4",
        "trainable, and its updates are too small to change a single bit of its dtype",
        "keep this weight in float32 and use autocast for speed",
    ),
    "cut off": (
        "warning",
        "S6",
        "trainable, and a gradient reaches it only where more is trainable: re-entrant checkpointing does so",
        "checkpoint with use_reentrant=False, or call enable_input_require_grads()",
    ),
    "packed": (
        "warning",
        "S7",
        "trainable, and of a dtype of one byte, which no optimizer trains",
        "load the weight in bfloat16 or float32",
    ),
}


def stills(plan: RunResult) -> tuple[Unchanged, ...]:
    """The trainable parameters whose bits did not change."""
    largest = max(plan.gradients.values(), default=0.0)
    return tuple(
        Unchanged(name, _reason(plan.gradients.get(name), largest))
        for name in plan.trainable
        if name not in plan.moved
    )


def _reason(gradient: float | None, largest: float) -> str:
    if gradient is None:
        return NO_GRADIENT
    if gradient == 0.0:
        return ZERO
    return NEAR_ZERO if gradient <= _NOISE * largest else PRECISION


def why_still(
    model: nn.Module, plan: RunResult, control: RunResult | None, still: Sequence[Unchanged]
) -> list[Finding]:
    """One finding per reason; none where nothing trains."""
    parameters = dict(model.named_parameters())
    names: dict[str, list[str]] = {reason: [] for reason in _STILL}
    for tensor in still:
        reason = tensor.reason
        if parameters[tensor.name].dtype.itemsize == 1:
            reason = "packed"
        elif reason == NO_GRADIENT and control is not None and control.gradients.get(tensor.name):
            reason = "cut off"
        names[reason].append(tensor.name)
    return [
        Finding(severity, code, tuple(names[reason]), message, fix)
        for reason, (severity, code, message, fix) in _STILL.items()
        if names[reason]
    ]
