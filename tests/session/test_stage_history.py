"""What is done to the stages can be undone and redone, with the plans that they have."""

from __future__ import annotations

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.tree import ParamTree
from freezetui.session.stage_plans import StagePlans

NAMES = ("a.weight", "a.bias", "b.weight")
TENSORS = tuple(TensorInfo(name, (2,), "float32", 8) for name in NAMES)


def plans() -> StagePlans:
    return StagePlans(ParamTree(TENSORS), {None: b"\1\1\1"})


def test_a_stage_called_everything_trains_everything_in_any_case() -> None:
    stages = plans()
    stages.plan.set([(0, 3)], False)
    for name, mask in (("first", b"\0\0\0"), ("Everything", b"\1\1\1"), ("like it", b"\1\1\1")):
        stages.start(name)
        assert stages.plan.mask() == mask
    stages.show("first")
    stages.start("like the first")
    assert stages.plan.mask() == b"\0\0\0"


def test_every_change_of_the_stages_is_undone_and_redone() -> None:
    stages = plans()
    stages.plan.set([(0, 2)], False)
    stages.start("head")
    stages.start("everything")
    stages.plan.set([(0, 1)], False)
    stages.change("everything", 3, 0.1)
    stages.move("everything", -1)
    stages.rename("everything", "all")
    seen = [(stages.schedule, stages.masks())]
    stages.remove("all")
    assert stages.names == ("head",) and stages.shown == "head"
    steps = []
    while (step := stages.undo()) is not None:
        steps.append(step.what)
        seen.append((stages.schedule, stages.masks()))
    assert steps == [
        "the deletion of all",
        "the name all, once everything",
        "the place of everything",
        "the schedule of everything",
    ], "then comes an edit of the plan"
    assert seen[1] == seen[0]
    assert stages.next_undo is None and stages.can_undo
    stages.plan.undo()
    assert stages.undo().what == "the new stage everything" and stages.shown == "head"
    assert stages.undo().what == "the new stage head" and stages.shown is None
    assert stages.plan.mask() == b"\0\0\1" and stages.plan.can_undo, "the history of the plan is there"
    while stages.redo() or stages.plan.redo():
        pass
    assert stages.names == ("head",) and stages.shown == "head"
    assert stages.undo() is not None
    assert (stages.schedule, stages.masks()) == seen[0]


def test_what_was_done_in_another_stage_is_undone_there_only() -> None:
    stages = plans()
    stages.start("head")
    stages.plan.set([(0, 1)], False)
    stages.start("everything")
    stages.plan.set([(0, 2)], False)
    stages.show("head")
    assert stages.next_undo is None
    stages.plan.undo()
    assert not stages.can_undo and stages.undo() is None, "the work in the other stage stays"
    assert stages.names == ("head", "everything")


def test_a_new_order_of_the_tensors_keeps_what_can_be_undone() -> None:
    stages = plans()
    stages.start("head")
    stages.plan.set([(0, 2)], False)
    stages.start("last")
    stages.remove("head")
    stages.move_to(ParamTree(TENSORS[::-1]))
    assert stages.undo() is not None and stages.plan_of("head").mask() == b"\1\0\0"
    assert stages.undo() is not None and stages.shown == "head"
    stages.plan.undo()
    assert stages.plan.mask() == b"\1\1\1"
