"""What a check proves of each tensor, and what it does not."""

from __future__ import annotations

import msgspec
import pytest

from freezetui.checkpoint.types import TensorInfo
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.codes import finding
from freezetui.sanity.report import BufferPart, Cost, FrozenPart, TrainablePart, Unchanged
from freezetui.session.checks import Checks
from freezetui.session.outcome import Outcome, Outcomes
from freezetui.session.stage_plans import DEFAULTS
from support.reports import sanity_report

NAMES = ("a.weight", "a.bias", "a.mean", "b.weight", "b.mean")
TREE = ParamTree([TensorInfo(n, (2,), "float32", "buffer" if "mean" in n else "parameter") for n in NAMES])
#: `a` is frozen, `b` trains.
PLAN = FreezePlan(TREE, bytes([0, 0, 1, 1, 1]))
HELD = sanity_report(
    architecture="x:y",
    losses=(1.0, 0.9, 0.8),
    buffers=BufferPart(1, 1),
    cost=Cost(1.0, 1.0, 1, 1),
)


def outcomes(**changes: object) -> dict[str, Outcome]:
    found = Outcomes(msgspec.structs.replace(HELD, **changes), TREE, PLAN)
    assert [found.of(i).outcome for i in range(len(NAMES))] == list(found.all)
    return {name: Outcome(value) for name, value in zip(NAMES, found.all, strict=True)}


def test_a_check_that_held_proves_what_is_frozen_with_its_buffers_and_what_trains():
    proven = dict.fromkeys(NAMES, Outcome.PROVEN)
    assert outcomes() == proven | {"b.mean": Outcome.NONE}


@pytest.mark.parametrize(
    "changes",
    [
        {
            "verdict": "inconclusive",
            "forward": False,
            "findings": (finding("no_input", reason="", suggestion=""),),
        },
        {"verdict": "inconclusive", "losses": (None,), "findings": (finding("not_finite"),)},
        {"verdict": "inconclusive", "findings": (finding("none_changed"),)},
        {"verdict": "inconclusive", "trainable": TrainablePart(1, 0)},
        {"verdict": "held", "cost": None, "findings": (finding("no_control", reason="fails"),)},
        {"verdict": "held", "forward": False, "cost": None},
    ],
)
def test_without_evidence_nothing_is_proven(changes):
    found = outcomes(**changes)
    assert {found[n] for n in ("a.weight", "a.bias", "b.weight")} == {Outcome.UNPROVEN}
    words = Outcomes(msgspec.structs.replace(HELD, **changes), TREE, PLAN).of(0).words
    assert "nothing is proven" in words and "bit for bit" not in words


def test_a_loss_that_overflows_with_the_users_optimizer_alone_takes_no_evidence_away():
    assert outcomes(findings=(finding("own_not_finite", optimizer="SGD(lr=9)"),)) == outcomes()


def test_the_worst_that_is_said_of_a_tensor_counts():
    assert outcomes(frozen=FrozenPart(2, 2, unproven=("a.bias",)))["a.bias"] == Outcome.UNPROVEN
    assert outcomes(findings=(finding("cut_off", ["a.bias"]),))["a.bias"] == Outcome.BY_FLAG
    assert outcomes(frozen=FrozenPart(2, 1, moved=("a.bias",)))["a.bias"] == Outcome.WRONG
    assert outcomes(trainable=TrainablePart(1, 1, (Unchanged("b.weight", "x"),)))["b.weight"] == Outcome.LOOK
    assert outcomes(buffers=BufferPart(1, 0, ("a.mean",)))["a.mean"] == Outcome.LOOK
    assert outcomes(findings=(finding("ignored", ["a.bias"], count="1"),))["a.bias"] == Outcome.UNPROVEN
    both = outcomes(
        frozen=FrozenPart(2, 2, unproven=("a.bias",)), findings=(finding("max_norm", ["a.bias"]),)
    )
    assert both["a.bias"] == Outcome.WRONG
    assert both["a.weight"] == Outcome.PROVEN


def test_one_tensor_under_two_names_has_one_outcome():
    tree = ParamTree(TREE.tensors, tied=[("a.weight", "b.weight")])
    report = msgspec.structs.replace(HELD, frozen=FrozenPart(1, 0, ("a.weight",)))
    found = Outcomes(report, tree, FreezePlan(tree, bytes(5)))
    assert found.of(3).outcome == found.of(0).outcome == Outcome.WRONG


def test_a_stage_renamed_to_the_name_of_a_deleted_one_has_its_own_outcomes():
    checks = Checks(lambda stage: (b"", ""))
    for stage, mask in (("old", bytes([1, 1, 0, 0, 0])), ("new", PLAN.mask())):
        checks.store(msgspec.structs.replace(HELD, stage=stage), mask, DEFAULTS)
        checks.outcomes(stage, TREE)
    checks.rename("old", "new")
    found = checks.outcomes("new", TREE)
    assert found is not None and found.states == FreezePlan(TREE, bytes([1, 1, 0, 0, 0])).states
