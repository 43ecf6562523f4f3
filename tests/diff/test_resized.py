"""Tensors of which one side has more rows: what is told of the rows that both have is what torch says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from freezetui.checkpoint.open import open_checkpoint
from freezetui.diff.run import diff
from freezetui.formatting.change import resized, tensor_change
from freezetui.formatting.diff import diff_lines

from .conftest import told
from .test_generated import DISTRIBUTED, allowed, bits_of, doubles, missed_by_cast, random_tensor, write

FORMATS = ("zip", "legacy", "safetensors", "shards", *DISTRIBUTED)
CONFIG = "rules:\n- freeze: embed\n"


def of_shape(chance: random.Random, dtype: str, shape: tuple[int, ...]) -> Tensor:
    tensor = random_tensor(chance, dtype)
    while not tensor.numel():
        tensor = random_tensor(chance, dtype)
    return (
        tensor.flatten()
        .repeat(-(-torch.Size(shape).numel() // tensor.numel()))[: torch.Size(shape).numel()]
        .view(shape)
    )


def resize(chance: random.Random, dtype: str) -> tuple[Tensor, Tensor]:
    """Return a tensor before and after: other rows, a few changed perhaps, some with their own strides."""
    rest = tuple(chance.randint(1, 5) for _ in range(chance.randint(0, 2)))
    few, many = sorted(chance.sample(range(1, 30), 2))
    before = of_shape(chance, dtype, (many, *rest))
    after = before[:few].clone()
    if chance.random() < 0.5:
        row = chance.randrange(few)
        after[row] = of_shape(chance, dtype, rest) if rest else before[chance.randrange(many)]
    if rest and chance.random() < 0.3:
        before = before.transpose(0, 1).contiguous().transpose(0, 1)
    if chance.random() < 0.2 and dtype in ("float32", "float64"):
        after = after.to(torch.bfloat16)
    return (before, after) if chance.random() < 0.5 else (after, before)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("seed", range(len(FORMATS)))
def test_the_rows_that_both_have(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    torch.manual_seed(seed)
    kinds = FORMATS[seed], chance.choice(FORMATS)
    dtypes = [dtype for dtype in allowed(kinds[0]) if dtype in allowed(kinds[1])]
    couples = {f"layer.{i}.weight": resize(chance, chance.choice(dtypes)) for i in range(25)}
    for number, kind in enumerate(kinds):
        write({name: couple[number] for name, couple in couples.items()}, kind, tmp_path / str(number))
    sides = (
        next(iter((tmp_path / str(number)).glob("model.*")), tmp_path / str(number)) for number in (0, 1)
    )
    report = diff(*(open_checkpoint(path if path.suffix != ".json" else path.parent) for path in sides))
    assert len(report.tensors) == 25
    for tensor in report.tensors:
        before, after = couples[tensor.name]
        rows = min(len(before), len(after))
        before, after = before[:rows], after[:rows]
        assert (tensor.status, tensor.rows) == ("reshaped", rows)
        if before.dtype != after.dtype:
            assert tensor.changed == missed_by_cast(before, after)
            assert (tensor.rows_changed == 0) == (tensor.changed == 0)
            continue
        different = (bits_of(before) != bits_of(after)).view(rows, -1).any(1)
        assert tensor.rows_changed == int(different.sum())
        one, other = doubles(before), doubles(after)
        finite = one.isfinite() & other.isfinite()
        delta = (other - one)[finite].abs()
        if tensor.changed and finite.any() and delta.max() < 1e150:
            assert tensor.max_delta == pytest.approx(float(delta.max()), rel=1e-5, abs=1e-150)


def test_a_larger_vocabulary_in_words_and_in_the_verdict(compared, state):
    words = state["embed.weight"]
    grown = {**state, "embed.weight": torch.cat((words, torch.ones(2, 16)))}
    report = compared(state, grown, CONFIG)
    assert resized(told(report, "embed.weight")) == ["the first 50 rows are unchanged, 2 added"]
    assert report.judged is not None
    assert (report.judged.verdict, report.judged.reason) == (
        "inconclusive",
        "1 of 1 frozen tensor with a different shape in AFTER (the rows in both files: unchanged in 1)",
    )
    grown["embed.weight"][3] *= 2
    report = compared(grown, state, CONFIG)
    found = told(report, "embed.weight")
    assert tensor_change(found)[:2] == [
        "reshaped: 52x16 → 50x16",
        "1 of the first 50 rows changed, 2 removed",
    ]
    assert report.judged is not None
    assert report.judged.reason.endswith("(the rows in both files: changed in 1)")
    assert report.exit_code == 3
    lines = "\n".join(diff_lines(report))
    assert "1 of the first 50 rows changed, 2 removed" in lines


def test_a_head_of_other_classes_trained_even_if_it_cannot_be_compared_bit_for_bit(compared, state):
    other = {**state, "head.weight": torch.randn(7, 16), "head.bias": state["head.bias"][:1]}
    report = compared(state, other, CONFIG)
    assert resized(told(report, "head.weight")) == ["all of the first 4 rows changed, 3 added"]
    assert resized(told(report, "head.bias")) == ["the first element is unchanged, 3 removed"]
    assert report.judged is not None
    assert (report.judged.verdict, report.judged.trainable.moved) == ("held", 1)
    assert "trainable: 1 of 6 changed (1 not comparable bit for bit)" in "\n".join(diff_lines(report))


@pytest.mark.parametrize("shape", [(4, 8), (16, 4, 2), (0, 16), (64,), ()])
def test_other_shapes_have_no_rows_in_common(compared, state, shape):
    report = compared(state, {**state, "embed.weight": torch.ones(shape)})
    found = told(report, "embed.weight")
    assert (found.status, found.rows, found.rows_changed, found.changed) == ("reshaped", None, None, None)
