"""Digests see every bit, and FreezeGuard uses them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezetui.freeze.rules import Rule
from freezetui.training.config import FreezeConfig
from freezetui.training.digest import digest, digest_state
from freezetui.training.guard import FreezeGuard, FreezeMoved

DTYPES = [
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.complex64,
    torch.int64,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (7,), (3, 5)])
def test_one_flipped_bit_is_seen_in_every_dtype(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape).to(dtype)
    before = digest(tensor)
    assert digest(tensor.clone()) == before
    tensor.reshape(-1).view(torch.uint8)[-1] ^= 1
    assert digest(tensor) != before


@given(st.lists(st.integers(0, 3), min_size=2, max_size=3), st.booleans())
def test_only_values_shape_and_dtype_count_not_the_layout(shape: list[int], flip: bool) -> None:
    tensor = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    view = tensor.transpose(0, 1).contiguous().transpose(0, 1) if flip else tensor[..., :]
    assert digest(view) == digest(tensor)
    assert digest(tensor.reshape(-1)) != digest(tensor)


def test_bits_not_values_are_compared() -> None:
    nan = torch.tensor([float("nan")])
    assert digest(nan) == digest(nan.clone())
    assert digest(torch.tensor(0.0)) != digest(torch.tensor(-0.0))


@pytest.mark.parametrize(
    ("tensor", "same"),
    [
        (torch.eye(2).to_sparse(), torch.eye(2).to_sparse()),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j])),
        (torch.arange(6).reshape(2, 3)[:, 1], torch.tensor([1, 4])),
    ],
    ids=["sparse", "conjugate view", "strided"],
)
def test_unusual_tensors(tensor: torch.Tensor, same: torch.Tensor) -> None:
    assert digest(tensor) == digest(same)


def test_state_has_every_name_of_a_tie_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    state = digest_state(model)
    assert set(state) == set(model.state_dict())
    assert state["0.weight"] == state["2.weight"]


def guarded() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    FreezeConfig(rules=(Rule("freeze", "{0,1}"),)).apply(model)
    return model


def train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    model.train()
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()


def test_guard_is_silent_while_frozen_bits_hold() -> None:
    model = guarded()
    with FreezeGuard(model) as guard:
        train(model)
    assert len(guard) == 2 + 2 + 3
    assert guard.moved() == ()


@pytest.mark.parametrize(
    ("move", "names"),
    [
        (lambda m: m[0].weight.data.mul_(1.5), ("0.weight",)),
        (lambda m: setattr(m[0], "bias", nn.Parameter(torch.full((2,), 9.0))), ("0.bias",)),
        (lambda m: setattr(m[1], "running_mean", torch.ones(2)), ("1.running_mean",)),
        (lambda m: delattr(m[0], "weight"), ("0.weight",)),
    ],
    ids=["in place", "replaced parameter", "replaced buffer", "removed"],
)
def test_guard_names_what_moved(move, names) -> None:
    model = guarded()
    with pytest.raises(FreezeMoved, match=names[0]) as caught, FreezeGuard(model):
        move(model)
    assert caught.value.names == names


def test_guard_hides_no_error_of_the_body() -> None:
    model = guarded()
    with pytest.raises(ZeroDivisionError), FreezeGuard(model):
        model[0].weight.data.zero_()
        raise ZeroDivisionError
