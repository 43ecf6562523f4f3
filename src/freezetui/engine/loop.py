"""A naive training loop on synthetic data, one phase at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.evidence import changes_bits
from freezetui.engine.hooks import Hook, replace_step
from freezetui.engine.magnitudes import largest_of, norms_of, real_of
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.modes import compiling
from freezetui.engine.updates import Updates
from freezetui.engine.user_step import MAX_SKIPPED, Interrupted, number, versions_of
from freezetui.errors import ModelError
from freezetui.models.outputs import tensors_of
from freezetui.user_code import user_code

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 0.01


class Loop:
    """Forward, backward and optimizer step as many scripts have them: SGD over all parameters.

    Frozen parameters are in the optimizer too, with momentum and weight decay, so that whatever could
    move them does. The gradients are scaled as a whole to the norm of the weights they belong to: with a
    learning rate of 0.01 each step then changes the weights by about 1%, enough to be seen in bfloat16,
    whatever the model and its outputs are. Every second loss is negated, so that the weights move back
    and forth: an unbounded loss would make them diverge.

    Attributes:
        gradients: parameter's id -> largest absolute gradient before scaling; absent if none arrived.
        evidence: the ids of parameters that a step changes without momentum and weight decay.
        updates: of the trainable parameters.
    """

    def __init__(self, under_test: ModelUnderTest) -> None:
        self.under_test = under_test
        self.parameters = parameters_of(under_test.model)
        if under_test.forward is not None:
            torch._dynamo.reset()  # what was compiled keeps the hooks of an earlier run
        self.gradients: dict[int, float] = {}
        self.evidence: set[int] = set()
        self.updates = Updates(self.parameters)
        # An optimizer needs at least one parameter; a file may contain only integers.
        self.optimizer = torch.optim.SGD(
            self.parameters or [torch.zeros(0)],
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )
        self._take_step = self.optimizer.step
        self._running: Interrupted | None = None
        self._updates = 0
        self._versions: list[int] = []

    def forward(self, step: int) -> Tensor | None:
        """Return the loss of a batch, see `projected_loss`; None without a forward.

        Raises:
            ModelError: the model's forward raised.
        """
        if self.under_test.step is not None:
            return self._begin(step)
        self.optimizer.zero_grad()
        loss = projected_loss(self.under_test, step)
        return -loss if step % 2 and loss is not None else loss

    def backward(self, loss: Tensor | None) -> None:
        """Compute gradients of the loss; without a forward pass, set random ones on what is trainable.

        Raises:
            ModelError: the model's backward raised.
        """
        if self._running is not None:
            self._running.until(Interrupted.STEP)
        else:
            with self._used_in_backward():
                fill_gradients(loss, self.parameters)

    @contextmanager
    def _used_in_backward(self) -> Iterator[None]:
        """Record gradients that a hook uses for an update, and drops, as soon as they are there."""
        hooked = [
            p for p in self.parameters if p.requires_grad and getattr(p, "_post_accumulate_grad_hooks", None)
        ]
        before = [parameter.detach().clone() for parameter in hooked]
        arrived: dict[int, Tensor] = {}
        with ExitStack() as hooks:
            for p in hooked:
                keep = partial(arrived.__setitem__, id(p))
                handle = p.register_hook(lambda g, keep=keep: keep(g.detach()))  # type: ignore[no-untyped-call]
                hooks.callback(handle.remove)
            yield
        for parameter, old in zip(hooked, before, strict=True):
            gradient = arrived.get(id(parameter))
            if gradient is None or parameter.grad is not None or torch.equal(old, parameter):
                continue
            largest = largest_of([gradient])[0]
            self.gradients[id(parameter)] = max(largest, self.gradients.get(id(parameter), 0.0))
            if largest:
                self.evidence.add(id(parameter))

    def optimize(self) -> None:
        """Scale the gradients and take an optimizer step; the user's step runs to its end."""
        if self._running is None:
            self._update()
            return
        self._running.until()
        step = self.under_test.step
        if step is None or self._updates > 0:
            return
        step.refuse_without_step(self._running.result, self.parameters, self._versions)
        for _ in range(MAX_SKIPPED):
            self.under_test.take_step(self.optimizer)
            if self._updates > 0:
                return
        raise step.refuse(f"took no optimizer step in {1 + MAX_SKIPPED} calls")

    def value(self, loss: Tensor | None) -> float | None:
        """Return the loss of the step that `optimize` has ended; None if there is none."""
        result = loss if self._running is None else self._running.result
        return number(result)

    def _begin(self, step: int) -> Tensor | None:
        """Start the user's step, with this optimizer in place of the user's, up to the end of its forward."""
        torch.manual_seed(self.under_test.seed + step)
        running = Interrupted(partial(self.under_test.take_step, self.optimizer), self.under_test.device)

        def stepped(closure: Callable[[], Any] | None = None) -> Any:
            with torch.enable_grad():
                loss = closure() if closure is not None else None
            if not running.ended:
                running.reach(Interrupted.STEP)
            self._updates += 1
            self._update()
            return loss

        replace_step(self.optimizer, stepped)
        self._running, self._updates, self._versions = running, 0, versions_of(self.parameters)
        with ExitStack() as hooks:
            if self.under_test.forward is None:  # a compiled one cannot stop
                with suppress(RuntimeError):  # not supported on scripted modules
                    hooks.callback(self._stop_after_forward(running))
            running.until(Interrupted.FORWARD, Interrupted.STEP)
        return None

    def _stop_after_forward(self, running: Interrupted) -> Callable[[], None]:
        """Let the step stop after its first forward; return what removes the hook."""
        model = self.under_test.model
        return model.register_forward_hook(Hook(lambda *_: running.reach(Interrupted.FORWARD))).remove

    @torch.no_grad()
    def _update(self) -> None:
        updated = [parameter for parameter in self.parameters if parameter.grad is not None]
        if not updated:
            return
        for parameter in updated:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()  # not supported by SGD with decay
        gradients = [parameter.grad for parameter in updated if parameter.grad is not None]
        for parameter, largest in zip(updated, largest_of(gradients), strict=True):
            self.gradients[id(parameter)] = max(largest, self.gradients.get(id(parameter), 0.0))
        scale = (norms_of(updated).norm() / norms_of(gradients).norm()).item()
        if 0 < scale < float("inf"):
            torch._foreach_mul_(gradients, scale)
        for parameter, gradient in zip(updated, gradients, strict=True):
            if id(parameter) not in self.evidence and changes_bits(parameter, gradient, LEARNING_RATE):
                self.evidence.add(id(parameter))
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = LEARNING_RATE, WEIGHT_DECAY  # a schedule may have set them
        self.updates.begin()
        self._take_step()
        self.updates.end()


