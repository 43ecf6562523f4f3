"""PresetScreen: the presets, each with what it would train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from freezetui import numbers
from freezetui.errors import PatternError
from freezetui.freeze.plan import FreezePlan
from freezetui.freeze.presets import PRESETS, Choice, chosen, head
from freezetui.freeze.structure import Structure
from freezetui.freeze.structure_by_names import by_names
from freezetui.freeze.tree import ParamTree
from freezetui.text import printable
from freezetui.tui.screens.dialog import Dialog
from freezetui.tui.widgets.readable_list import ReadableList

_MAX_WIDTH_HEAD = 24
#: Cells of the box, its share of the screen at most, and the cells of its frame; see `Dialog`.
_WIDTH, _MAX_SHARE, _FRAME = 78, 0.95, 6
#: From this many tensors on, the figures come after the first frame: they take longer than a frame may.
_MANY = 10_000
#: Stand for figures that are not known yet; as wide as any of them.
_UNKNOWN, _NONE = "…".ljust(len("999.99 M, >99%")), "none here"


class PresetScreen(Dialog[bytes | None]):
    """Asks for a preset; answers with its mask, one byte per tensor, or None.

    Args:
        tree: the model's tensors.
        structure: its head and blocks, if a model is known; None goes by the names.
    """

    BINDINGS = [
        Binding("escape,q,p", "dismiss", "Back", id="presets.back"),
        Binding("left,minus,h", "blocks(-1)", "Fewer blocks", id="presets.fewer"),
        Binding("right,plus,l", "blocks(1)", "More blocks", id="presets.more"),
    ]

    def __init__(self, tree: ParamTree, structure: Structure | None = None) -> None:
        super().__init__()
        self._tree = tree
        self._structure = structure or by_names(tree)
        self._choices = {_id(choice): choice for choice in _choices(self._structure)}

    def compose(self) -> ComposeResult:
        """Compose the list and the keys."""
        several = any(self._most(choice) > 1 for choice in self._choices.values())
        with Vertical(classes="dialog -wide") as dialog:
            dialog.border_subtitle = "Enter: apply, Esc: cancel" + (
                ", ← → how many blocks" if several else ""
            )
            found_by = printable(self._structure.goes_by)
            title = "Presets, by names" if found_by == "names" else f"Presets for {found_by}"
            yield Static(title, classes="dialog-title")
            yield ReadableList()

    def on_mount(self) -> None:
        """Fill the list."""
        options = self.query_one(OptionList)
        options.add_options(Option(self._label(each, _UNKNOWN), id=id) for id, each in self._choices.items())
        if len(self._tree.tensors) < _MANY:
            self._fill_in()
        else:
            self.call_after_refresh(self._fill_in)

    def _fill_in(self) -> None:
        """Show what each preset would train; those that match nothing cannot be chosen."""
        options = self.query_one(OptionList)
        for id, choice in self._choices.items():
            figures = self._figures(choice)
            options.replace_option_prompt(id, self._label(choice, figures or _NONE))
            if not figures:
                options.disable_option(id)
        if options.highlighted is None or options.options[options.highlighted].disabled:
            options.action_first()

    @property
    def _room(self) -> int:
        """The cells of a line of the list."""
        return min(_WIDTH, int(_MAX_SHARE * self.size.width)) - _FRAME

    def _most(self, choice: Choice) -> int:
        """Return how many blocks can be chosen."""
        if choice.preset.name != "last-blocks":
            return 0
        return len(self._structure.blocks_in(choice.tower))

    def _figures(self, choice: Choice) -> str:
        """Return how much the preset would train; "" if it matches nothing in this model."""
        try:
            totals = FreezePlan(self._tree, chosen(choice, self._tree, self._structure)).totals()
        except PatternError:
            return ""
        if choice.preset.name != "nothing" and not totals.trainable.tensors:
            return ""
        return f"{numbers.count(totals.trainable.elements)}, {numbers.percent(totals.share)}"

    def _label(self, choice: Choice, figures: str) -> Text:
        """Return the preset's title and its figures, on the next line if they do not fit."""
        title, of = choice.preset.title, f"{printable(choice.tower)} " if choice.tower else ""
        if choice.preset.name == "head" and self._structure.heads:
            top = head(choice, self._structure)
            label = Text(f"{printable(top.label)}, tied" if top.shared else printable(top.label))
            label.truncate(_MAX_WIDTH_HEAD, overflow="ellipsis")
            title += f" ({label})"
        elif most := self._most(choice):
            title = f"train the last ‹{choice.number:,}› of {most:,} {of}blocks and everything after them"
        fits = cell_len(title) + 2 + len(_UNKNOWN) <= self._room
        between = "  " if fits or cell_len(title) > self._room else "\n  "
        return Text.assemble(title, (f"{between}{figures}", "dim"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Apply the preset chosen, unless it matches nothing and this was not known yet."""
        with suppress(PatternError):
            self.dismiss(chosen(self._choices[event.option_id or ""], self._tree, self._structure))

    def action_blocks(self, by: int) -> None:
        """Change how many of the last blocks train, in each tower."""
        for id, choice in self._choices.items():
            number = max(1, min(self._most(choice), choice.number + by))
            if number != choice.number and self._most(choice):
                self._choices[id] = choice._replace(number=number)
                label = self._label(self._choices[id], self._figures(self._choices[id]))
                self.query_one(OptionList).replace_option_prompt(id, label)


def _choices(structure: Structure) -> Iterator[Choice]:
    """Yield what can be chosen; of a model of towers the head and the last blocks of each."""
    for preset in PRESETS:
        towers: Sequence[str] = ("",)
        if preset.name == "head" and len(structure.heads) > 1:
            towers = [top.tower for top in structure.heads]
        elif preset.name == "last-blocks" and structure.asks:
            towers = structure.towers
        for tower in towers:
            yield Choice(preset, tower=tower)


def _id(choice: Choice) -> str:
    return f"{choice.preset.name}:{choice.tower}" if choice.tower else choice.preset.name
