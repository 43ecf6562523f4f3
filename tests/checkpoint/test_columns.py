"""Columns: the same however the tensors come, and what each tensor says of itself."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.columns import Columns
from freezetui.checkpoint.types import Packing, StorageKey, TensorInfo
from freezetui.freeze.tree import ParamTree

_PACKINGS = st.none() | st.builds(Packing, st.just("sparse_coo"), st.integers(0, 100))
_STORAGES = st.none() | st.builds(StorageKey, st.sampled_from("0123"))
_DTYPES = st.sampled_from(("float32", "int8", "float4_e2m1fn_x2", "quint4x2", "unknown"))
_SHAPES = st.sampled_from(((), (0,), (2, 3), (4, 1, 2)))


@st.composite
def tensors(draw: st.DrawFn) -> list[TensorInfo]:
    parts = draw(st.lists(st.tuples(_SHAPES, _DTYPES, _STORAGES, _PACKINGS), max_size=12))
    return [
        TensorInfo(f"layers.{number}", shape, dtype, storage=storage, packing=packing)
        for number, (shape, dtype, storage, packing) in enumerate(parts)
    ]


@given(tensors(), st.lists(st.integers(0, 12), max_size=3), st.booleans())
def test_in_parts_as_at_once(some: list[TensorInfo], cuts: list[int], again: bool) -> None:
    columns, whole = Columns(some[:3] if again else ()), Columns(some)
    columns.clear()
    places = sorted({0, *cuts, len(some)})
    for low, high in pairwise(places):
        columns.add(some[low:high])
    for each in (columns, whole):
        assert each.tensors == some
        assert each.elements == [tensor.elements for tensor in some]
        assert each.bytes == [tensor.bytes for tensor in some]
        keys = [tensor.storage.key for tensor in some if tensor.storage is not None]
        assert each.shares == (len({*keys}) < len(keys))
    here, there = ParamTree(some, columns=columns), ParamTree(some)
    assert here.tie_groups == there.tie_groups
    assert here.ties == there.ties
    assert here.totals(0, len(some)) == there.totals(0, len(some))
