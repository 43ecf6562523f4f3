"""ReadableList: a list to choose from, with the keys of the tree, readable in every theme."""

from __future__ import annotations

from textual.binding import Binding
from textual.color import Color
from textual.style import Style
from textual.widgets import OptionList

from freezetui.tui.contrast import legible
from freezetui.tui.guarded import Guarded


class ReadableList(Guarded, OptionList):
    """Textual's list: the text of each line, the highlighted one too, has enough contrast."""

    BINDINGS = [
        Binding("j", "cursor_down", show=False, id="list.down"),
        Binding("k", "cursor_up", show=False, id="list.up"),
    ]

    def get_visual_style(self, *component_classes: str, partial: bool = False) -> Style:
        """Return the style of some of its lines, with a color that can be read on its background."""
        style = super().get_visual_style(*component_classes, partial=partial)
        rich = style.rich_style
        found = legible(rich)
        if partial or found is rich or found.color is None or found.bgcolor is None:
            return style
        color, background = Color.from_rich_color(found.color), Color.from_rich_color(found.bgcolor)
        return style + Style(foreground=color, background=background, reverse=found.reverse)
