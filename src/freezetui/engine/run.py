"""Runs a few training steps under one config and records what changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn

from freezetui.config.schema import ConfigData
from freezetui.engine.device import synchronize
from freezetui.engine.loop import Loop
from freezetui.engine.memory import saved_for_backward, training_state
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.models.live_names import same_tensor
from freezetui.training.apply import Applied, apply, apply_checked
from freezetui.training.digest import digest_state
from freezetui.training.norms import hold_norms, is_frozen, is_held


@dataclass(frozen=True)
class RunResult:
    """What one run did.

    Attributes:
        moved: parameters and buffers whose bits changed, tied ones under each name.
        planned: parameter -> requires_grad as the config set it; tied ones under the first name only, and
            without those that cannot train.
        final_flags: each of these parameters -> requires_grad, read from the model after the last step.
        frozen_buffers: the buffers of modules whose parameters are all frozen.
        gradients: parameter -> largest absolute gradient; absent if it never received one.
        ran: paths of the modules whose forward was called.
        losses: one per step; empty without a forward pass.
        held: paths of the norm layers that are kept in eval.
        step_seconds: of the fastest step, since other load on the machine only makes steps slower.
        memory_bytes: gradients, optimizer state and tensors saved for backward; on CUDA the peak.
        overhead_seconds: spent on digests.
    """

    moved: frozenset[str]
    planned: dict[str, bool]
    final_flags: dict[str, bool]
    frozen_buffers: tuple[str, ...]
    gradients: dict[str, float]
    ran: frozenset[str]
    losses: tuple[float, ...]
    held: frozenset[str]
    step_seconds: float
    memory_bytes: int
    overhead_seconds: float

    @property
    def frozen(self) -> list[str]:
        """The parameters that must stay unchanged."""
        return [name for name, train in self.planned.items() if not train]

    @property
    def trainable(self) -> list[str]:
        """The parameters that should change."""
        return [name for name, train in self.planned.items() if train]

    @property
    def trained(self) -> frozenset[str]:
        """The trainable parameters that changed by their gradient: weight decay alone changes bits too."""
        return frozenset(n for n in self.trainable if n in self.moved and self.gradients.get(n))

    @property
    def finite(self) -> bool:
        """Whether every loss was a finite number."""
        return all(map(math.isfinite, self.losses))


Prepare = Callable[[ModelUnderTest], object]


def following(config: ConfigData, stage: str | None = None) -> Prepare:
    """Return what applies a stage of `config` as a training script does: strictly, by the same code."""

    def prepare(under_test: ModelUnderTest) -> Applied:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the constructor froze is a finding
            if under_test.tensors is None:
                return apply(config, under_test.model, stage)
            return apply_checked(config, under_test.model, under_test.tensors, stage)

    return prepare


def train_everything(under_test: ModelUnderTest) -> None:
    """Make every parameter trainable, and let norms follow `train()`."""
    hold_norms(under_test.model, {})
    for parameter in under_test.model.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)


def run(
    under_test: ModelUnderTest, prepare: Prepare, steps: int, progress: Callable[[int], None]
) -> RunResult:
    """Set the flags, train for `steps` steps, and compare every bit.

    Args:
        prepare: sets the flags: `following(config)` or `train_everything`.
        progress: called with each step's number, from 0, as it begins.

    Raises:
        ConfigError, PatternError: the config does not fit the model.
        ModelError: the model's own code raised.
    """
    model = under_test.model
    prepare(under_test)
    first, frozen_buffers = _first_names(model), _frozen_buffers(model)
    planned = {name: flag for name, flag in _flags(model).items() if name in first}
    held = frozenset(path for path, module in model.named_modules() if is_held(module))
    before, reading = _digests(under_test)
    model.train()
    loop = Loop(under_test)
    with _recorded_calls(model) as ran:
        losses, seconds, memory = _train(under_test, loop, steps, progress)
    after, rereading = _digests(under_test)
    parameters = model.named_parameters(remove_duplicate=False)
    return RunResult(
        moved=frozenset(name for name in before if before[name] != after.get(name)),
        planned=planned,
        final_flags=_flags(model),
        frozen_buffers=frozen_buffers,
        gradients={name: loop.gradients[id(p)] for name, p in parameters if id(p) in loop.gradients},
        ran=frozenset(ran),
        losses=losses,
        held=held,
        step_seconds=min(seconds),
        memory_bytes=memory,
        overhead_seconds=reading + rereading,
    )


def _train(
    under_test: ModelUnderTest, loop: Loop, steps: int, progress: Callable[[int], None]
) -> tuple[tuple[float, ...], list[float], int]:
    """Take the steps; return their losses, how many seconds each took, and the bytes that they need."""
    losses, seconds, memory = [], [], 0
    if under_test.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(under_test.device)
    for step in range(steps):
        progress(step)
        counting = saved_for_backward(under_test.model) if step == 0 else nullcontext(lambda: 0)
        started = perf_counter()
        with counting as saved:
            loss = loop.forward(step)
            memory = max(memory, saved())
            loop.backward(loss)
        loop.optimize()
        synchronize(under_test.device)
        seconds.append(perf_counter() - started)
        if (value := loop.value(loss)) is not None:
            losses.append(value)
        del loss
    memory += training_state(loop.optimizer)
    if under_test.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(under_test.device)
    return tuple(losses), seconds, memory


@contextmanager
def _recorded_calls(model: nn.Module) -> Iterator[set[str]]:
    """Collect the paths of the modules whose forward is called; leave no hook behind."""
    ran: set[str] = set()
    with ExitStack() as hooks:
        for path, module in model.named_modules(remove_duplicate=False):
            with suppress(RuntimeError):  # not supported on scripted modules
                hook = module.register_forward_pre_hook(lambda *_, path=path: ran.add(path))
                hooks.callback(hook.remove)
        yield ran


def _flags(model: nn.Module) -> dict[str, bool]:
    """Return parameter -> requires_grad, without those that cannot train."""
    return {
        name: parameter.requires_grad
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.is_floating_point() or parameter.is_complex()
    }


def _first_names(model: nn.Module) -> set[str]:
    """Return one name per parameter that is not tied to an earlier one."""
    first: dict[object, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first.setdefault(same_tensor(parameter), name)
    return set(first.values())


def _frozen_buffers(model: nn.Module) -> tuple[str, ...]:
    """Return the buffers of every module whose parameters, or those of the nearest parent, are all frozen."""
    return tuple(
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if module._buffers and is_frozen(model, path)
        for name, buffer in module._buffers.items()
        if buffer is not None
    )


def _digests(under_test: ModelUnderTest) -> tuple[dict[str, bytes], float]:
    """Return the digest of every tensor by name, and the seconds it took."""
    synchronize(under_test.device)
    started = perf_counter()
    digests = digest_state(under_test.model)
    return digests, perf_counter() - started
