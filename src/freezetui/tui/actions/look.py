"""LookActions: the values of a tensor, and what changed since an earlier checkpoint."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.timer import Timer
from textual.widget import Widget

from freezetui.session.session import Session
from freezetui.tui.actions.base import Actions
from freezetui.tui.against import Against, config_beside
from freezetui.tui.values import Values

if TYPE_CHECKING:
    from freezetui.tui.widgets.against_bar import AgainstBar

#: Seconds between two updates of what is in progress.
_PAUSE = 0.1


class LookActions(Actions):
    """Looks into tensors, and back at a training run."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._values = self._details.values = Values(session.checkpoint)
        self._against = Against(session)
        self._against_bar: AgainstBar | None = None
        self._ticking: Timer | None = None

    def make_against_bar(self) -> Iterator[Widget]:
        """Yield the line about the comparison, if one was asked for."""
        if self.session.options.against is not None:
            from freezetui.tui.widgets.against_bar import AgainstBar  # most screens need none

            self._against_bar = AgainstBar(self._against, id="against")
            yield self._against_bar

    def refresh_against(self) -> None:
        """Tell how far the comparison is."""
        if self._against_bar is not None:
            self._against_bar.refresh()

    def compare(self) -> None:
        """Start to compare with `--against`, if that was asked for."""
        self._against.start(lambda: self.call_later(self._compared))
        self._tick()
        config = config_beside(self.session)
        if config is not None:
            self.notify(f"Pass --config {config} to see what was frozen: the earlier file has this config")

    def end_looking(self) -> None:
        """Cancel what runs in threads."""
        self._values.cancel()
        self._against.cancel()

    def action_values(self) -> None:
        """Show the values of the tensor under the cursor; if they are shown or being read, stop that."""
        tree = self.tree_view
        node = tree.node
        tensor = self.session.tree.tensor(node) if tree.rows.family(node) is None else None
        if tensor is None:
            self.notify("Values are shown for one tensor: move to one", timeout=3)
        elif tree.rows.times(node) > 1:
            self.notify("This line stands for several tensors: press z for single blocks", timeout=3)
        elif self._values.running == tensor.name:
            self._values.cancel()
        elif not self._values.hide(tensor.name):
            self._values.start(tensor, lambda: self.call_later(self._values_read))
            self._tick()
        self._show_values()

    def action_next_changed(self, direction: int) -> None:
        """Go to the next or the previous frozen tensor that changed; wraps around."""
        comparison = self.session.comparison
        if comparison is None:
            none = self.session.not_compared or "Nothing to compare with: pass --against with an earlier file"
            self.notify("Still comparing" if self._against.running else none, timeout=3)
            return
        changed = comparison.changed_frozen
        if not changed:
            self.notify(f"Nothing to go to: {comparison.verdict()}", timeout=5)
            return
        tree, node = self.session.tree, self.tree_view.node
        first = tree.first[node]
        if direction > 0:
            place = bisect_right(changed, first if tree.leaf[node] else first - 1)
        else:
            place = bisect_right(changed, first - 1) - 1
        self.tree_view.go_to(tree.find(tree.tensors[changed[place % len(changed)]].name))

    def refresh_session(self) -> None:
        """Redraw what depends on the plan; count again which frozen tensors changed."""
        super().refresh_session()
        self.refresh_against()

    def show_line(self) -> None:
        """Describe the line under the cursor; discard what is being read of another tensor."""
        running = self._values.running
        if running and self.session.tree.path(self.tree_view.node) != running:
            self._values.cancel()
        super().show_line()

    def _values_read(self) -> None:
        self._values.settle()
        if new := {
            n: found
            for n, found in self._values.not_finite.items()
            if self.session.not_finite.get(n) != found
        }:
            self.session.not_finite |= new
            self.refresh_session()
        self._show_values()

    def _compared(self) -> None:
        if self._against.settle():
            self.refresh_session()
        self.refresh_against()

    def _show_values(self) -> None:
        """Describe the line under the cursor again; without the pane, its values in one line."""
        self.show_line()
        brief = self._values.brief(self.session.tree.path(self.tree_view.node))
        if brief and not self._details.display:
            self._detail_line.text = self._detail_line.text.blank_copy(f" {brief}")

    def _tick(self) -> None:
        """Update what is in progress until nothing is."""
        if self._ticking is None and (self._values.running or self._against.running):
            self._ticking = self.set_interval(_PAUSE, self._show_progress)

    def _show_progress(self) -> None:
        if self._values.running:
            self._show_values()
        if self._against.running:
            self.refresh_against()
        elif self._ticking is not None and not self._values.running:
            self._ticking.stop()
            self._ticking = None
