"""The presets, each with what it would train."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui.checkpoint.text import printable
from freezetui.errors import PatternError
from freezetui.freeze.blocks import blocks_of
from freezetui.freeze.plan import FreezePlan, Totals
from freezetui.freeze.presets import PRESETS, Preset, chosen, head_of
from freezetui.freeze.tree import ParamTree
from freezetui.plain import numbers
from freezetui.tui.dialogs import Dialog


class PresetScreen(Dialog[bytes | None]):
    """Pick a preset; answers with the choice per tensor, or None."""

    BINDINGS = [
        Binding("escape,p", "leave", "Back"),
        Binding("left,minus,h", "blocks(-1)", "Fewer blocks"),
        Binding("right,plus,l", "blocks(1)", "More blocks"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self, tree: ParamTree) -> None:
        super().__init__()
        self._tree = tree
        self._most = len(blocks_of(tree))
        self._number = 1

    def compose(self) -> ComposeResult:
        """The list and the keys."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter applies, esc goes back" + (
                ", ← → how many blocks" if self._most > 1 else ""
            )
            yield Static("Presets", classes="dialog-title")
            yield OptionList()

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill()

    def _fill(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        for preset in PRESETS:
            try:
                plan = FreezePlan(self._tree, chosen(preset, self._number, self._tree))
            except PatternError:  # no norms, no repeated blocks: nothing to offer
                continue
            totals = plan.totals(0, len(self._tree.tensors))
            options.add_option(Option(self._label(preset, totals), id=preset.name))
        options.highlighted = at

    def _label(self, preset: Preset, totals: Totals) -> Text:
        title = preset.title
        if preset.name == "head":
            title += f" ({printable(self._tree.path(head_of(self._tree)))})"
        elif preset.name == "last-blocks":
            title = f"train the last ‹{self._number}› of {self._most} blocks and what follows"
        trains = f"{numbers.count(totals.trainable.elements)}, {numbers.percent(totals.share)}"
        return Text.assemble(title, (f"  {trains}", "dim"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Apply."""
        preset = next(p for p in PRESETS if p.name == event.option_id)
        self.dismiss(preset.trains(self._tree, self._number))

    def action_blocks(self, by: int) -> None:
        """Change N."""
        self._number = max(1, min(self._most, self._number + by))
        self._fill()

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)
