"""What a check's report says about each tensor: proven, held by its flag alone, unproven, changed."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from freezetui.freeze.frozen_buffers import frozen_buffers
from freezetui.freeze.plan import FROZEN, UNTRAINABLE, FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.sanity.causes import BY_FLAG
from freezetui.sanity.report import SanityReport


class Outcome(IntEnum):
    """How a check ended for one tensor; of several the highest counts.

    Attributes:
        NONE: the check says nothing about it.
        PROVEN: as planned, and the check could have seen it otherwise.
        BY_FLAG: frozen, and no gradient reaches it when it is trainable: its flag alone was proven.
        UNPROVEN: as planned so far as was seen, which proves nothing.
        LOOK: not as it was meant, probably: trainable but unchanged, a buffer that changed.
        WRONG: against the plan.
    """

    NONE, PROVEN, BY_FLAG, UNPROVEN, LOOK, WRONG = range(6)


class TensorOutcome(NamedTuple):
    """The outcome of one tensor, with the words for it."""

    outcome: Outcome
    words: str


_UNCHANGED = "unchanged, bit for bit"
_NOT_IN_MODEL = "not in the model that was checked"
_NO_FORWARD, _NO_CONTROL = "there was no forward pass", "there was no control run"
_NOT_FINITE, _NOT_TRAINED = "the loss is not a finite number", "nothing trained"
_NO_GRADIENT = "no gradient changed anything"
#: Keys of the findings after which nothing that is unchanged is evidence, with the reason.
_NO_EVIDENCE = {
    "no_input": _NO_FORWARD,
    "no_model": _NO_FORWARD,
    "not_finite": _NOT_FINITE,
    "not_finite_weight": _NOT_FINITE,
    "not_finite_output": _NOT_FINITE,
    "all_frozen": _NOT_TRAINED,
    "untrainable": _NOT_TRAINED,
    "none_changed": _NO_GRADIENT,
    "no_control": _NO_CONTROL,
}


class Outcomes:
    """The outcome of a check for every tensor of a tree.

    Args:
        report: with the checkpoint's names.
        plan: what was checked.

    Attributes:
        all: the `Outcome` of every tensor of the tree.
        states: what was checked; see `FreezePlan`.
    """

    def __init__(self, report: SanityReport, tree: ParamTree, plan: FreezePlan) -> None:
        self._why, self.states = why_no_evidence(report), plan.states
        self._noted: dict[int, TensorOutcome] = {}
        for name, told in _noted(report).items():
            node = tree.find(name)
            if node >= 0 and tree.leaf[node]:
                index = tree.first[node]
                for member in tree.tie_groups.get(index, (index,)):
                    if member not in self._noted or self._noted[member].outcome < told.outcome:
                        self._noted[member] = told
        compared = report.buffers.tensors and report.forward
        self._buffers = frozenset(frozen_buffers(tree, plan.states)) if compared else frozenset[int]()
        usual = bytes([Outcome.UNPROVEN if self._why else Outcome.PROVEN] * 2 + [Outcome.NONE])
        found = bytearray(plan.states.translate(usual + bytes(range(3, 256))))
        for index in self._buffers:
            found[index] = Outcome.PROVEN
        for index, told in self._noted.items():
            found[index] = told.outcome
        self.all = bytes(found)

    def of(self, index: int) -> TensorOutcome:
        """Return the outcome of one tensor, in words too."""
        if index in self._noted:
            return self._noted[index]
        state = self.states[index]
        if state == UNTRAINABLE:
            proven = index in self._buffers
            return TensorOutcome(Outcome(self.all[index]), _UNCHANGED if proven else "not compared")
        if self._why:
            words = f"{'unchanged' if state == FROZEN else 'trainable'}, but nothing is proven: {self._why}"
            return TensorOutcome(Outcome.UNPROVEN, words)
        words = f"{_UNCHANGED}; it changes when trainable" if state == FROZEN else "changed, as it should"
        return TensorOutcome(Outcome.PROVEN, words)


def why_no_evidence(report: SanityReport) -> str:
    """Return why no tensor that did not change is evidence; "" if they are."""
    keys = {finding.key for finding in report.findings}
    found = next((why for key, why in _NO_EVIDENCE.items() if key in keys), "")
    if found or report.frozen.moved:
        return found
    if not report.forward:
        return _NO_FORWARD
    if report.frozen.tensors and not report.trainable.moved:
        return _NO_GRADIENT
    return _NO_CONTROL if report.frozen.tensors and report.cost is None else ""


def _noted(report: SanityReport) -> dict[str, TensorOutcome]:
    """Return what the report says of single tensors; the last entry of a name is the worst."""
    found: dict[str, TensorOutcome] = {}

    def note(names: tuple[str, ...], outcome: Outcome, words: str) -> None:
        found.update(dict.fromkeys(names, TensorOutcome(outcome, words)))

    for finding in report.findings:
        if finding.key in BY_FLAG:
            note(finding.tensors, Outcome.BY_FLAG, "held by its flag: no gradient reaches it when trainable")
        elif finding.key == "ignored":
            note(finding.tensors, Outcome.UNPROVEN, _NOT_IN_MODEL)
    note(report.frozen.unproven, Outcome.UNPROVEN, "unchanged, but also unchanged when trainable")
    for still in report.trainable.still:
        note((still.name,), Outcome.LOOK, f"trainable but unchanged: {still.reason}")
    note(report.buffers.drifted, Outcome.LOOK, "buffer beside frozen parameters, changed")
    note(report.changed_of_frozen, Outcome.LOOK, "buffer of a frozen module, changed")
    for finding in report.findings:
        if finding.severity == "error":
            note(finding.tensors, Outcome.WRONG, "against the plan")
    note(report.frozen.moved, Outcome.WRONG, "frozen, but changed")
    return found
