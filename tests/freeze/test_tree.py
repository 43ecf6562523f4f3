"""ParamTree against the names it was made of."""

from __future__ import annotations

from math import inf
from time import perf_counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.freeze.minimize import choose_rules
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from support.strategies import tensors, trees


@given(tensors())
def test_the_leaves_are_the_tensors_under_their_own_names(infos):
    tree = ParamTree(infos)
    assert sorted(t.name for t in tree.tensors) == sorted(t.name for t in infos)
    assert [tree.path(node) for node in tree.position] == [t.name for t in tree.tensors]
    assert [bool(leaf) for leaf in tree.leaf] == [node in set(tree.position) for node in range(len(tree))]


@given(trees)
def test_preorder_arrays_agree(tree):
    assert tree.end[0] == len(tree)
    assert list(tree.first) == [sum(tree.leaf[:node]) for node in range(len(tree) + 1)]
    for node in range(1, len(tree)):
        parent = tree.parents[node]
        assert parent < node < tree.end[node] <= tree.end[parent]
        assert tree.depths[node] == tree.depths[parent] + 1
        assert node in list(tree.children(parent))
        assert node in tree.named(parent, tree.names[node])
        start, stop = tree.span(node)
        below = {
            t.name
            for t in tree.tensors
            if t.name == tree.path(node) or t.name.startswith(tree.path(node) + ".")
        }
        assert {t.name for t in tree.tensors[start:stop]} <= below


@given(tensors())
def test_modules_stand_in_the_order_of_their_first_tensor(infos):
    names = [t.name for t in infos]
    assume(not any(b.startswith(a + ".") for a in names for b in names))
    tree = ParamTree(infos)
    rank = {t.name: i for i, t in enumerate(infos)}
    for node in range(len(tree)):
        firsts = [min(rank[t.name] for t in tree.tensors[slice(*tree.span(c))]) for c in tree.children(node)]
        assert firsts == sorted(firsts)


@given(trees, st.data())
def test_totals_count_a_tie_once_within_any_range(tree, data):
    start = data.draw(st.integers(0, len(tree.tensors)))
    stop = data.draw(st.integers(start, len(tree.tensors)))
    distinct = {}
    for tensor in tree.tensors[start:stop]:
        key = (tensor.storage, tensor.shape, tensor.dtype, tensor.kind)
        distinct.setdefault(key, tensor)
    assert tree.totals(start, stop) == (
        len(distinct),
        sum(t.elements for t in distinct.values()),
        sum(t.bytes for t in distinct.values()),
    )


@given(trees)
def test_find_leads_to_every_name(tree):
    for tensor in tree.tensors:
        assert tree.tensor(tree.find(tensor.name)) == tensor
    assert tree.find("no.such.name") == -1


def test_an_lstm_shares_storage_without_being_tied():
    flat = [
        TensorInfo(n, (4,), "float32", storage=StorageKey("0", offset)) for n, offset in (("a", 0), ("b", 4))
    ]
    assert ParamTree(flat).tie_groups == {}


def test_scattered_tensors_come_together():
    tree = ParamTree([TensorInfo(n, (1,), "float32") for n in ("a.x", "b.x", "a.y")])
    assert [t.name for t in tree.tensors] == ["a.x", "a.y", "b.x"]


@pytest.mark.slow
def test_ten_times_the_tensors_take_about_ten_times_as_long():
    def seconds(blocks: int) -> float:
        names = [
            f"layers.{i}.{kind}.{leaf}" for i in range(blocks) for kind in "abcde" for leaf in ("w", "b")
        ]
        tensors = [TensorInfo(name, (2, 3), "float32", "parameter") for name in names]
        best = inf
        for _ in range(3):
            started = perf_counter()
            tree = ParamTree(tensors)
            plan = FreezePlan(tree)
            plan.set([(0, len(tensors))], False)
            choose_rules(tree, plan.mask())
            best = min(best, perf_counter() - started)
        return best

    assert seconds(10_000) < 40 * seconds(1_000)  # a square would take a hundred times as long
