"""Many tensors at a time are read as each alone is, whatever is odd about one of them."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.pickles.stubs import ParameterStub, TensorStub, UnreadStub
from freezetui.checkpoint.state_dict import tensor_reader
from freezetui.checkpoint.state_dict.buffers import BufferDetector
from freezetui.checkpoint.state_dict.tensor_columns import plain_tensors
from freezetui.checkpoint.state_dict.tensor_reader import TensorReader

PID = ("storage", "float32", "0", "cpu", 12)
GOOD = TensorStub(PID, 0, (3, 4), (4, 1), False)
ODD: tuple[Any, ...] = (
    TensorStub(PID, 0, (4, 3), (1, 4)),  # transposed
    TensorStub(PID, 1, (3, 4), (4, 1)),  # beyond its storage
    TensorStub(PID, 13, (0, 4), (4, 1)),  # empty, which may be anywhere
    TensorStub(PID, -1, (3, 4), (4, 1)),
    TensorStub(PID, True, (1, 4), (4, 1)),
    TensorStub(PID, 0, (True, 4), (4, 1)),
    TensorStub(PID, 0, (5.0, 2), (2, 1)),
    TensorStub(PID, 0, [3, 4], (4, 1)),
    TensorStub(PID, 0, ((3,), 4), (4, 1)),
    TensorStub(PID, 0, ("3", "4"), (4, 1)),
    TensorStub(PID, 0, (3, -4), (4, 1)),
    TensorStub(PID, 0, (1,) * 1001, (1,) * 1001),
    TensorStub(("storage", "float32", "x", "cpu", 12), 0, (3, 4), (4, 1)),
    TensorStub(("storage", "float32", "7", "cpu", 12), 0, (3, 4), (4, 1)),
    TensorStub(("storage", "float33", "0", "cpu", 12), 0, (3, 4), (4, 1)),
    TensorStub(("storage", ["float32"], "0", "cpu", 12), 0, (3, 4), (4, 1)),
    TensorStub(("storage", "float32", ("0",), "cpu", 12), 0, (3, 4), (4, 1)),
    TensorStub(("storage", "float32"), 0, (3, 4), (4, 1)),
    TensorStub(("storage", "float32", "0", "cpu", 12, ("view", 4, 8)), 0, (2, 4), (4, 1)),
    TensorStub("storage", 0, (3, 4), (4, 1)),
    ParameterStub(GOOD, True),
    UnreadStub(),
)
PLAIN = (
    GOOD,
    TensorStub(PID, 0, (), ()),
    TensorStub(PID, 0, (5, 2), (2, 1)),
    TensorStub(("storage", "int64", "1", "cpu", 1), 0, (1,), (1,)),
)
NAMES = ("a.weight", "b.weight_u", "b.weight_v", "c.running_mean", "odd", "mask", "d.weight_v", "")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*PLAIN, *ODD))), max_size=12),
    st.sampled_from((None, [48, 8], {"0": 48, "1": 8, "x": 48})),
    st.integers(1, 5),
)
@settings(max_examples=300, deadline=None)
def test_many_at_a_time_as_one_by_one(named, sizes, chunk):
    names = [f"{number}.{name}" for number, (name, _) in enumerate(named)]
    stubs = [stub for _, stub in named]
    whole = tensor_reader._CHUNK
    reader, alone = (TensorReader(BufferDetector(names), sizes) for _ in range(2))
    try:
        tensor_reader._CHUNK = chunk
        found = list(reader.infos(names, stubs, None, live=False))
    finally:
        tensor_reader._CHUNK = whole
    assert found == list(map(alone.info, names, stubs, repeat("unknown"), repeat(False)))
    assert reader.corrupt == alone.corrupt


@pytest.mark.parametrize("stub", PLAIN)
def test_plain_ones_are_read_together(stub):
    kinds = BufferDetector(())
    known = TensorReader(kinds)._known
    assert plain_tensors(["a"] * 3, [stub] * 3, [48, 8], known, kinds) is not None


@pytest.mark.parametrize("stub", [stub for stub in ODD if stub not in PLAIN])
def test_what_is_odd_is_left_to_the_reader_of_one(stub):
    kinds = BufferDetector(())
    known = TensorReader(kinds)._known
    assert plain_tensors(["a"] * 3, [GOOD, stub, GOOD], [48], known, kinds) is None
