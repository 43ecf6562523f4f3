"""From a choice to rules and back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.minimize import added_rules, choose_rules, cover
from freezetui.freeze.rules import Rule, overlay, resolve
from freezetui.freeze.tree import ParamTree
from support.strategies import agree, choices


@given(choices())
def test_the_rules_give_back_exactly_the_choice(choice):
    tree, mask = choice
    default, rules = choose_rules(tree, mask)
    assert agree(tree, resolve(rules, tree, default), mask)


@given(choices(), st.randoms(use_true_random=False))
def test_added_rules_turn_any_base_into_the_choice(choice, random):
    tree, mask = choice
    base = bytes(random.randint(0, 1) for _ in mask)
    assert agree(tree, overlay(added_rules(tree, mask, base), tree, bytearray(base)), mask)


@st.composite
def small_choices(draw: st.DrawFn) -> tuple[ParamTree, bytes]:
    """Ordinary names, no ties: small enough to try every set of subtree rules."""
    letters = st.sampled_from("abc")
    found = draw(st.lists(st.tuples(letters, letters).map(".".join), unique=True, min_size=1, max_size=5))
    kinds = draw(st.lists(st.sampled_from(["parameter", "buffer"]), min_size=5, max_size=5))
    tree = ParamTree([TensorInfo(n, (1,), "float32", k) for n, k in zip(found, kinds, strict=False)])
    return tree, bytes(draw(st.lists(st.integers(0, 1), min_size=len(found), max_size=len(found))))


def covered(tree: ParamTree, base: bytes, chosen: Iterable[tuple[int, int]]) -> bytes:
    """Return what the subtrees of some nodes make of `base`, one after the other."""
    got = bytearray(base)
    for node, value in chosen:
        first, last = tree.span(node)
        got[first:last] = bytes([value]) * (last - first)
    return bytes(got)


@settings(max_examples=60)
@given(small_choices(), st.integers(0, 1))
def test_no_smaller_set_of_subtree_rules_says_the_same(choice, start):
    tree, mask = choice
    base = bytes([start]) * len(mask)
    chosen = cover(tree, mask, base)
    assert agree(tree, covered(tree, base, chosen), mask)
    for fewer in combinations(range(len(tree)), len(chosen) - 1) if chosen else ():
        for values in product((0, 1), repeat=len(fewer)):
            if (0, 0) in zip(fewer, values, strict=True) and any(mask):
                continue  # would freeze what only the live model has
            assert not agree(tree, covered(tree, base, zip(fewer, values, strict=True)), mask)


def test_rules_read_as_a_person_would_write_them():
    names = [f"features.{i}.{p}" for i in (0, 2, 5, 7, 24, 26, 28) for p in ("weight", "bias")]
    tree = ParamTree([TensorInfo(n, (1,), "float32", "parameter") for n in (*names, "classifier.weight")])
    mask = resolve([Rule("freeze", "features"), Rule("train", "features.{24..28}")], tree)
    assert choose_rules(tree, bytes(mask)) == ("train", (Rule("freeze", "features.{0..7}"),))
    biases = resolve([Rule("train", "**.bias")], tree, "freeze")
    named = (Rule("freeze", "classifier"), Rule("freeze", "features.{0..28}.weight"))
    assert choose_rules(tree, bytes(biases)) == ("train", named)
    chosen = choose_rules(tree, bytes(biases), "freeze")
    assert chosen == ("freeze", (Rule("train", "features.{0..28}.bias"),))
    assert choose_rules(tree, bytes(len(biases))) == ("freeze", ())


def test_a_range_never_spans_a_sibling_that_is_not_meant():
    tree = ParamTree([TensorInfo(f"layers.{i}.w", (1,), "float32") for i in range(6)])
    mask = bytes([0, 0, 1, 0, 0, 0])
    assert choose_rules(tree, mask, "freeze") == ("freeze", (Rule("train", "layers.2"),))
    assert choose_rules(tree, mask) == ("train", (Rule("freeze", "layers"), Rule("train", "layers.2")))
    assert choose_rules(tree, bytes([0, 1, 0, 1, 1, 1]))[1] == (Rule("freeze", "layers.{0,2}"),)


def test_ranges_have_no_largest_number():
    tree = ParamTree([TensorInfo(f"blocks.{i}.w", (1,), "float32") for i in range(0, 60_000, 3)])
    mask = bytes(len(tree.tensors) - 1) + b"\1"
    default, rules = choose_rules(tree, b"\1" + mask[1:], "freeze")
    assert (default, rules) == ("freeze", (Rule("train", "blocks.{0,59997}"),))
    half = bytes(10_000) + b"\1" * 10_000
    default, rules = choose_rules(tree, half)
    assert resolve(rules, tree, default) == half
    assert rules == (Rule("freeze", "blocks.{0..29997}"),)


def test_a_hundred_thousand_tensors_are_covered_in_seconds():
    import time

    tree = ParamTree(
        [
            TensorInfo(f"layers.{i}.experts.{j}.w{k}", (1,), "float32")
            for i in range(50)
            for j in range(700)
            for k in "123"
        ]
    )
    mask = resolve([Rule("freeze", "layers.{0..24}"), Rule("train", "**.w2")], tree)
    started = time.perf_counter()
    default, rules = choose_rules(tree, bytes(mask))
    assert time.perf_counter() - started < 15
    assert len(rules) <= 3
    assert resolve(rules, tree, default) == mask
