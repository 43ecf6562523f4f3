"""NaN and infinity that appeared, or that are gone."""

from __future__ import annotations

import pytest
import torch
from torch import inf, nan

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff_series
from freezetui.formatting.change import counted, tensor_change
from freezetui.formatting.diff import diff_lines
from freezetui.formatting.series import series_lines

from .conftest import State, told


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e5m2])
def test_nan_and_infinity_that_became_finite_are_counted(compared, dtype):
    before, after = torch.ones(4, 8), torch.ones(4, 8)
    before[0, :3], before[1, 0], before[2, 0], after[1, 1], after[2, 1:4] = nan, inf, nan, nan, -inf
    before[3, 0], after[2, 0], after[3, 0] = -inf, inf, inf
    found = told(compared({"w": before.to(dtype)}, {"w": after.to(dtype)}), "w")
    assert (found.nan, found.inf, found.from_nan, found.from_inf) == (1, 4, 3, 1)
    assert (found.changed, found.looks, found.rows_changed) == (10, "", 4)
    words = ["1 became NaN", "4 became Inf", "3 NaN became finite", "1 Inf became finite"]
    assert counted(found) == words and tensor_change(found)[1:] == words


def test_a_change_from_nan_or_of_the_sign_of_infinity_has_no_size(compared):
    before = {"a": torch.tensor([nan, 1.0]), "b": torch.tensor([inf, 1.0]), "c": torch.tensor([0.0, 1.0])}
    after = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([-inf, 1.0]), "c": torch.tensor([-0.0, 1.0])}
    report = compared(before, after)
    rows = {line.split()[2]: line.split()[4:8] for line in diff_lines(report) if line.startswith("~")}
    del rows["model"]
    assert rows == {
        "a": ["float32", "50%", "1", "NaN"],
        "b": ["float32", "50%"],
        "c": ["float32", "50%", "0", "only"],
    }
    assert ["max" in " ".join(tensor_change(tensor)) for tensor in report.tensors] == [False, False, True]


def test_nan_that_is_gone_from_a_frozen_tensor_is_said(compared, state: State):
    before = {**state, "embed.weight": state["embed.weight"].clone()}
    before["embed.weight"][3, 2] = nan
    report = compared(before, {**state, "head.bias": state["head.bias"] + 1}, "rules:\n  - freeze: embed\n")
    [finding] = [found for found in report.judged.findings if "embed.weight" in found.tensors]
    assert "changed, and NaN became finite:" in finding.message


def test_a_series_says_in_which_step_nan_appeared(tmp_path):
    state = {"head.weight": torch.ones(4), "head.bias": torch.ones(4)}
    for number in range(4):
        state = {name: tensor + 1 for name, tensor in state.items()}
        state["head.bias"][1] = nan if number in (2, 3) else 1.0
        torch.save(state, tmp_path / f"{number}.pth")
    series = diff_series([open_checkpoint(tmp_path / f"{number}.pth") for number in range(4)])
    lines = [line for line in series_lines(series) if "NaN" in line]
    assert lines == ["step 2: NaN or Inf appeared in 1 tensor: head.bias"]


def test_lines_of_several_tensors_say_how_many_elements_became_nan(compared):
    before = {f"blocks.{block}.{name}": torch.ones(8) for block in range(4) for name in ("a", "b")}
    after = {name: tensor + torch.tensor([nan, inf] + [1.0] * 6) for name, tensor in before.items()}
    report = compared({**before, "head": torch.ones(2)}, {**after, "head": torch.ones(2)})
    [line] = [line for line in diff_lines(report) if "{0..3} ×4" in line]
    assert line.endswith("  8 became NaN; 8 became Inf")
    [line] = [line for line in diff_lines(report, stat=True) if line.startswith("blocks")]
    assert line.endswith("  8 became NaN; 8 became Inf")
    assert f"{'':14}8 became NaN; 8 became Inf" in list(diff_lines(report, stat=True, width=60))
