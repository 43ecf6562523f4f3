"""Runs a few training steps under one config and records what changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from time import perf_counter

import torch
from torch import nn

from freezetui.config.schema import ConfigData
from freezetui.engine.buffers import Surroundings, counters, surroundings
from freezetui.engine.device import synchronize
from freezetui.engine.further import Further, look_further
from freezetui.engine.hooks import Hook
from freezetui.engine.loop import Loop
from freezetui.engine.memory import saved_for_backward, training_state
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.not_finite import Source, Watch
from freezetui.models.live_names import can_train, same_tensor
from freezetui.training.apply import Applied, apply, apply_checked
from freezetui.training.digest import digest_state
from freezetui.training.norms import hold_norms, is_held


@dataclass(frozen=True)
class RunResult:
    """What one run did.

    Attributes:
        moved: parameters and buffers whose bits changed, tied ones under each name; those of `further` too.
        planned: parameter -> requires_grad as the config set it; tied ones under the first name only, and
            without those that cannot train.
        final_flags: each of these parameters -> requires_grad, read from the model after the last step.
        toggled: parameters whose flag was another after a forward pass than the config set.
        replaced: parameters that are another object after the steps; vanished: those whose name is gone.
        renamed: those of the vanished whose bits are there under a new name.
        empty: parameters without elements, of which nothing can change.
        around: buffer -> what surrounds it.
        counted: buffers that only count: one whole number before and after.
        gradients: parameter -> largest absolute gradient; absent if it never received one.
        updates: trainable parameter -> largest |update| / |weight| of a step; absent without a gradient.
        evidence: parameters that a step without weight decay changes.
        ran: paths of the modules whose forward was called.
        losses: one per step; empty without a forward pass.
        held: paths of the norm layers that are kept in eval; awake: those in train mode after the steps.
        step_seconds: of the fastest step, since other load on the machine only makes steps slower.
        step_spread: how much longer the second fastest took; None if there was one step.
        memory_bytes: gradients, optimizer state and tensors saved for backward; on CUDA the peak.
        overhead_seconds: spent on digests.
        digests: of every tensor after the steps.
        not_finite: where the first loss that is not finite comes from; None if all are, or it is not known.
        further: what forward passes after the steps changed.
    """

    moved: frozenset[str]
    planned: dict[str, bool]
    final_flags: dict[str, bool]
    toggled: frozenset[str]
    replaced: frozenset[str]
    vanished: frozenset[str]
    renamed: frozenset[str]
    empty: frozenset[str]
    around: dict[str, Surroundings]
    counted: frozenset[str]
    gradients: dict[str, float]
    updates: dict[str, float]
    evidence: frozenset[str]
    ran: frozenset[str]
    losses: tuple[float, ...]
    held: frozenset[str]
    awake: frozenset[str]
    step_seconds: float
    memory_bytes: int
    overhead_seconds: float
    digests: dict[str, bytes]
    step_spread: float | None = None
    not_finite: Source | None = None
    further: Further = field(default_factory=Further)

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
        changed = self.moved & self.evidence
        return frozenset(n for n in self.trainable if n in changed and self.gradients.get(n))

    @property
    def unfrozen(self) -> frozenset[str]:
        """The frozen parameters that the model's own code has made trainable, for good or for a backward."""
        for_backward = self.toggled & self.gradients.keys()
        changed = (n for n in self.frozen if n in for_backward or self.final_flags.get(n))
        return frozenset(changed) - self.replaced

    @property
    def refrozen(self) -> frozenset[str]:
        """The trainable parameters that the model's own code has frozen."""
        return frozenset(n for n in self.trainable if self.final_flags.get(n) is False) - self.replaced

    @property
    def changed_frozen(self) -> list[str]:
        """The frozen parameters whose bits changed, without those whose names are gone."""
        return [name for name in self.frozen if name in self.moved and name not in self.vanished]

    @property
    def frozen_buffers(self) -> list[str]:
        """The buffers that something frozen surrounds."""
        return [name for name, around in self.around.items() if around != "trainable"]

    @property
    def drifted(self) -> list[str]:
        """Those of them that changed."""
        return [name for name in self.frozen_buffers if name in self.moved]

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
        if can_train(parameter):
            type(parameter).requires_grad_(parameter, True)  # a script may have set an attribute of that name


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
    first, around, counted = _first_names(model), surroundings(model), counters(model)
    planned = {name: flag for name, flag in _flags(model).items() if name in first}
    start = dict(model.named_parameters(remove_duplicate=False))
    held = frozenset(path for path, module in model.named_modules() if is_held(module))
    before, reading = _digests(under_test)
    model.train()
    loop, watch, toggled = Loop(under_test), Watch(under_test), set[str]()

    def after_forward() -> None:
        toggled.update(name for name, flag in planned.items() if start[name].requires_grad is not flag)

    with _recorded_calls(model) as ran:
        losses, seconds, memory = _train(under_test, loop, steps, progress, after_forward, watch)
    after, rereading = _digests(under_test)
    end = dict(model.named_parameters(remove_duplicate=False))
    now, largest = counters(model), loop.updates.largest
    new = {after[name] for name in after if name not in before}
    vanished = frozenset(name for name in planned if name not in after)
    return RunResult(
        moved=frozenset(name for name in before if before[name] != after.get(name)),
        planned=planned,
        final_flags=_flags(model),
        toggled=frozenset(toggled),
        replaced=frozenset(name for name in planned if name in end and end[name] is not start[name]),
        vanished=vanished,
        renamed=frozenset(name for name in vanished if before[name] in new),
        empty=frozenset(name for name in planned if not start[name].numel()),
        around=around,
        counted=frozenset(name for name in counted if name in now),
        gradients={n: loop.gradients[id(p)] for n, p in (end | start).items() if id(p) in loop.gradients},
        updates={n: largest[id(p)] for n, p in (end | start).items() if id(p) in largest},
        evidence=frozenset(name for name, p in start.items() if id(p) in loop.evidence),
        ran=frozenset(ran),
        losses=losses,
        held=held,
        awake=frozenset(path for path, module in model.named_modules() if path in held and module.training),
        step_seconds=min(seconds),
        step_spread=sorted(seconds)[1] - min(seconds) if len(seconds) > 1 else None,
        memory_bytes=memory,
        overhead_seconds=reading + rereading,
        digests=after,
        not_finite=watch.source,
    )


