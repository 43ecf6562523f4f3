"""TreeEdits: what the keys of the tree do to the plan. Independent of widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freezetui import numbers
from freezetui.freeze.blocks import in_every_block
from freezetui.freeze.plan import FROZEN, FreezePlan
from freezetui.text import printable
from freezetui.tui.widgets.block_groups import Span
from freezetui.tui.widgets.visible_rows import VisibleRows


class EditRefused(Exception):
    """An edit that cannot change anything; its message says why."""


class TreeEdits:
    """Edits a plan from the line under the cursor, limited to what a filter shows.

    Every edit returns a message for the user, "" if the tree itself shows enough.

    Args:
        plan: the plan to edit.
        rows: which lines are visible, and what a filter matches.
    """

    def __init__(self, plan: FreezePlan, rows: VisibleRows) -> None:
        self.plan, self.rows = plan, rows

    def run(self, name: str, node: int, spans: Sequence[Span] | None = None) -> str:
        """Run the edit called `name` on the line of `node`.

        Args:
            spans: the tensors of a range of lines, to act on in place of the line.

        Raises:
            EditRefused: it cannot change anything.
        """
        if name not in ON_LINES:
            return _BY_NAME[name](self, node)
        times = self.rows.times(node) if spans is None else 1
        spans = self.rows.spans(node) if spans is None else spans
        if name == "invert":
            return self.invert(spans)
        what = f"{_DONE[name]} in {times:,} blocks" if times > 1 else ""
        return self.set(spans, {"freeze": False, "train": True}.get(name), what)

    def offers(self, action: str, node: int) -> bool:
        """Whether an action of the tree, as written in its binding, has an effect at `node`."""
        name = action.removeprefix("edit('").removesuffix("')")
        if name == "undo":
            return self.plan.can_undo
        if name == "redo":
            return self.plan.can_redo
        if name == "blocks":
            return len(in_every_block(self.rows.tree, node)) > 1
        if name == "freeze_before":
            return self.rows.tree.first[node] > 0
        return bool(self.rows.matches) or not name.startswith(_ON_MATCHES)

    def set(self, spans: Sequence[Span], trainable: bool | None, what: str = "") -> str:
        """Freeze, train or (None) toggle some tensors.

        Args:
            what: what was done, to report with how much changed; "" reports nothing.

        Raises:
            EditRefused: none of them is trainable.
        """
        if not spans:
            raise EditRefused("nothing matches")
        if self.plan.totals_over(spans).state == "untrainable":
            tensor = self.rows.tree.tensors[spans[0][0]] if spans[0][0] < spans[0][1] else None
            raise EditRefused(tensor.untrainable_reason if tensor else "nothing here is trainable")
        changed = self.plan.toggle(spans) if trainable is None else self.plan.set(spans, trainable)
        if what and not changed:
            return f"already {'trainable' if trainable else 'frozen'}"
        return _changed(what, changed) if what else ""

    def toggle_all(self) -> str:
        """Freeze all; if all is frozen, unfreeze all.

        Raises:
            EditRefused: as `set` does.
        """
        spans = self.rows.shown(0, len(self.rows.tree.tensors))
        return self.set(spans, self.plan.totals_over(spans).state == "frozen")

    def invert(self, spans: Sequence[Span]) -> str:
        """Swap frozen and trainable.

        Raises:
            EditRefused: as `set` does.
        """
        return "" if self.plan.invert(spans) else self.set(spans, False)  # says why nothing can change

    def set_blocks(self, node: int) -> str:
        """Apply this line's state to the same name in every repeated block; if it has it already, toggle.

        Raises:
            EditRefused: the line is not in a repeated block, or as `set` does.
        """
        tree = self.rows.tree
        nodes = in_every_block(tree, node)
        if len(nodes) < 2:
            raise EditRefused("this line is not inside a repeated block")
        spans = [tree.span(block) for block in nodes]
        here, everywhere = self._state(self.rows.spans(node)), self._state(spans)
        alike = here == everywhere or here == "mixed"
        train = everywhere != "trainable" if alike else here == "trainable"
        return self.set(spans, train, f"{'trained' if train else 'frozen'} in {len(nodes)} blocks")

    def freeze_before(self, node: int) -> str:
        """Freeze everything before a line.

        Raises:
            EditRefused: it is the first line, or as `set` does.
        """
        first = self.rows.tree.first[node]
        if not first:
            raise EditRefused("there is nothing above this line")
        return self.set(self.rows.shown(0, first), False, "frozen before this line")

    def set_matches(self, spans: Sequence[Span] | None, train: bool) -> str:
        """Freeze or train all that a filter matches.

        Args:
            spans: what it matches; None without a filter.

        Raises:
            EditRefused: nothing matches, or as `set` does.
        """
        return self.set(_not_empty(spans), train, "trainable" if train else "frozen")

    def match_after(self, node: int, direction: int) -> int:
        """Return the node of the next (1) or the previous (-1) match from the line of `node`; wraps around.

        Raises:
            EditRefused: nothing matches.
        """
        from freezetui.tui.search import neighbor  # the first screen needs none

        tree = self.rows.tree
        matches = _not_empty(self.rows.matches)
        return tree.position[neighbor(matches, tree.first[node], direction, bool(tree.leaf[node]))]

    def replace(self, mask: bytes) -> str:
        """Replace the plan's mask by a preset's."""
        changed = self.plan.replace(mask)
        return _changed("preset", changed) if changed else "the plan is already what this preset makes it"

    def undo(self) -> str:
        """Undo the last edit, and say what that was.

        Raises:
            EditRefused: there is none.
        """
        return self._stepped(self.plan.undo, "undo")

    def redo(self) -> str:
        """Redo the last edit that was undone.

        Raises:
            EditRefused: there is none.
        """
        return self._stepped(self.plan.redo, "redo")

    def _stepped(self, step: Callable[[], Span | None], name: str) -> str:
        """Undo or redo, and return what it did: how many tensors, where, and what they are now."""
        before = bytes(self.plan.states)
        span = step()
        if span is None:
            raise EditRefused(f"nothing to {name}")
        after, tree = self.plan.states, self.rows.tree
        changed = [i for i in range(*span) if before[i] != after[i]]
        if not changed:
            return f"{name}: nothing looks different, because of the common rules or a tie"
        now = {after[i] for i in changed}
        state = "changed" if len(now) > 1 else "frozen" if now == {FROZEN} else "trainable"
        above = tree.position[changed[0]]
        while tree.first[tree.end[above]] <= changed[-1]:
            above = tree.parents[above]
        where = f" in {printable(tree.path(above))}" if above else ""
        again = " again" if name == "undo" else ""
        return f"{name}: {numbers.plural(len(changed), 'tensor')}{where} {state}{again}"

    def _state(self, spans: Sequence[Span]) -> str:
        return self.plan.totals_over(spans).state


def _not_empty(spans: Sequence[Span] | None) -> Sequence[Span]:
    """Return what a filter matches, if it matches anything.

    Raises:
        EditRefused: it matches nothing, or no filter is set.
    """
    if not spans:
        raise EditRefused("no filter: press / to search" if spans is None else "the filter matches nothing")
    return spans


_DONE = {"toggle": "toggled", "freeze": "frozen", "train": "trainable"}
#: Edits of a line, or of a range of lines.
ON_LINES = ("toggle", "freeze", "train", "invert")
_ON_MATCHES = ("freeze_matches", "train_matches", "next_match")
_BY_NAME: dict[str, Callable[[TreeEdits, int], str]] = {
    "toggle_all": lambda edits, node: edits.toggle_all(),
    "blocks": TreeEdits.set_blocks,
    "freeze_before": TreeEdits.freeze_before,
    "undo": lambda edits, node: edits.undo(),
    "redo": lambda edits, node: edits.redo(),
    "freeze_matches": lambda edits, node: edits.set_matches(edits.rows.matches, False),
    "train_matches": lambda edits, node: edits.set_matches(edits.rows.matches, True),
}


def _changed(what: str, tensors: int) -> str:
    """Say what an edit has set; "changed" is what a check says of values."""
    return f"{what}: {numbers.plural(tensors, 'tensor')} set"
