"""Forward passes after the steps, in train and in eval mode, on batches that the steps did not have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import perf_counter, thread_time

import torch
from torch import Tensor, nn

from freezetui.engine.lookups import Lookups
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.training.digest import digest

#: In each mode; more in train mode while they are cheap, for what acts only every tenth call.
_MIN_FORWARDS, _MAX_FORWARDS = 2, 12
_MIN_SECONDS = 0.2
#: Of the time that the steps took.
_SHARE = 0.05
#: The first of their batches: none that a step has had.
_FIRST_BATCH = 1000


@dataclass(frozen=True)
class Further:
    """What forward passes without gradients changed.

    Attributes:
        in_train: names whose bits changed in train mode only, or once.
        in_eval: names whose bits change in eval mode, too.
        count: how many passes ran, in both modes together.
        failed: "train" or "eval", the modes in which the model raised.
        seconds: that the passes themselves took.
    """

    in_train: frozenset[str] = frozenset()
    in_eval: frozenset[str] = frozenset()
    count: int = 0
    failed: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def looked(self) -> bool:
        """Whether there was a pass in eval mode."""
        return self.count > 0 and "eval" not in self.failed


def look_further(under_test: ModelUnderTest, before: dict[str, bytes], seconds: float) -> Further:
    """Run further forward passes, and compare these tensors; leaves the model in train mode.

    What eval() rewrites and train() restores, such as a merged adapter, has not changed.

    Args:
        before: name -> digest, of the tensors as they are now.
        seconds: how long the steps took.
    """
    model = under_test.model
    if under_test.batch is None:
        return Further()
    started = perf_counter()
    limit = max(_MIN_SECONDS, _SHARE * seconds)
    lookups = Lookups()
    with lookups:
        in_train, train_failed = _forwards(under_test, _FIRST_BATCH, _MAX_FORWARDS, limit)
    lookups.look_up_long_rows()
    in_eval, eval_failed = _in_eval(under_test, _FIRST_BATCH + _MAX_FORWARDS)
    seconds = perf_counter() - started
    now = digests(model, before)
    found, by_eval = changed(before, now), frozenset[str]()
    if found and not eval_failed:
        now = {name: now[name] for name in found if name in now}
        started = perf_counter()
        more, _ = _in_eval(under_test, _FIRST_BATCH + 2 * _MAX_FORWARDS)
        seconds, in_eval = seconds + perf_counter() - started, in_eval + more
        by_eval = changed(now, digests(model, now))
    failed = tuple(mode for mode, raised in (("train", train_failed), ("eval", eval_failed)) if raised)
    return Further(found - by_eval, by_eval, in_train + in_eval, failed, seconds)


def _in_eval(under_test: ModelUnderTest, first: int) -> tuple[int, bool]:
    """Run forward passes in eval mode, and go back to train mode."""
    under_test.model.eval()
    result = _forwards(under_test, first, _MIN_FORWARDS, 0.0)
    under_test.model.train()
    return result


def _forwards(under_test: ModelUnderTest, first: int, most: int, seconds: float) -> tuple[int, bool]:
    """Run two forward passes, and more within some seconds; return how many, and whether one raised.

    Args:
        seconds: of this thread's processor time, so that a busy machine does not see less.
    """
    started = thread_time()
    for i in range(most):
        if i >= _MIN_FORWARDS and thread_time() - started > seconds:
            return i, False
        try:
            forward(under_test, first + i)
        except (
            Exception,
            SystemExit,
        ):  # of the user's code, on a batch or in a mode that it may not be made for
            return i, True
    return most, False


@torch.no_grad()
def forward(under_test: ModelUnderTest, step: int) -> None:
    """Run one forward pass without gradients, and not compiled: each mode would compile it again."""
    assert under_test.batch is not None
    torch.manual_seed(under_test.seed + step)
    args, kwargs = under_test.batch(step)
    replace(under_test, forward=None)(*args, **kwargs)


def digests(model: nn.Module, names: Iterable[str]) -> dict[str, bytes]:
    """Return the digest of each of these parameters and buffers that the model still has."""
    tensors, known = named_tensors(model), dict[int, bytes]()
    found = {}
    for name in names:
        if name in tensors:
            tensor = tensors[name]
            found[name] = known[id(tensor)] = known.get(id(tensor)) or digest(tensor)
    return found


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, tied ones under each name."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> frozenset[str]:
    """Return the names whose digests differ, or that are gone."""
    return frozenset(name for name in before if before[name] != after.get(name))
