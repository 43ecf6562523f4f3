"""Finds where a loss that is not finite comes from: a weight, else the first module that puts it out."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from freezetui.engine.loop import Loop, projected_loss
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.errors import ModelError
from freezetui.models.outputs import tensors_of
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding


@dataclass(frozen=True)
class Source:
    """Where it comes from.

    Attributes:
        weights: parameters and buffers with NaN or infinite values before any step, in the model's order.
        module: the path of the first module whose output is not finite, if no weight is to blame; "" if it
            is not known or the model itself.
        kind: the module's class; "" if no module is known.
    """

    weights: tuple[str, ...] = ()
    module: str = ""
    kind: str = ""

    def finding(self) -> Finding:
        """Return the finding N4."""
        if self.weights:
            return finding("not_finite_weight", self.weights)
        if self.module:
            return finding("not_finite_output", module=f"{self.module} ({self.kind})")
        return finding("not_finite")


class Watch:
    """Looks at the losses of a run; made before its first forward pass, which changes statistics.

    Attributes:
        source: where the first loss that is not finite comes from; None as long as all are.
    """

    def __init__(self, under_test: ModelUnderTest) -> None:
        self.source: Source | None = None
        self._under_test = under_test
        self._buffers = {n for n, buffer in under_test.model.named_buffers() if not _is_finite(buffer)}

    def look(self, loop: Loop, loss: Tensor | None, step: int) -> None:
        """Look at the loss of a step, before the optimizer's step.

        With a user's own step the loss is not known yet, so its gradients speak for it.
        """
        if self.source is not None:
            return
        if loss is None:
            gradients = (p.grad for p in loop.parameters if p.grad is not None)
            fine = self._under_test.step is None or all(map(_is_finite, gradients))
        else:
            value = loop.value(loss)
            fine = value is None or math.isfinite(value)
        if not fine:
            weights = () if step else self._weights()
            self.source = Source(weights) if weights else _first_output(self._under_test, step)

    def _weights(self) -> tuple[str, ...]:
        model = self._under_test.model
        bad = self._buffers | {n for n, parameter in model.named_parameters() if not _is_finite(parameter)}
        return tuple(dict.fromkeys(n for n in (*model.state_dict(keep_vars=True), *sorted(bad)) if n in bad))


def _first_output(under_test: ModelUnderTest, step: int) -> Source:
    """Run the forward pass of the step again, and look at what each module returns."""
    found: list[Source] = []

    def look(path: str, module: nn.Module, outputs: Any) -> None:
        if not found and not all(map(_is_finite, tensors_of(outputs))):
            found.append(Source(module=path, kind=type(module).__name__))

    with ExitStack() as hooks:
        for path, module in under_test.model.named_modules():
            with suppress(RuntimeError):  # not supported on scripted modules
                hook = module.register_forward_hook(lambda m, _, outputs, path=path: look(path, m, outputs))
                hooks.callback(hook.remove)
        with suppress(ModelError), torch.no_grad():
            projected_loss(under_test, step)
    return found[0] if found else Source()


def _is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite; integers and dtypes that torch cannot ask are."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    with suppress(RuntimeError, NotImplementedError, TypeError):
        values = tensor.detach()
        return bool(torch.isfinite(values.coalesce().values() if values.is_sparse else values).all())
    return True
