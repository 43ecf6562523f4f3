"""What the changes of many tensors come to."""

from __future__ import annotations

from math import hypot, inf
from time import process_time

import pytest

from freezetui.diff.report import TensorDiff, leading, relative_change


def changed(name: str, delta: float, kind: str = "parameter", dtype: str = "float32") -> TensorDiff:
    """Return a tensor of norm 1 that has changed."""
    return TensorDiff(name, "changed", kind, (2,), dtype, 2, changed=1, delta_norm=delta, norm=1.0)


def test_parameters_count_before_statistics_and_these_before_counters() -> None:
    weight, mean = changed("weight", 0.1), changed("mean", 3.0, "buffer")
    counter = changed("counter", 10.0, "buffer", "int64")
    assert leading([counter, mean, weight]) == [weight]
    assert leading([counter, mean]) == [mean]
    assert leading([counter]) == [counter]
    assert leading([]) == []
    assert relative_change([counter, mean, weight]) == pytest.approx(0.1)
    assert relative_change([weight, changed("bias", 0.2)]) == pytest.approx(hypot(0.1, 0.2) / hypot(1, 1))


def test_ten_times_the_tensors_take_about_ten_times_as_long() -> None:
    def seconds(count: int) -> float:
        tensors, best = [changed(f"layers.{i}.weight", 0.1) for i in range(count)], inf
        for _ in range(3):
            started = process_time()
            relative_change(tensors)
            best = min(best, process_time() - started)
        return best

    assert seconds(20_000) < 40 * seconds(2_000)  # a square would take a hundred times as long
