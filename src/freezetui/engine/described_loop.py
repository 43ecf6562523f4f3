"""Tells what a check's steps were taken with: the optimizer, the data and the loss."""

from __future__ import annotations

from freezetui.engine.loop import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from freezetui.engine.model_under_test import ModelUnderTest

_OPTIMIZER = f"SGD(lr={LEARNING_RATE}, momentum={MOMENTUM}, weight_decay={WEIGHT_DECAY})"


def described_loop(under_test: ModelUnderTest) -> str:
    """Return in one line what `Loop` has used for a model."""
    if under_test.step is not None:
        return f"{_OPTIMIZER} in place of your optimizer, in your own {under_test.step.text}"
    if under_test.batch is None:
        return f"{_OPTIMIZER} on random gradients, without data or a loss"
    inputs = f"your {under_test.given}" if under_test.given else "random inputs, without your data or labels"
    return f"{_OPTIMIZER} on {inputs}; the loss is a random projection of the outputs"
