"""Takes steps as the user's script does: its optimizer, its learning rate, and when it freezes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.loop import fill_gradients, parameters_of, projected_loss
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.optimizers import Watch, build_optimizer, described
from freezetui.engine.own_result import OwnRun
from freezetui.engine.precision import Lost, Samples
from freezetui.engine.run import Prepare, train_everything
from freezetui.sanity.training import Training
from freezetui.training.digest import digest
from freezetui.user_code import user_code

#: Steps that a GradScaler may skip while it looks for its scale; it begins at 2**16 and halves it each time.
_MAX_SKIPPED = 24


class OwnLoop:
    """A training loop as scripts have it, with the user's optimizer over all parameters.

    Attributes:
        watch: of the optimizer's steps.
    """

    def __init__(self, under_test: ModelUnderTest, training: Training) -> None:
        self.under_test, self.training = under_test, training
        self.parameters = parameters_of(under_test.model)
        self.optimizer = build_optimizer(training, self.parameters)
        self.watch = Watch(self.optimizer)
        self._scaler = _scaler(under_test)
        self.text = described(self.optimizer, training)

    def gradients(self, step: int) -> Tensor | None:
        """Clear the gradients, run forward and backward, and return the loss.

        Raises:
            ModelError: the model's own code raised.
        """
        if self.training.warm == "zeros":
            self.optimizer.zero_grad(set_to_none=False)
        else:
            self.optimizer.zero_grad()
        loss = projected_loss(self.under_test, step)
        scaled = loss if loss is None or self._scaler is None else self._scaler.scale(loss)
        fill_gradients(scaled, self.parameters)
        return loss

    def update(self, step: int) -> None:
        """Take an optimizer step.

        Raises:
            ModelError: the optimizer raised.
        """
        with user_code(f"The step of {self.text}", is_out_of_memory):
            if self._scaler is not None:
                self._scaler.step(self.optimizer)
                self._scaler.update()
            elif _needs_closure(self.optimizer):
                self.optimizer.step(lambda: self._closure(step))  # type: ignore[arg-type,return-value]
            else:
                self.optimizer.step()

    def train(self, steps: int, progress: Callable[[int], None]) -> list[float]:
        """Take these steps and return their losses; a step that a GradScaler skips does not count."""
        losses: list[float] = []
        first, attempt = self.watch.steps, 0
        while (taken := self.watch.steps - first) < steps and attempt < steps + _MAX_SKIPPED:
            attempt += 1
            progress(taken)
            loss = self.gradients(attempt)
            self.update(attempt)
            if loss is not None and self.watch.steps - first > taken:
                losses.append(loss.item())
        return losses

    def _closure(self, step: int) -> Tensor | None:
        with torch.enable_grad():
            return self.gradients(step)


def own_run(
    under_test: ModelUnderTest,
    prepare: Prepare,
    training: Training,
    steps: int,
    progress: Callable[[int], None],
) -> OwnRun:
    """Train as the user's script does, and compare every bit from the freeze on.

    Args:
        prepare: sets the flags as the config says.
        progress: called with each step's number, from 0, as it begins.

    Raises:
        ModelError: the model's own code, or the optimizer's, raised.
    """
    model = under_test.model
    (train_everything if training.warm else prepare)(under_test)
    model.train()
    loop = OwnLoop(under_test, training)
    if training.warm:
        _warm_up(loop, prepare)
    names = _names(model)
    flags = {name: parameter.requires_grad for name, parameter in names.items()}
    before = {name: digest(parameter) for name, parameter in names.items()}
    samples = Samples(loop.parameters)
    loop.watch.listeners.append(lambda when: when == "before" and samples.take_gradients())
    if training.warm == "before-step":
        loop.update(0)
    losses = loop.train(steps, progress)
    moved = frozenset(name for name, parameter in names.items() if digest(parameter) != before[name])
    frozen = tuple(name for name, train in flags.items() if not train)
    reached = {n: loop.watch.gradients[id(p)] for n, p in names.items() if id(p) in loop.watch.gradients}
    run = OwnRun(
        optimizer=loop.text,
        steps=steps,
        losses=tuple(losses),
        frozen=frozen,
        trainable=tuple(name for name, train in flags.items() if train),
        gradients=reached,
        moved=moved,
        lost=_lost(samples, training, {name: names[name] for name in reached}),
    )
    run.causes.update(_causes(loop, {n: names[n] for n in frozen if n in moved}, steps))
    return run


@contextmanager
def weights_taken_back(model: nn.Module) -> Iterator[None]:
    """Give every parameter and buffer its bits back afterwards, wherever its shape is still the same."""
    kept = {name: tensor.detach().clone() for name, tensor in _state(model).items()}
    yield
    model.zero_grad()
    for name, tensor in _state(model).items():
        if name in kept and kept[name].shape == tensor.shape:
            tensor.data.copy_(kept[name])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _warm_up(loop: OwnLoop, prepare: Prepare) -> None:
    """Take a first step with everything trainable, then freeze by the flags alone, as scripts do."""
    loop.gradients(0)
    if loop.training.warm != "before-step":
        loop.update(0)
    left = {id(p): p.grad for p in loop.parameters if p.grad is not None}
    prepare(loop.under_test)
    for parameter in loop.parameters:
        if not parameter.requires_grad and id(parameter) in left:
            parameter.grad = loop.watch.stale[id(parameter)] = left[id(parameter)]


def _names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that can train, each under its first name."""
    return {n: p for n, p in model.named_parameters() if p.is_floating_point() or p.is_complex()}


