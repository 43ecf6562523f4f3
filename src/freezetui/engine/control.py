"""The control run: everything trainable, to see what would have changed if it were not frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from freezetui.engine.device import is_out_of_memory
from freezetui.engine.model_under_test import ModelUnderTest
from freezetui.engine.run import RunResult, run, train_everything
from freezetui.errors import ModelError
from freezetui.sanity.codes import finding
from freezetui.sanity.report import Finding


class Control(NamedTuple):
    """What the control run did.

    Attributes:
        result: None if it failed, or no forward is possible.
        findings: why it failed.
    """

    result: RunResult | None = None
    findings: tuple[Finding, ...] = ()


def control_run(under_test: ModelUnderTest, steps: int, progress: Callable[[int], None]) -> Control:
    """Run with everything trainable, if a forward is possible."""
    if under_test.batch is None:
        return Control()
    try:
        return Control(run(under_test, train_everything, steps, progress))
    except (ModelError, RuntimeError, MemoryError) as error:
        if isinstance(error, ModelError):
            reason = f"fails with everything trainable ({error.message})"
        elif is_out_of_memory(error):
            reason = "runs out of memory with everything trainable"
        else:
            raise
    under_test.model.zero_grad()
    return Control(None, (finding("no_control", reason=reason),))