def parameters_of(model: nn.Module) -> list[nn.Parameter]:
    """Return what scripts give to an optimizer: all parameters, except one-byte ones, which none supports."""
    return [p for p in model.parameters() if p.dtype.itemsize > 1]


def projected_loss(under_test: ModelUnderTest, step: int) -> Tensor | None:
    """Return a fixed random projection of every output of a forward pass; None without one.

    Not mean(out**2), which is constant for normalized outputs, and not the sum, which is for softmax.

    Raises:
        ModelError: the model's forward raised.
    """
    torch.manual_seed(under_test.seed + step)
    if under_test.batch is None:
        return None
    for parameter in under_test.model.parameters():
        if parameter.dtype.itemsize == 1:  # no optimizer clears it, and torch adds no second gradient to it
            parameter.grad = None
    args, kwargs = under_test.batch(step)
    given = under_test.given
    what = f"{given} does not fit the model: its forward" if given else "The model's own forward"
    with user_code(what, is_out_of_memory), compiling():
        outputs = tensors_of(under_test(*args, **kwargs))
    if not outputs:
        raise ModelError(
            "The model's forward returned no floating point tensor.",
            "Use a factory whose model returns tensors.",
        )
    return projection(outputs, under_test.seed)


def fill_gradients(loss: Tensor | None, parameters: Iterable[nn.Parameter]) -> None:
    """Compute gradients of the loss; without one, set random ones on what is trainable.

    Raises:
        ModelError: the model's backward raised.
    """
    if loss is None:
        for parameter in parameters:
            if parameter.requires_grad:
                parameter.grad = torch.randn_like(parameter)
    elif loss.requires_grad:
        with user_code("The model's own backward", is_out_of_memory), compiling():
            loss.backward()  # type: ignore[no-untyped-call]


def projection(outputs: Iterable[Tensor], seed: int) -> Tensor:
    """Return a float32 scalar that depends on every element of every output and is of their magnitude."""
    generator = torch.Generator().manual_seed(seed)
    terms = []
    for output in outputs:
        real = real_of(output)
        directions = torch.randn(real.shape, generator=generator).to(real.device)
        terms.append((real.float() * directions).sum() / max(1, real.numel()) ** 0.5)
    return torch.stack(terms).sum()
