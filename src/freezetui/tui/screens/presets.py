"""PresetScreen: the presets, each with what it would train."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui import numbers
from freezetui.freeze.blocks import blocks_of
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.presets import PRESETS, Preset, head_of, last_blocks
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable
from freezetui.tui.screens.dialog import Dialog

_MAX_WIDTH_HEAD = 24


class PresetScreen(Dialog[bytes | None]):
    """Asks for a preset; answers with its mask, one byte per tensor, or None."""

    BINDINGS = [
        Binding("escape,p", "leave", "Back", id="presets.back"),
        Binding("left,minus,h", "blocks(-1)", "Fewer blocks", id="presets.fewer"),
        Binding("right,plus,l", "blocks(1)", "More blocks", id="presets.more"),
        Binding("j", "cursor(1)", show=False, id="dialog.down"),
        Binding("k", "cursor(-1)", show=False, id="dialog.up"),
    ]

    def __init__(self, tree: ParamTree) -> None:
        super().__init__()
        self._tree = tree
        self._blocks = blocks_of(tree)
        self._most = len(self._blocks)
        self._number = 1

    def compose(self) -> ComposeResult:
        """Compose the list and the keys."""
        with Vertical(classes="dialog -wide") as dialog:
            dialog.border_subtitle = "Enter: apply, Esc: cancel" + (
                ", ← → how many blocks" if self._most > 1 else ""
            )
            yield Static("Presets", classes="dialog-title")
            yield OptionList()

    def on_mount(self) -> None:
        """Fill the list."""
        options = self.query_one(OptionList)
        for preset in PRESETS:
            label = self._label(preset)
            if label is not None:
                options.add_option(Option(label, id=preset.name))
        options.highlighted = 0

    def _trains(self, preset: Preset) -> bytes:
        if preset.name == "last-blocks":
            return last_blocks(self._tree, self._blocks, self._number)
        return preset.mask(self._tree, 0)

    def _label(self, preset: Preset) -> Text | None:
        """Return the preset's title and what it would train; None if it matches nothing in this model."""
        totals = FreezePlan(self._tree, self._trains(preset)).totals()
        if preset.name == "last-blocks" and not self._most:
            return None
        if preset.name != "nothing" and not totals.trainable.tensors:
            return None
        title = preset.title
        if preset.name == "head":
            head = Text(printable(self._tree.path(head_of(self._tree)) or "everything"))
            head.truncate(_MAX_WIDTH_HEAD, overflow="ellipsis")
            title += f" ({head})"
        elif preset.name == "last-blocks":
            title = f"train the last ‹{self._number:,}› of {self._most:,} blocks and everything after them"
        mask = f"{numbers.count(totals.trainable.elements)}, {numbers.percent(totals.share)}"
        return Text.assemble(title, (f"  {mask}", "dim"), no_wrap=True, overflow="ellipsis")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Apply the preset chosen."""
        preset = next(p for p in PRESETS if p.name == event.option_id)
        self.dismiss(self._trains(preset))

    def action_blocks(self, by: int) -> None:
        """Change how many of the last blocks train."""
        number = max(1, min(self._most, self._number + by))
        if number != self._number:
            self._number = number
            preset = next(preset for preset in PRESETS if preset.name == "last-blocks")
            self.query_one(OptionList).replace_option_prompt(preset.name, self._label(preset) or "")

    def action_cursor(self, by: int) -> None:
        """Move as in the tree."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    def action_leave(self) -> None:
        """Go back (Esc)."""
        self.dismiss(None)
