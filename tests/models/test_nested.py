"""What is done to each tensor of a nested value reaches all of them, and keeps the kinds around them."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from freezetui.models.nested import map_tensors


class Pair(NamedTuple):
    x: Tensor
    y: list[Tensor]


@dataclass(frozen=True)
class Record:
    x: Tensor
    text: str


def test_every_tensor_is_changed_and_every_kind_kept():
    one = torch.ones(1)
    given = {"pair": Pair(one, [one]), "record": Record(one, "a"), "more": (UserDict(x=one), None, 3)}
    found = map_tensors(given, lambda tensor: tensor.double())
    assert found == {
        "pair": Pair(one.double(), [one.double()]),
        "record": Record(one.double(), "a"),
        "more": ({"x": one.double()}, None, 3),
    }
    inside = (found["pair"].x, found["pair"].y[0], found["record"].x, found["more"][0]["x"])
    assert {tensor.dtype for tensor in inside} == {torch.float64}
    assert given["record"].x.dtype == torch.float32
