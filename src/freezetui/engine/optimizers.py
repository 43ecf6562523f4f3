"""Builds the optimizer that the user's script has, and watches what its steps are given."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from freezetui.engine.hooks import replace_step
from freezetui.engine.magnitudes import largest_of
from freezetui.engine.user_objects import user_object
from freezetui.errors import ModelError
from freezetui.sanity.training import Training
from freezetui.text import kind_of
from freezetui.user_code import user_code

_DEFAULT = "adamw"
#: What a frozen parameter has in .grad as the optimizer takes a step.
Left = Literal["stale", "gradient", "zeros"]


def build_optimizer(training: Training, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """Return the user's optimizer over all these parameters, frozen ones too, as most scripts do.

    Raises:
        ModelError: the class is missing, or does not take these arguments.
    """
    named = training.optimizer or _DEFAULT
    cls = user_object(named, "--optimizer") if ":" in named else _of_torch(named)
    if not callable(cls):
        raise ModelError(f"--optimizer {named} is {kind_of(cls)}, not a class of optimizers.")
    rate: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    arguments: dict[str, Any] = {name: value for name, value in rate.items() if value is not None}
    arguments |= training.optimizer_arguments
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    with user_code(f"--optimizer {named}: {getattr(cls, '__name__', named)}({text})"):
        # An optimizer needs at least one parameter; a file may contain only integers.
        optimizer = cls([*parameters, *([] if parameters else [torch.zeros(0)])], **arguments)
    if not callable(getattr(optimizer, "step", None)) or not hasattr(optimizer, "param_groups"):
        raise ModelError(f"--optimizer {named} builds {kind_of(optimizer)}, not an optimizer.")
    found: Optimizer = optimizer
    return found


def described(optimizer: Optimizer, training: Training) -> str:
    """Return the optimizer as a script writes it, e.g. "AdamW(lr=1e-05, weight_decay=0.01)"."""
    group = optimizer.param_groups[0]
    shown: dict[str, Any] = {name: group[name] for name in ("lr", "weight_decay") if name in group}
    shown |= training.optimizer_arguments
    values = {n: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for n, v in shown.items()}
    return f"{type(optimizer).__name__}({', '.join(f'{name}={value}' for name, value in values.items())})"


def _of_torch(name: str) -> Any:
    classes = {
        each.lower(): cls
        for each, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and cls is not Optimizer
    }
    if name.lower() not in classes:
        raise ModelError(
            f"torch.optim has no optimizer {name!r}.",
            f"Valid: {', '.join(sorted(classes))}, package.module:Class or path/to/file.py:Class.",
        )
    return classes[name.lower()]


class Watch:
    """Records what every step of an optimizer finds in .grad.

    Attributes:
        steps: how many have been taken.
        gradients: trainable parameter's id -> largest absolute gradient.
        left: frozen parameter's id -> what was left in .grad, the strongest of all steps.
        stale: frozen parameter's id -> its gradient from before the freeze.
        listeners: called with "before" and "after" around each step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.steps = 0
        self.gradients: dict[int, float] = {}
        self.left: dict[int, Left] = {}
        self.stale: dict[int, Tensor] = {}
        self.listeners: list[Callable[[str], object]] = []
        self._step = optimizer.step
        replace_step(optimizer, self._watched)

    @property
    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters of the optimizer."""
        return (p for group in self.optimizer.param_groups for p in group["params"])

    def _watched(self, *args: Any, **kwargs: Any) -> Any:
        self._tell("before")
        self._look()
        result = self._step(*args, **kwargs)
        self.steps += 1
        self._tell("after")
        return result

    def _tell(self, when: str) -> None:
        for listener in self.listeners:
            listener(when)

    @torch.no_grad()
    def _look(self) -> None:
        given = [(p, p.grad) for p in self.parameters if p.grad is not None]
        dense = [grad.coalesce().values() if grad.is_sparse else grad for _, grad in given]
        for (parameter, grad), largest in zip(given, largest_of(dense) if dense else (), strict=True):
            if parameter.requires_grad:
                self.gradients[id(parameter)] = max(largest, self.gradients.get(id(parameter), 0.0))
            else:
                self._note(parameter, grad, largest)

    def _note(self, parameter: nn.Parameter, grad: Tensor, largest: float) -> None:
        """Note what is left in .grad of a frozen parameter; a gradient outweighs zeros."""
        known = self.left.get(id(parameter))
        if largest != 0.0:
            self.left[id(parameter)] = "stale" if grad is self.stale.get(id(parameter)) else "gradient"
        elif known is None:
            self.left[id(parameter)] = "zeros"

    def has_momentum(self, parameter: nn.Parameter) -> bool:
        """Whether the optimizer's state of this parameter holds anything that moves it without a gradient."""
        state = self.optimizer.state.get(parameter, {})
        values = state.values() if isinstance(state, dict) else ()
        return any(isinstance(v, Tensor) and v.shape == parameter.shape and bool(v.any()) for v in values)

    def decays(self, parameter: nn.Parameter) -> bool:
        """Whether the optimizer decays it; one that names no weight decay, if it keeps no state."""
        groups = (g for g in self.optimizer.param_groups if any(p is parameter for p in g["params"]))
        return any(bool(group.get("weight_decay", not self.optimizer.state)) for group in groups)

    @property
    def has_hooks(self) -> bool:
        """Whether someone has registered hooks on the steps of this optimizer, or of all."""
        of_all = vars(sys.modules[Optimizer.__module__])
        hooks = [of_all.get(f"_global_optimizer_{when}_hooks") for when in ("pre", "post")]
        hooks += [getattr(self.optimizer, f"_optimizer_step_{when}_hooks", None) for when in ("pre", "post")]
        return any(map(bool, hooks))
