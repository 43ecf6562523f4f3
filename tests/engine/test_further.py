"""The forward passes after the steps."""

from __future__ import annotations

from time import sleep

import torch

from freezetui.engine.further import look_further
from freezetui.engine.model_under_test import Batch, ModelUnderTest
from support.traps import Net, floats


def test_a_busy_machine_runs_as_many_passes() -> None:
    def delayed(step: int) -> Batch:
        sleep(0.05)
        return floats(step)

    passes = [
        look_further(ModelUnderTest(Net(), batch, torch.device("cpu")), {}, 0.0).count
        for batch in (floats, delayed)
    ]
    assert passes == [14, 14]
