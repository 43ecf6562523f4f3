"""Takes steps as the user's script does: its optimizer, its learning rate, and when it freezes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.loop import fill_gradients, parameters_of, projected_loss
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.optimizers import Watch, build_optimizer, described
from freezetui.engine.own_result import OwnRun
from freezetui.engine.precision import Lost, Samples
from freezetui.engine.run import Prepare, train_everything
from freezetui.engine.updates import Updates
from freezetui.engine.user_step import MAX_SKIPPED, number, versions_of
from freezetui.models.live_names import can_train
from freezetui.sanity.training import Training
from freezetui.training.digest import digest
from freezetui.user_code import user_code


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
        self._calls = 0
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

    def take(self, step: int) -> float | None:
        """Take one step, the user's own if there is one, and return its loss; None if it has none.

        Raises:
            ModelError: the model's own code, the optimizer or the step raised, or the step is not one.
        """
        own = self.under_test.step
        if own is None:
            loss = self.gradients(step)
            self.update(step)
            return number(loss)
        torch.manual_seed(self.under_test.seed + step)
        taken, versions = self.watch.steps, versions_of(self.parameters)
        result = self.under_test.take_step(self.optimizer)
        if self.watch.steps == taken:
            own.refuse_without_step(result, self.parameters, versions)
        return number(result)

    def train(self, steps: int, progress: Callable[[int], None]) -> list[float]:
        """Take these steps and return their losses; a call without an optimizer step does not count.

        A GradScaler skips steps while it looks for its scale, and scripts that accumulate gradients take one
        in several calls.
        """
        losses: list[float] = []
        first, attempt = self.watch.steps, 0
        while (taken := self.watch.steps - first) < steps and attempt < steps + MAX_SKIPPED:
            progress(taken)
            loss = self.take(self._calls)
            self._calls, attempt = self._calls + 1, attempt + 1
            if loss is not None and self.watch.steps - first > taken:
                losses.append(loss)
        if self.under_test.step is not None and self.watch.steps == first:
            raise self.under_test.step.refuse(f"took no optimizer step in {attempt} calls")
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
    start = _warmed_up(loop, prepare) if training.warm else _Start(loop)
    first = loop.watch.steps
    losses = loop.train(steps, progress)
    taken, moved = loop.watch.steps - first, start.moved()
    frozen = tuple(name for name, train in start.flags.items() if not train)
    reached, largest = loop.watch.gradients, start.updates.largest
    gradients = {name: reached[id(p)] for name, p in start.names.items() if id(p) in reached}
    updates = {name: largest[id(p)] for name, p in start.names.items() if id(p) in largest}
    thawed = frozenset(name for name in frozen if start.names[name].requires_grad)
    lost = _lost(start.samples, training, {name: start.names[name] for name in gradients})
    return OwnRun(
        optimizer=loop.text,
        steps=taken,
        losses=tuple(losses),
        frozen=frozen,
        trainable=tuple(name for name, train in start.flags.items() if train),
        gradients=gradients,
        updates=updates,
        moved=moved,
        step=training.step,
        thawed=thawed,
        lost=lost,
        causes=_causes(loop, {n: start.names[n] for n in frozen if n in moved and n not in thawed}),
    )


class _Start:
    """The parameters at the moment of the freeze.

    Attributes:
        names: parameter by name, each under its first one, without those that cannot train.
        flags: name -> requires_grad.
        samples, updates: of the trainable ones.
    """

    def __init__(self, loop: OwnLoop) -> None:
        named = loop.under_test.model.named_parameters()
        self.names = {n: p for n, p in named if can_train(p)}
        self.flags = {name: parameter.requires_grad for name, parameter in self.names.items()}
        self._digests = {name: digest(parameter) for name, parameter in self.names.items()}
        self.samples = Samples(loop.parameters)
        loop.watch.gradients.clear()  # those of a first step with everything trainable
        self.updates = Updates(loop.parameters)
        loop.watch.listeners.append(self._look)

    def _look(self, when: str) -> None:
        if when == "before":
            self.samples.take_gradients()
            self.updates.begin()
        else:
            self.updates.end()

    def moved(self) -> frozenset[str]:
        """Return the names whose bits have changed since."""
        return frozenset(n for n, parameter in self.names.items() if digest(parameter) != self._digests[n])


class Kept:
    """A copy of every parameter and buffer, to give the model its bits back where it still has the tensor."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies: dict[str, Tensor] = {}
        for name, tensor in _state(model).items():
            with suppress(ValueError, RuntimeError):  # one without a shape yet
                self._copies[name] = tensor.detach().clone()

    def give_back(self) -> None:
        """Write the copies back, and drop them."""
        self._model.zero_grad()
        for name, tensor in _state(self._model).items():
            copied = self._copies.get(name)
            if copied is not None and copied.shape == tensor.shape:
                with suppress(RuntimeError):  # several elements in one place
                    tensor.data.copy_(copied)
        self._copies.clear()


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _warmed_up(loop: OwnLoop, prepare: Prepare) -> _Start:
    """Take a first step with everything trainable; freeze after it, or right before its optimizer step."""
    start: list[_Start] = []

    def freeze_before(when: str) -> None:
        if when == "before" and not start:
            start.append(_frozen_by_flags(loop, prepare))

    if loop.training.warm == "before-step":
        loop.watch.listeners.append(freeze_before)
    loop.train(1, lambda step: None)
    return start[0] if start else _frozen_by_flags(loop, prepare)


def _frozen_by_flags(loop: OwnLoop, prepare: Prepare) -> _Start:
    """Freeze by the flags alone, as scripts do: what is in .grad stays there."""
    left = {id(p): p.grad for p in loop.parameters if p.grad is not None}
    prepare(loop.under_test)
    for parameter in loop.parameters:
        if not parameter.requires_grad and id(parameter) in left:
            parameter.grad = loop.watch.stale[id(parameter)] = left[id(parameter)]
    return _Start(loop)


def _lost(samples: Samples, training: Training, names: dict[str, nn.Parameter]) -> dict[str, Lost]:
    found = {
        name: samples.lost(parameter, lambda chosen: build_optimizer(training, chosen))
        for name, parameter in names.items()
    }
    return {name: lost for name, lost in found.items() if lost is not None}


def _causes(loop: OwnLoop, moved: dict[str, nn.Parameter]) -> dict[str, str]:
    """Return the finding's key for each of these that the optimizer moves; takes one more step."""
    if not moved:
        return {}
    found = {name: _cause(loop.watch, parameter) for name, parameter in moved.items()}
    unclear = {name: moved[name] for name, key in found.items() if key == "zeros_for_none"}
    by_step = _moved_by_step(loop, unclear) if unclear else set()
    return {name: key for name, key in found.items() if name not in unclear or name in by_step}


def _cause(watch: Watch, parameter: nn.Parameter) -> str:
    left = watch.left.get(id(parameter))
    if left == "stale":
        return "late_freeze"
    if left == "gradient":
        return "left_gradient"
    if left == "zeros":
        return "decayed" if watch.decays(parameter) and not watch.has_momentum(parameter) else "momentum"
    return "writes_weight" if watch.has_hooks else "zeros_for_none"


def _moved_by_step(loop: OwnLoop, names: dict[str, nn.Parameter]) -> set[str]:
    """Return which of these one more optimizer step moves."""
    digests: dict[str, dict[str, bytes]] = {}

    def listen(when: str) -> None:
        digests[when] = {name: digest(parameter) for name, parameter in names.items()}

    loop.watch.listeners.append(listen)
    loop.train(1, lambda step: None)
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
