"""FreezePlan: which tensors train, with undo."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, compress, islice, repeat, starmap
from operator import add, attrgetter, is_not
from typing import Literal, NamedTuple

from freezetui.freeze.history import Diff, seen_as
from freezetui.freeze.tree import ParamTree

FROZEN, TRAINABLE, UNTRAINABLE = 0, 1, 2

State = Literal["frozen", "trainable", "mixed", "untrainable"]

_TO = {value: bytes([value, value, UNTRAINABLE]) + bytes(range(3, 256)) for value in (FROZEN, TRAINABLE)}
_RUN = (re.compile(rb"\x00+"), re.compile(rb"\x01+"), re.compile(rb"\x02+"))
_ONLY = [bytes(value == other for other in range(256)) for value in (FROZEN, TRAINABLE, UNTRAINABLE)]
#: The state of a tensor outside the requested ranges.
_OUTSIDE = 3
#: Adding up more runs than this is slower than adding up all tensors.
_MAX_RUNS = 2000
#: The totals of shorter ranges are counted again each time.
_MIN_KEPT = 1000
_UNTOUCHED = bytes([UNTRAINABLE, TRAINABLE]) + bytes(range(2, 256))
_INVERT = bytes([TRAINABLE, FROZEN, UNTRAINABLE]) + bytes(range(3, 256))


class Size(NamedTuple):
    """A count of tensors, their elements and their bytes; a tied tensor counts once."""

    tensors: int = 0
    elements: int = 0
    bytes: int = 0

    def plus(self, other: Size) -> Size:
        """Return the sum, field by field."""
        return Size(self.tensors + other.tensors, self.elements + other.elements, self.bytes + other.bytes)

    def __sub__(self, other: Size) -> Size:
        return Size(self.tensors - other.tensors, self.elements - other.elements, self.bytes - other.bytes)


class FreezeTotals(NamedTuple):
    """The totals of a range of tensors: frozen and trainable parameters, and untrainable tensors."""

    frozen: Size
    trainable: Size
    untrainable: Size

    @property
    def parameters(self) -> Size:
        """Frozen and trainable ones together."""
        return self.frozen.plus(self.trainable)

    @property
    def state(self) -> State:
        """The state of the whole range; "untrainable" if nothing in it can train."""
        if self.trainable.tensors:
            return "mixed" if self.frozen.tensors else "trainable"
        return "frozen" if self.frozen.tensors else "untrainable"

    @property
    def share(self) -> float:
        """The trainable part of the parameters' elements, 0 to 1; 0 if there are none."""
        elements = self.parameters.elements
        return self.trainable.elements / elements if elements else 0.0


