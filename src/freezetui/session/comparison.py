"""Comparison: what changed from another checkpoint to the open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from freezetui.freeze.plan import FROZEN, FreezePlan
from freezetui.freeze.tree import ParamTree

if TYPE_CHECKING:
    from freezetui.diff.report import TensorDiff
    from freezetui.session.session import Session


class Comparison:
    """What changed in each tensor of a session, in the order that its tree has now.

    Args:
        session: whose checkpoint is AFTER.
        changes: of each of its tensors, by the name there.
        relative: |delta| / |weight| of each; 0.0 if identical, infinite if the weight was 0, NaN if the change
            has no such size; None if it is not known whether there is one.

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
        self._ordered: tuple[ParamTree, list[float | None]] | None = None

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
        tree = self._session.tree
        if self._ordered is None or self._ordered[0] is not tree:
            self._ordered = tree, [self._relative.get(tensor.name) for tensor in tree.tensors]
        return self._ordered[1]

    @property
    def changed_frozen(self) -> Sequence[int]:
        """The tensors of `session.tree` that changed although no stage of the plan trains them, ascending."""
        tree = self._session.tree
        return [
            index
            for index, (tensor, state) in enumerate(zip(tree.tensors, self._states(tree), strict=True))
            if state == FROZEN and self._is_changed(tensor.name)
        ]

    @property
    def frozen(self) -> int:
        """How many tensors no stage of the plan trains."""
        return self._states(self._session.tree).count(FROZEN)

    @property
    def changed(self) -> int:
        """How many tensors of the open checkpoint differ; those that only one side has do not count."""
        return sum(map(self._is_changed, self._changes))

    def _is_changed(self, name: str) -> bool:
        change = self._changes.get(name)
        return change is not None and change.status in ("changed", "reshaped")

    def _states(self, tree: ParamTree) -> bytes:
        """Return the state of each tensor over all stages."""
        masks = self._session.stages.masks()
        stages = [mask for stage, mask in masks.items() if stage is not None] or [masks[None]]
        trains = bytes(map(max, zip(*stages, strict=True))) if len(stages) > 1 else stages[0]
        return bytes(FreezePlan(tree, trains).states)
