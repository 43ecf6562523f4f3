"""Takes steps as the user's script does: its optimizer, its learning rate, and when it freezes."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.loop import fill_gradients, parameters_of, projected_loss
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.optimizers import Watch, build_optimizer, described
from freezetui.engine.precision import Lost, Samples
from freezetui.engine.run import Prepare, train_everything
from freezetui.engine.why_unchanged import NO_GRADIENT, PRECISION, ZERO
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding, FrozenPart, OwnTraining, TrainablePart, Unchanged
from freezetui.sanity.training import Training
from freezetui.training.digest import digest
from freezetui.user_code import user_code

#: From this share of lost elements on a tensor is named that changes in part.
_MIN_SHARE = 0.5
_NO_UPDATE = "no update"


@dataclass(frozen=True)
class OwnRun:
    """What the steps did.

    Attributes:
        optimizer: as a script writes it.
        losses: one per step; empty without a forward pass.
        gradients: trainable parameter -> largest absolute gradient; absent if it never received one.
        moved: the parameters whose bits changed after the freeze.
        causes: frozen parameter that the optimizer moved -> the finding's key.
        lost: trainable parameter -> how far its updates were lost.
    """

    optimizer: str
    steps: int
    losses: tuple[float, ...]
    frozen: tuple[str, ...]
    trainable: tuple[str, ...]
    gradients: dict[str, float]
    moved: frozenset[str]
    causes: dict[str, str] = field(default_factory=dict)
    lost: dict[str, Lost] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether every loss was a finite number."""
        return all(map(math.isfinite, self.losses))

    @property
    def part(self) -> OwnTraining:
        """The report's part."""
        moved = tuple(name for name in self.frozen if name in self.moved)
        still = tuple(
            Unchanged(name, self._reason(name)) for name in self.trainable if not self._trains(name)
        )
        return OwnTraining(
            self.optimizer,
            self.steps,
            tuple(loss if math.isfinite(loss) else None for loss in self.losses),
            FrozenPart(len(self.frozen), len(self.frozen) - len(moved), moved),
            TrainablePart(len(self.trainable), len(self.trainable) - len(still), still),
        )

    def findings(self, known: Iterable[str]) -> list[Finding]:
        """Return one finding per cause.

        Args:
            known: frozen parameters whose movement is explained already, by the model's own code.
        """
        found = [] if self.finite else [finding("own_not_finite", optimizer=self.optimizer)]
        by_cause: dict[str, list[str]] = defaultdict(list)
        for name, key in self.causes.items():
            if name not in known:
                by_cause[key].append(name)
        found += [
            finding(key, names, optimizer=self.optimizer, phase="optimizer's hook")
            for key, names in by_cause.items()
        ]
        return found + (self._losses_of_updates() if self.finite else [])

    def _trains(self, name: str) -> bool:
        return name in self.moved and bool(self.gradients.get(name))

    def _reason(self, name: str) -> str:
        gradient, lost = self.gradients.get(name), self.lost.get(name)
        if not gradient:
            return NO_GRADIENT if gradient is None else ZERO
        return PRECISION if lost is not None and lost.update else _NO_UPDATE

    def _losses_of_updates(self) -> list[Finding]:
        by_key: dict[str, list[str]] = defaultdict(list)
        for name in self.trainable:
            lost = self.lost.get(name)
            if not self.gradients.get(name):
                continue
            if name not in self.moved:
                too_small = lost is not None and lost.update
                by_key["lost_update" if too_small else "no_update"].append(name)
            elif lost is not None and lost.share >= _MIN_SHARE and lost.update < lost.spacing:
                by_key["lost_in_part"].append(name)
        return [self._loss_of_updates(key, names) for key, names in by_key.items()]

    def _loss_of_updates(self, key: str, names: list[str]) -> Finding:
        lost = [self.lost[name] for name in names if name in self.lost]
        if not lost:
            return finding(key, names, optimizer=self.optimizer)
        worst = max(lost, key=lambda each: each.update)
        return finding(
            key,
            names,
            optimizer=self.optimizer,
            update=f"{worst.update:.2g}",
            spacing=f"{worst.spacing:.2g}",
            dtype=worst.dtype,
            share=f"up to {max(each.share for each in lost):.0%}",
        )


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
        fill_gradients(loss, self.parameters)
        return loss

    def update(self, step: int) -> None:
        """Take an optimizer step.

        Raises:
            ModelError: the optimizer raised.
        """
        with user_code(f"The step of {self.text}", is_out_of_memory):
            if _needs_closure(self.optimizer):
                self.optimizer.step(lambda: self._closure(step))  # type: ignore[arg-type,return-value]
            else:
                self.optimizer.step()

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
    losses = []
    for step in range(steps):
        progress(step)
        loss = loop.gradients(step + 1)
        loop.update(step + 1)
        if loss is not None:
            losses.append(loss.item())
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


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` cannot be called without one, as that of L-BFGS."""
    try:
        parameters = inspect.signature(type(optimizer).step).parameters
    except (TypeError, ValueError):
        return False
    closure = parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
