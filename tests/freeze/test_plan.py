"""FreezePlan: edits, undo, totals."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.freeze.plan import FROZEN, TRAINABLE, UNTRAINABLE, FreezePlan
from freezetui.freeze.rules import Rule, overlay
from freezetui.freeze.tree import ParamTree
from support.strategies import trees

edits = st.lists(
    st.tuples(
        st.sampled_from(["freeze", "train", "toggle", "invert", "replace"]),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    max_size=12,
)


def perform(plan: FreezePlan, edit: tuple[str, int, int]) -> None:
    what, a, b = edit
    size = len(plan.tree.tensors)
    start, stop = sorted((a % (size + 1), b % (size + 1)))
    if what == "replace":
        new = bytearray(plan.mask())
        new[start:stop] = bytes(stop - start)
        for index, group in plan.tree.tie_groups.items():
            new[index] = new[group[0]]
        plan.replace(new)
    elif what == "toggle":
        plan.toggle([(start, stop)])
    elif what == "invert":
        plan.invert([(start, stop)])
    else:
        plan.set([(start, stop)], what == "train")


@given(trees, edits)
def test_undo_after_any_run_gives_back_the_start_and_redo_the_end(tree, run):
    plan = FreezePlan(tree)
    start = bytes(plan.states)
    for edit in run:
        perform(plan, edit)
    end = bytes(plan.states)
    while plan.undo() is not None:
        pass
    assert bytes(plan.states) == start
    assert plan.undo() is None
    while plan.redo() is not None:
        pass
    assert bytes(plan.states) == end


@given(trees, edits)
def test_what_cannot_train_never_changes_and_ties_agree(tree, run):
    plan = FreezePlan(tree)
    for edit in run:
        version = plan.version
        before = bytes(plan.states)
        perform(plan, edit)
        assert (plan.version > version) == (bytes(plan.states) != before)
        for index, tensor in enumerate(tree.tensors):
            assert (plan.states[index] == UNTRAINABLE) == bool(tensor.untrainable_reason)
            states = {plan.states[i] for i in tree.tie_groups.get(index, (index,))}
            assert not {FROZEN, TRAINABLE} <= states


@given(trees, edits, st.data())
def test_totals_are_what_counting_one_by_one_gives(tree, run, data):
    plan = FreezePlan(tree)
    for edit in run:
        perform(plan, edit)
    start = data.draw(st.integers(0, len(tree.tensors)))
    stop = data.draw(st.integers(start, len(tree.tensors)))
    totals = plan.totals(start, stop)
    for value, tally in ((FROZEN, totals.frozen), (TRAINABLE, totals.trainable)):
        distinct = {}
        for index in range(start, stop):
            tensor = tree.tensors[index]
            if plan.states[index] == value:
                distinct.setdefault((tensor.storage, tensor.shape, tensor.dtype), tensor)
        assert tally.tensors == len(distinct)
        assert tally.elements == sum(t.elements for t in distinct.values())
        assert tally.bytes == sum(t.bytes for t in distinct.values())
    states = {plan.states[i] for i in range(start, stop)} - {UNTRAINABLE}
    words = {frozenset(): "untrainable", frozenset([FROZEN]): "frozen", frozenset([TRAINABLE]): "trainable"}
    assert totals.state == words.get(frozenset(states), "mixed")


@given(trees, edits, st.data())
def test_totals_over_several_ranges_count_a_tied_tensor_once(tree, run, data):
    plan = FreezePlan(tree)
    for edit in run:
        perform(plan, edit)
    ends = sorted(data.draw(st.sets(st.integers(0, len(tree.tensors)))))
    spans = list(zip(ends[::2], ends[1::2], strict=False))
    totals = plan.totals_over(spans)
    for value, tally in (
        (FROZEN, totals.frozen),
        (TRAINABLE, totals.trainable),
        (UNTRAINABLE, totals.untrainable),
    ):
        distinct = {}
        for index in (index for span in spans for index in range(*span)):
            if plan.states[index] == value:
                first = tree.tie_groups.get(index, (index,))[0]
                distinct.setdefault(first, tree.tensors[index])
        assert tally.tensors == len(distinct)
        assert tally.elements == sum(t.elements for t in distinct.values())
        assert tally.bytes == sum(t.bytes for t in distinct.values())


def test_totals_of_an_irregular_choice_are_the_same_and_fast():
    tree = ParamTree([TensorInfo(f"l.{i}.w", (i,), "float32", "parameter", None) for i in range(100_000)])
    plan = FreezePlan(tree, bytes(i % 3 == 0 for i in range(100_000)))
    totals = plan.totals(1, 99_999)
    assert totals.trainable.tensors == len(range(3, 99_999, 3))
    assert totals.trainable.elements == sum(range(3, 99_999, 3))
    assert totals.frozen.bytes == 4 * (sum(range(1, 99_999)) - sum(range(3, 99_999, 3)))
    spans = [(i, i + 1) for i in range(0, 100_000, 2)]
    started = process_time()
    assert plan.totals_over(spans).parameters.elements == sum(range(0, 100_000, 2))
    assert process_time() - started < 4


@given(trees, st.binary(min_size=14, max_size=14))
def test_tied_tensors_train_where_a_choice_names_one_of_them(tree, drawn):
    mask = bytes(byte & 1 for byte in drawn[: len(tree.tensors)])
    plan = FreezePlan(tree)
    plan.replace(mask)
    assert plan.states == FreezePlan(tree, mask).states
    for index, tensor in enumerate(tree.tensors):
        group = tree.tie_groups.get(index, (index,))
        assert plan.states[index] == (
            UNTRAINABLE if tensor.untrainable_reason else max(mask[i] for i in group)
        )


@given(trees)
def test_toggling_twice_a_uniform_range_changes_nothing(tree):
    plan = FreezePlan(tree)
    everything = [(0, len(tree.tensors))]
    plan.toggle(everything)
    assert plan.totals_over(everything).trainable.tensors == 0
    plan.toggle(everything)
    assert bytes(plan.states) == bytes(FreezePlan(tree).states)


def test_a_file_in_which_all_tensors_are_one_takes_no_time():
    storage = StorageKey("0")
    tree = ParamTree(
        [TensorInfo(f"l.{i}.w", (2,), "float32", "parameter", None, storage) for i in range(20_000)]
    )
    plan = FreezePlan(tree)
    started = process_time()
    assert plan.set([(i, i + 1) for i in range(0, 20_000, 2)], False) == 1
    assert plan.invert([(0, 20_000)]) == 1
    mask = overlay([Rule("freeze", "l.{0..5000}.w")], tree, bytearray(b"\1" * 20_000))
    assert not any(mask)
    assert [index for index, _ in tree.groups_of(range(20_000))] == [0]
    assert tree.tied_to(0, 3) == [1, 2, 3]
    assert process_time() - started < 5