def looked_further(under_test: ModelUnderTest, result: RunResult) -> RunResult:
    """Run more forward passes on other batches, and add what they change of what must hold."""
    started = perf_counter()
    before = {n: result.digests[n] for n in (*result.frozen, *result.frozen_buffers) if n in result.digests}
    further = look_further(under_test, before, result.step_seconds * len(result.losses))
    return replace(
        result,
        further=further,
        moved=result.moved | further.in_train | further.in_eval,
        final_flags=_flags(under_test.model),
        overhead_seconds=result.overhead_seconds + max(0.0, perf_counter() - started - further.seconds),
    )


def _train(
    under_test: ModelUnderTest,
    loop: Loop,
    steps: int,
    progress: Callable[[int], None],
    after_forward: Callable[[], None],
    watch: Watch,
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
            after_forward()
            loop.backward(loss)
        watch.look(loop, loss, step)
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
                hook = module.register_forward_pre_hook(Hook(lambda *_, path=path: ran.add(path)))
                hooks.callback(hook.remove)
        yield ran


def _flags(model: nn.Module) -> dict[str, bool]:
    """Return parameter -> requires_grad, without those that cannot train."""
    return {
        name: parameter.requires_grad
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if can_train(parameter)
    }


def _first_names(model: nn.Module) -> set[str]:
    """Return one name per parameter that is not tied to an earlier one."""
    first: dict[object, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first.setdefault(same_tensor(parameter), name)
    return set(first.values())


def _digests(under_test: ModelUnderTest) -> tuple[dict[str, bytes], float]:
    """Return the digest of every tensor by name, and the seconds it took."""
    synchronize(under_test.device)
    started = perf_counter()
    digests = digest_state(under_test.model)
    return digests, perf_counter() - started
