"""Comparison: what changed from another checkpoint to the open one."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import compress
from operator import or_
from typing import TYPE_CHECKING

from freezetui.checkpoint.types import can_require_grad
from freezetui.freeze.frozen_buffers import changed_statistics
from freezetui.freeze.plan import UNTRAINABLE, FreezePlan
from freezetui.freeze.tree import ParamTree
from freezetui.numbers import plural

if TYPE_CHECKING:
    from freezetui.diff.report import TensorDiff
    from freezetui.session.parts import Planned

#: State -> 1 for a tensor that cannot train.
_CANNOT_TRAIN = bytes(state == UNTRAINABLE for state in range(256))

#: What says nothing about the bits of a frozen tensor.
_UNSURE = ("added", "cast", "reshaped", "unread")


class Comparison:
    """What changed in each tensor of a session, in the order that its tree has now.

    Args:
        session: whose checkpoint is AFTER.
        changes: of each of its tensors, by the name there.
        relative: |delta| / |weight| of each; 0.0 if identical or equal after a cast, infinite if the
            weight was 0, NaN if the change has no such size; None if it is not known whether there is one.

    Attributes:
        before: BEFORE as the user named it.
        removed: names of BEFORE that the open checkpoint lacks.
        note: how names were matched; "" if they are equal.
        absent: how many tensors an index lists and neither side contains.
        warnings: from opening BEFORE, such as other state_dicts in the file.
        not_finite: tensors in which values became NaN or infinite, with how many.
    """

    def __init__(
        self,
        session: Planned,
        before: str,
        changes: Mapping[str, TensorDiff],
        relative: Mapping[str, float | None],
        removed: tuple[str, ...] = (),
        note: str = "",
        absent: int = 0,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._session, self._changes, self._relative = session, changes, relative
        self.before, self.removed, self.note, self.absent = before, removed, note, absent
        self.warnings = warnings
        self._ordered: tuple[ParamTree, list[float | None], bytes] | None = None
        self._statistics: tuple[ParamTree, bytes, list[int]] | None = None
        self._counted: tuple[ParamTree, bytes, int] | None = None
        self.not_finite = {n: f"{c.nan:,} NaN, {c.inf:,} inf" for n, c in changes.items() if c.nan or c.inf}
        self._unsure = {name for name, change in changes.items() if change.status in _UNSURE}
        self._changed = {name for name, change in changes.items() if change.status == "changed"}
        self._reshaped = sum(change.status == "reshaped" for change in changes.values())

    @property
    def changed(self) -> int:
        """How many tensors of the open checkpoint changed."""
        return len(self._changed) + self._reshaped

    def change(self, name: str) -> TensorDiff | None:
        """Return what changed in a tensor of the open checkpoint; None if nothing is known of it."""
        return self._changes.get(name)

    def below(self, start: int, stop: int) -> list[TensorDiff]:
        """Return what changed in the tensors `start .. stop - 1` of the tree."""
        tensors = self._session.tree.tensors[start:stop]
        return [change for tensor in tensors if (change := self._changes.get(tensor.name)) is not None]

    @property
    def relative_change(self) -> Sequence[float | None]:
        """The relative change of each tensor of `session.tree`."""
        return self._in_order()[1]

    @property
    def squares(self) -> tuple[Sequence[float], ...]:
        """The squares of |delta| and of |weight| of each parameter of `session.tree` that changed, else 0.

        Then those of statistics. Not of counters: one step of a counter is more than any update.
        """
        tensors = self._session.tree.tensors
        found = tuple(array("d", bytes(8 * len(tensors))) for _ in range(4))
        for index, tensor in enumerate(tensors):
            change = self._changes.get(tensor.name)
            if change is None or change.delta_norm is None or change.status == "reshaped":
                continue
            if change.kind == "buffer" and not can_require_grad(change.dtype):
                continue
            first = 2 if change.kind == "buffer" else 0
            found[first][index] = change.delta_norm**2
            found[first + 1][index] = (change.norm or 0.0) ** 2
        return found

    @property
    def words(self) -> dict[int, str]:
        """What to say of the tensors of `session.tree` whose change has no size, in up to seven letters."""
        found = {name: word for name, change in self._changes.items() if (word := _word(change))}
        return {i: found[t.name] for i, t in enumerate(self._session.tree.tensors) if t.name in found}

    @property
    def nothing_in_common(self) -> bool:
        """Whether the other checkpoint has none of these names, so that nothing was compared."""
        return bool(self.removed) and all(change.status == "added" for change in self._changes.values())

    @property
    def nothing_changed(self) -> bool:
        """Whether every tensor of both checkpoints has a counterpart of the same bits."""
        return bool(self._changes) and not (self._changed or self._unsure or self.removed or self.absent)

    @property
    def changed_frozen(self) -> list[int]:
        """The tensors of `session.tree` that changed although the plan keeps them, ascending.

        What no stage trains, and the statistics of frozen norms unless `norm_statistics` lets them change.
        """
        changed = self._in_order()[2]
        found = int.from_bytes(changed, "big") & ~int.from_bytes(self._not_frozen(), "big")
        parameters = compress(range(len(changed)), found.to_bytes(len(changed), "big"))
        return sorted([*parameters, *self.changed_statistics])

    @property
    def changed_statistics(self) -> list[int]:
        """Those of them that are statistics of frozen norms; [] if the plan lets those change."""
        tree, _, changed = self._in_order()
        if self._session.norm_statistics != "freeze":
            return []
        trains = self._trains()
        if self._statistics is None or self._statistics[:2] != (tree, trains):
            states = FreezePlan(tree, trains).states
            buffers = compress(range(len(changed)), changed)
            self._statistics = tree, trains, changed_statistics(tree, states, buffers)
        return self._statistics[2]

    @property
    def frozen(self) -> int:
        """How many tensors no stage of the plan trains."""
        return self._not_frozen().count(0)

    @property
    def unsure_frozen(self) -> int:
        """How many of them have no counterpart of the same bits: new, reshaped, cast or not compared."""
        tree, not_frozen = self._session.tree, self._not_frozen()
        if not self._unsure:
            return 0
        if self._counted is None or self._counted[:2] != (tree, not_frozen):
            pairs = zip(tree.tensors, not_frozen, strict=True)
            self._counted = tree, not_frozen, sum(not no and t.name in self._unsure for t, no in pairs)
        return self._counted[2]

    def verdict(self) -> str:
        """Return in a few words what changed of what the plan keeps."""
        if self.nothing_in_common:
            return "no tensor name in common: nothing was compared"
        if self.nothing_changed:
            return "nothing changed"
        moved, statistics = self.changed_frozen, self.changed_statistics
        if moved:
            rest = f", {len(statistics):,} of these statistics of frozen norms" if statistics else ""
            return f"✗ {len(moved):,} of them frozen (x: next){rest}"
        stages = self._session.stages.names
        if not self.frozen:
            return "every tensor trains in some stage" if stages else "nothing is frozen in this plan"
        unsure = self.unsure_frozen
        rest = f", {unsure:,} frozen could not be compared bit for bit" if unsure else ""
        if stages:
            return f"none of {plural(self.frozen, 'tensor')} frozen in every stage changed{rest}"
        return f"none of {plural(self.frozen, 'frozen tensor')} changed{rest}"

    def summary(self) -> tuple[str, ...]:
        """Return all there is to say about the whole, the most important first."""
        warnings = [f"{self.before}: {warning}" for warning in self.warnings]
        if self.nothing_in_common:
            return (self.verdict(), *warnings)
        more = [self.note, *warnings] if self.note else warnings
        if self.nothing_changed:
            tensors = plural(len(self._session.tree.tensors), "tensor")
            return (f"nothing changed: {tensors}, identical bit for bit", *more)
        changed = f"{self.changed:,} of {plural(len(self._session.tree.tensors), 'tensor')} changed"
        parts = [changed, self.verdict()]
        if self.removed:
            parts.append(f"{len(self.removed):,} only in the earlier file")
        if self.absent:
            parts.append(f"{plural(self.absent, 'tensor')} of an index missing")
        return (*parts, *more)

    def _in_order(self) -> tuple[ParamTree, list[float | None], bytes]:
        """Return the tree, and per tensor its relative change and 1 if it changed."""
        tree = self._session.tree
        if self._ordered is None or self._ordered[0] is not tree:
            names = [tensor.name for tensor in tree.tensors]
            changed = bytes(map(self._changed.__contains__, names))
            self._ordered = tree, list(map(self._relative.get, names)), changed
        return self._ordered

    def _not_frozen(self) -> bytes:
        """Return, per tensor, 1 if it cannot train, or if a stage trains it."""
        states = bytes(self._session.plan.states)
        return _either(states.translate(_CANNOT_TRAIN), self._trains())

    def _trains(self) -> bytes:
        """Return, per tensor, 1 if a stage trains it."""
        masks = self._session.stages.masks()
        return _either(*([mask for stage, mask in masks.items() if stage is not None] or [masks[None]]))


def _either(*masks: bytes) -> bytes:
    whole = reduce(or_, (int.from_bytes(mask, "big") for mask in masks))
    return whole.to_bytes(len(masks[0]), "big")


def _word(change: TensorDiff) -> str:
    """Return what kind of change it is, if it has no size; "" if it has one."""
    if change.status == "reshaped":
        return "shape"
    if change.status == "added":
        return "new"
    if change.status != "changed" or change.delta_norm:
        return ""
    return "NaN" if change.nan else "inf" if change.inf else "changed"
