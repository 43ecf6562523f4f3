"""StagePlan: the plan of one stage, which follows the common rules wherever it does not differ by an edit."""

from __future__ import annotations

from freezetui.freeze.history import Diff
from freezetui.freeze.plan import TRAINABLE, FreezePlan, places
from freezetui.freeze.rules import Rule
from freezetui.freeze.tree import ParamTree

#: What is edited of a tensor, where nothing is: its state follows the rules.
_FOLLOWS = 3
#: Tables over bytes: 255 for 0 alone, for all but 0, and for what is edited; else 0.
_IS_ZERO = b"\xff" + bytes(255)
_IS_SET = bytes(1) + b"\xff" * 255
_IS_EDITED = bytes(value != _FOLLOWS and 255 for value in range(256))


class StagePlan(FreezePlan):
    """A plan on top of the common rules and the rules that the stage began with.

    It keeps which tensors were edited, and to what, apart from what the rules select. So its undo history
    does not depend on the common rules: undoing all edits leads back to what the rules select now.

    Args:
        tree: whose tensors the masks are for.
        below: what the common rules and `rules` select: per tensor, 1 to train and 0 to freeze.
        mask: where the plan starts, if not with that.
        rules: which the stage began with.

    Attributes:
        saved_as: the name under which the config on disk has the stage; None if it has not.
    """

    def __init__(
        self, tree: ParamTree, below: bytes, mask: bytes | None = None, rules: tuple[Rule, ...] = ()
    ) -> None:
        super().__init__(tree, below)
        self.rules = rules
        self.saved_as: str | None = None
        self._below = self.states
        self._edited = bytearray([_FOLLOWS]) * len(self.states)
        if mask is not None:
            new = self._with(mask)
            self._edited, self.states = self._edited_for(new), new

    def rebase(self, below: bytes) -> None:
        """Follow other common rules; what was edited stays, and this is not an edit that can be undone.

        Args:
            below: what they and the stage's rules select.
        """
        self._below = self._with(below)
        states = self._resolved()
        if states != self.states:
            self.states, self.version = states, self.version + 1

    def moved_to(self, tree: ParamTree) -> StagePlan:
        """Return this plan for the same tensors in another order; see `FreezePlan.moved_to`."""
        place = places(self.tree, tree)
        plan = StagePlan(tree, bytes(map(self._below.__getitem__, place)), rules=self.rules)
        plan.version, plan.made, plan.saved_as = self.version + 1, self.made, self.saved_as
        plan._edited = bytearray(map(self._edited.__getitem__, place))
        plan._undo = [diff.moved(place) for diff in self._undo]
        plan._redo = [diff.moved(place) for diff in self._redo]
        plan.states = plan._resolved()
        return plan

    def _commit(self, new: bytearray) -> int:
        edited = self._edited_for(new)
        changed = super()._commit(new)
        if changed:
            diff = Diff.between(self._edited, edited)
            assert diff is not None
            self._undo[-1], self._edited = diff, edited
        return changed

    def _flip(self, diff: Diff) -> None:
        diff.flip(self._edited)
        self.states = self._resolved()

    def _edited_for(self, new: bytearray) -> bytearray:
        """Return what is edited after an edit to these states; what the rules say too is not."""
        changed, like_below = _xor(self.states, new, _IS_SET), _xor(self._below, new, _IS_ZERO)
        follows = bytes([_FOLLOWS]) * len(new)
        return _chosen(changed, _chosen(like_below, follows, new), self._edited)

    def _resolved(self) -> bytearray:
        """Return the states that the edits and the rules below them make."""
        states = _chosen(self._edited.translate(_IS_EDITED), self._edited, self._below)
        self._tie(states, [i for i in self.tree.tie_groups if states[i] == TRAINABLE])
        return states


def _xor(a: bytearray, b: bytearray, table: bytes) -> bytes:
    """Return the bytes of `table` for the exclusive-or of two arrays of one length."""
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big").translate(table)


def _chosen(where: bytes | bytearray, a: bytes | bytearray, b: bytes | bytearray) -> bytearray:
    """Return `a` where `where` is 255, and `b` where it is 0."""
    chosen, other = int.from_bytes(where, "big"), int.from_bytes(b, "big")
    return bytearray((other ^ (other ^ int.from_bytes(a, "big")) & chosen).to_bytes(len(where), "big"))
