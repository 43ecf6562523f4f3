"""The flat tree of names whose blocks repeat, against one built node by node."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.minimize import choose_rules
from freezetui.freeze.rules import resolve
from freezetui.freeze.tree import ParamTree
from freezetui.freeze.tree_builder import preorder

leaves = st.lists(st.sampled_from(["weight", "bias", "w1.weight", "w2.weight", "0.a", "10.a"]), unique=True)


@st.composite
def repeating(draw: st.DrawFn) -> list[str]:
    """Blocks in blocks, alike but for a few, grouped as a model lists them."""
    inner, outer = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    block = draw(leaves.filter(bool))
    odd = draw(st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=2))
    names = []
    for i in range(outer):
        names += [f"layers.{i}.norm.weight"] if draw(st.booleans()) else []
        for j in range(inner):
            names += [f"layers.{i}.experts.{j}.{leaf}" for leaf in (block[:1] if (i, j) in odd else block)]
    return sorted({*names, "head.weight"})  # by characters, so that a module's names stand together


@given(repeating())
def test_equal_blocks_are_laid_out_as_any_others(names):
    tree = preorder(names, "root")
    assert tree is not None
    found = {"root": 0}  # every module and tensor, in the order of its first appearance
    for name in names:
        segments = name.split(".")
        for depth in range(len(segments)):
            found.setdefault(".".join(segments[: depth + 1]), len(found))
    paths, tensors = list(found), set(names)
    assert tree.names == [path.rpartition(".")[2] for path in paths]
    assert list(tree.depths) == [0, *(path.count(".") + 1 for path in paths[1:])]
    assert list(tree.parents) == [
        -1,
        *(found[p.rpartition(".")[0] or "root"] for p in paths[1:]),
    ]
    below = Counter(
        ".".join(p.split(".")[: depth + 1]) for p in paths[1:] for depth in range(p.count(".") + 1)
    )
    assert list(tree.end) == [len(paths), *(i + below[path] for i, path in enumerate(paths[1:], start=1))]
    assert [bool(leaf) for leaf in tree.leaf] == [path in tensors for path in paths]
    assert [paths[node] for node in tree.position] == names
    assert list(tree.first) == [0, *accumulate(map(bool, tree.leaf))]


def test_blocks_of_equal_text_but_other_names_are_not_equal():
    tree = preorder(["m.0.ab", "m.0.c", "m.1.a", "m.1.bc"], "root")
    assert tree is not None and tree.names == ["root", "m", "0", "ab", "c", "1", "a", "bc"]


def test_a_module_that_comes_up_again_is_told():
    assert preorder(["a.x", "b.x", "a.y"], "root") is None
    assert preorder(["a.b.x", "a.c.x", "a.b.y"], "root") is None


NAMES = {"deep": "a." * 100_000 + "w", "long": ("a" * 50_000 + ".") * 10 + "w"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_of_very_many_segments_takes_no_memory(name):
    """Each module keeps its path, so that the last segment is what is left of the name."""
    infos = [TensorInfo(each, (1,), "float32") for each in (name, f"{name}2", "b.c")]
    tracemalloc.start()
    try:
        tree = ParamTree(infos)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    assert [tree.path(node) for node in tree.position] == [info.name for info in infos]
    mask = bytes((1, 0, 1))
    default, rules = choose_rules(tree, mask)
    assert resolve(rules, tree, default) == mask
