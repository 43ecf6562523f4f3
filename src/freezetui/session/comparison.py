"""Comparison: what changed from another checkpoint to the open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import compress
from operator import or_
from typing import TYPE_CHECKING

from freezetui.freeze.plan import UNTRAINABLE
from freezetui.freeze.tree import ParamTree

if TYPE_CHECKING:
    from freezetui.diff.report import TensorDiff
    from freezetui.session.session import Session

#: State -> 1 for a tensor that cannot train.
_CANNOT_TRAIN = bytes(state == UNTRAINABLE for state in range(256))


class Comparison:
    """What changed in each tensor of a session, in the order that its tree has now.

    Args:
        session: whose checkpoint is AFTER.
        changes: of each of its tensors, by the name there.
        relative: |delta| / |weight| of each; 0.0 if identical, infinite if the weight was 0, NaN if the
            change has no such size; None if it is not known whether there is one.

    Attributes:
        before: BEFORE as the user named it.
        removed: names of BEFORE that the open checkpoint lacks.
        note: how names were matched; "" if they are equal.
    """

    def __init__(
        self,
        session: Session,
        before: str,
        changes: Mapping[str, TensorDiff],
        relative: Mapping[str, float | None],
        removed: tuple[str, ...] = (),
        note: str = "",
    ) -> None:
        self._session, self._changes, self._relative = session, changes, relative
        self.before, self.removed, self.note = before, removed, note
        self._ordered: tuple[ParamTree, list[float | None], bytes] | None = None
        self._changed = {name for name, change in changes.items() if change.status in ("changed", "reshaped")}

    @property
    def changed(self) -> int:
        """How many tensors of the open checkpoint changed."""
        return len(self._changed)

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
    def changed_frozen(self) -> list[int]:
        """The tensors of `session.tree` that changed although no stage of the plan trains them, ascending."""
        changed = self._in_order()[2]
        found = int.from_bytes(changed, "big") & ~int.from_bytes(self._not_frozen(), "big")
        return list(compress(range(len(changed)), found.to_bytes(len(changed), "big")))

    @property
    def frozen(self) -> int:
        """How many tensors no stage of the plan trains."""
        return self._not_frozen().count(0)

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
        masks = self._session.stages.masks()
        stages = [mask for stage, mask in masks.items() if stage is not None] or [masks[None]]
        whole = [states.translate(_CANNOT_TRAIN), *stages]
        return reduce(or_, (int.from_bytes(mask, "big") for mask in whole)).to_bytes(len(states), "big")
