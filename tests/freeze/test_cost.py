"""Memory of training a plan, from counts and dtypes."""

from __future__ import annotations

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.cost import full_training_memory, training_memory
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree


def test_gradients_and_two_moments_of_what_trains_in_its_dtype():
    tree = ParamTree(
        [
            TensorInfo("a.weight", (10, 10), "bfloat16"),
            TensorInfo("b.weight", (10, 10), "float32"),
            TensorInfo("b.mean", (10,), "float32", "buffer"),
        ]
    )
    plan = FreezePlan(tree)
    full = 640 + 600 + 1200
    assert tuple(training_memory(plan.totals())) == (640, 600, 1200)
    assert training_memory(plan.totals()).total == full_training_memory(plan.totals()).total == full
    plan.set([(1, 2)], False)
    assert tuple(training_memory(plan.totals())) == (640, 200, 400)
    plan.set([(0, 3)], False)
    assert tuple(training_memory(plan.totals())) == (640, 0, 0)
    assert full_training_memory(plan.totals()).total == full
