"""Undo in a stage restores what was there before, whatever was edited elsewhere in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from freezetui.checkpoint.types import StorageKey, TensorInfo
from freezetui.config.schema import Stage
from freezetui.freeze.rules import Rule
from freezetui.freeze.tree import ParamTree
from freezetui.session.options import Options
from freezetui.session.session import Session
from freezetui.session.stage_plans import StagePlans

NAMES = ("a.weight", "a.bias", "b.weight", "b.bias", "c.weight")
#: The first and the last tensor are tied.
TIED = ("a.weight", "c.weight")
TENSORS = tuple(
    TensorInfo(name, (2,), "float32", storage=StorageKey("0" if name in TIED else name, 0)) for name in NAMES
)
SPANS = st.sampled_from([(0, 5), (0, 2), (1, 3), (2, 4), (4, 5), (0, 1)])
WHERE = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("edit"), WHERE, SPANS, st.booleans()),
    st.tuples(st.just("edit"), st.just(0), SPANS, st.booleans()),
    st.tuples(st.sampled_from(["undo", "redo", "remove", "up", "rename", "epochs"]), WHERE),
    st.tuples(st.just("start"), WHERE, st.sampled_from(["A", "B", "everything"])),
    st.tuples(st.just("reversed")),
)


def fresh() -> StagePlans:
    section = Stage("old", rules=(Rule("train", "a"), Rule("freeze", "b.bias")))
    return StagePlans(ParamTree(TENSORS), {None: b"\1\1\0\1\1", "old": b"\1\1\0\0\1"}, [section])


def seen(stages: StagePlans) -> Any:
    """Return all that a user can see of the stages, in the order of the file."""
    names = [tensor.name for tensor in stages._tree.tensors]
    masks = {s: {n: mask[names.index(n)] for n in NAMES} for s, mask in stages.masks().items()}
    return stages.schedule, stages.shown, masks


def back(stages: StagePlans) -> bool:
    done = stages.undo() is not None or stages.plan.undo() is not None
    stages.follow_common()
    return done


def again(stages: StagePlans) -> bool:
    done = stages.redo() is not None or stages.plan.redo() is not None
    stages.follow_common()
    return done


def take(stages: StagePlans, step: Any) -> None:
    """Take one step at the place that it names; what is not possible there does nothing."""
    if step[0] == "reversed":
        stages.move_to(ParamTree(stages._tree.tensors[::-1]))
        return
    every = (None, *stages.names)
    stages.show(every[step[1] % len(every)])
    shown = stages.shown
    if step[0] == "edit":
        stages.plan.set([step[2]], step[3])
        stages.follow_common()
    elif step[0] == "undo":
        back(stages)
    elif step[0] == "redo":
        again(stages)
    elif step[0] == "start" and not stages.why_not_a_name(step[2]):
        stages.start(step[2])
    elif shown is not None:
        if step[0] == "remove":
            stages.remove(shown)
        elif step[0] == "up":
            stages.move(shown, -1)
        elif step[0] == "rename" and not stages.why_not_a_name(f"{shown}2"):
            stages.rename(shown, f"{shown}2")
        elif step[0] == "epochs":
            stages.change(shown, 3, 0.5)


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_undoing_everything_leads_back_to_the_start_in_any_order(steps: list[Any]) -> None:
    stages, start = fresh(), seen(fresh())
    for step in steps:
        take(stages, step)
    while True:
        before = seen(stages)
        for name in (None, *stages.names):
            if name is None or name in stages.names:
                stages.show(name)
                while back(stages):
                    pass
        stages.show(None)
        if seen(stages)[2] == before[2] and not any(_can(stages, name) for name in (None, *stages.names)):
            break
    assert (seen(stages)[0], seen(stages)[2]) == (start[0], start[2])


def _can(stages: StagePlans, name: str | None) -> bool:
    stages.show(name)
    can = stages.can_undo
    stages.show(None)
    return can


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=20), st.lists(STEPS, min_size=1, max_size=4))
def test_what_is_undone_can_be_redone_exactly(steps: list[Any], last: list[Any]) -> None:
    stages = fresh()
    for step in [*steps, *last]:
        take(stages, step)
    at = [seen(stages)]
    for _ in range(4):
        if not back(stages):
            break
        at.append(seen(stages))
    for expected in at[-2::-1]:
        assert again(stages)
        assert seen(stages) == expected


def test_a_stage_follows_the_common_rules_but_for_its_own_edits() -> None:
    stages = StagePlans(ParamTree(TENSORS), {None: b"\1" * 5})
    stages.start("A")
    stages.plan.set([(0, 2)], False)
    stages.show(None)
    stages.plan.set([(1, 4)], False)
    stages.follow_common()
    stages.show("A")
    assert stages.plan.mask() == b"\0\0\0\0\0"
    stages.plan.undo()
    assert stages.plan.mask() == b"\1\0\0\0\1"
    stages.plan_of(None).undo()
    stages.follow_common()
    assert stages.plan.mask() == b"\1" * 5
    stages.plan.redo()
    assert stages.plan.mask() == b"\0\0\1\1\0", "what is tied to the first one too"


def test_a_stage_called_everything_trains_everything_after_an_edit_of_the_common_rules() -> None:
    stages = StagePlans(ParamTree(TENSORS), {None: b"\1" * 5})
    stages.start("everything")
    stages.plan_of(None).set([(0, 4)], False)
    stages.follow_common()
    assert stages.plan_of(None).mask() == b"\0" * 5 and stages.plan.mask() == b"\1" * 5


def test_a_stage_is_saved_as_it_is_whatever_was_edited_below_it(tmp_path: Path) -> None:
    header = {
        n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, n in enumerate(NAMES)
    }
    encoded = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(4 * len(NAMES)))
    path.with_name("net.freeze.yaml").write_text(
        "freezetui: 1\nrules: [{freeze: b}]\nstages:\n- {name: A, rules: [{freeze: a.weight}]}\n"
    )
    session = Session(Options(str(path), stage="A"))
    before = session.plan.mask()
    session.stages.plan_of(None).set([(2, 4)], True)
    session.stages.follow_common()
    session.plan.set([(2, 4)], False)
    assert session.plan.mask() == before, "as on disk, but on other common rules"
    session.rename_stage("A", "B")
    assert session.saved_mask == before
    session.save()
    again = Session(Options(str(path), stage="B"))
    assert again.stages.masks() == session.stages.masks() == {None: b"\1" * 5, "B": b"\0\1\0\0\1"}
    session.plan.undo()
    assert session.plan.mask() == b"\0\1\1\1\1"