class FreezePlan:
    """The state of every tensor of a tree: one byte each, 0 frozen, 1 trainable, 2 untrainable.

    Ranges are half-open ranges of tensors, as `ParamTree.span` returns them. Tied tensors change together.

    Args:
        tree: whose tensors the bytes are for.
        mask: per tensor, 1 to train and 0 to freeze; None trains everything. If tied tensors differ, they
            train.

    Attributes:
        version: grows with every change, undo and redo included.
        made: how many edits were ever made; undo and redo leave it.
    """

    def __init__(self, tree: ParamTree, mask: bytes | bytearray | None = None) -> None:
        self.tree = tree
        self.version = self.made = 0
        self._undo: list[Diff] = []
        self._redo: list[Diff] = []
        #: A version of the plan, and the totals of its long ranges that were counted.
        self._counted: tuple[int, dict[tuple[int, int], FreezeTotals]] = -1, {}
        self.states = bytearray(tree.trainable().translate(_UNTOUCHED))
        if mask is not None:
            self.states = self._with(mask)

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to undo."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone edit to redo."""
        return bool(self._redo)

    @property
    def edits(self) -> int:
        """The number of edits that can be undone."""
        return len(self._undo)

    def moved_to(self, tree: ParamTree) -> FreezePlan:
        """Return this plan, with what can be undone and redone, for the same tensors in another order.

        Tensors that are tied in `tree` only have the same state: frozen if one of them is, as `apply` has it.
        """
        plan = FreezePlan(tree)
        plan.version, plan.made = self.version + 1, self.made
        place = places(self.tree, tree)
        plan.states = bytearray(map(self.states.__getitem__, place))
        plan._undo, plan._redo = ([diff.moved(place) for diff in old] for old in (self._undo, self._redo))
        if len(tree.tie_groups) != len(self.tree.tie_groups):
            untied = plan.states
            plan._undo, plan._redo = (seen_as(each, untied, plan._alike) for each in (plan._undo, plan._redo))
            plan.states = plan._alike(untied)
        return plan

    def _alike(self, states: bytearray) -> bytearray:
        """Return states in which tied tensors are frozen if one of them is."""
        alike = bytearray(states)
        self._tie(alike, [i for i in self.tree.tie_groups if states[i] == FROZEN])
        return alike

    def mask(self) -> bytes:
        """Return, per tensor, 1 where it trains and 0 where it is frozen or cannot train."""
        return bytes(self.states.translate(bytes([0, 1, 0]) + bytes(range(3, 256))))

    def set(self, spans: Iterable[tuple[int, int]], trainable: bool) -> int:
        """Freeze or train some ranges as one edit; return how many tensors changed."""
        return self._edit(spans, _TO[TRAINABLE if trainable else FROZEN])

    def invert(self, spans: Iterable[tuple[int, int]]) -> int:
        """Freeze what trains and train what is frozen, as one edit; return how many tensors changed."""
        new, spans = bytearray(self.states), list(spans)
        for start, stop in spans:
            new[start:stop] = self.states[start:stop].translate(_INVERT)
        self._tie(new, chain.from_iterable(starmap(self.tree.tied_in, spans)))
        return self._commit(new)

    def toggle(self, spans: Sequence[tuple[int, int]]) -> int:
        """Freeze ranges that are all trainable, else train all of them; return how many tensors changed."""
        return self.set(spans, trainable=self.totals_over(spans).state != "trainable")

    def replace(self, mask: bytes | bytearray) -> int:
        """Replace the plan as one edit, tied tensors that differ train; return how many tensors changed."""
        return self._commit(self._with(mask))

    def undo(self) -> tuple[int, int] | None:
        """Undo the last edit; return the range that changed, None if there is nothing to undo."""
        return self._shift(self._undo, self._redo)

    def redo(self) -> tuple[int, int] | None:
        """Redo the last undone edit; return the range that changed, None if there is nothing to redo."""
        return self._shift(self._redo, self._undo)

    def totals(self, start: int = 0, stop: int | None = None) -> FreezeTotals:
        """Return tensors, elements and bytes of a range by state; a tensor tied within it counts once.

        Without a range, of the whole model.
        """
        stop = len(self.states) if stop is None else stop
        if stop - start < _MIN_KEPT:
            return self._totals(start, stop)
        now, (version, known) = self.version, self._counted
        if version != now:
            known = {}
            self._counted = now, known
        if (start, stop) not in known:
            known[start, stop] = self._totals(start, stop)
        return known[start, stop]

    def _totals(self, start: int, stop: int) -> FreezeTotals:
        states = self.states[start:stop]
        frozen, trainable = self._tally(FROZEN, states, start), self._tally(TRAINABLE, states, start)
        return FreezeTotals(frozen, trainable, Size(*self.tree.totals(start, stop)) - frozen - trainable)

    def totals_over(self, spans: Sequence[tuple[int, int]]) -> FreezeTotals:
        """Return the totals of ascending, disjoint ranges together; a tensor tied within them counts once."""
        if not spans:
            return FreezeTotals(Size(), Size(), Size())
        if len(spans) == 1:
            return self.totals(*spans[0])
        low, high = spans[0][0], spans[-1][1]
        states = bytearray([_OUTSIDE]) * (high - low)
        for start, stop in spans:
            states[start - low : stop - low] = self.states[start:stop]
        return FreezeTotals(*(self._tally(value, states, low) for value in (FROZEN, TRAINABLE, UNTRAINABLE)))

    def _tally(self, value: int, states: bytearray, start: int) -> Size:
        """Return the size of the tensors with this value among the states of those from `start` on."""
        count = states.count(value)
        if count == 0:
            return Size()
        tree, stop = self.tree, start + len(states)
        if count == len(states):
            return Size(*tree.totals(start, stop))
        elements, nbytes = self._sums(value, states, start)
        seen: set[int] = set()
        for index in tree.tied_in(start, stop):
            if states[index - start] == value:
                first = tree.tie_groups[index][0]
                if first in seen:
                    count -= 1
                    elements -= tree.tensors[index].elements
                    nbytes -= tree.tensors[index].bytes
                seen.add(first)
        return Size(count, elements, nbytes)

    def _sums(self, value: int, states: bytearray, start: int) -> tuple[int, int]:
        """Return elements and bytes, every name counted: run by run if there are few, else one by one."""
        tree = self.tree
        runs = list(islice(re.finditer(_RUN[value], states), _MAX_RUNS))
        if len(runs) == _MAX_RUNS:
            chosen = states.translate(_ONLY[value])
            elements, nbytes = tree.sizes(start, start + len(states))
            return sum(compress(elements, chosen)), sum(compress(nbytes, chosen))
        ends = [(start + run.start(), start + run.end()) for run in runs]
        return (
            sum(tree.elements_before[last] - tree.elements_before[first] for first, last in ends),
            sum(tree.bytes_before[last] - tree.bytes_before[first] for first, last in ends),
        )

    def _edit(self, spans: Iterable[tuple[int, int]], table: bytes) -> int:
        new, spans = bytearray(self.states), list(spans)
        for start, stop in spans:
            new[start:stop] = new[start:stop].translate(table)
        self._tie(new, chain.from_iterable(starmap(self.tree.tied_in, spans)))
        return self._commit(new)

    def _with(self, mask: bytes | bytearray) -> bytearray:
        """Return the states that `mask` asks for."""
        assert len(mask) == len(self.states), "one byte per tensor"
        fixed = self.states.translate(_ONLY[UNTRAINABLE])
        new = bytearray(map(max, mask, map(add, fixed, fixed))) if any(fixed) else bytearray(mask)
        self._tie(new, [index for index in self.tree.tie_groups if new[index] == TRAINABLE])
        return new

    def _tie(self, states: bytearray, indices: Iterable[int]) -> None:
        """Set the state of everything tied to one of `indices` to its state."""
        for index, group in self.tree.groups_of(indices):
            for member in group:
                states[member] = states[index]

    def _commit(self, new: bytearray) -> int:
        diff = Diff.between(self.states, new)
        if diff is None:
            return 0
        tied = [i for i in self.tree.tied_in(diff.start, diff.stop) if new[i] != self.states[i]]
        again = len(tied) - len({self.tree.tie_groups[index][0] for index in tied})
        self.states = new
        self._undo.append(diff)
        self._redo.clear()
        self.version += 1
        self.made += 1
        return diff.changed - again

    def _shift(self, source: list[Diff], target: list[Diff]) -> tuple[int, int] | None:
        if not source:
            return None
        diff = source.pop()
        self._flip(diff)
        target.append(diff)
        self.version += 1
        return diff.start, diff.stop

    def _flip(self, diff: Diff) -> None:
        """Undo an edit, or redo it."""
        diff.flip(self.states)


def stored_mask(tree: ParamTree) -> bytes:
    """Return, per tensor, 0 where the file stores that it is frozen, else 1: where a plan starts."""
    return bytes(map(is_not, map(attrgetter("requires_grad"), tree.tensors), repeat(False)))


def moved_mask(mask: bytes | bytearray, old: ParamTree, new: ParamTree) -> bytes:
    """Return a mask of `old` for `new`, which has the same tensors, perhaps in another order."""
    return bytes(mask) if new is old else bytes(map(mask.__getitem__, places(old, new)))


def places(old: ParamTree, new: ParamTree) -> Sequence[int]:
    """Return per tensor of `new` its position in `old`, which has the same tensors."""
    position = {tensor.name: i for i, tensor in enumerate(old.tensors)}
    return [position[tensor.name] for tensor in new.tensors]