def _lost(samples: Samples, training: Training, names: dict[str, nn.Parameter]) -> dict[str, Lost]:
    found = {
        name: samples.lost(parameter, lambda chosen: build_optimizer(training, chosen))
        for name, parameter in names.items()
    }
    return {name: lost for name, lost in found.items() if lost is not None}


def _causes(loop: OwnLoop, moved: dict[str, nn.Parameter], steps: int) -> dict[str, str]:
    """Return the finding's key for each of these that the optimizer moves; takes one more step."""
    if not moved:
        return {}
    found = {name: _cause(loop.watch, parameter) for name, parameter in moved.items()}
    unclear = {name: moved[name] for name, key in found.items() if key == "zeros_for_none"}
    by_step = _moved_by_step(loop, unclear, steps) if unclear else set()
    return {name: key for name, key in found.items() if name not in unclear or name in by_step}


def _cause(watch: Watch, parameter: nn.Parameter) -> str:
    left = watch.left.get(id(parameter))
    if left == "stale":
        return "late_freeze"
    if left == "gradient":
        return "left_gradient"
    if left == "zeros":
        return "momentum" if watch.has_momentum(parameter) else "decayed"
    return "writes_weight" if watch.has_hooks else "zeros_for_none"


def _moved_by_step(loop: OwnLoop, names: dict[str, nn.Parameter], steps: int) -> set[str]:
    """Return which of these one more optimizer step moves."""
    digests: dict[str, dict[str, bytes]] = {}

    def listen(when: str) -> None:
        digests[when] = {name: digest(parameter) for name, parameter in names.items()}

    loop.watch.listeners.append(listen)
    loop.gradients(steps + 1)
    loop.update(steps + 1)
    return {name for name in names if digests["before"][name] != digests["after"][name]}


def _scaler(under_test: ModelUnderTest) -> torch.amp.GradScaler | None:
    """Return what keeps small float16 gradients from becoming zero; None without float16."""
    if under_test.autocast != torch.float16 or under_test.batch is None:
        return None
    with user_code(f"A GradScaler on {under_test.device.type}"):
        return torch.amp.GradScaler(under_test.device.type)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` cannot be called without one, as that of L-BFGS."""
    try:
        parameters = inspect.signature(type(optimizer).step).parameters
    except (TypeError, ValueError):
        return False
    closure = parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
