"""Natural order of names that a file keeps in no order."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.state_dict import ordering as order
from freezetui.checkpoint.state_dict.ordering import natural_order

segments = st.sampled_from(["a", "a-c", "b", "0", "1", "9", "10", "01", "head", "stem", "weight", "bias", ""])
names = st.lists(st.lists(segments, min_size=1, max_size=4).map(".".join), unique=True, max_size=40)


def test_a_model_as_a_person_would_list_it():
    expected = [
        "cls_token",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        *(f"layers.{i}.{leaf}" for i in range(12) for leaf in ("weight", "bias", "running_mean")),
        "norm.weight",
        "head.weight",
        "head.bias",
    ]
    shuffled = random.Random(0).sample(expected, len(expected))
    assert natural_order(shuffled) == expected


@given(names)
def test_module_by_module_is_as_all_at_once(listed):
    few = order._FEW
    try:
        order._FEW = 2
        stepwise = natural_order(listed)
        order._FEW = 1000
        assert natural_order(listed) == stepwise
    finally:
        order._FEW = few


@given(names)
def test_nothing_is_lost_and_modules_stand_together(listed):
    ordered = natural_order(listed)
    assert sorted(ordered) == sorted(listed)
    modules = [name.rpartition(".")[0] for name in ordered]
    for top in {module.partition(".")[0] for module in modules if module}:
        inside = [name.startswith(top + ".") for name in ordered]
        assert sum(later > earlier for earlier, later in pairwise([False, *inside])) <= 1


def test_equal_blocks_are_ordered_alike():
    expected = [
        f"layers.{i}.{name}"
        for i in range(40)
        for name in ("a.weight", "a.bias", "b.9.weight", "b.10.weight")
    ]
    assert natural_order(sorted(expected)) == expected
    many = [f"m.{name}" for i in range(5) for name in (n.replace("layers", f"layers{i}") for n in expected)]
    assert natural_order(random.Random(1).sample(many, len(many))) == many
